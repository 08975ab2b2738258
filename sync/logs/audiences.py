"""Whom a node's rows concern: their table says it, for a school or a lesson with the row itself."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import contains

from sync.schema.model import Audience, Table
from sync.tables.row_check import Row


def rows_by_audience(table: Table, rows: Sequence[Row], origin: int) -> Mapping[str, Sequence[Row]]:
    """Return rows that node ``origin`` writes by the audience of the log that they go into.

    A row of a school's table may name another school than the origin. At least one row.
    """
    is_one = table.audience is Audience.DISTRICT or (
        table.audience is Audience.SCHOOL and not any(map(contains, rows, repeat("school")))
    )
    if is_one:
        return {_audience_of(table.audience, rows[0], origin): rows}
    by_audience: dict[str, list[Row]] = {}
    for row in rows:
        by_audience.setdefault(_audience_of(table.audience, row, origin), []).append(row)
    return by_audience


def _audience_of(audience: Audience, row: Row, origin: int) -> str:
    match audience:
        case Audience.DISTRICT:
            return "d"
        case Audience.SCHOOL:
            return f"s{row.get('school', origin)!s}"
        case Audience.LESSON:
            return f"l{row['lesson']!s}"
