"""A node's unsealed writes to tables with two writers: their rows hold the merge, not the write.

The content of a write is a msgpack array ``[present, school, HLC stamp, deleted, cell…]``, a cell
for each column in the bit set ``present``, by number. Stores of the first version hold maps of
field numbers; both are read.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import repeat
from typing import cast

import msgspec

from sync.logs.bulk_rows import execute_rows, value_marks
from sync.schema.model import Table
from sync.segments.columnar import Value

Fields = dict[int, Value]
"""One row by wire numbers: its columns and its own fields."""

SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, PRESENT_FIELD = -1, -2, -3, -4
"""Wire numbers of a row's own fields beside its columns; all travel in the primary group.

PRESENT_FIELD, in tables with two writers, is a bit set of the column numbers that the write
names; bit 0 stands for the tombstone.
"""
_OWN_FIELDS = (SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD)
_NUMBERS = range(1, 63)
_Content = list[object] | dict[int, object]
_decoder = msgspec.msgpack.Decoder(list[_Content])


def store_writes(
    cursor: sqlite3.Cursor,
    position: tuple[int, Table],
    rows: Sequence[int],
    present: int,
    columns: Sequence[Sequence[Value]],
) -> None:
    """Let writes of one log to one table wait; all name the same columns.

    ``columns`` are those of _OWN_FIELDS, then one for each in ``present``, by number.
    """
    cells = zip(repeat(present), *columns)
    _insert(cursor, position, rows, cells)


def restore_writes(
    cursor: sqlite3.Cursor,
    position: tuple[int, Table],
    rows: Sequence[int],
    fields: Sequence[Fields],
) -> None:
    """Let writes that were sealed wait again, under their row numbers in the log."""
    cells = []
    for each in fields:
        present = each[PRESENT_FIELD]
        assert isinstance(present, int), "what this node sealed"
        numbers = (*_OWN_FIELDS, *_numbers_in(present))
        cells.append((present, *(each.get(number) for number in numbers)))
    _insert(cursor, position, rows, cells)


def read_writes(table: Table, contents: Sequence[bytes]) -> dict[int, Sequence[Value]]:
    """Return the waiting writes by columns, the own fields and all columns of the table."""
    length = len(contents).to_bytes(4, "big")
    # One array of all: a call a row costs more than its decoding.
    decoded = _decoder.decode(b"\xdd" + length + b"".join(contents))
    lists = [content for content in decoded if isinstance(content, list)]
    numbers = [column.number for column in table.columns]
    if len(lists) == len(decoded) and len({content[0] for content in lists}) == 1:
        present = cast("int", lists[0][0])
        named = (PRESENT_FIELD, *_OWN_FIELDS, *_numbers_in(present))
        # msgspec cannot name a union of texts and bytes; store_writes wrote nothing else.
        given = cast(
            "Mapping[int, Sequence[Value]]",
            dict(zip(named, zip(*lists, strict=True), strict=True)),
        )
    else:
        fields = list(map(_fields, decoded))
        named = (PRESENT_FIELD, *_OWN_FIELDS, *numbers)
        given = {number: [each.get(number) for each in fields] for number in named}
    nothing: list[Value] = [None] * len(contents)
    return {
        number: given.get(number, nothing) for number in (PRESENT_FIELD, *_OWN_FIELDS, *numbers)
    }


def fields_of(content: bytes) -> Fields:
    """Return one waiting write."""
    return _fields(msgspec.msgpack.decode(content, type=_Content))


def _fields(content: _Content) -> Fields:
    if isinstance(content, dict):
        return cast("Fields", content)
    present, *cells = cast("list[Value]", content)
    assert isinstance(present, int), "what this node wrote"
    numbers = (*_OWN_FIELDS, *_numbers_in(present))
    return {PRESENT_FIELD: present, **dict(zip(numbers, cells, strict=True))}


def _numbers_in(present: int) -> tuple[int, ...]:
    return tuple(number for number in _NUMBERS if present >> number & 1)


def _insert(
    cursor: sqlite3.Cursor,
    position: tuple[int, Table],
    rows: Sequence[int],
    cells: Iterable[Sequence[Value]],
) -> None:
    log_id, table = position
    contents = list(map(msgspec.msgpack.encode, cells))
    execute_rows(cursor, _insert_sql, (log_id, table.number), [rows, contents])


@cache
def _insert_sql(rows: int) -> str:
    """Parameters are log and table number, then row and content of each of ``rows``."""
    values = value_marks(("?1", "?", "?2", "?"), 2, 2, rows)
    return f"INSERT INTO pending_write (log, row, table_number, content) VALUES {values}"  # noqa: S608 - marks only
