"""How a node's own stamps follow what the hub said of those that it sent: clamps.

They come back from the future once all that were sent are clamped. While a sealed segment of its
own stands unclamped, a node goes on stamping behind it: a lower stamp would lose against its own
earlier writes. Then the rest, rows not sealed yet, gets new stamps in their old order; what the
hub wrote in between, and lost against them, has its turn.

And they rise above clamped ones, behind which nothing of that log counts (``Clamps.floor``): a
node whose stamps stood still in the future meanwhile may be below.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from sync.clock import AHEAD_MS_MAX, HybridClock, Stamp, stamp
from sync.folding.clamps import read_clamps
from sync.folding.refold import DECISIONS, Refold, reclock
from sync.keys.recipients import follow_stamps
from sync.logs.log_state import LogState, read_logs
from sync.logs.oplog import DELETED_FIELD, HLC_FIELD, PRESENT_FIELD, SCHOOL_FIELD
from sync.logs.pending_writes import (
    forget_writes,
    store_writes,
    unsealed_writes,
    waits_apart,
)
from sync.logs.stored_segments import read_segment
from sync.logs.waiting_batches import Waiting
from sync.schema import TABLES
from sync.schema.model import Kind, Owner, Table
from sync.segments.columnar import Value
from sync.tables.merge import Clock, Write, merge_columns
from sync.tables.merged_rows import Key, read_version, write_version

_NEVER = 2**63 - 1


def return_clock(cursor: sqlite3.Cursor, refold: Refold, clock: HybridClock, origin: int) -> bool:
    """Let the clock come back if it is ahead and may; return whether it did."""
    limit = stamp(clock.present_ms() + AHEAD_MS_MAX)
    if clock.last <= limit:
        return False
    own = read_logs(cursor, "WHERE origin = ?", origin)
    ends = {log.id: _sealed_end(cursor, log, limit) for log in own}
    if any(end is None for end in ends.values()):
        return False
    (seen,) = cursor.execute(
        "SELECT coalesce(max(last_stamp), 0) FROM log WHERE origin <> ?", (origin,)
    ).fetchone()
    latest = max([seen, *(end for end in ends.values() if end is not None)])
    if latest > limit:
        return False
    cursor.executemany(
        "UPDATE log SET last_stamp = min(last_stamp, ?) WHERE id = ?",
        [(end, log_id) for log_id, end in ends.items()],
    )
    clock.come_back(Stamp(latest))
    for log in own:
        if log.last_row > log.sealed_row:
            moved = _restamp(cursor, clock, log, limit)
            cursor.execute("UPDATE log SET last_stamp = ? WHERE id = ?", (clock.last, log.id))
            if moved:
                # The hub's clock may be so far ahead of this one that ``seen`` leaves it out.
                low, high = min(moved.values()), max(moved)
                refold.let_rivals_win(log, low, high)
    return True


def rise_above_clamps(cursor: sqlite3.Cursor, clock: HybridClock, origin: int) -> None:
    """Let the clock, and rows that wait, go on above what own clamped segments come to."""
    own = read_logs(cursor, "WHERE origin = ?", origin)
    clamped = {log.id: clamps for log in own if (clamps := read_clamps(cursor, log.id, log.name))}
    ends = {log.id: clamped[log.id].reached(log.stored) for log in own if log.id in clamped}
    reached = max(ends.values(), default=0)
    if not reached:
        return
    clock.resume(Stamp(reached))
    cursor.executemany(
        "UPDATE log SET last_stamp = max(last_stamp, ?) WHERE id = ?",
        [(end, log_id) for log_id, end in ends.items()],
    )
    for log in own:
        if log.last_row > log.sealed_row and _first_stamp(cursor, log) <= reached:
            _restamp(cursor, clock, log, 0)
            cursor.execute("UPDATE log SET last_stamp = ? WHERE id = ?", (clock.last, log.id))


def _first_stamp(cursor: sqlite3.Cursor, log: LogState) -> int:
    """Return the least stamp that waits to be sealed; of none, that of the end of time."""
    found = [_NEVER]
    for table in TABLES:
        if table.lane is not log.name.lane or table.kind is not Kind.STATE:
            continue
        if waits_apart(table):
            for batch in unsealed_writes(cursor, log.id, table, log.sealed_row):
                found += [each for each in batch.columns[HLC_FIELD] if isinstance(each, int)]
        else:
            (least,) = cursor.execute(
                f"SELECT coalesce(min(hlc), ?) FROM {table.name} WHERE log = ? AND row > ?",  # noqa: S608 - names are the schema's
                (_NEVER, log.id, log.sealed_row),
            ).fetchone()
            found.append(least)
    return min(found)


def _sealed_end(cursor: sqlite3.Cursor, log: LogState, limit: int) -> int | None:
    """Return a stamp that no sealed row of a log exceeds, None while one is beyond ``limit``."""
    clamps = read_clamps(cursor, log.id, log.name)
    end = 0
    for seq in range(log.stored, 0, -1):
        segment = read_segment(cursor, log.id, seq)
        if segment is None:
            continue
        header = segment.header
        end = max(end, clamps.last_stamp(header) if clamps else header.last_stamp)
        if end > limit:
            return None
        if header.last_stamp <= limit:
            break
    return end


def _restamp(
    cursor: sqlite3.Cursor, clock: HybridClock, log: LogState, limit: int
) -> dict[int, int]:
    """Give rows that wait beyond ``limit`` stamps of now.

    Return the former and the new stamps of writes to tables with two writers.
    """
    for table in TABLES:
        if table.lane is not log.name.lane or table.kind is not Kind.STATE:
            continue
        if table.owner is not Owner.BOTH:
            _restamp_states(cursor, clock, log, table, limit)
    moved: dict[int, int] = {}
    for table in filter(waits_apart, TABLES):
        moved |= _restamp_writes(cursor, clock, log, table, limit)
    return moved


def _restamp_writes(
    cursor: sqlite3.Cursor, clock: HybridClock, log: LogState, table: Table, limit: int
) -> dict[int, int]:
    """Give writes that wait stamps of now, and let them win by these in their rows."""
    waiting = unsealed_writes(cursor, log.id, table, log.sealed_row)
    moved: dict[int, int] = {}
    if not waiting:
        return moved
    forget_writes(cursor, log.id, log.last_row)
    for batch in waiting:
        stamps = [*batch.columns[HLC_FIELD]]
        keys = waiting_keys(batch)
        for place, (key, former) in enumerate(zip(keys, batch.columns[HLC_FIELD], strict=True)):
            if isinstance(former, int) and former > limit:
                stamps[place] = moved[former] = present = clock.tick()
                reclock(cursor, table, key, log.name.origin, {former: present})
                write = waiting_write(batch, place, (present, log.name.origin))
                merged = merge_columns(table, read_version(cursor, table, key), write)
                write_version(cursor, table, key, merged, (log.id, batch.rows[place]))
        store_writes(cursor, log.id, replace(batch, columns={**batch.columns, HLC_FIELD: stamps}))
    return moved


def waiting_keys(batch: Waiting) -> list[Key]:
    """Return the key of each write that waits: school, and the key columns."""
    own = [column.number for column in batch.table.columns if column.name in batch.table.key]
    columns = (batch.columns[number] for number in (SCHOOL_FIELD, *own))
    return list(zip(*columns, strict=True))


def waiting_write(batch: Waiting, place: int, clock: Clock) -> Write:
    """Return one of the writes that wait, as of another moment."""
    present = cast("int", batch.columns[PRESENT_FIELD][place])
    values = {
        column.name: batch.columns[column.number][place]
        for column in batch.table.columns
        if present >> column.number & 1 and column.name not in batch.table.key
    }
    gone = bool(batch.columns[DELETED_FIELD][place]) if present & 1 else None
    return Write(clock=clock, values=values, deleted=gone)


def _restamp_states(
    cursor: sqlite3.Cursor, clock: HybridClock, log: LogState, table: Table, limit: int
) -> None:
    key = ("school", *table.key)
    rows: Sequence[tuple[int, *tuple[Value, ...]]] = cursor.execute(
        f"SELECT hlc, {', '.join(key)} FROM {table.name}"  # noqa: S608 - names are the schema's
        " WHERE log = ? AND row > ? AND hlc > ? ORDER BY row",
        (log.id, log.sealed_row, limit),
    ).fetchall()
    moved = {former: clock.tick() for former, *_ in rows}
    where = " AND ".join(f"{name} = ?" for name in key)
    cursor.executemany(
        f"UPDATE {table.name} SET hlc = ? WHERE {where}",  # noqa: S608 - names are the schema's
        [(moved[former], *keys) for former, *keys in rows],
    )
    if table.number == DECISIONS:
        follow_stamps(cursor, moved)
