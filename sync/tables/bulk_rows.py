"""Many rows through few statements: binding and stepping cost more than SQLite's own work.

Thirty-two rows a statement take half the time of ``executemany`` (measured with taps: 0.5 against
1.0 µs a row); more gain little and make statements that crowd the cache.
"""

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain

from sync.segments.columnar import Value

ROWS_A_STATEMENT = 32
_ROWS_A_STATEMENT = (ROWS_A_STATEMENT, 8, 1)
_TENTH = 10
_FILLING_ROWS_MIN = 200


def execute_rows(
    cursor: sqlite3.Cursor,
    statement: Callable[[int], str],
    shared: Sequence[Value],
    columns: Sequence[Sequence[Value]],
) -> int:
    """Run ``statement`` for all rows; return how many it changed.

    ``columns`` are of one length and at least one.

    ``statement(n)`` is the SQL for n rows; its parameters are ``shared``, which every row uses,
    then the cells of the n rows, row by row (:func:`value_marks`).
    """
    width = len(columns)
    cells = list(chain.from_iterable(zip(*columns, strict=True)))
    start = changed = 0
    for rows in _ROWS_A_STATEMENT:
        step = rows * width
        while len(cells) - start >= step:
            cursor.execute(statement(rows), (*shared, *cells[start : start + step]))
            changed += cursor.rowcount
            start += step
    return changed


def fill_pages(columns: Sequence[Sequence[Value]]) -> list[Sequence[Value]]:
    """Return the same rows with every tenth of them last.

    SQLite leaves an eighth of the pages free where rows are appended to a tree by key; the last
    ones find that room (measured with taps: 52 instead of 56 bytes a row).
    """
    if len(columns[0]) < _FILLING_ROWS_MIN:
        return [*columns]
    filled: list[Sequence[Value]] = []
    for values in columns:
        ordered = [*values]
        del ordered[_TENTH // 2 :: _TENTH]
        filled.append([*ordered, *values[_TENTH // 2 :: _TENTH]])
    return filled


def value_marks(row: Sequence[str], shared: int, width: int, rows: int) -> str:
    """Return ``(…), (…)`` for VALUES: ``row`` with each ``?`` numbered row by row.

    An entry of ``row`` is ``?`` for one of the ``width`` cells of the row, or SQL as it stands,
    such as ``?1`` for a parameter that all rows share; there are ``shared`` of these.
    """
    groups = []
    for start in range(shared + 1, shared + 1 + rows * width, width):
        numbers = iter(range(start, start + width))
        marks = (f"?{next(numbers)}" if mark == "?" else mark for mark in row)
        groups.append(f"({', '.join(marks)})")
    return ", ".join(groups)
