"""Incarnations: a node whose store was restored goes on in new logs and loses no row.

What a restored node sealed before is what its peers hold, or they hold more of it: nothing is
appended to logs of a former incarnation. Their missing ends come back from the peers. Rows that
were not sealed, or that no peer acknowledged before another head was found, wait for that: those
that the peers hold under the same numbers stay. A store that went back twice wrote the same rows
into one log and another: events that came back with any log of the same audience and lane are not
written again. The others are reissued, moved to the end of the log of that audience and lane in the
present incarnation.
"""

import sqlite3
from collections.abc import Collection, Sequence

from sync.logs.log_state import LogState, log_id_of
from sync.logs.oplog import event_school
from sync.logs.pending_writes import (
    forget_writes,
    move_writes,
    unsealed_writes,
    waits_apart,
)
from sync.logs.waiting_batches import forget_waiting, leave_in_table
from sync.schema import BY_NAME, BY_NUMBER, TABLES
from sync.schema.model import Kind, Table
from sync.segments.sealing import RandomBytes
from sync.segments.segment import LogName
from sync.tables.definition import index_positions

ROW_MAX = 2**63 - 1
_CORRECTION = BY_NAME["clock_correction"].number
_TOLD_APART = frozenset({_CORRECTION, BY_NAME["key_grant"].number})
"""Events that other tables speak of by their place."""


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


def read_incarnation(cursor: sqlite3.Cursor) -> int | None:
    """Return the store's present incarnation, None if it was never opened; raises sqlite3.Error."""
    # To its end: a statement under way would hold on to what the store was.
    found = cursor.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchall()
    return int(found[0][0]) if found else None


def begin_incarnation(cursor: sqlite3.Cursor, random_bytes: RandomBytes) -> int:
    fresh = int.from_bytes(random_bytes(8), "big") >> 1 or 1
    _remember(cursor, "incarnation", fresh)
    return fresh


def reissue_settled(
    cursor: sqlite3.Cursor, logs: Sequence[LogState], peer: int, incarnation: int, now_ms: int
) -> list[LogState]:
    """Reissue what these former logs did not seal, where this peer's ends have all come.

    What it holds more, of any former log of the same audience and lane, comes back first, and shows
    which of these rows it has. Return whose moved.
    """
    unsettled = read_unsettled(cursor, logs, peer)
    settled = [log for log in logs if log not in unsettled]
    repeated: set[tuple[int, int]] = set()
    for log in settled:
        _drop_what_came(cursor, log, repeated)
        reissue(cursor, log, incarnation, now_ms)
    return settled


def read_unsettled(cursor: sqlite3.Cursor, logs: Sequence[LogState], peer: int) -> list[LogState]:
    """Return which of these logs wait for what a peer holds, or for a snapshot under way."""
    awaited: dict[int, set[tuple[str, int]]] = {}
    for origin in {log.name.origin for log in logs}:
        found = cursor.execute(
            "SELECT audience, lane FROM log WHERE origin = ?1 AND ("
            " stored < (SELECT claimed FROM peer_cursor WHERE peer = ?2 AND log = id) OR ("
            "  applied < stored AND EXISTS (SELECT 1 FROM segment WHERE log = id"
            "   AND seq = applied + 1 AND substr(wire, 1, 4) <> CAST('SNS1' AS BLOB))))",
            (origin, peer),
        )
        awaited[origin] = {(audience, lane) for audience, lane in found}
    return [log for log in logs if (log.name.audience, log.name.lane) in awaited[log.name.origin]]


def _drop_what_came(cursor: sqlite3.Cursor, log: LogState, repeated: set[tuple[int, int]]) -> None:
    """Drop events that wait in a former log and came back, sealed, with one of its origin.

    Each of those in ``repeated``, by log and row, stands for one already. What has a device key is
    known by that.
    """
    school = event_school(log.name)
    for table in TABLES:
        is_plain = table.kind is Kind.EVENT and table.number not in _TOLD_APART
        if table.lane is not log.name.lane or not is_plain:
            continue
        names = table.column_names
        same = " AND ".join(f"t.{name} IS ?" for name in names)
        waiting = cursor.execute(
            f"SELECT row, {', '.join(names)} FROM {table.name}"  # noqa: S608 - names are the schema's
            " WHERE school = ? AND log = ? AND row > ?"
            + (f" AND {table.dedupe} IS NULL" if table.dedupe else ""),
            (school, log.id, log.sealed_row),
        ).fetchall()
        for row, *cells in waiting:
            alike = cursor.execute(
                f"SELECT t.log, t.row FROM {table.name} t JOIN log l ON l.id = t.log"  # noqa: S608 - names are the schema's
                f" WHERE t.school = ? AND {same} AND l.origin = ? AND t.row <= l.sealed_row",
                (school, *cells, log.name.origin),
            ).fetchall()
            place = next((place for place in sorted(alike) if place not in repeated), None)
            if place is not None:
                repeated.add(place)
                cursor.execute(
                    f"DELETE FROM {table.name} WHERE school = ? AND log = ? AND row = ?",  # noqa: S608 - names are the schema's
                    (school, log.id, row),
                )


