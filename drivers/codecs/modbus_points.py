"""Registers to engineering values and back, as a profile's points describe it."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.entities import Quality
from firmware_profiles.model import DataType, Point

WIDTH = {"uint16": 1, "int16": 1, "uint32": 2, "int32": 2, "float32": 2}
"""Registers a value takes."""

_FORMAT: dict[DataType, str] = {
    "uint16": ">H",
    "int16": ">h",
    "uint32": ">I",
    "int32": ">i",
    "float32": ">f",
}
# Decimal places kept: more than any sensor resolves, fewer than binary fractions leave behind.
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class PointValue:
    """What a point's registers say; ``value`` is None only with ``Quality.BAD``."""

    value: float | str | None
    quality: Quality
    reason: str = ""


def decode_point(point: Point, values: Sequence[int]) -> PointValue:
    """Return the value in ``values``: the point's registers in address order, or its one bit."""
    raw = _raw(point, values)
    if raw in point.invalid:
        return PointValue(None, Quality.BAD, f"the device marks the value as invalid ({raw})")
    if point.enum:
        word = point.enum.get(str(raw))
        if word is None:
            return PointValue(None, Quality.BAD, f"{raw} has no meaning in the profile")
        return PointValue(word, Quality.GOOD)
    if not math.isfinite(raw):
        return PointValue(None, Quality.BAD, f"the device sent {raw}")
    value = round(raw * point.scale + point.offset, DECIMALS)
    span = point.valid
    if span is not None and not span.low <= value <= span.high:
        reason = f"{value} is outside {span.low} to {span.high} {point.unit}".rstrip()
        return PointValue(value, Quality.UNCERTAIN, reason)
    return PointValue(value, Quality.GOOD)


def encode_raw(point: Point, raw: float) -> tuple[int, ...]:
    """Return the registers a device holds for a raw value; the inverse of decoding."""
    number = raw if point.dtype == "float32" else int(raw)
    data = struct.pack(_FORMAT[point.dtype], number)
    words = [data[index : index + 2] for index in range(0, len(data), 2)]
    if point.word_order == "little":
        words.reverse()
    return tuple(int.from_bytes(word, point.byte_order) for word in words)


def _raw(point: Point, values: Sequence[int]) -> int | float:
    if point.function in {1, 2}:
        return values[0]
    words = [value.to_bytes(2, point.byte_order) for value in values[: WIDTH[point.dtype]]]
    if point.word_order == "little":
        words.reverse()
    raw: int | float = struct.unpack(_FORMAT[point.dtype], b"".join(words))[0]
    if point.bits is not None:
        raw = int(raw) >> point.bits.first & (1 << point.bits.count) - 1
    return raw
