"""Incarnations: a node whose store was restored goes on in new logs and loses no row.

What a restored node sealed before is what its peers hold, or they hold more of it: nothing is
appended to logs of a former incarnation. Their missing ends come back from the peers; rows that
were not sealed, or that no peer acknowledged before another head was found, are reissued: moved
to the end of the log of the same audience and lane in the present incarnation.
"""

import sqlite3
from collections.abc import Sequence

from sync.keys.keyring import Keyring
from sync.logs.log_state import LogState, log_id_of, read_logs
from sync.logs.oplog import event_school
from sync.logs.pending_writes import (
    move_writes,
    restore_writes,
    unsealed_writes,
    waits_apart,
)
from sync.logs.receipts import Verdict, read_receipts
from sync.logs.waiting_batches import Waiting, forget_waiting, leave_in_table
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import GROUPS, Group, Kind, Lane, Table
from sync.segments.body import unpack_tables
from sync.segments.columnar import decode_column
from sync.segments.sealing import KeyId, RandomBytes
from sync.segments.segment import FIRST_PREV, LogName, Segment, parse_segment
from sync.store import index_positions


def open_incarnation(
    cursor: sqlite3.Cursor, origin: int, generation: bytes, random_bytes: RandomBytes
) -> int:
    """Return the store's incarnation, or a new one when the store was restored or is new."""
    known = dict(cursor.execute("SELECT name, value FROM meta").fetchall())
    told = known.get("generation"), known.get("origin")
    if "incarnation" in known and told == (generation, origin):
        return int(known["incarnation"])
    _remember(cursor, "generation", generation)
    _remember(cursor, "origin", origin)
    return begin_incarnation(cursor, random_bytes)


def begin_incarnation(cursor: sqlite3.Cursor, random_bytes: RandomBytes) -> int:
    fresh = int.from_bytes(random_bytes(8), "big") >> 1 or 1
    _remember(cursor, "incarnation", fresh)
    return fresh


def heed(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    contradictions: Sequence[tuple[LogState, Verdict, int]],
    present: int,
    random_bytes: RandomBytes,
    now_ms: int,
) -> int:
    """Give way to a hub that holds another end of this school's logs; return the incarnation.

    ``contradictions`` are logs with the verdict and the last segment that both hold alike. What
    the hub does not hold is reissued, in a new incarnation when a present log is concerned.
    """
    incarnation = present
    if any(log.name.incarnation == present for log, _, _ in contradictions):
        incarnation = begin_incarnation(cursor, random_bytes)
    for log, verdict, agreed in contradictions:
        if verdict is not Verdict.AHEAD:
            give_way(cursor, keyring, log, agreed, incarnation, now_ms)
        elif log.name.incarnation == present:
            # These rows arose after what the hub holds of the log: they are none of its.
            reissue(cursor, log, incarnation, now_ms)
    return incarnation


def give_way(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    old: LogState,
    agreed: int,
    incarnation: int,
    now_ms: int,
) -> None:
    """Take back a former log's segments after ``agreed`` and reissue their rows."""
    _withdraw(cursor, keyring, old, min(agreed, old.stored))
    (withdrawn,) = read_logs(cursor, "WHERE id = ?", old.id)
    reissue(cursor, withdrawn, incarnation, now_ms)


def reissue_settled(
    cursor: sqlite3.Cursor, logs: Sequence[LogState], peer: int, incarnation: int, now_ms: int
) -> None:
    """Reissue what these former logs did not seal, if this peer holds no more of them."""
    receipts = read_receipts(cursor, peer)
    for log in logs:
        if log.id not in receipts or receipts[log.id].claimed <= log.stored:
            reissue(cursor, log, incarnation, now_ms)