def reissue(
    cursor: sqlite3.Cursor,
    old: LogState,
    incarnation: int,
    now_ms: int,
    *,
    kept: Collection[int] = (),
    last_row: int = ROW_MAX,
) -> None:
    """Move unsealed rows of a former log to the present incarnation, up to ``last_row``.

    Not the ``kept`` ones, which are sealed there in a moment, as all up to ``last_row`` are then.
    What lost against them may win now: see :mod:`sync.intake.repetitions`.
    """
    name = LogName(old.name.origin, incarnation, old.name.audience, old.name.lane)
    new_id = log_id_of(cursor, name)
    (end,) = cursor.execute("SELECT last_row FROM log WHERE id = ?", (new_id,)).fetchone()
    tables = [table for table in TABLES if table.lane is name.lane]
    if old.last_row > old.sealed_row:
        index_positions(cursor, tables)
    waiting = sorted(
        (row, table.number)
        for table in tables
        for row in rows_after(cursor, table, old, old.sealed_row, last_row)
        if row not in kept
    )
    for new_row, (row, number) in enumerate(waiting, start=end + 1):
        if not waits_apart(BY_NUMBER[number]):
            move_row(cursor, BY_NUMBER[number], old, row, (new_id, new_row))
    move_writes(cursor, old, new_id, {row: new for new, (row, _) in enumerate(waiting, end + 1)})
    if waiting:
        leave_in_table(cursor, new_id, end + len(waiting))
    cursor.execute(
        "UPDATE log SET last_row = ?, last_stamp = max(last_stamp, ?),"
        " unsealed_since_ms = coalesce(unsealed_since_ms, ?) WHERE id = ?",
        (end + len(waiting), old.last_stamp, now_ms, new_id),
    )
    if last_row < old.last_row:
        return
    forget_writes(cursor, old.id, old.last_row)
    forget_waiting(cursor, old.id, old.last_row)
    cursor.execute(
        "UPDATE log SET last_row = sealed_row, unsealed_since_ms = NULL WHERE id = ?", (old.id,)
    )


def rows_after(
    cursor: sqlite3.Cursor, table: Table, log: LogState, row: int, last_row: int = ROW_MAX
) -> list[int]:
    """Return the numbers of a table's rows in a log of this node's that follow ``row``."""
    if waits_apart(table):
        waiting = unsealed_writes(cursor, log.id, table, row)
        return [number for batch in waiting for number in batch.rows if number <= last_row]
    if table.kind is Kind.EVENT:
        found = cursor.execute(
            f"SELECT row FROM {table.name} WHERE school = ? AND log = ? AND row > ? AND row <= ?",  # noqa: S608 - names are the schema's
            (event_school(log.name), log.id, row, last_row),
        )
    else:
        found = cursor.execute(
            f"SELECT row FROM {table.name} WHERE log = ? AND row > ? AND row <= ?",  # noqa: S608 - names are the schema's
            (log.id, row, last_row),
        )
    return [number for (number,) in found]


def move_row(
    cursor: sqlite3.Cursor, table: Table, old: LogState, row: int, to: tuple[int, int]
) -> None:
    """Give a row that waits to be sealed another place: a log's number in the store, and a row.

    What a correction has moved here already it does not move again under its other number.
    """
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
    if table.number == _CORRECTION:
        cursor.execute(
            "UPDATE correction_applied SET log = ?, row = ? WHERE log = ? AND row = ?",
            (*to, old.id, row),
        )


def _remember(cursor: sqlite3.Cursor, name: str, value: object) -> None:
    cursor.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
