"""Events wait to be sealed as they were recorded: a batch of encoded columns beside their table.

Reading rows back in the order of their log would need an index by position that every row pays for,
and a search in two trees for each. A batch that fills a segment is sealed as it stands; others are
put together. Where a store does not have the batches (its events were moved to another log, or an
earlier version recorded them), an entry without content says that they are to be read back.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import msgspec

from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import GROUPS, Group, Table
from sync.segments.body import TableColumns
from sync.segments.columnar import Value, decode_column, encode_column, encode_rising

BATCH_ROWS_MAX = 1000
_PACKED_ROWS_MIN = 64
"""Packing columns of a few rows takes longer than recording them; they are packed when sealed."""
_CONSTANT, _PLAIN = 0, 6  # of sync.segments.columnar
_ABSENT: list[object] = [_CONSTANT, None, None]

_GROUPS_OF = {
    table.number: tuple(group for group in GROUPS if any(c.group is group for c in table.columns))
    for table in TABLES
}
_KNOWN = ", ".join(str(number) for number in (0, *BY_NUMBER))
# A version that was put back does not know all tables of the one before it.
_IS_READ = f"log = ? AND last_row > ? AND table_number IN ({_KNOWN})"

_decoder = msgspec.msgpack.Decoder(list[tuple[Group, TableColumns]])


@dataclass(frozen=True, slots=True)
class Waiting:
    """One table's unsealed rows: their numbers, rising, and their columns by wire number."""

    table: Table
    rows: Sequence[int]
    columns: Mapping[int, Sequence[Value]]

    @property
    def first_row(self) -> int:
        return self.rows[0]

    def after(self, row: int) -> "Waiting":
        return self.part(bisect_right(self.rows, row), len(self.rows))

    def until(self, row: int) -> "Waiting":
        return self.part(0, bisect_right(self.rows, row))

    def part(self, start: int, end: int) -> "Waiting":
        if start == 0 and end >= len(self.rows):
            return self
        columns = {number: values[start:end] for number, values in self.columns.items()}
        return Waiting(self.table, self.rows[start:end], columns)

    def at(self, places: Sequence[int]) -> "Waiting":
        if len(places) == len(self.rows):
            return self
        columns = {
            number: [values[place] for place in places] for number, values in self.columns.items()
        }
        return Waiting(self.table, [self.rows[place] for place in places], columns)


@dataclass(frozen=True, slots=True)
class WaitingBatch:
    """Events of one table that were recorded together, encoded as a segment carries them."""

    table: Table
    first_row: int
    last_row: int
    count: int
    text_max: int
    """No more characters and bytes than this are in its cells."""
    groups: Mapping[Group, TableColumns]
    is_packed: bool = True
    """Its columns are as small as a segment's; those of a few rows stand as they are."""

    def decoded(self) -> Waiting:
        columns: dict[int, Sequence[Value]] = {}
        rows: Sequence[int] = range(self.first_row, self.last_row + 1)
        if len(rows) != self.count:
            rows = _numbers(self.groups[self.table.primary_group])
        for part in self.groups.values():
            for number, encoded in part.columns:
                values = _values(encoded, part.rows)
                if part.rows < self.count:  # a further group has only rows with something in it
                    by_row = dict(zip(_numbers(part), values, strict=True))
                    values = [by_row.get(row) for row in rows]
                columns[number] = values
        nothing: list[Value] = [None] * self.count
        for column in self.table.columns:
            columns.setdefault(column.number, nothing)
        return Waiting(self.table, rows, columns)


@dataclass(frozen=True, slots=True)
class LeftInTable:
    """Events up to a row that are to be read back from their tables."""

    last_row: int


def keep_waiting(
    cursor: sqlite3.Cursor,
    log_id: int,
    table: Table,
    rows: Sequence[int],
    columns: Mapping[str, Sequence[Value]],
    text_max: int,
) -> None:
    """Let events wait that were recorded just now; ``text_max`` bounds the text of one row."""
    for start in range(0, len(rows), BATCH_ROWS_MAX):
        part = slice(start, start + BATCH_ROWS_MAX)
        waiting = Waiting(
            table,
            rows[part],
            {
                column.number: columns[column.name][part]
                for column in table.columns
                if column.name in columns
            },
        )
        count = len(waiting.rows)
        encode = encode_column if count >= _PACKED_ROWS_MIN else _plain
        content = [
            (group, columns_of_group)
            for group in _GROUPS_OF[table.number]
            if (columns_of_group := encode_group(waiting, group, encode))
        ]
        cursor.execute(
            "INSERT INTO waiting_batch VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                log_id,
                waiting.rows[-1],
                waiting.rows[0],
                count,
                text_max * count,
                table.number,
                msgspec.msgpack.encode(content),
            ),
        )


