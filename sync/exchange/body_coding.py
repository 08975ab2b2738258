"""Short bodies told by what the connection has carried before, to who holds their key as well.

Sealed bytes do not compress, and each body opens by itself: a minute's taps are coded as if no tap
had ever been. Between two ends that both hold the key the cells travel instead, inside TLS. The
receiver makes the body anew: columns, zstd, seal, to the byte, or the signature does not hold. So
a body is told this way only by an end whose peer makes the same bytes (:func:`maker`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from typing import Final

import zstandard

from sync.errors import MalformedError, SyncError
from sync.exchange.column_coding import ColumnMemory
from sync.exchange.range_coding import Bits, Coder, Integers
from sync.segments.body import TableColumns, pack_tables, unpack_tables
from sync.segments.body_dictionary import BODY_DICTIONARY
from sync.segments.columnar import Value, decode_column, encode_column, encode_rising
from sync.segments.segment import TableHeader, compress, decompress

CONTENT_BYTES_MAX: Final = 1024
"""Cells of longer bodies are not told: coding takes some microseconds each, and a long body
repeats enough in itself."""
CELLS_MAX: Final = 4096
"""What the bodies of one message may tell together: some tens of milliseconds' work."""
MAKER_BYTES: Final = 4
_TOLD_BYTES_MAX = 64
_PLACES = 16
_TABLES_MAX, _COLUMNS_MAX = 16, 64
_COLUMNS_KEPT_MAX = 64  # some KiB each
_NUMBER_MIN, _NUMBER_MAX = -16, 2**16 - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """One table's part of a body as values; columns in rising order."""

    table: int
    version: int
    numbers: list[int]
    columns: dict[int, list[Value]]

    @property
    def cells(self) -> int:
        return len(self.numbers) * (1 + len(self.columns))


@cache
def maker() -> bytes:
    """Return a name for how this end makes bodies; equal names make equal bytes."""
    values: list[Value] = [21.5, 21.75, None, 22.0]
    texts: list[Value] = ["card:door", "card:gate", "card:door", "card:door"]
    moments: list[Value] = [1_790_000_000_000 + 977 * place * place for place in range(4)]
    columns = list(enumerate(map(encode_column, (moments, texts, values))))
    sample = pack_tables([TableColumns(1, 1, 4, encode_rising([5, 6, 7, 9]), columns)])
    version = ".".join(map(str, zstandard.ZSTD_VERSION)).encode()
    parts = (version, compress(sample), compress(sample + BODY_DICTIONARY[::2]))
    return hashlib.sha256(b"".join(parts)).digest()[:MAKER_BYTES]


def make_content(tables: Sequence[Rows]) -> bytes:
    """Return a body's content before sealing."""
    return compress(_pack(tables))


def read_content(packed: bytes) -> list[Rows] | None:
    """Return the rows of a body's content, or None if :func:`make_content` makes others of them."""
    try:
        content = decompress(packed)
        if len(content) > CONTENT_BYTES_MAX:
            return None
        tables = [
            Rows(
                table.table,
                table.version,
                [number for number in _values(table.row_numbers, table) if isinstance(number, int)],
                {number: _values(column, table) for number, column in table.columns},
            )
            for table in unpack_tables(content)
        ]
    except SyncError:
        return None
    if len(tables) > _TABLES_MAX or _pack(tables) != content:
        return None
    return tables if compress(content) == packed else None


def _values(encoded: Sequence[object], table: TableColumns) -> list[Value]:
    return decode_column(encoded, table.rows)


def _pack(tables: Sequence[Rows]) -> bytes:
    return pack_tables(
        [
            TableColumns(
                rows.table,
                rows.version,
                len(rows.numbers),
                encode_rising(rows.numbers),
                [(number, encode_column(values)) for number, values in rows.columns.items()],
            )
            for rows in tables
        ]
    )


