"""Columns as deltas, dictionaries and byte planes, so that zstd finds what repeats.

A column is encoded as ``[kind, nulls, payload…]`` in msgpack, where ``nulls`` is None or a
bit set (little-endian, bit i = row i is null; what the payload says of such a row is ignored):

====  ============================================================================================
kind  payload
====  ============================================================================================
0     constant: value
1     integers: first, then the deltas' minimum, width in bytes (0 to 8) and byte planes of
      (delta - minimum), least significant plane first; rows - 1 deltas
2     integers: minimum, width and byte planes of (value - minimum)
3     floats that are decimal: places p (0 to 3), then as kind 2 for round(value * 10**p)
4     floats: eight byte planes of IEEE 754 binary64, little-endian
5     dictionary: list of distinct values, then width and byte planes of the indices
6     plain list
7     integers of which many are alike: how many distinct ones, these in rising order as a column
      of kind 1 or 2, then width and byte planes of the indices
====  ============================================================================================

Integers are 64-bit signed, as in SQLite; NaN does not exist. Widths 3, 5, 6 and 7 are written for
a few rows only: zstd takes an empty plane of many rows away, and a machine's own width is faster.
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from operator import add, lt, sub
from typing import cast

from sync.errors import MalformedError

Value = int | float | str | bytes | None

_CONSTANT, _DELTA, _OFFSET, _DECIMAL, _FLOAT, _DICTIONARY, _PLAIN, _FEW = range(8)
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_STORED = {3: 4, 5: 8, 6: 8, 7: 8}
"""The machine's width of integers whose upper planes are left out."""
_PLAINLY_VALUES = frozenset({str, bytes, type(None)})
_TIGHT_ROWS_MAX = 64
_PLACES_OF_A_BYTE = 256
_FEW_ROWS_MIN = 128
"""Below this, telling which integers are in use costs about what it saves."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_SPAN_MAX = 2**61
"""Deltas of values that lie no further apart are 64-bit integers."""
_DELTAS_TRIED = 32
_FACTORS = (1, 10, 100, 1000)
_DECIMAL_MAX = 2**51
"""Greater values times a factor would no longer be exact in binary64."""


def encode_column(values: Sequence[Value]) -> list[object]:
    """Encode one column of at least one row; all non-null values are of one SQLite type."""
    kinds = set(map(type, values))
    nulls, filled = None, values
    if type(None) in kinds:
        if len(kinds) == 1:
            return [_CONSTANT, None, None]
        nulls, filled = _null_bits(values), _fill(values)
    present = filled[0]
    if isinstance(present, int):
        return _encode_integers(filled, nulls)  # type: ignore[arg-type]  # one type a column
    if isinstance(present, float):
        return _encode_floats(filled, nulls)  # type: ignore[arg-type]  # one type a column
    distinct = list(dict.fromkeys(filled))
    if len(distinct) == 1 and nulls is None:
        return [_CONSTANT, None, present]
    if len(distinct) * 2 <= len(filled):
        width, planes = _split_places(distinct, filled)
        return [_DICTIONARY, nulls, distinct, width, planes]
    return [_PLAIN, nulls, [*filled]]


def encode_rising(values: Sequence[int]) -> list[object]:
    """Do the same for integers that rise, of which most often none is left out."""
    first, last = values[0], values[-1]
    if len(values) > 1 and last - first == len(values) - 1:
        return [_DELTA, None, first, 1, 0, b""]
    return _encode_integers(values, None)


def decode_column(encoded: Sequence[object], rows: int) -> list[Value]:
    """Undo :func:`encode_column`; raises MalformedError for anything it could not have made."""
    try:
        values = _decode(encoded, rows)
        nulls = encoded[1]
    except (IndexError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise MalformedError(f"a column of {rows} rows does not decode: {error}") from error
    if len(values) != rows:
        raise MalformedError(f"a column holds {len(values)} values, its table {rows} rows")
    if nulls is None:
        return values
    if not isinstance(nulls, bytes) or len(nulls) != (rows + 7) // 8:
        raise MalformedError("a column's null bits do not fit its rows")
    bits = int.from_bytes(nulls, "little")
    if bits >> rows:
        raise MalformedError("a column's null bits name rows that it does not have")
    marks = f"{bits:0{rows}b}"[::-1]
    return [None if mark == "1" else value for mark, value in zip(marks, values, strict=True)]


def decode_rising(encoded: Sequence[object], rows: int) -> Sequence[int]:
    """Undo :func:`encode_rising`; raises MalformedError for what are no integers that rise."""
    match encoded:
        case [1, None, int() as first, 1, 0, b""] if (
            _INT64_MIN <= first <= _INT64_MAX - rows
            and not any(isinstance(each, bool) for each in encoded)
        ):
            return range(first, first + rows)
        case _:
            values = decode_column(encoded, rows)
    if set(map(type, values)) != {int}:
        raise MalformedError("something else where a row needs an integer")
    integers = cast("list[int]", values)
    if not all(map(lt, integers, integers[1:])):
        raise MalformedError("row numbers that do not rise")
    return integers


def text_bound(encoded: Sequence[object], values: Sequence[Value]) -> int:
    """Return what a decoded column's texts and bytes do not exceed together, by its encoding."""
    match encoded:
        case [0, _, str() | bytes() as constant]:
            return len(constant) * len(values)
        case [5, _, list() as distinct, *_]:
            long = [len(each) for each in distinct if isinstance(each, str | bytes)]
            return max(long, default=0) * len(values)
        case [6, *_]:
            if _PLAINLY_VALUES.issuperset(map(type, values)):
                return sum(map(len, filter(None, cast("Sequence[str | bytes]", values))))
            return sum(len(each) for each in values if isinstance(each, str | bytes))
        case _:
            return 0