def leave_in_table(cursor: sqlite3.Cursor, log_id: int, last_row: int) -> None:
    """Say that a log's events up to a row, but for those in batches before it, have no batch."""
    cursor.execute(
        "INSERT OR REPLACE INTO waiting_batch VALUES (?, ?, 0, 0, 0, 0, x'')", (log_id, last_row)
    )


def read_waiting(
    cursor: sqlite3.Cursor, log_id: int, after_row: int, rows_max: int
) -> list[WaitingBatch | LeftInTable]:
    """Return a log's oldest entries with rows above ``after_row``, until they hold ``rows_max``.

    The first may begin at or below ``after_row``: some of it was sealed already.
    """
    entries = cursor.execute(
        f"SELECT last_row, first_row, count FROM waiting_batch WHERE {_IS_READ}"  # noqa: S608 - numbers of tables
        " ORDER BY last_row LIMIT ?",
        (log_id, after_row, rows_max),
    ).fetchall()
    if not entries:
        return []
    end, total = after_row, 0
    for last_row, first_row, count in entries:
        end = last_row
        total += count - max(0, after_row - first_row + 1)
        if total >= rows_max or not count:
            break
    found = cursor.execute(
        "SELECT last_row, first_row, count, text_max, table_number, content FROM waiting_batch"  # noqa: S608 - numbers of tables
        f" WHERE {_IS_READ} AND last_row <= ? ORDER BY last_row",
        (log_id, after_row, end),
    ).fetchall()
    return [
        WaitingBatch(
            table=BY_NUMBER[number],
            first_row=first_row,
            last_row=last_row,
            count=count,
            text_max=text_max,
            groups=dict(_decoder.decode(content)),
            is_packed=count >= _PACKED_ROWS_MIN,
        )
        if count
        else LeftInTable(last_row)
        for last_row, first_row, count, text_max, number, content in found
    ]


def forget_waiting(cursor: sqlite3.Cursor, log_id: int, last_row: int) -> None:
    """Drop what ends at or below a row: it is sealed."""
    cursor.execute("DELETE FROM waiting_batch WHERE log = ? AND last_row <= ?", (log_id, last_row))


def joined(parts: Sequence[Waiting]) -> Waiting:
    """Return parts of one table, in the order of their rows, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Waiting(
        first.table,
        list(chain.from_iterable(part.rows for part in parts)),
        {
            number: list(chain.from_iterable(part.columns[number] for part in parts))
            for number in first.columns
        },
    )


def encode_group(
    waiting: Waiting,
    group: Group,
    encode: Callable[[Sequence[Value]], list[object]] = encode_column,
) -> TableColumns | None:
    """Return one group's columns; groups but the primary one carry only rows with values."""
    table, rows, columns = waiting.table, waiting.rows, waiting.columns
    numbers = [
        column.number
        for column in table.columns
        if column.group is group and column.number in columns
    ]
    if group is table.primary_group:
        numbers = [*sorted(number for number in columns if number < 0), *numbers]
    elif all(columns[number].count(None) == len(rows) for number in numbers):
        return None
    else:
        cells = list(zip(*(columns[number] for number in numbers), strict=True))
        kept = [place for place, row in enumerate(cells) if row.count(None) < len(row)]
        rows = [rows[place] for place in kept]
        columns = {number: [columns[number][place] for place in kept] for number in numbers}
    encoded = [(number, encode(columns[number])) for number in numbers]
    return TableColumns(
        table=table.number,
        version=table.version,
        rows=len(rows),
        row_numbers=encode_rising(rows),
        columns=[entry for entry in encoded if entry[1] != _ABSENT],
    )


def _numbers(part: TableColumns) -> list[int]:
    # Written by keep_waiting, from row numbers.
    return cast("list[int]", _values(part.row_numbers, part.rows))


def _plain(values: Sequence[Value]) -> list[object]:
    return [_PLAIN, None, [*values]]


def _values(encoded: list[object], rows: int) -> list[Value]:
    if encoded[0] == _PLAIN and encoded[1] is None:
        return cast("list[Value]", encoded[2])
    return decode_column(encoded, rows)
