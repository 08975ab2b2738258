"""Rows as they are given become columns as their table holds them, or are refused whole."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import cast

from sync.errors import RowError
from sync.folding.merge import TOMBSTONE
from sync.schema.model import Table, Type
from sync.segments.columnar import Value

Row = Mapping[str, Value]

ROW_BYTES_MAX = 12 * 1024
"""Texts and bytes of one row: whatever they hold, the row fits a segment of its own."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_UTF8_BYTES_MAX = 4
_OWN_TYPES = {"school": Type.INTEGER, TOMBSTONE: Type.INTEGER}
_NOTHING = frozenset({type(None)})
_AS_THEY_ARE = {
    Type.INTEGER: frozenset({int, type(None)}),
    Type.REAL: frozenset({float, type(None)}),
    Type.TEXT: frozenset({str, type(None)}),
    Type.BLOB: frozenset({bytes, type(None)}),
}


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Rows of one table by columns, all of one length; what a row did not name is null.

    Columns without any value are in ``blank`` instead.
    """

    count: int
    columns: Mapping[str, Sequence[Value]]
    blank: frozenset[str]

    def column(self, name: str) -> Sequence[Value]:
        return self.columns.get(name) or [None] * self.count


def checked_rows(table: Table, rows: Sequence[Row]) -> CheckedRows:
    """Return rows as their columns hold them: integers in real columns as reals, NaN as null.

    Raises KeyError for a column the table does not have or a key that is missing, RowError for a
    value that its column cannot hold or a row larger than ROW_BYTES_MAX.
    """
    columns: dict[str, Sequence[Value]] = {}
    blank = set()
    for name, values in _columns(rows).items():
        kind = table.types.get(name) or _OWN_TYPES.get(name)
        if kind is None:
            raise KeyError(f"table {table.name} has no column {name}")
        if set(map(type, values)) == _NOTHING:
            blank.add(name)
        else:
            columns[name] = _typed_column(table, name, kind, values)
    missing = [name for name in table.key if name not in columns or None in columns[name]]
    if missing:
        raise KeyError(f"a row of {table.name} lacks its key {', '.join(missing)}")
    if table.is_by_time and ("at_ms" not in columns or None in columns["at_ms"]):
        raise RowError(f"a row of {table.name} lacks its moment at_ms; nothing saved")
    _check_size(table, columns)
    return CheckedRows(len(rows), columns, frozenset(blank))


def places_alike(rows: Sequence[Row]) -> Collection[Sequence[int]]:
    """Return the places of rows that name the same columns, for each such set of columns."""
    names = rows[0].keys()
    if all(row.keys() == names for row in rows):
        return [range(len(rows))]
    places: dict[frozenset[str], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(frozenset(row), []).append(place)
    return places.values()


def _columns(rows: Sequence[Row]) -> dict[str, Sequence[Value]]:
    names = tuple(rows[0])
    # Rows that all have these names, and as many names, have no others.
    if len(names) > 1 and sum(map(len, rows)) == len(names) * len(rows):
        try:
            picked = list(map(itemgetter(*names), rows))
        except KeyError:
            pass
        else:
            return dict(zip(names, zip(*picked, strict=True), strict=True))
    union = dict.fromkeys(chain.from_iterable(rows))
    return {name: [row.get(name) for row in rows] for name in union}


def _typed_column(table: Table, name: str, kind: Type, values: Sequence[Value]) -> Sequence[Value]:
    kinds = set(map(type, values))
    if kinds <= _AS_THEY_ARE[kind]:
        if kind in {Type.TEXT, Type.BLOB}:
            return values
        # All of one type by now, which the checker cannot tell from a set of types.
        filled = cast("list[float]", [value for value in values if value is not None])
        if kind is Type.INTEGER and min(filled) >= _INT64_MIN and max(filled) <= _INT64_MAX:
            return values
        if kind is Type.REAL and not any(map(math.isnan, filled)):
            return values
    return [None if value is None else _typed(table, name, kind, value) for value in values]


def _typed(table: Table, name: str, kind: Type, value: Value) -> Value:
    match kind, value:
        case Type.INTEGER, int() if _INT64_MIN <= value <= _INT64_MAX:
            return int(value)
        case Type.REAL, int() | float():
            real = float(value)
            return None if math.isnan(real) else real
        case (Type.TEXT, str()) | (Type.BLOB, bytes()):
            return value
        case _:
            shown = f"{type(value).__name__} {value!r:.40}"
            raise RowError(f"{table.name}.{name} is {kind} and cannot hold {shown}; nothing saved")


def _check_size(table: Table, columns: Mapping[str, Sequence[Value]]) -> None:
    long = [
        cast("Sequence[str | bytes | None]", values)
        for name, values in columns.items()
        if table.types.get(name) in {Type.TEXT, Type.BLOB}
    ]
    widest = sum(max(map(len, filter(None, values)), default=0) for values in long)
    if widest * _UTF8_BYTES_MAX <= ROW_BYTES_MAX:
        return
    size = max(map(_row_bytes, zip(*long, strict=True)))
    if size > ROW_BYTES_MAX:
        raise RowError(
            f"a row of {table.name} holds {size} bytes; the limit is {ROW_BYTES_MAX}: shorten it,"
            " or store large content as a resource"
        )


def _row_bytes(cells: Sequence[str | bytes | None]) -> int:
    return sum(len(each.encode() if isinstance(each, str) else each) for each in cells if each)
