import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.card_frames import BrokenFrame, CardFrame
from drivers.codecs.wiegand import WiegandLineDecoder, decode_bits, encode_bits, encode_line
from firmware_profiles.catalog import load_catalog

PROFILES = load_catalog().profiles
# Arduino forum, topic 1221511: printed number, and 26 bits with D0 and D1 exchanged.
FORUM = {
    13_477_100: "00011001001011011000100110",
    13_477_183: "00011001001011010110000000",
    14_594_826: "00010000101001100111101010",
    1_217_496: "11110110101101100001001110",
}
EXCHANGED = str.maketrans("01", "10")


@pytest.mark.parametrize("printed", FORUM)
def test_the_bits_of_real_cards_are_the_numbers_printed_on_them(printed: int) -> None:
    bits = FORUM[printed].translate(EXCHANGED)
    assert decode_bits(bits) == CardFrame(f"{printed:06X}")
    assert encode_bits(printed, 26) == bits
    assert isinstance(decode_bits(FORUM[printed]), BrokenFrame)


@pytest.mark.parametrize("bits", [26, 34])
@given(data=st.data())
def test_one_changed_bit_is_never_a_card(bits: int, data: st.DataObject) -> None:
    frame = encode_bits(data.draw(st.integers(0, (1 << bits - 2) - 1)), bits)
    place = data.draw(st.integers(0, bits - 1))
    turned = frame[place].translate(EXCHANGED)
    assert isinstance(decode_bits(frame[:place] + turned + frame[place + 1 :]), BrokenFrame)


@pytest.mark.parametrize(
    ("said", "card"),
    [
        (b"D507D0\r", "D507D0"),
        (b"00d507d0\r\n", "00D507D0"),
        (b"0000123478\r\n", "0001E256"),
        (b"213,02000\r\n", "D507D0"),
        (encode_line("7B3972"), "7B3972"),
    ],
)
def test_a_line_of_a_converter_is_a_card(said: bytes, card: str) -> None:
    assert WiegandLineDecoder().feed(said) == [CardFrame(card)]


@pytest.mark.parametrize("said", [b"5\r", b"ZZZZZZ\r", b"999,99999\r", b"9999999999\r", b"x" * 99])
def test_keys_and_noise_are_no_cards(said: bytes) -> None:
    decoder = WiegandLineDecoder()
    events = decoder.feed(said) + decoder.feed(b"\n")
    assert events
    assert all(isinstance(event, BrokenFrame) for event in events)


def test_a_card_after_an_overlong_line_is_read() -> None:
    decoder = WiegandLineDecoder()
    assert isinstance(decoder.feed(b"\xff" * 10_000 + b"\r")[0], BrokenFrame)
    assert decoder.feed(b"D507D0\r") == [CardFrame("D507D0")]


@given(st.binary(max_size=400), st.integers(0, 999))
def test_arbitrary_bytes_in_any_pieces_raise_nothing(data: bytes, seed: int) -> None:
    whole = WiegandLineDecoder().feed(data)
    chance, decoder, pieces, rest = random.Random(seed), WiegandLineDecoder(), [], data
    while rest:
        size = chance.randint(1, 40)
        pieces += decoder.feed(rest[:size])
        rest = rest[size:]
    assert pieces == whole


@pytest.mark.parametrize(("number", "bits"), [(1 << 24, 26), (-1, 26), (1, 30)])
def test_a_number_that_does_not_fit_is_refused(number: int, bits: int) -> None:
    with pytest.raises(ValueError, match="no card"):
        encode_bits(number, bits)
