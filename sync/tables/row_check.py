"""Rows as they are given become columns as their table holds them, or are refused whole."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import cast

from sync.errors import RowError
from sync.schema.model import Table, Type
from sync.segments.columnar import Value
from sync.tables.merge import TOMBSTONE

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

    Columns without any value are in ``blank`` instead. No row has more than ``text_max`` characters
    and bytes. ``are_alike``: all rows name all of these columns.
    """

    count: int
    columns: Mapping[str, Sequence[Value]]
    blank: frozenset[str]
    text_max: int
    are_alike: bool

    @property
    def names(self) -> frozenset[str]:
        """Return what any of the rows names."""
        return self.blank.union(self.columns)

    def column(self, name: str) -> Sequence[Value]:
        return self.columns.get(name) or [None] * self.count


def checked_rows(table: Table, rows: Sequence[Row]) -> CheckedRows:
    """Return rows as their columns hold them: integers in real columns as reals, NaN as null.

    Raises KeyError for a column the table does not have or a key that is missing, RowError for a
    value that its column cannot hold or a row larger than ROW_BYTES_MAX.
    """
    columns: dict[str, Sequence[Value]] = {}
    blank = set()
    found = _columns(rows)
    for name, values in found.items():
        kind = table.types.get(name) or _OWN_TYPES.get(name)
        if kind is None:
            raise KeyError(f"table {table.name} has no column {name}")
        held = set(map(type, values))
        if held == _NOTHING:
            blank.add(name)
        elif _are_held(kind, held, values):
            columns[name] = values
        else:
            columns[name] = [
                None if value is None else _typed(table, name, kind, value) for value in values
            ]
    missing = [name for name in table.key if name not in columns or None in columns[name]]
    if missing:
        raise KeyError(f"a row of {table.name} lacks its key {', '.join(missing)}")
    if table.is_by_time and ("at_ms" not in columns or None in columns["at_ms"]):
        raise RowError(f"a row of {table.name} lacks its moment at_ms; nothing saved")
    text_max = _check_size(table, columns)
    are_alike = sum(map(len, rows)) == len(found) * len(rows)
    return CheckedRows(len(rows), columns, frozenset(blank), text_max, are_alike)


def places_alike(rows: Sequence[Row]) -> Collection[Sequence[int]]:
    """Return the places of rows that name the same columns, for each such set of columns."""
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


def _are_held(kind: Type, held: Collection[type], values: Sequence[Value]) -> bool:
    """Tell whether a column of ``kind`` holds values of these types as they are."""
    if not _AS_THEY_ARE[kind].issuperset(held):
        return False
    if kind in {Type.TEXT, Type.BLOB}:
        return True
    # All of one type by now, which the checker cannot tell from a set of types.
    filled = cast("Sequence[float]", values)
    if type(None) in held:
        filled = [value for value in filled if value is not None]
    if kind is Type.INTEGER:
        return min(filled) >= _INT64_MIN and max(filled) <= _INT64_MAX
    return not any(map(math.isnan, filled))


def _typed(table: Table, name: str, kind: Type, value: Value) -> Value:
    match kind, value:
        case Type.INTEGER, int() if _INT64_MIN <= value <= _INT64_MAX:
            return int(value)
        case Type.REAL, int() | float():
            real = float(value)
            return None if math.isnan(real) else real
        case Type.TEXT, str():
            return str.__str__(value)  # no subclass: what encodes it knows none
        case Type.BLOB, bytes():
            return bytes(value)
        case _:
            shown = f"{type(value).__name__} {value!r:.40}"
            raise RowError(f"{table.name}.{name} is {kind} and cannot hold {shown}; nothing saved")


def _check_size(table: Table, columns: Mapping[str, Sequence[Value]]) -> int:
    """Return how many characters and bytes no row exceeds."""
    long = [
        cast("Sequence[str | bytes | None]", values)
        for name, values in columns.items()
        if table.types.get(name) in {Type.TEXT, Type.BLOB}
    ]
    # Of a set: most columns of texts repeat a few.
    widest = sum(max(map(len, filter(None, set(values))), default=0) for values in long)
    if widest * _UTF8_BYTES_MAX <= ROW_BYTES_MAX:
        return widest
    size = max(map(_row_bytes, zip(*long, strict=True)))
    if size > ROW_BYTES_MAX:
        raise RowError(
            f"a row of {table.name} holds {size} bytes; the limit is {ROW_BYTES_MAX}: shorten it,"
            " or store large content as a resource"
        )
    return min(widest, size)


def _row_bytes(cells: Sequence[str | bytes | None]) -> int:
    return sum(len(each.encode() if isinstance(each, str) else each) for each in cells if each)
