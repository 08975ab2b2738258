import base64
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.h264 import (
    Loss,
    ParameterSets,
    Picture,
    VideoDepacketiser,
    parameter_sets,
)
from drivers.codecs.h264_sps import parse_sps
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.errors import ProtocolError, RefusedError
from drivers.simulators.rtp_sender import picture_payloads

# Written by x264 (FFmpeg 5.1): -s SIZE -profile:v PROFILE, the last with -flags +ilme+ildct.
SPS = [
    ("67640028acd940780227e5c044000003000400000300c83c60c658", 100, (1920, 1080)),
    ("6742c01fd9005005bb011000000300100000030320f1832480", 66, (1280, 720)),
    ("674d400deca0a8cf11360220000003002000000641e28532c0", 77, (322, 182)),
    ("67f4001e919b281405ff1380880000030008000003019078b16cb0", 244, (640, 360)),
    ("6764001eacd940b424d8088000000300800000190f8a14cb", 100, (720, 576)),
]
SETS = (bytes.fromhex(SPS[1][0]), bytes.fromhex("68ce3c80"))
IDR = b"\x65" + bytes(range(256)) * 20
SLICE = b"\x61" + bytes(reversed(range(256))) * 8


def media(encoding: str = "H264", **parameters: str) -> Media:
    return Media(kind="video", payload_type=96, encoding=encoding, parameters=parameters)


def packets(*pictures: tuple[bytes, ...]) -> list[RtpPacket]:
    """Cut pictures into packets, 3600 apart, as the simulated camera does."""
    out: list[RtpPacket] = []
    for number, units in enumerate(pictures):
        payloads = list(picture_payloads(units))
        for place, payload in enumerate(payloads, 1):
            marker = place == len(payloads)
            out.append(RtpPacket(96, marker, len(out) & 0xFFFF, number * 3600, 7, payload))
    return out


def take_all(sent: list[RtpPacket]) -> list[Picture | Loss]:
    depacketiser = VideoDepacketiser(ParameterSets())
    return [found for packet in sent for found in depacketiser.take(packet)]


def units_of(picture: Picture | Loss) -> list[bytes]:
    assert isinstance(picture, Picture)
    units, position = [], 0
    while position < len(picture.data):
        end = position + 4 + int.from_bytes(picture.data[position : position + 4], "big")
        units.append(picture.data[position + 4 : end])
        position = end
    return units


@pytest.mark.parametrize(("unit", "profile", "size"), SPS)
def test_profile_and_shown_size_are_read(unit: str, profile: int, size: tuple[int, int]) -> None:
    facts = parse_sps(bytes.fromhex(unit))
    assert (facts.profile, facts.width, facts.height) == (profile, *size)


def test_pictures_come_out_as_they_went_in_without_parameter_sets() -> None:
    pictures = take_all(packets((*SETS, IDR), (SLICE, SLICE), (SLICE,)))
    assert [units_of(picture) for picture in pictures] == [[IDR], [SLICE, SLICE], [SLICE]]
    assert [p.keyframe for p in pictures if isinstance(p, Picture)] == [True, False, False]
    assert [p.timestamp for p in pictures if isinstance(p, Picture)] == [0, 3600, 7200]


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from([0x41, 0x65, 0x06]), st.binary(min_size=1, max_size=5000)),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_units_survive_packetisation(pictures: list[list[tuple[int, bytes]]]) -> None:
    built = [tuple(bytes((kind,)) + body for kind, body in units) for units in pictures]
    with_keyframe = [(IDR,), *(units for units in built)]
    found = take_all(packets(*with_keyframe))
    seen = [units for units in with_keyframe if any(unit[0] & 0x1F in {1, 5} for unit in units)]
    assert [tuple(units_of(picture)) for picture in found] == seen


def test_a_take_begins_at_a_keyframe() -> None:
    found = take_all(packets((SLICE,), (SLICE,), (*SETS, IDR), (SLICE,)))
    assert [units_of(picture)[0][0] for picture in found] == [0x65, 0x61]


