"""Parts of a snapshot: rows of one log, taken out of its segments as they stand.

A part is a segment of the origin's snapshot log of the same audience. Its bodies begin with where
the rows come from, then follow the rows as in any body (:mod:`sync.segments.body`), under the row
numbers of that log::

    u64 incarnation | u8 lane | u64 first row | u64 last row | msgpack tables

The fold does not care how rows are cut into segments; so a part folds like a body of its log.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from sync.errors import MalformedError
from sync.schema import BY_NUMBER
from sync.schema.model import GROUPS, Group, Kind, Lane
from sync.segments.body import TableColumns, pack_tables, unpack_tables
from sync.segments.columnar import Value, decode_column, encode_column
from sync.segments.segment import Header, LogName, check_log_name

RECORD_TABLE = 81
"""Stands for a checkpoint's record in a header's list of tables; no table has this number."""
_SOURCE = struct.Struct(">QBQQ")
_PLACE_MAX = 2**48 - 1
_SUM = 1 << 256


@dataclass(frozen=True, slots=True)
class Source:
    """The log that a part's rows stand in, and between which row numbers."""

    log: LogName
    first_row: int
    last_row: int

    def header(self, part: Header) -> Header:
        """Return what a part's header says, as if the rows came in their own log."""
        return msgspec.structs.replace(
            part, log=self.log, first_row=self.first_row, last_row=self.last_row
        )


@dataclass(slots=True)
class StoredRow:
    """One row as its segment has it: group -> column number -> cell, without nulls."""

    table: int
    number: int
    cells: dict[Group, dict[int, Value]] = field(default_factory=dict)


def holds_states(header: Header) -> bool:
    """Tell whether a segment may ever lose its bodies: its rows can be superseded.

    Segments of events alone keep their bodies; tables unknown here may be anything.
    """
    return any(
        table.table not in BY_NUMBER or BY_NUMBER[table.table].kind is Kind.STATE
        for table in header.tables
    )


def may_be_hollow(header: Header) -> bool:
    return header.log.lane is Lane.SNAPSHOT or holds_states(header)


def is_record(header: Header) -> bool:
    return header.log.lane is Lane.SNAPSHOT and header.tables[0].table == RECORD_TABLE


def pack_part(source: Source, tables: list[TableColumns]) -> bytes:
    log = source.log
    prefix = _SOURCE.pack(log.incarnation, log.lane, source.first_row, source.last_row)
    return prefix + pack_tables(tables)


def unpack_part(snapshot: LogName, content: bytes) -> tuple[Source, list[TableColumns]]:
    """Parse an opened body of a part in the log ``snapshot``; raises MalformedError."""
    if len(content) < _SOURCE.size:
        raise MalformedError("a part of a snapshot that does not say where it comes from")
    incarnation, lane, first_row, last_row = _SOURCE.unpack_from(content)
    if lane not in iter(Lane) or lane == Lane.SNAPSHOT:
        raise MalformedError(f"a part of a snapshot of lane {lane}")
    if not 0 < first_row <= last_row <= _PLACE_MAX:
        raise MalformedError("a part of a snapshot with rows out of range")
    log = LogName(snapshot.origin, incarnation, snapshot.audience, Lane(lane))
    check_log_name(log)
    return Source(log, first_row, last_row), unpack_tables(content[_SOURCE.size :])


def add_rows(
    rows: dict[tuple[int, int], StoredRow], group: Group, tables: Iterable[TableColumns]
) -> None:
    """Add what one body holds to ``rows``, by (table, row number); raises MalformedError."""
    for table in tables:
        numbers = decode_column(table.row_numbers, table.rows)
        columns = [(number, decode_column(cells, table.rows)) for number, cells in table.columns]
        for place, number in enumerate(numbers):
            if not isinstance(number, int):
                raise MalformedError("a row number that is no integer")
            row = rows.setdefault((table.table, number), StoredRow(table.table, number))
            row.cells[group] = {
                column: values[place] for column, values in columns if values[place] is not None
            }


def bodies_of(source: LogName, rows: Sequence[StoredRow]) -> dict[Group, bytes]:
    """Return the bodies of a part that holds these rows of one log; at least one row."""
    ordered = sorted(rows, key=lambda row: (row.table, row.number))
    numbers = [row.number for row in ordered]
    whole = Source(source, min(numbers), max(numbers))
    bodies: dict[Group, bytes] = {}
    for group in GROUPS:
        by_table: dict[int, list[StoredRow]] = {}
        for row in ordered:
            if group in row.cells:
                by_table.setdefault(row.table, []).append(row)
        if by_table:
            tables = [_columns(table, group, some) for table, some in by_table.items()]
            bodies[group] = pack_part(whole, tables)
    return bodies


def _columns(table: int, group: Group, rows: Sequence[StoredRow]) -> TableColumns:
    cells = [row.cells[group] for row in rows]
    numbers = sorted({number for each in cells for number in each})
    return TableColumns(
        table=table,
        version=BY_NUMBER[table].version,
        rows=len(rows),
        row_numbers=encode_column([row.number for row in rows]),
        columns=[
            (number, encode_column([each.get(number) for each in cells])) for number in numbers
        ],
    )


def cells_digest(log: LogName, row: StoredRow, group: Group) -> bytes:
    """Return SHA-256 of one row's cells in one group, with where it stands."""
    cells: Mapping[int, Value] = row.cells[group]
    content = [log.incarnation, log.lane, row.table, row.number, sorted(cells.items())]
    return sha256(msgspec.msgpack.encode(content)).digest()


class RowSums:
    """Digests per (table, group) over rows in any order: sums of the rows' digests mod 2**256.

    They tell slips and damage, not forgers: a snapshot is signed. What forgers gain by an equal
    sum they could have signed at once.
    """

    def __init__(self, before: Mapping[tuple[int, Group], bytes] | None = None) -> None:
        self._sums = {key: int.from_bytes(value, "big") for key, value in (before or {}).items()}

    def add(self, log: LogName, row: StoredRow) -> None:
        for group in row.cells:
            key = row.table, group
            digest = int.from_bytes(cells_digest(log, row, group), "big")
            self._sums[key] = (self._sums.get(key, 0) + digest) % _SUM

    def of_group(self, group: Group) -> list[tuple[int, bytes]]:
        """Return (table, digest) of one group, in the order of tables."""
        return sorted(
            (table, value.to_bytes(32, "big"))
            for (table, its), value in self._sums.items()
            if its is group
        )
