import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.exchange.framing import STREAM_VERSION, FrameReader, frame
from sync.exchange.message import MESSAGE_BYTES_MAX
from sync.segments.varints import ByteReader, pack_int, pack_uint

BEGIN = bytes([STREAM_VERSION])


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, 2**32))
def test_frames_come_back_however_the_stream_is_cut(contents: list[bytes], seed: int) -> None:
    stream = BEGIN + b"".join(map(frame, contents))
    chance = random.Random(seed)
    read: list[bytes] = []
    reader, at = FrameReader(), 0
    while at < len(stream):
        step = chance.randrange(1, 40)
        read += list(reader.feed(stream[at : at + step]))
        at += step
    assert read == contents


def test_another_version_and_an_endless_frame_are_refused_by_their_first_bytes() -> None:
    with pytest.raises(MalformedError, match="version 9"):
        list(FrameReader().feed(b"\x09"))
    for length in (pack_uint(MESSAGE_BYTES_MAX + 1), b"\xff" * 9):
        with pytest.raises(MalformedError, match="frame"):
            list(FrameReader().feed(BEGIN + length))


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_frames_or_called_malformed(pieces: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for piece in pieces:
            list(reader.feed(piece))
    except MalformedError:
        pass


@given(st.integers(0, 2**63 - 1), st.integers(-(2**61), 2**61))
def test_integers_come_back(unsigned: int, signed: int) -> None:
    reader = ByteReader(pack_uint(unsigned) + pack_int(signed))
    assert (reader.uint(), reader.int()) == (unsigned, signed)
    assert reader.is_at_end


@given(st.binary(max_size=12))
def test_bytes_that_are_no_integer_are_called_malformed(data: bytes) -> None:
    for read in (ByteReader(data).uint, ByteReader(data).int, lambda: ByteReader(data).uint(100)):
        with contextlib.suppress(MalformedError):
            assert isinstance(read(), int)


def test_what_ends_too_early_or_is_too_much_is_told() -> None:
    with pytest.raises(MalformedError, match="follow"):
        ByteReader(b"ab").take(3)
    with pytest.raises(MalformedError, match="at most 5"):
        ByteReader(b"\x06").uint(5)
    with pytest.raises(MalformedError, match="63 bits"):
        ByteReader(b"\xff" * 10).uint()
