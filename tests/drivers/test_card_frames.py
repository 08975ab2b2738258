import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.card_frames import (
    BrokenFrame,
    CardFrame,
    CardFrameDecoder,
    encode_card_frame,
)
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId

cards = st.binary(min_size=5, max_size=5).map(lambda data: data.hex().upper())


@pytest.mark.parametrize(
    "vector", load_catalog().profiles[ProfileId("rdm6300")].vectors, ids=lambda v: v.name
)
def test_quoted_frames_give_the_quoted_cards(vector: object) -> None:
    reply, values = getattr(vector, "reply"), getattr(vector, "values")  # noqa: B009 — parametrized
    assert CardFrameDecoder().feed(bytes.fromhex(reply)) == [CardFrame(values["card"])]
    assert encode_card_frame(values["card"]) == bytes.fromhex(reply)


def test_the_printed_number_is_the_last_eight_digits() -> None:
    # EEVblog: the card 6F007B3972 has 0008075634 printed on it.
    version_and_tag = bytes.fromhex("6F007B3972")
    assert int.from_bytes(version_and_tag[1:]) == 8075634


@given(st.lists(cards, max_size=5), st.integers(1, 20))
def test_cards_are_read_however_the_stream_is_cut(shown: list[str], size: int) -> None:
    stream = b"".join(encode_card_frame(card) for card in shown)
    decoder = CardFrameDecoder()
    events = [
        event
        for start in range(0, len(stream), size)
        for event in decoder.feed(stream[start : start + size])
    ]
    assert events == [CardFrame(card) for card in shown]


@given(cards, st.data())
def test_a_frame_with_one_wrong_bit_is_never_another_card(card: str, data: st.DataObject) -> None:
    frame = bytearray(encode_card_frame(card))
    place = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[place // 8] ^= 1 << place % 8
    read = {e.card for e in CardFrameDecoder().feed(bytes(frame)) if isinstance(e, CardFrame)}
    # A flipped case bit leaves the digit's value, and so the card, what it was.
    assert read <= {card}


@given(cards, st.binary(max_size=30).filter(lambda noise: b"\x02" not in noise))
def test_noise_before_a_frame_is_counted_and_costs_no_card(card: str, noise: bytes) -> None:
    events = CardFrameDecoder().feed(noise + encode_card_frame(card))
    assert [e for e in events if isinstance(e, CardFrame)] == [CardFrame(card)]
    assert any(isinstance(e, BrokenFrame) for e in events) is bool(noise)


def test_a_frame_that_broke_off_does_not_swallow_the_next() -> None:
    frame = encode_card_frame("010063E9AE")
    events = CardFrameDecoder().feed(frame[:6] + frame)
    assert events == [BrokenFrame("a frame began after 6 bytes"), CardFrame("010063E9AE")]


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_raise(parts: list[bytes]) -> None:
    decoder = CardFrameDecoder()
    for part in parts:
        decoder.feed(part)


@pytest.mark.parametrize("card", ["", "0102", "01020304050607", "xyz"])
def test_what_is_no_card_is_not_framed(card: str) -> None:
    with pytest.raises(ValueError, match=r"digits|hexadecimal"):
        encode_card_frame(card)