def reissue(cursor: sqlite3.Cursor, old: LogState, incarnation: int, now_ms: int) -> None:
    """Move the rows of a former log that were not sealed to the present incarnation."""
    name = LogName(old.name.origin, incarnation, old.name.audience, old.name.lane)
    new_id = log_id_of(cursor, name)
    (last_row,) = cursor.execute("SELECT last_row FROM log WHERE id = ?", (new_id,)).fetchone()
    tables = [table for table in TABLES if table.lane is name.lane]
    if old.last_row > old.sealed_row:
        index_positions(cursor, tables)
    waiting = sorted(
        (row, table.number)
        for table in tables
        for row in rows_after(cursor, table, old, old.sealed_row)
    )
    for new_row, (row, number) in enumerate(waiting, start=last_row + 1):
        if not waits_apart(BY_NUMBER[number]):
            move_row(cursor, BY_NUMBER[number], old, row, (new_id, new_row))
    move_writes(
        cursor, old, new_id, {row: new for new, (row, _) in enumerate(waiting, last_row + 1)}
    )
    forget_waiting(cursor, old.id, old.last_row)
    if waiting:
        leave_in_table(cursor, new_id, last_row + len(waiting))
    cursor.execute(
        "UPDATE log SET last_row = ?, last_stamp = max(last_stamp, ?),"
        " unsealed_since_ms = coalesce(unsealed_since_ms, ?) WHERE id = ?",
        (last_row + len(waiting), old.last_stamp, now_ms, new_id),
    )
    cursor.execute(
        "UPDATE log SET last_row = sealed_row, unsealed_since_ms = NULL WHERE id = ?", (old.id,)
    )


def _withdraw(cursor: sqlite3.Cursor, keyring: Keyring, old: LogState, agreed: int) -> None:
    """Take back the segments of a former log after ``agreed``; their rows are unsealed again."""
    wires = cursor.execute(
        "SELECT wire FROM segment WHERE log = ? AND seq >= ? ORDER BY seq", (old.id, max(agreed, 1))
    ).fetchall()
    segments = [parse_segment(wire) for (wire,) in wires]
    head, sealed_row = FIRST_PREV, 0
    for segment in segments:
        if segment.header.seq == agreed:
            head, sealed_row = segment.header_digest, segment.header.last_row
        else:
            _restore_writes(cursor, keyring, old.id, segment)
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
    cursor: sqlite3.Cursor, keyring: Keyring, log_id: int, segment: Segment
) -> None:
    """Let the writes to tables with two writers that a withdrawn segment holds wait again."""
    log = segment.header.log
    if segment.is_hollow or log.lane is Lane.SNAPSHOT:
        return  # what a checkpoint covers is not taken back
    for place, body in enumerate(segment.header.bodies):
        group = GROUPS[body.group]
        if group is not Group.DISTRICT:
            continue
        key = keyring.key(cursor, (log.origin, log.audience, group), KeyId(body.key_id))
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
            restore_writes(cursor, log_id, Waiting(table, rows, decoded))


def rows_after(cursor: sqlite3.Cursor, table: Table, log: LogState, row: int) -> list[int]:
    """Return the numbers of a table's rows in a log of this node's that follow ``row``."""
    if waits_apart(table):
        waiting = unsealed_writes(cursor, log.id, table, row)
        return [number for batch in waiting for number in batch.rows]
    if table.kind is Kind.EVENT:
        found = cursor.execute(
            f"SELECT row FROM {table.name} WHERE school = ? AND log = ? AND row > ?",  # noqa: S608 - names are the schema's
            (event_school(log.name), log.id, row),
        )
    else:
        found = cursor.execute(
            f"SELECT row FROM {table.name} WHERE log = ? AND row > ?",  # noqa: S608 - names are the schema's
            (log.id, row),
        )
    return [number for (number,) in found]


def move_row(
    cursor: sqlite3.Cursor, table: Table, old: LogState, row: int, to: tuple[int, int]
) -> None:
    """Give a row that waits to be sealed another place: a log's number in the store, and a row."""
    if table.kind is Kind.EVENT:
        cursor.execute(
            f"UPDATE {table.name} SET log = ?, row = ? WHERE school = ? AND log = ? AND row = ?",  # noqa: S608 - names are the schema's
            (*to, event_school(old.name), old.id, row),
        )
    else:
        cursor.execute(
            f"UPDATE {table.name} SET log = ?, row = ? WHERE log = ? AND row = ?",  # noqa: S608 - names are the schema's
            (*to, old.id, row),
        )


def _remember(cursor: sqlite3.Cursor, name: str, value: object) -> None:
    cursor.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