def _fill(values: Sequence[Value]) -> list[Value]:
    """Let each null repeat what stands before it, which costs the least in every encoding."""
    filled: list[Value] = []
    last = next(value for value in values if value is not None)
    for value in values:
        if value is not None:
            last = value
        filled.append(last)
    return filled


def _encode_integers(values: Sequence[int], nulls: bytes | None) -> list[object]:
    low, high = min(values), max(values)
    if low == high and nulls is None:
        return [_CONSTANT, None, low]
    if high - low > _SPAN_MAX or _few_deltas_span(values) < high - low:
        deltas = list(map(sub, values[1:], values))
        step, step_high = min(deltas), max(deltas)
        if max(high - low, step_high - step) > _INT64_MAX or not _INT64_MIN <= step <= _INT64_MAX:
            return [_PLAIN, nulls, [*values]]
        if step_high - step < high - low:
            width, planes = _split(deltas, step, step_high)
            return [_DELTA, nulls, values[0], step, width, planes]
    if len(values) >= _FEW_ROWS_MIN:
        distinct = sorted(set(values))
        if _few_are_cheaper(len(values), len(distinct), high - low):
            width, planes = _split_places(distinct, values)
            return [_FEW, nulls, len(distinct), _encode_integers(distinct, None), width, planes]
    width, planes = _split(values, low, high)
    return [_OFFSET, nulls, low, width, planes]


def _few_deltas_span(values: Sequence[int]) -> int:
    """Return how far the first deltas lie apart, which is no further than all of them do."""
    deltas: list[int] = list(map(sub, values[1:_DELTAS_TRIED], values))
    return max(deltas) - min(deltas)


