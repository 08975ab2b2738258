import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.modbus_points import decode_point, encode_raw
from drivers.entities import Quality
from firmware_profiles.model import REGISTERS, Bits, DataType, Point, Span

RANGES = {
    "uint16": (0, 0xFFFF),
    "int16": (-0x8000, 0x7FFF),
    "uint32": (0, 0xFFFF_FFFF),
    "int32": (-0x8000_0000, 0x7FFF_FFFF),
    "uint64": (0, 2**64 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "bcd16": (0, 9_999),
    "bcd32": (0, 99_999_999),
}


def point(dtype: DataType = "uint16", **fields: object) -> Point:
    return Point(id="p", capability="measurement", function=3, register=0, dtype=dtype, **fields)  # type: ignore[arg-type]  # each test names real fields


@given(
    st.sampled_from(sorted(RANGES)),
    st.sampled_from(["big", "little"]),
    st.sampled_from(["big", "little"]),
    st.data(),
)
def test_integers_survive_any_byte_and_word_order(
    dtype: DataType, byte_order: str, word_order: str, data: st.DataObject
) -> None:
    described = point(dtype, byte_order=byte_order, word_order=word_order, enum={})
    raw = data.draw(st.integers(*RANGES[dtype]))
    registers = encode_raw(described, raw)
    assert len(registers) == REGISTERS[dtype]
    found = decode_point(described, registers).value
    assert found == round(float(raw), 6)


def test_decimal_digits_are_read_as_they_are_written() -> None:
    assert decode_point(point("bcd16"), (0x1234,)).value == 1234
    assert decode_point(point("bcd32", word_order="little"), (0x5678, 0x1234)).value == 12345678
    found = decode_point(point("bcd16"), (0x12A4,))
    assert (found.value, found.quality) == (None, Quality.BAD)
    assert found.reason == "the device sent a digit above 9"


def test_a_double_is_read_from_four_registers() -> None:
    # IEEE 754: -118.625 is 0xC05DA80000000000.
    assert decode_point(point("float64"), (0xC05D, 0xA800, 0, 0)).value == -118.625


@pytest.mark.parametrize(
    ("dtype", "raw"), [("uint16", 65_536), ("int16", -32_769), ("bcd16", 10_000), ("bcd32", -1)]
)
def test_a_number_that_does_not_fit_is_refused(dtype: DataType, raw: int) -> None:
    with pytest.raises(ValueError, match=f"{raw} does not fit {dtype}"):
        encode_raw(point(dtype), raw)


@pytest.mark.parametrize(
    ("word_order", "byte_order", "registers"),
    [
        ("big", "big", (0x4248, 0x0000)),
        ("little", "big", (0x0000, 0x4248)),
        ("big", "little", (0x4842, 0x0000)),
        ("little", "little", (0x0000, 0x4842)),
    ],
)
def test_fifty_is_read_in_all_four_float_orders(
    word_order: str, byte_order: str, registers: tuple[int, int]
) -> None:
    # IEEE 754: 50.0 is 0x42480000.
    assert struct.pack(">f", 50.0) == b"\x42\x48\x00\x00"
    described = point("float32", word_order=word_order, byte_order=byte_order)
    assert decode_point(described, registers).value == 50.0


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_no_number_is_bad(number: float) -> None:
    described = point("float32")
    found = decode_point(described, encode_raw(described, number))
    assert (found.value, found.quality) == (None, Quality.BAD)


def test_a_value_outside_the_valid_range_is_kept_as_uncertain() -> None:
    found = decode_point(point(scale=0.1, unit="%", valid=Span(low=0.0, high=100.0)), (1001,))
    assert found.value == 100.1
    assert found.quality is Quality.UNCERTAIN
    assert found.reason == "100.1 is outside 0.0 to 100.0 %"


def test_the_devices_own_mark_for_no_value_is_bad() -> None:
    found = decode_point(point("int16", invalid=(-32768,)), (0x8000,))
    assert (found.value, found.quality) == (None, Quality.BAD)
    assert "-32768" in found.reason


def test_bits_are_counted_from_the_least_significant() -> None:
    assert decode_point(point(bits=Bits(first=4, count=3)), (0b1101_0000,)).value == 0b101


def test_words_of_an_enum_replace_numbers_and_unknown_ones_are_bad() -> None:
    described = point(enum={"0": "off", "1": "on"})
    assert decode_point(described, (1,)).value == "on"
    assert decode_point(described, (2,)).quality is Quality.BAD


def test_scale_and_offset_leave_no_binary_dust() -> None:
    assert decode_point(point(scale=0.1, offset=-40.0), (403,)).value == 0.3