@pytest.mark.parametrize("lost", range(1, 8))
def test_after_any_lost_packet_pictures_go_on_at_the_next_keyframe(lost: int) -> None:
    sent = packets((*SETS, IDR), (SLICE,), (SLICE,), (*SETS, IDR), (SLICE,))
    assert len(sent) > 8
    found = take_all([packet for packet in sent if packet.sequence != lost])
    assert [one for one in found if isinstance(one, Loss)] == [Loss(packets=1)]
    pictures = [one for one in found if isinstance(one, Picture)]
    after = found.index(Loss(packets=1))
    assert all(units_of(p)[-1] in {IDR, SLICE} for p in pictures)
    resumed = found[after + 1]
    assert isinstance(resumed, Picture)
    assert resumed.keyframe
    assert resumed.timestamp == 3 * 3600


def test_an_old_packet_is_passed_over() -> None:
    sent = packets((*SETS, IDR), (SLICE,))
    assert take_all([*sent, sent[0], sent[-1]]) == take_all(sent)


def test_a_camera_without_markers_is_read_by_its_timestamps() -> None:
    sent = packets((*SETS, IDR), (SLICE,), (SLICE,))
    unmarked = [
        RtpPacket(p.payload_type, False, p.sequence, p.timestamp, p.ssrc, p.payload) for p in sent
    ]
    assert take_all(unmarked) == take_all(sent)[:2]


def test_parameter_sets_come_from_the_description_or_the_stream() -> None:
    words = ",".join(base64.b64encode(unit).decode() for unit in SETS)
    told = parameter_sets(media(**{"sprop-parameter-sets": words})).video_format()
    assert told is not None
    assert told.codec == "avc1.42c01f"
    sets = parameter_sets(media())
    assert sets.video_format() is None
    depacketiser = VideoDepacketiser(sets)
    for packet in packets((*SETS, IDR)):
        depacketiser.take(packet)
    assert sets.video_format() == told


@pytest.mark.parametrize("encoding", ["H265", "JPEG", ""])
def test_other_codecs_are_refused_with_the_remedy(encoding: str) -> None:
    with pytest.raises(RefusedError, match=r"set its video encoding to H\.264"):
        parameter_sets(media(encoding))


def test_interleaved_pictures_are_refused_with_the_remedy() -> None:
    with pytest.raises(RefusedError, match="packetization-mode 1"):
        parameter_sets(media(**{"packetization-mode": "2"}))


@pytest.mark.parametrize(
    "payload",
    [
        b"\xe5picture",  # forbidden bit
        b"\x1d\x00\x00",  # FU-B
        b"\x7c\x05rest",  # a fragment's middle without its start
        b"\x7c\xc5both",  # start and end in one
        b"\x7c\x85",  # empty fragment
        b"\x78\x00",  # aggregate of half a length
        b"\x78\x00\x09\x65short",
        b"\x78\x00\x00",
        b"\x78\x00\x02\x7c\x85",  # a fragment in an aggregate
        b"\x67\x42",  # SPS without contents
    ],
)
def test_malformed_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        take_all([RtpPacket(96, True, 0, 0, 7, payload)])


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=40)
            | st.builds(
                bytes.__add__,
                st.sampled_from(
                    [b"\x7c\x85", b"\x7c\x05", b"\x7c\x45", b"\x78", b"\x67\x42", b"\x68"]
                ),
                st.binary(max_size=30),
            ),
            st.booleans(),
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        max_size=20,
    )
)
def test_arbitrary_payloads_raise_nothing_but_protocol_errors(
    parts: list[tuple[bytes, bool, int, int]],
) -> None:
    depacketiser = VideoDepacketiser(ParameterSets())
    sequence = timestamp = 0
    for payload, marker, skip, step in parts:
        sequence, timestamp = sequence + 1 + skip, timestamp + step
        try:
            depacketiser.take(RtpPacket(96, marker, sequence, timestamp, 7, payload))
        except ProtocolError:
            continue


@given(st.binary(max_size=60))
def test_an_arbitrary_sps_raises_nothing_but_protocol_errors(data: bytes) -> None:
    for start in (b"", b"\x67\x64\x00\x1f", b"\x67\x42\x00\x1f"):
        try:
            parse_sps(start + data)
        except ProtocolError:
            continue


def test_what_a_picture_may_hold_is_bounded() -> None:
    depacketiser = VideoDepacketiser(ParameterSets())
    depacketiser.take(RtpPacket(96, False, 0, 0, 7, b"\x7c\x85" + bytes(60_000)))
    middles = (
        RtpPacket(96, False, number, 0, 7, b"\x7c\x05" + bytes(60_000)) for number in range(1, 200)
    )
    with pytest.raises(ProtocolError, match="more than"):
        deque(map(depacketiser.take, middles), maxlen=0)
