"""Registers to engineering values and back, as a profile's points describe it."""

import math
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from drivers.entities import Quality
from firmware_profiles.model import REGISTERS, DataType, Order, Point

WIDTH = REGISTERS
"""Registers a value takes."""

_FORMAT: Mapping[DataType, str] = MappingProxyType(
    {
        "uint16": ">H",
        "int16": ">h",
        "uint32": ">I",
        "int32": ">i",
        "uint64": ">Q",
        "int64": ">q",
        "float32": ">f",
        "float64": ">d",
    }
)
_DIGITS: Mapping[DataType, int] = MappingProxyType({"bcd16": 4, "bcd32": 8})
# Decimal places kept: more than any sensor resolves, fewer than binary fractions leave behind.
DECIMALS = 6


class PointValue(Struct, frozen=True):
    """What a point's registers say; ``value`` is None only with ``Quality.BAD``."""

    value: float | str | None
    quality: Quality
    reason: str = ""


def decode_point(point: Point, values: Sequence[int]) -> PointValue:
    """Return the value in ``values``: the point's registers in address order, or its one bit."""
    raw = _raw(point, values)
    if raw is None or not math.isfinite(raw):
        said = "a digit above 9" if raw is None else raw
        return PointValue(None, Quality.BAD, f"the device sent {said}")
    if raw in point.invalid:
        return PointValue(None, Quality.BAD, f"the device marks the value as invalid ({raw})")
    if point.enum:
        word = point.enum.get(str(raw))
        if word is None:
            return PointValue(None, Quality.BAD, f"{raw} has no meaning in the profile")
        return PointValue(word, Quality.GOOD)
    value = round(raw * point.scale + point.offset, DECIMALS)
    span = point.valid
    if span is not None and not span.low <= value <= span.high:
        reason = f"{value} is outside {span.low} to {span.high} {point.unit}".rstrip()
        return PointValue(value, Quality.UNCERTAIN, reason)
    return PointValue(value, Quality.GOOD)


def encode_raw(point: Point, raw: float) -> tuple[int, ...]:
    """Return the registers a device holds for a raw value; the inverse of decoding."""
    return encode_number(point.dtype, point.byte_order, point.word_order, raw)


def encode_number(
    dtype: DataType, byte_order: Order, word_order: Order, raw: float
) -> tuple[int, ...]:
    """Return a raw number's registers; ValueError when ``dtype`` cannot hold it."""
    digits = _DIGITS.get(dtype)
    try:
        if digits is not None:
            data = bytes.fromhex(f"{int(raw):0{digits}d}")
        else:
            number = raw if dtype.startswith("float") else int(raw)
            data = struct.pack(_FORMAT[dtype], number)
    except (struct.error, ValueError, OverflowError) as error:
        raise ValueError(f"{raw} does not fit {dtype}") from error
    if len(data) != 2 * WIDTH[dtype]:
        raise ValueError(f"{raw} does not fit {dtype}")
    words = [data[index : index + 2] for index in range(0, len(data), 2)]
    if word_order == "little":
        words.reverse()
    return tuple(int.from_bytes(word, byte_order) for word in words)


def _raw(point: Point, values: Sequence[int]) -> int | float | None:
    """Return the raw value, None when decimal digits are none."""
    if point.function in {1, 2}:
        return values[0]
    words = [value.to_bytes(2, point.byte_order) for value in values[: WIDTH[point.dtype]]]
    if point.word_order == "little":
        words.reverse()
    data = b"".join(words)
    if point.dtype in _DIGITS:
        return int(data.hex()) if data.hex().isdecimal() else None
    raw: int | float = struct.unpack(_FORMAT[point.dtype], data)[0]
    if point.bits is not None:
        raw = int(raw) >> point.bits.first & (1 << point.bits.count) - 1
    return raw
