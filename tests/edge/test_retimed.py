"""Fragments of another school on our own track and time line: strict, and nothing else changes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.h264 import ParameterSets
from edge.lesson.capture.fmp4 import Sample, fragment, video_init
from edge.lesson.way_back.retimed import DECODE_TIME_MAX, retimed, retracked
from sync.errors import MalformedError

# x264's parameter sets of 1280x720 Baseline: FFmpeg 5.1, -s 1280x720 -profile:v baseline.
SPS = bytes.fromhex("6742c01fd9005005bb011000000300100000030320f1832480")
PPS = bytes.fromhex("68ce3c80")


def made(number: int = 3, decode_time: int = 77, track: int = 1) -> bytes:
    samples = [Sample(b"one", 40, keyframe=True), Sample(b"another", 41, keyframe=False)]
    return fragment(track, number, decode_time, samples)


def init() -> bytes:
    sets = ParameterSets()
    sets.put(SPS)
    sets.put(PPS)
    found = sets.video_format()
    assert found is not None
    return video_init(found)


@given(
    track=st.integers(1, 15),
    number=st.integers(0, 2**32 - 2),
    decode_time=st.integers(0, DECODE_TIME_MAX),
)
def test_a_fragment_is_as_if_it_had_been_made_there(
    track: int, number: int, decode_time: int
) -> None:
    moved = retimed(made(), track=track, number=number, decode_time=decode_time)
    assert moved == made(number=number, decode_time=decode_time, track=track)


def test_an_init_names_its_new_track_where_the_old_one_stood() -> None:
    moved = retracked(init(), 9)
    changed = [at for at, (old, new) in enumerate(zip(init(), moved, strict=True)) if old != new]
    header, defaults = moved.index(b"tkhd"), moved.index(b"trex")
    assert changed == [header + 4 + 4 + 8 + 3, defaults + 4 + 4 + 3]
    assert retracked(moved, 1) == init()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        retimed(data, track=9, number=0, decode_time=0)
    with pytest.raises(MalformedError):
        retracked(data, 9)


@given(
    at=st.integers(0, len(made()) - 1),
    value=st.integers(0, 255),
    cut=st.integers(0, len(made())),
)
def test_damaged_fragments_raise_nothing_but_their_error(at: int, value: int, cut: int) -> None:
    damaged = bytearray(made())
    damaged[at] = value
    for data in (bytes(damaged), bytes(damaged[:cut])):
        try:
            moved = retimed(data, track=9, number=0, decode_time=0)
        except MalformedError:
            continue
        assert len(moved) == len(data)


@given(at=st.integers(0, len(init()) - 1), value=st.integers(0, 255))
def test_damaged_inits_raise_nothing_but_their_error(at: int, value: int) -> None:
    damaged = bytearray(init())
    damaged[at] = value
    try:
        moved = retracked(bytes(damaged), 9)
    except MalformedError:
        return
    assert len(moved) == len(damaged)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (made() + made(), "no fragment as this program makes them"),
        (made().replace(b"tfdt", b"tfdx"), "0 boxes tfdt"),
        (made().replace(b"tfdt\x01", b"tfdt\x00"), "32 bits"),
        (made().replace(b"mfhd", b"traf"), "boxes mfhd"),
        (struct.pack(">I4s", 8, b"free") * 20, "more than 16 boxes"),
    ],
)
def test_what_no_node_of_ours_makes_is_refused_by_name(damaged: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        retimed(damaged, track=9, number=0, decode_time=0)


def test_a_time_outside_every_time_line_is_refused() -> None:
    with pytest.raises(MalformedError, match="outside every time line"):
        retimed(made(), track=9, number=0, decode_time=-1)
