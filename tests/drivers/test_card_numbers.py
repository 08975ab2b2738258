import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.card_numbers import canonical_card, card_of_hex, readings, turned

# Printed on the card: 0008075634 and, beside it, 123,14706 (EEVblog forum, Seabreeze RFID).
PRINTED = "0008075634"


@pytest.mark.parametrize(
    "written",
    ["0008075634", "8075634", "6F007B3972", "007b3972", "7B3972", "0x007B3972", "123,14706"],
)
def test_however_a_card_is_written_its_number_is_what_is_printed_on_it(written: str) -> None:
    assert canonical_card(written) == PRINTED


def test_a_card_printed_in_both_ways_is_one_card() -> None:
    assert canonical_card("213 02000") == canonical_card("0013961168")
    assert 13_961_168 in readings("21302000")


def test_a_readers_hexadecimal_digits_are_never_taken_for_decimal_ones() -> None:
    assert card_of_hex("0100123456") == f"{0x00123456:010}"
    assert canonical_card("0100123456") == "0100123456"
    assert 0x00123456 in readings("0100123456")


def test_a_long_serial_number_stays_hexadecimal_in_either_notation() -> None:
    assert canonical_card("04:a2:2b:ff:10:55:80") == "04A22BFF105580"
    assert canonical_card(str(0x04A22BFF105580)) == "04A22BFF105580"


def test_ten_digits_above_32_bits_are_a_version_byte_and_a_number() -> None:
    assert canonical_card("9876543210") == f"{0x76543210:010}"


@pytest.mark.parametrize("text", ["", "   ", "AA", "三年级", "300,14706", "12:ZZ", "9" * 40])
def test_what_is_no_number_is_kept_as_text(text: str) -> None:
    assert readings(text) == ()
    assert canonical_card(text) == text.replace(" ", "").replace(":", "").upper()


@given(st.text(max_size=40))
def test_the_canonical_form_of_any_text_is_its_own_canonical_form(text: str) -> None:
    once = canonical_card(text)
    assert canonical_card(once) == once


@given(st.integers(0, 0xFFFF_FFFF))
def test_a_32_bit_number_is_the_same_in_decimal_and_in_hexadecimal(number: int) -> None:
    assert canonical_card(f"0A{number:08X}") == f"{number:010}" == card_of_hex(f"{number:08X}")
    assert turned(turned(number)) == number
