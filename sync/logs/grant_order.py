"""In a control log grants go ahead of the rows that their keys seal.

A key is made when something is sealed under it, and its grants are written then: behind rows that
wait already. Who holds the log up to one of its segments must hold the grants of what is in it,
for its origin may be lost at any moment.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Collection

from sync.logs.incarnation import move_row, rows_after
from sync.logs.log_state import LogState
from sync.logs.oplog import event_school
from sync.schema import BY_NAME, BY_NUMBER, TABLES
from sync.schema.model import Lane

GRANT = BY_NAME["key_grant"].number


def are_grants_waiting(cursor: sqlite3.Cursor, log: LogState, after_row: int) -> bool:
    """Tell whether grants wait to be sealed in a control log behind ``after_row``."""
    found = cursor.execute(
        "SELECT 1 FROM key_grant WHERE school = ? AND log = ? AND row > ? LIMIT 1",
        (event_school(log.name), log.id, after_row),
    ).fetchone()
    return found is not None


def let_grants_lead(cursor: sqlite3.Cursor, log: LogState) -> int:
    """Give the other rows that wait in a control log numbers behind those of the grants.

    Return how many grants wait. Nothing names a row by its number before it is sealed but what
    tells by which clock it was written.
    """
    waiting = sorted(
        (row, table.number)
        for table in TABLES
        if table.lane is Lane.CONTROL and table.number != GRANT
        for row in rows_after(cursor, table, log, log.sealed_row)
    )
    (last_row,) = cursor.execute("SELECT last_row FROM log WHERE id = ?", (log.id,)).fetchone()
    for number, (row, table_number) in enumerate(waiting, start=last_row + 1):
        move_row(cursor, BY_NUMBER[table_number], log, row, (log.id, number))
    cursor.execute("UPDATE log SET last_row = last_row + ? WHERE id = ?", (len(waiting), log.id))
    _follow(cursor, log, [row for row, _ in waiting], last_row)
    return len(rows_after(cursor, BY_NUMBER[GRANT], log, log.sealed_row))


def _follow(cursor: sqlite3.Cursor, log: LogState, moved: list[int], behind: int) -> None:
    """Let the spans of this box's clocks end behind the same rows as before."""
    spans = cursor.execute(
        "SELECT span, last_row FROM clock_span_log WHERE log = ? AND last_row >= ?",
        (log.id, min(moved)),
    ).fetchall()
    cursor.executemany(
        "UPDATE clock_span_log SET last_row = ? WHERE span = ? AND log = ?",
        [(behind + bisect_right(moved, ended), span, log.id) for span, ended in spans],
    )


def last_grant(cursor: sqlite3.Cursor, log_id: int, names: Collection[bytes]) -> int:
    """Return the last row of a control log in which one of these keys was granted at first.

    These grants are written together when the key is made, to all who may read it then; later
    ones let others read what is sealed already. 0 when none of the keys is granted there.
    """
    last = 0
    for name in names:
        rows = cursor.execute(
            "SELECT row FROM key_grant WHERE key_id = ? AND log = ? ORDER BY row", (name, log_id)
        ).fetchall()
        first = rows[0][0] if rows else 0
        together = (row for place, (row,) in enumerate(rows) if row == first + place)
        last = max(last, *together, 0)
    return last