class LogMemory:
    """What one end of a connection knows of one log's bodies; alike at both ends."""

    def __init__(self) -> None:
        self._told, self._length = b"", Integers()
        self._steps = [Integers() for _ in range(_PLACES)]
        self._shapes, self._amounts, self._gaps = Bits(3), Integers(), Integers()
        self._tables: defaultdict[int, _TableMemory] = defaultdict(_TableMemory)

    def code_bytes(self, coder: Coder, told: bytes | None) -> bytes:
        """Code a few bytes that are alike, place by place, to those of the last time."""
        given, last = told or b"", self._told
        length = len(last) + coder.integer(self._length, len(given) - len(last))
        if not 0 <= length <= _TOLD_BYTES_MAX:
            raise MalformedError(f"{length} bytes about a segment")
        coded = bytearray()
        for place in range(length):
            before = last[place] if place < len(last) else 0
            step = given[place] - before if given else 0
            byte = before + coder.integer(self._steps[min(place, _PLACES - 1)], step)
            if not 0 <= byte <= 0xFF:  # noqa: PLR2004 - a byte
                raise MalformedError("a byte about a segment that is none")
            coded.append(byte)
        self._told = bytes(coded)
        return self._told

    def code_tables(
        self,
        coder: Coder,
        headers: Sequence[TableHeader],
        first_row: int,
        tables: Sequence[Rows] | None,
        cells_max: int = CELLS_MAX,
    ) -> list[Rows]:
        """Code a body's rows, of which the header tells ``headers`` and ``first_row``.

        Raises MalformedError, when reading, for what no body holds and for more than ``cells_max``.
        """
        expected = [(header.table, header.version, header.rows) for header in headers]
        given = [(rows.table, rows.version, len(rows.numbers)) for rows in tables or ()]
        if coder.bit(self._shapes, 0, given == expected):
            given = expected
        else:
            given = self._code_shape(coder, given)
        if len(given) > _TABLES_MAX or sum(rows for _, _, rows in given) > cells_max:
            raise MalformedError(f"{len(given)} tables told by too many cells; refused")
        left = cells_max
        coded = []
        for place, (table, version, count) in enumerate(given):
            rows = None if tables is None else tables[place]
            numbers = self._code_numbers(
                coder, count, first_row, None if rows is None else rows.numbers
            )
            if sum(memory.size for memory in self._tables.values()) > _COLUMNS_KEPT_MAX:
                self._tables.clear()
            memory = self._tables[table]
            columns = memory.code(coder, count, left, None if rows is None else rows.columns)
            coded.append(Rows(table, version, numbers, columns))
            left -= coded[-1].cells
        return coded

    def _code_shape(
        self, coder: Coder, given: list[tuple[int, int, int]]
    ) -> list[tuple[int, int, int]]:
        count = coder.integer(self._amounts, len(given))
        if not 0 < count <= _TABLES_MAX:
            raise MalformedError(f"a body of {count} tables told by their cells")
        flat = list(chain.from_iterable(given)) or [0] * (3 * count)
        amounts = [coder.integer(self._amounts, amount) for amount in flat]
        if not all(0 < amount <= _NUMBER_MAX for amount in amounts):
            raise MalformedError("a table's number, version or rows out of range")
        return list(zip(amounts[::3], amounts[1::3], amounts[2::3], strict=True))

    def _code_numbers(
        self, coder: Coder, count: int, first_row: int, numbers: list[int] | None
    ) -> list[int]:
        following = list(range(first_row, first_row + count))
        if coder.bit(self._shapes, 1, numbers == following):
            return following
        coded: list[int] = []
        last = first_row - 1
        for place in range(count):
            told = 0 if numbers is None else numbers[place] - last
            last += coder.integer(self._gaps, told)
            coded.append(last)
        if not all(0 < number < 1 << 48 for number in coded):
            raise MalformedError("row numbers out of range")
        return coded


class _TableMemory:
    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._shape, self._amounts = Bits(1), Integers()
        self._columns: defaultdict[int, ColumnMemory] = defaultdict(ColumnMemory)

    @property
    def size(self) -> int:
        return 1 + len(self._columns)

    def code(
        self, coder: Coder, rows: int, cells_max: int, columns: dict[int, list[Value]] | None
    ) -> dict[int, list[Value]]:
        """Code a table's columns."""
        numbers = self._numbers
        given = [] if columns is None else list(columns)
        if not coder.bit(self._shape, 0, given == numbers):
            numbers = self._code_shape(coder, given)
        self._numbers = numbers
        if rows * (1 + len(numbers)) > cells_max:
            raise MalformedError("more cells are told one by one than a message may")
        coded: dict[int, list[Value]] = {}
        texts: list[list[Value]] = []
        for number in numbers:
            memory = self._columns[number]
            values = None if columns is None else columns[number]
            coded[number] = memory.code(coder, rows, values, texts)
            if memory.is_text:
                texts.append(coded[number])
        return coded

    def _code_shape(self, coder: Coder, given: list[int]) -> list[int]:
        count = coder.integer(self._amounts, len(given))
        if not 0 <= count <= _COLUMNS_MAX:
            raise MalformedError(f"{count} columns of a table told by their cells")
        numbers = [coder.integer(self._amounts, number) for number in given or [0] * count]
        rises = all(before < after for before, after in pairwise(numbers))
        if not rises or not all(_NUMBER_MIN <= number < _COLUMNS_MAX for number in numbers):
            raise MalformedError("columns told by their cells are out of order")
        return numbers
