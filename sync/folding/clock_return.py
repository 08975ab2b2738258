"""How a node's own stamps come back from the future once all that were sent are clamped.

While a sealed segment of its own stands unclamped, a node goes on stamping behind it: a lower
stamp would lose against its own earlier writes. Then the rest, rows not sealed yet, gets new
stamps in their old order.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from sync.clock import AHEAD_MS_MAX, HybridClock, Stamp, stamp
from sync.folding.clamps import read_clamps
from sync.folding.refold import reclock
from sync.logs.log_state import LogState, read_logs
from sync.logs.oplog import HLC_FIELD, SCHOOL_FIELD
from sync.logs.pending_writes import fields_of
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import Kind, Owner, Table
from sync.segments.columnar import Value
from sync.segments.segment import parse_segment


def return_clock(cursor: sqlite3.Cursor, clock: HybridClock, origin: int) -> bool:
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
            _restamp(cursor, clock, log, limit)
            cursor.execute("UPDATE log SET last_stamp = ? WHERE id = ?", (clock.last, log.id))
    return True


def _sealed_end(cursor: sqlite3.Cursor, log: LogState, limit: int) -> int | None:
    """Return a stamp that no sealed row of a log exceeds, None while one is beyond ``limit``."""
    clamps = read_clamps(cursor, log.id, log.name)
    end = 0
    for seq in range(log.stored, 0, -1):
        found = cursor.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log.id, seq)
        ).fetchone()
        if found is None:
            continue
        header = parse_segment(found[0]).header
        end = max(end, clamps.last_stamp(header) if clamps else header.last_stamp)
        if end > limit:
            return None
        if header.last_stamp <= limit:
            break
    return end


def _restamp(cursor: sqlite3.Cursor, clock: HybridClock, log: LogState, limit: int) -> None:
    for table in TABLES:
        if table.lane is not log.name.lane or table.kind is not Kind.STATE:
            continue
        if table.owner is not Owner.BOTH:
            _restamp_states(cursor, clock, log, table, limit)
    waiting = cursor.execute(
        "SELECT row, table_number, content FROM pending_write"
        " WHERE log = ? AND row > ? ORDER BY row",
        (log.id, log.sealed_row),
    ).fetchall()
    for row, number, content in waiting:
        fields = fields_of(content)
        former = fields[HLC_FIELD]
        if not isinstance(former, int) or former <= limit:
            continue
        present = clock.tick()
        table = BY_NUMBER[number]
        key: list[Value] = [fields[SCHOOL_FIELD]]
        key += [fields[column.number] for column in table.columns if column.name in table.key]
        reclock(cursor, table, key, log.name.origin, {former: present})
        fields[HLC_FIELD] = present
        cursor.execute(
            "UPDATE pending_write SET content = ? WHERE log = ? AND row = ?",
            (msgspec.msgpack.encode(fields), log.id, row),
        )


def _restamp_states(
    cursor: sqlite3.Cursor, clock: HybridClock, log: LogState, table: Table, limit: int
) -> None:
    key = ("school", *table.key)
    rows: Sequence[tuple[Value, ...]] = cursor.execute(
        f"SELECT {', '.join(key)} FROM {table.name}"  # noqa: S608 - names are the schema's
        " WHERE log = ? AND row > ? AND hlc > ? ORDER BY row",
        (log.id, log.sealed_row, limit),
    ).fetchall()
    where = " AND ".join(f"{name} = ?" for name in key)
    cursor.executemany(
        f"UPDATE {table.name} SET hlc = ? WHERE {where}",  # noqa: S608 - names are the schema's
        [(clock.tick(), *row) for row in rows],
    )
