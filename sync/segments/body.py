"""What one group holds of a segment: rows of tables as columns, before zstd and sealing."""

from collections.abc import Collection, Iterable
from itertools import pairwise

import msgspec

from sync.errors import MalformedError
from sync.segments.columnar import Value

ROWS_MAX = 4096
"""More rows than this in one body are refused; this version seals at most 1,000."""
TEXT_MAX = 1024 * 1024
"""Characters and bytes that one body's cells may expand to: repeats are cheap on the wire."""
_COLUMNS_MAX = 64
_TABLE_MAX = 2**16 - 1
_LONG_OR_NULL = frozenset({str, bytes, type(None)})
_NUMBER_MIN, _NUMBER_MAX = -16, 62  # of a column; the set of those present is one 64-bit integer


class TableColumns(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One table's rows in one body: log row numbers and the columns of the body's group."""

    table: int
    version: int
    rows: int
    row_numbers: list[object]
    columns: list[tuple[int, list[object]]]
    """(column number, encoded column); numbers below 0 are the row's own fields."""


_decoder = msgspec.msgpack.Decoder(list[TableColumns])


def pack_tables(tables: list[TableColumns]) -> bytes:
    return msgspec.msgpack.encode(tables)


def unpack_tables(body: bytes) -> list[TableColumns]:
    """Parse a body strictly, columns still encoded; raises MalformedError.

    Tables and columns stand in the order of their numbers, each once; rows are bounded over all.
    """
    try:
        tables = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"a segment body does not parse: {error}") from error
    if not tables or not _rises(table.table for table in tables):
        raise MalformedError("a segment body's tables are out of order")
    if not 0 < tables[0].table <= tables[-1].table <= _TABLE_MAX:
        raise MalformedError("a segment body with a table number out of range")
    rows = [table.rows for table in tables]
    if min(rows) < 1 or sum(rows) > ROWS_MAX:
        raise MalformedError(f"a segment body claims {sum(rows)} rows; the limit is {ROWS_MAX}")
    for table in tables:
        numbers = [number for number, _ in table.columns]
        if len(numbers) > _COLUMNS_MAX or not _rises(numbers):
            raise MalformedError(f"table {table.table}: columns out of order")
        if numbers and not _NUMBER_MIN <= numbers[0] <= numbers[-1] <= _NUMBER_MAX:
            raise MalformedError(f"table {table.table}: column numbers out of range")
    return tables


def text_length(values: Collection[Value]) -> int:
    """Return how many characters and bytes these cells hold together."""
    kinds = set(map(type, values))
    if kinds.isdisjoint((str, bytes)):
        return 0
    if kinds <= _LONG_OR_NULL:
        return sum(map(len, filter(None, values)))  # type: ignore[arg-type]  # texts and bytes only
    return sum(len(value) for value in values if isinstance(value, str | bytes))


def _rises(numbers: Iterable[int]) -> bool:
    return all(before < after for before, after in pairwise(numbers))
