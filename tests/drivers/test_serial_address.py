from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import SetupError
from drivers.transports.serial_address import SerialAddress, parse_serial_address

names = st.text(st.characters(exclude_characters="/\x00", codec="utf-8"), min_size=1, max_size=20)


@given(names, st.integers(1, 4_000_000), st.none() | st.integers(1, 247))
def test_an_address_is_read_as_it_was_written(name: str, baud: int, unit: int | None) -> None:
    address = SerialAddress(path=Path("/dev") / name, baud=baud, unit=unit)
    assert parse_serial_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no serial address"),
        ("serial:ttyUSB0?baud=9600", "is no serial address"),
        ("serial://host/dev/x?baud=9600", "is no serial address"),
        ("serial:/dev/x", "lacks a baud rate"),
        ("serial:/dev/x?baud=9600&colour=red", "knows no 'colour'"),
        ("serial:/dev/x?baud=fast", "no number"),
        ("serial:/dev/x?baud=0", "no number"),
        ("serial:/dev/x?baud=9600&unit=248", "units are 1 to 247"),
    ],
)
def test_a_wrong_address_is_refused_with_its_fault(text: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        parse_serial_address(text)


@given(st.text(max_size=60).map(lambda tail: f"serial:/dev/x?{tail}"))
def test_no_text_raises_anything_but_a_setup_error(text: str) -> None:
    try:
        parse_serial_address(text)
    except SetupError:
        return
