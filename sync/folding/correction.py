"""Moments of events written down by a wrong clock, put right by a later record of the same school.

A row of ``clock_correction`` names rows of one log of the school (incarnation, lane, first and
last row; the audience is that of the log it stands in) and how far their clock was behind. Every
node adds the sum of all corrections that name a row to its ``at_ms``: on folding the row, or when
the correction comes later. The sum does not depend on the order in which they come.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sync.logs.oplog import Row, event_school
from sync.schema import TABLES
from sync.schema.model import Kind, Lane, Table
from sync.segments.columnar import Value
from sync.segments.segment import Header, LogName

MOMENT = "at_ms"
OFFSET_MS_MAX = 2**46
"""No clock is further off: 2,229 years."""
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Correction:
    """Rows first to last of one log were written by a clock that was ``offset_ms`` behind."""

    first_row: int
    last_row: int
    offset_ms: int


def read_corrections(cursor: sqlite3.Cursor, name: LogName) -> tuple[Correction, ...]:
    """Return what a log's own origin said of its moments."""
    said = cursor.execute(
        "SELECT c.first_row, c.last_row, c.offset_ms FROM clock_correction c"
        " JOIN log l ON l.id = c.log WHERE c.school = ? AND l.origin = ? AND l.audience = ?"
        " AND c.incarnation = ? AND c.lane = ? AND c.offset_ms BETWEEN ? AND ?",
        (
            event_school(name),
            name.origin,
            name.audience,
            name.incarnation,
            name.lane,
            -OFFSET_MS_MAX,
            OFFSET_MS_MAX,
        ),
    ).fetchall()
    return tuple(Correction(*each) for each in said if None not in each)


def corrected_moments(
    corrections: Sequence[Correction], rows: Sequence[int], moments: Sequence[Value]
) -> list[Value]:
    """Return the moments of these rows as they count."""
    moved: list[Value] = []
    for row, moment in zip(rows, moments, strict=True):
        if isinstance(moment, int):
            total = moment + sum(
                each.offset_ms for each in corrections if each.first_row <= row <= each.last_row
            )
            # What no clock ever said is left alone.
            moved.append(total if total in _INT64 else moment)
        else:
            moved.append(moment)
    return moved


def apply_new(cursor: sqlite3.Cursor, log_id: int, header: Header) -> None:
    """Apply the corrections that a segment brought to rows that were folded before them."""
    name = header.log
    said = cursor.execute(
        "SELECT row, incarnation, lane, first_row, last_row, offset_ms FROM clock_correction"
        " WHERE school = ? AND log = ? AND row BETWEEN ? AND ?",
        (event_school(name), log_id, header.first_row, header.last_row),
    ).fetchall()
    for row, incarnation, lane, first_row, last_row, offset_ms in said:
        if None in {incarnation, lane, first_row, last_row, offset_ms}:
            continue
        if abs(offset_ms) > OFFSET_MS_MAX or lane not in {*Lane} or not incarnation > 0:
            continue
        corrected = LogName(name.origin, incarnation, name.audience, Lane(lane))
        correction = Correction(first_row, last_row, offset_ms)
        apply_once(cursor, (log_id, row), corrected, correction)


def apply_once(
    cursor: sqlite3.Cursor, position: tuple[int, int], name: LogName, correction: Correction
) -> None:
    """Move the moments of rows that stand here already, once for the correction at ``position``."""
    done = cursor.execute("INSERT OR IGNORE INTO correction_applied VALUES (?, ?)", position)
    if not done.rowcount:
        return
    found = cursor.execute(
        "SELECT id FROM log WHERE origin = ? AND incarnation = ? AND audience = ? AND lane = ?",
        (name.origin, name.incarnation, name.audience, name.lane),
    ).fetchone()
    if found is None:
        return
    for table in tables_with_moments(name.lane):
        cursor.execute(
            f"UPDATE {table.name} SET at_ms = at_ms + ?"  # noqa: S608 - names are the schema's
            " WHERE school = ? AND log = ? AND row BETWEEN ? AND ? AND at_ms BETWEEN ? AND ?",
            (
                correction.offset_ms,
                event_school(name),
                found[0],
                correction.first_row,
                correction.last_row,
                _INT64.start - min(correction.offset_ms, 0),
                _INT64.stop - 1 - max(correction.offset_ms, 0),
            ),
        )


def correction_row(
    name: LogName, correction: Correction, boot: str, source: str, at_ms: int
) -> Row:
    """Return the row that corrects a log of this node's; ``source`` is who told the time."""
    return {
        "at_ms": at_ms,
        "boot": boot,
        "incarnation": name.incarnation,
        "lane": int(name.lane),
        "first_row": correction.first_row,
        "last_row": correction.last_row,
        "offset_ms": correction.offset_ms,
        "source": source,
    }


def tables_with_moments(lane: Lane) -> list[Table]:
    return [
        table
        for table in TABLES
        if table.kind is Kind.EVENT and table.lane is lane and MOMENT in table.column_names
    ]
