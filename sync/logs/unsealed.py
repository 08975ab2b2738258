"""Rows that wait to be sealed, read back by columns: the folded tables are the queue."""

import sqlite3
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from sync.logs.oplog import event_school
from sync.logs.pending_writes import DELETED_FIELD, HLC_FIELD, SCHOOL_FIELD, read_writes
from sync.schema import TABLES
from sync.schema.model import GROUPS, Group, Kind, Owner, Table
from sync.segments.body import TEXT_MAX, TableColumns, text_length
from sync.segments.columnar import Value, encode_column, encode_rising
from sync.segments.segment import LogName


@dataclass(frozen=True, slots=True)
class Batch:
    """Unsealed rows of one log, ready to be sealed: all of a run of row numbers that still stand.

    A state that was written again before it was sealed leaves its first number without a row.
    """

    tables: dict[Group, list[TableColumns]]
    counts: dict[int, int]  # table number -> rows
    first_row: int
    last_row: int
    first_stamp: int
    last_stamp: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One table's unsealed rows: their numbers, rising, and their columns by wire number."""

    table: Table
    rows: Sequence[int]
    columns: Mapping[int, Sequence[Value]]

    def until(self, last_row: int) -> "_Waiting":
        kept = bisect_right(self.rows, last_row)
        if kept == len(self.rows):
            return self
        columns = {number: values[:kept] for number, values in self.columns.items()}
        return _Waiting(self.table, self.rows[:kept], columns)


def collect(
    cursor: sqlite3.Cursor, log_id: int, name: LogName, rows_max: int, stamp: int
) -> Batch | None:
    """Return up to ``rows_max`` unsealed rows of a log, oldest first, or None.

    ``stamp`` is the clock's present stamp: the upper end of the batch's range.
    """
    (sealed_row, last_stamp) = cursor.execute(
        "SELECT sealed_row, last_stamp FROM log WHERE id = ?", (log_id,)
    ).fetchone()
    found = [
        waiting
        for table in TABLES
        if table.lane is name.lane
        for waiting in _unsealed(cursor, table, log_id, name, sealed_row, rows_max)
    ]
    if not found:
        return None
    numbers = sorted(chain.from_iterable(waiting.rows for waiting in found))
    last_row = _last_within_text(found, numbers[:rows_max])
    taken = [part for waiting in found if (part := waiting.until(last_row)).rows]
    grouped: dict[Group, list[TableColumns]] = {}
    for waiting in sorted(taken, key=lambda each: each.table.number):
        for group in GROUPS:
            columns = _columns_of(waiting, group)
            if columns is not None:
                grouped.setdefault(group, []).append(columns)
    stamps = [
        value
        for waiting in taken
        for value in waiting.columns.get(HLC_FIELD, ())
        if isinstance(value, int) and value
    ]
    return Batch(
        tables={group: grouped[group] for group in GROUPS if group in grouped},
        counts={
            waiting.table.number: len(waiting.rows)
            for waiting in sorted(taken, key=lambda each: each.table.number)
        },
        first_row=numbers[0],
        last_row=last_row,
        first_stamp=min(max(min(stamps, default=stamp), 1), stamp),
        last_stamp=max(stamp, last_stamp),
    )


def _unsealed(
    cursor: sqlite3.Cursor,
    table: Table,
    log_id: int,
    name: LogName,
    sealed_row: int,
    rows_max: int,
) -> list[_Waiting]:
    """Return one table's part, none if nothing waits there."""
    if table.kind is Kind.STATE and table.owner is Owner.BOTH:
        written = cursor.execute(
            "SELECT row, content FROM pending_write"
            " WHERE log = ? AND row > ? AND table_number = ? ORDER BY row LIMIT ?",
            (log_id, sealed_row, table.number, rows_max),
        ).fetchall()
        if not written:
            return []
        places, contents = zip(*written, strict=True)
        return [_Waiting(table, places, read_writes(table, contents))]
    numbers = [column.number for column in table.columns]
    selected = ", ".join(table.column_names)
    if table.kind is Kind.EVENT:
        rows = cursor.execute(
            f"SELECT row, {selected} FROM {table.name}"  # noqa: S608 - names are the schema's
            " WHERE school = ? AND log = ? AND row > ? ORDER BY row LIMIT ?",
            (event_school(name), log_id, sealed_row, rows_max),
        ).fetchall()
    else:
        numbers = [SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, *numbers]
        rows = cursor.execute(
            f"SELECT row, school, hlc, deleted, {selected} FROM {table.name}"  # noqa: S608 - names are the schema's
            " WHERE log = ? AND row > ? ORDER BY row LIMIT ?",
            (log_id, sealed_row, rows_max),
        ).fetchall()
    if not rows:
        return []
    places, *columns = zip(*rows, strict=True)
    return [_Waiting(table, places, dict(zip(numbers, columns, strict=True)))]


def _last_within_text(found: Sequence[_Waiting], numbers: Sequence[int]) -> int:
    """Return the last row of as many as a receiver expands; at least one."""
    texts = [
        (waiting.rows, waiting.columns[number])
        for waiting in found
        for number in waiting.columns
        if number >= 0 and waiting.table.holds_text(number)
    ]
    total = sum(text_length(values) for _, values in texts)
    if total <= TEXT_MAX // 2:
        return numbers[-1]
    lengths = dict.fromkeys(numbers, 0)
    for rows, values in texts:
        for row, value in zip(rows, values, strict=True):
            if row in lengths and isinstance(value, str | bytes):
                lengths[row] += len(value)
    fitting = bisect_right(list(accumulate(lengths.values())), TEXT_MAX // 2)
    return numbers[max(fitting, 1) - 1]


def _columns_of(waiting: _Waiting, group: Group) -> TableColumns | None:
    """Return one group's columns; groups but the primary one carry only rows with values."""
    table = waiting.table
    numbers = [column.number for column in table.columns if column.group is group]
    if not numbers:
        return None
    rows, columns = waiting.rows, waiting.columns
    if group is table.primary_group:
        numbers = [*sorted(number for number in columns if number < 0), *numbers]
    else:
        if all(columns[number].count(None) == len(rows) for number in numbers):
            return None
        cells = list(zip(*(columns[number] for number in numbers), strict=True))
        kept = [place for place, row in enumerate(cells) if row.count(None) < len(row)]
        rows = [rows[place] for place in kept]
        columns = {number: [columns[number][place] for place in kept] for number in numbers}
    encoded = [(number, encode_column(columns[number])) for number in numbers]
    return TableColumns(
        table=table.number,
        version=table.version,
        rows=len(rows),
        row_numbers=encode_rising(rows),
        columns=[entry for entry in encoded if entry[1] != [0, None, None]],
    )
