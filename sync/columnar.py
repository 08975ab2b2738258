"""Columns as deltas, dictionaries and byte planes, so that zstd finds what repeats.

A column is encoded as ``[kind, nulls, payload…]`` in msgpack, where ``nulls`` is None or a
bit set (little-endian, bit i = row i is null; what the payload says of such a row is ignored):

====  ============================================================================================
kind  payload
====  ============================================================================================
0     constant: value
1     integers: first, then the deltas' minimum, width in bytes (0, 1, 2, 4, 8) and byte planes of
      (delta - minimum), least significant plane first; rows - 1 deltas
2     integers: minimum, width and byte planes of (value - minimum)
3     floats that are decimal: places p (0 to 3), then as kind 2 for round(value * 10**p)
4     floats: eight byte planes of IEEE 754 binary64, little-endian
5     dictionary: list of distinct values, then width and byte planes of the indices
6     plain list
====  ============================================================================================

Integers are 64-bit signed, as in SQLite; NaN does not exist.
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from sync.errors import MalformedError

Value = int | float | str | bytes | None

_CONSTANT, _DELTA, _OFFSET, _DECIMAL, _FLOAT, _DICTIONARY, _PLAIN = range(7)
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_FACTORS = (1, 10, 100, 1000)
_DECIMAL_MAX = 2**51
"""Greater values times a factor would no longer be exact in binary64."""


def encode_column(values: Sequence[Value]) -> list[object]:
    """Encode one column of at least one row; all non-null values are of one SQLite type."""
    first = values[0]
    if all(value == first and type(value) is type(first) for value in values):
        signs = {math.copysign(1, value) for value in values if isinstance(value, float)}
        if len(signs) < 2:  # noqa: PLR2004 - 0.0 and -0.0 are equal, yet not the same
            return [_CONSTANT, None, first]
    nulls, filled = (_null_bits(values), _fill(values)) if None in values else (None, [*values])
    present = filled[0]
    if isinstance(present, int):
        return _encode_integers(filled, nulls)  # type: ignore[arg-type]  # one type a column
    if isinstance(present, float):
        return _encode_floats(filled, nulls)  # type: ignore[arg-type]  # one type a column
    distinct = list(dict.fromkeys(filled))
    if len(distinct) * 2 <= len(filled):
        index = {value: place for place, value in enumerate(distinct)}
        width, planes = _split([index[value] for value in filled])
        return [_DICTIONARY, nulls, distinct, width, planes]
    return [_PLAIN, nulls, filled]


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


def _fill(values: Sequence[Value]) -> list[Value]:
    """Let each null repeat what stands before it, which costs the least in every encoding."""
    filled: list[Value] = []
    last = next(value for value in values if value is not None)
    for value in values:
        if value is not None:
            last = value
        filled.append(last)
    return filled


def _encode_integers(values: list[int], nulls: bytes | None) -> list[object]:
    low, high = min(values), max(values)
    deltas = [after - before for before, after in pairwise(values)]
    step, step_high = min(deltas), max(deltas)
    if max(high - low, step_high - step) > _INT64_MAX or not _INT64_MIN <= step <= _INT64_MAX:
        return [_PLAIN, nulls, values]
    if step_high - step < high - low:
        width, planes = _split([delta - step for delta in deltas])
        return [_DELTA, nulls, values[0], step, width, planes]
    width, planes = _split([value - low for value in values])
    return [_OFFSET, nulls, low, width, planes]


def _encode_floats(values: list[float], nulls: bytes | None) -> list[object]:
    if all(-_DECIMAL_MAX < value < _DECIMAL_MAX for value in values):
        for places, factor in enumerate(_FACTORS):
            scaled = [round(value * factor) for value in values]
            if all(
                whole / factor == value and (whole or math.copysign(1, value) > 0)
                for whole, value in zip(scaled, values, strict=True)
            ):
                low = min(scaled)
                width, planes = _split([whole - low for whole in scaled])
                return [_DECIMAL, nulls, places, low, width, planes]
    return [_FLOAT, nulls, _planes(array("d", values).tobytes(), 8)]


def _decode(encoded: Sequence[object], rows: int) -> list[Value]:  # noqa: PLR0911 - a return a kind
    kind, _, *payload = encoded
    match _integer(kind):
        case 0:
            (constant,) = payload
            return [_scalar(constant)] * rows
        case 1:
            first, step, width, planes = payload
            base = _integer(step)
            deltas = [delta + base for delta in _join(width, planes, rows - 1)]
            return _bounded(list(accumulate(deltas, initial=_integer(first))))
        case 2:
            low, width, planes = payload
            base = _integer(low)
            return _bounded([value + base for value in _join(width, planes, rows)])
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
            words = _scalars(distinct)
            return [words[place] for place in _join(width, planes, rows)]
        case 6:
            (values,) = payload
            return _scalars(values)
        case _:
            raise ValueError(f"unknown column kind {kind!r}")


def _null_bits(values: Sequence[Value]) -> bytes:
    marks = "".join("1" if value is None else "0" for value in reversed(values))
    return int(marks, 2).to_bytes((len(values) + 7) // 8, "little")


def _split(values: list[int]) -> tuple[int, bytes]:
    """Return width and byte planes of non-negative integers below 2**64."""
    high = max(values, default=0)
    if high == 0:
        return 0, b""
    width = next(width for width in _CODES if high < 1 << (8 * width))
    return width, _planes(array(_CODES[width], values).tobytes(), width)


def _join(width: object, planes: object, rows: int) -> Iterable[int]:
    if _integer(width) == 0:
        if _raw(planes):
            raise ValueError("planes of no width")
        return [0] * rows
    integers = array(_CODES[_integer(width)])
    integers.frombytes(_unplane(_raw(planes), integers.itemsize, rows))
    return integers


def _planes(data: bytes, width: int) -> bytes:
    # array uses the machine's order; every platform a box or hub runs on is little-endian.
    return b"".join(data[plane::width] for plane in range(width))


def _unplane(planes: bytes, width: int, rows: int) -> bytes:
    if len(planes) != rows * width:
        raise ValueError(f"{len(planes)} bytes of planes for {rows} rows of {width}")
    data = bytearray(len(planes))
    for plane in range(width):
        data[plane::width] = planes[plane * rows : (plane + 1) * rows]
    return bytes(data)


def _bounded(values: list[int]) -> list[Value]:
    if min(values) < _INT64_MIN or max(values) > _INT64_MAX:
        raise OverflowError("an integer beyond 64 bits")
    return list[Value](values)


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
    return [_scalar(value) for value in values]