def _few_are_cheaper(rows: int, distinct: int, span: int) -> bool:
    """Tell whether naming the distinct values once takes less than naming each, in bits."""
    if distinct < 2:  # noqa: PLR2004 - one value has no steps
        return False
    gap = (span // distinct).bit_length() + 2
    return distinct * gap + rows * distinct.bit_length() < rows * span.bit_length() * 7 // 8


def _encode_floats(values: Sequence[float], nulls: bytes | None) -> list[object]:
    # 0.0 and -0.0 are equal, yet not the same.
    if nulls is None and len(set(map(float.hex, values))) == 1:
        return [_CONSTANT, None, values[0]]
    if all(-_DECIMAL_MAX < value < _DECIMAL_MAX for value in values):
        for places, factor in enumerate(_FACTORS):
            scaled = [round(value * factor) for value in values]
            if all(
                whole / factor == value and (whole or math.copysign(1, value) > 0)
                for whole, value in zip(scaled, values, strict=True)
            ):
                low = min(scaled)
                width, planes = _split(scaled, low, max(scaled))
                return [_DECIMAL, nulls, places, low, width, planes]
    return [_FLOAT, nulls, _planes(array("d", values).tobytes(), 8)]


def _decode(encoded: Sequence[object], rows: int) -> list[Value]:  # noqa: PLR0911 - a return a kind
    kind, _, *payload = encoded
    match _integer(kind):
        case 0:
            (constant,) = payload
            return [_scalar(constant)] * rows
        case 1 | 2:
            return list[Value](_decode_integers(encoded, rows))
        case 3:
            places, low, width, planes = payload
            factor = dict(enumerate(_FACTORS))[_integer(places)]
            base = _integer(low)
            return [(value + base) / factor for value in _join(width, planes, rows)]
        case 4:
            (planes,) = payload
            floats = array("d")
            floats.frombytes(_unplane(_raw(planes), 8, rows))
            if any(map(math.isnan, floats)):
                raise ValueError("NaN among the floats")
            return list(floats)
        case 5:
            distinct, width, planes = payload
            return list(map(_scalars(distinct).__getitem__, _join(width, planes, rows)))
        case 6:
            (values,) = payload
            return _scalars(values)
        case 7:
            count, few, width, planes = payload
            # As many as there are rows at most: nothing is made that its rows do not need.
            if not 0 < _integer(count) <= rows or not isinstance(few, list):
                raise ValueError("not a set of integers for these rows")
            integers = _decode_integers(few, _integer(count))
            return list[Value](map(integers.__getitem__, _join(width, planes, rows)))
        case _:
            raise ValueError(f"unknown column kind {kind!r}")


def _decode_integers(encoded: Sequence[object], rows: int) -> list[int]:
    """Decode kinds 1 and 2, whose ``rows`` are at least one."""
    kind, _, *payload = encoded
    match _integer(kind):
        case 1:
            first, step, width, planes = payload
            if width == 0 and planes == b"" and step == 1:
                numbers = range(_integer(first), _integer(first) + rows)
                _check_bounds((numbers[0], numbers[-1]))
                return list(numbers)
            deltas = _raised(_join(width, planes, rows - 1), _integer(step))
            values = list(accumulate(deltas, initial=_integer(first)))
            _check_bounds(values if _integer(step) < 0 else (values[0], values[-1]))
            return values
        case 2:
            low, width, planes = payload
            values = list(_raised(_join(width, planes, rows), _integer(low)))
            _check_bounds(values)
            return values
        case _:
            raise ValueError(f"a column of kind {kind!r} where integers belong")


def _raised(values: Sequence[int], base: int) -> Iterable[int]:
    return map(add, values, repeat(base)) if base else values


def _null_bits(values: Sequence[Value]) -> bytes:
    marks = "".join("1" if value is None else "0" for value in reversed(values))
    return int(marks, 2).to_bytes((len(values) + 7) // 8, "little")


def _split_places(distinct: Sequence[Value], values: Sequence[Value]) -> tuple[int, bytes]:
    """Return width and byte planes of each value's place among the ``distinct`` ones."""
    index = {value: place for place, value in enumerate(distinct)}
    places = map(index.__getitem__, values)
    if 1 < len(distinct) <= _PLACES_OF_A_BYTE:
        return 1, bytes(places)
    return _split(list(places), 0, len(distinct) - 1)


def _split(values: Sequence[int], low: int, high: int) -> tuple[int, bytes]:
    """Return width and byte planes of ``value - low``; the span is below 2**64."""
    span = high - low
    if span == 0:
        return 0, b""
    width = (span.bit_length() + 7) // 8
    stored = _STORED.get(width, width)
    data = array(_CODES[stored], map(sub, values, repeat(low)) if low else values).tobytes()
    if len(values) > _TIGHT_ROWS_MAX:
        width = stored
    return width, _planes(data, stored)[: width * len(values)]


def _join(width: object, planes: object, rows: int) -> Sequence[int]:
    if _integer(width) == 0:
        if _raw(planes):
            raise ValueError("planes of no width")
        return [0] * rows
    told = _integer(width)
    integers = array(_CODES[_STORED.get(told, told)])
    integers.frombytes(_unplane(_raw(planes), told, rows, integers.itemsize))
    return integers


def _planes(data: bytes, width: int) -> bytes:
    if width == 1:
        return data
    # array uses the machine's order; every platform a box or hub runs on is little-endian.
    return b"".join(data[plane::width] for plane in range(width))


def _unplane(planes: bytes, width: int, rows: int, stored: int = 0) -> bytes:
    """Interleave ``width`` planes; integers take ``stored`` bytes each, the upper ones zero."""
    if len(planes) != rows * width:
        raise ValueError(f"{len(planes)} bytes of planes for {rows} rows of {width}")
    step = stored or width
    data = bytearray(rows * step)
    for plane in range(width):
        data[plane::step] = planes[plane * rows : (plane + 1) * rows]
    return bytes(data)


def _check_bounds(values: Sequence[int]) -> None:
    if min(values) < _INT64_MIN or max(values) > _INT64_MAX:
        raise OverflowError("an integer beyond 64 bits")


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where an integer belongs")
    return value


def _raw(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} where bytes belong")
    return value


def _scalar(value: object) -> Value:
    if isinstance(value, int):
        if not _INT64_MIN <= _integer(value) <= _INT64_MAX:
            raise OverflowError("an integer beyond 64 bits")
    elif isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN")
    elif value is not None and not isinstance(value, str | bytes):
        raise TypeError(f"{type(value).__name__} where a value belongs")
    return value


def _scalars(values: object) -> list[Value]:
    if not isinstance(values, list):
        raise TypeError(f"{type(values).__name__} where a list of values belongs")
    if set(map(type, values)) <= _PLAINLY_VALUES:
        return values
    return [_scalar(value) for value in values]
