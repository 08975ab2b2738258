"""Segments of a former incarnation that no peer takes: their rows wait again.

A store that was copied, or went back in time, sealed under numbers that its peers hold otherwise.
What the hub said of these numbers meanwhile, it said of the other store's segments.
"""

import sqlite3
from collections.abc import Sequence

from sync.folding.clamps import Clamps, read_clamps
from sync.folding.clock_return import waiting_keys, waiting_write
from sync.folding.refold import reclock
from sync.keys.keyring import Keyring
from sync.logs.incarnation import begin_incarnation, reissue
from sync.logs.log_state import LogState, read_logs
from sync.logs.oplog import HLC_FIELD
from sync.logs.pending_writes import restore_writes, waits_apart
from sync.logs.receipts import Verdict
from sync.logs.waiting_batches import Waiting
from sync.schema import BY_NUMBER
from sync.schema.model import GROUPS, Group, Lane
from sync.segments.body import unpack_tables
from sync.segments.columnar import decode_column
from sync.segments.sealing import RandomBytes
from sync.segments.segment import FIRST_PREV, Header, Segment, parse_segment
from sync.tables.merge import merge_columns
from sync.tables.merged_rows import read_version, write_version


def heed(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    contradictions: Sequence[tuple[LogState, Verdict, int]],
    present: int,
    random_bytes: RandomBytes,
) -> int:
    """Give way to a hub that holds another end of this school's logs; return the incarnation.

    ``contradictions`` are logs with the verdict and the last segment that both hold alike. What
    follows it here waits until the hub's end has come (:func:`reissue_settled`); a new incarnation
    begins when a present log is concerned.
    """
    incarnation = present
    if any(log.name.incarnation == present for log, _, _ in contradictions):
        incarnation = begin_incarnation(cursor, random_bytes)
    for log, verdict, agreed in contradictions:
        if verdict is not Verdict.AHEAD:
            take_back(cursor, keyring, log, agreed)
    return incarnation


def give_way(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    old: LogState,
    agreed: int,
    incarnation: int,
    now_ms: int,
) -> None:
    """Take back a former log's segments after ``agreed``, which no peer takes, and reissue."""
    take_back(cursor, keyring, old, agreed)
    (withdrawn,) = read_logs(cursor, "WHERE id = ?", old.id)
    reissue(cursor, withdrawn, incarnation, now_ms)


def take_back(cursor: sqlite3.Cursor, keyring: Keyring, old: LogState, agreed: int) -> None:
    """Take back the segments of a former log after ``agreed``; their rows are unsealed again."""
    agreed = min(agreed, old.stored)
    wires = cursor.execute(
        "SELECT wire FROM segment WHERE log = ? AND seq >= ? ORDER BY seq", (old.id, max(agreed, 1))
    ).fetchall()
    segments = [parse_segment(wire) for (wire,) in wires]
    head, sealed_row = FIRST_PREV, 0
    clamps = read_clamps(cursor, old.id, old.name)
    for segment in segments:
        if segment.header.seq == agreed:
            head, sealed_row = segment.header_digest, segment.header.last_row
        else:
            _restore_writes(cursor, keyring, old.id, segment, clamps)
    cursor.execute("DELETE FROM segment WHERE log = ? AND seq > ?", (old.id, agreed))
    cursor.execute("DELETE FROM unopened WHERE log = ? AND seq > ?", (old.id, agreed))
    # What comes back of them, with bodies or without, is gone through anew.
    cursor.execute("UPDATE adopted SET seq = min(seq, ?) WHERE log = ?", (agreed, old.id))
    cursor.execute(
        "UPDATE log SET stored = ?1, applied = min(applied, ?1), head = ?2, sealed_row = ?3"
        " WHERE id = ?4",
        (agreed, head, sealed_row, old.id),
    )


def _restore_writes(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    log_id: int,
    segment: Segment,
    clamps: Clamps | None,
) -> None:
    """Let the writes to tables with two writers that a withdrawn segment holds wait again."""
    if segment.is_hollow or segment.header.log.lane is Lane.SNAPSHOT:
        return  # what a checkpoint covers is not taken back
    for place, body in enumerate(segment.header.bodies):
        if GROUPS[body.group] is not Group.DISTRICT:
            continue
        key = keyring.key_of(cursor, segment.header, place)
        if key is None:
            continue  # a clone's, that was never opened here; its maker reissues it
        for columns in unpack_tables(segment.open(place, key)):
            table = BY_NUMBER[columns.table]
            if not waits_apart(table):
                continue
            decoded = {
                number: decode_column(encoded, columns.rows) for number, encoded in columns.columns
            }
            rows = [
                row
                for row in decode_column(columns.row_numbers, columns.rows)
                if isinstance(row, int)
            ]
            waiting = Waiting(table, rows, decoded)
            restore_writes(cursor, log_id, waiting)
            if clamps is not None:
                _unclamp(cursor, log_id, segment.header, clamps, waiting)


def _unclamp(
    cursor: sqlite3.Cursor, log_id: int, header: Header, clamps: Clamps, waiting: Waiting
) -> None:
    """Let writes count by their own stamps again: what the hub clamped was another's segment."""
    table, origin = waiting.table, header.log.origin
    own = [each for each in waiting.columns[HLC_FIELD] if isinstance(each, int)]
    counted = clamps.stamps(header, own)
    keys = waiting_keys(waiting)
    for key in dict.fromkeys(keys):
        moved = {
            former: present
            for each, former, present in zip(keys, counted, own, strict=True)
            if each == key and former != present
        }
        if moved:
            reclock(cursor, table, key, origin, moved)
    for place, (key, former, present) in enumerate(zip(keys, counted, own, strict=True)):
        if former != present:
            write = waiting_write(waiting, place, (present, origin))
            merged = merge_columns(table, read_version(cursor, table, key), write)
            write_version(cursor, table, key, merged, (log_id, waiting.rows[place]))
