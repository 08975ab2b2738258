"""Writes to tables with two writers, as they come: each names the columns that it writes."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync.errors import MalformedError
from sync.schema.model import Table, Type
from sync.segments.columnar import Value
from sync.segments.segment import LogName
from sync.tables.merge import TOMBSTONE
from sync.tables.merged_rows import Writes, merge_writes

_HELD_AS = {Type.INTEGER: int, Type.REAL: float, Type.TEXT: str, Type.BLOB: bytes}


@dataclass(frozen=True, slots=True)
class ReceivedWrites:
    """Writes of one body to one table; ``present`` are sets of the columns that each names."""

    rows: Sequence[int]
    schools: Sequence[int]
    stamps: Sequence[int]
    present: Sequence[int]
    given: Mapping[str, Sequence[Value]]


def merge_received(
    cursor: sqlite3.Cursor, log: LogName, log_id: int, table: Table, received: ReceivedWrites
) -> set[int]:
    """Merge writes, those that name the same columns at once; the order makes no difference.

    Return the numbers of columns that they name and this version does not know, cleared ones too.
    A column that all rows of a body clear is not in it. Raises MalformedError.
    """
    nothing: list[Value] = [None] * len(received.rows)
    keys = list(
        zip(
            received.schools,
            *(_exact(table, name, received.given) for name in table.key),
            strict=True,
        )
    )
    places: dict[int, list[int]] = {}
    if len(set(received.present)) == 1:
        places[received.present[0]] = [*range(len(keys))]
    else:
        for place, bits in enumerate(received.present):
            places.setdefault(bits, []).append(place)
    for bits, chosen in places.items():
        named = [
            column.name
            for column in table.columns
            if bits >> column.number & 1 and column.name not in table.key
        ]
        if bits & 1:
            named.append(TOMBSTONE)
        cells = {name: received.given.get(name, nothing) for name in named}
        writes = Writes(keys, received.stamps, received.rows, cells)
        if len(chosen) < len(keys):
            writes = writes.at(chosen)
        merge_writes(cursor, table, log_id, log.origin, writes)
    known = {0, *table.numbers.values()}
    return {
        number
        for bits in places
        for number in range(bits.bit_length())
        if bits >> number & 1 and number not in known
    }


def _exact(table: Table, name: str, given: Mapping[str, Sequence[Value]]) -> Sequence[Value]:
    """Return a key column whose cells are what SQLite holds, so that equal keys are one key."""
    if set(map(type, given[name])) != {_HELD_AS[table.types[name]]}:
        raise MalformedError(f"{table.name}.{name} holds a key that is not {table.types[name]}")
    return given[name]
