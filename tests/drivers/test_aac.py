import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.aac import AudioDepacketiser, audio_format, parse_config
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame
from drivers.errors import ProtocolError, RefusedError

FORMAT = parse_config(bytes.fromhex("1188"))


def media(encoding: str = "MPEG4-GENERIC", rate: int = 48000, **changes: str) -> Media:
    parameters = {
        "mode": "AAC-hbr",
        "sizelength": "13",
        "indexlength": "3",
        "indexdeltalength": "3",
        "config": "118856e500",
    }
    return Media(
        kind="audio",
        payload_type=97,
        encoding=encoding,
        clock_rate=rate,
        parameters={**parameters, **changes},
    )


def packet(
    payload: bytes, number: int = 0, timestamp: int = 0, *, marker: bool = True
) -> RtpPacket:
    return RtpPacket(97, marker, number, timestamp, 7, payload)


def section(*sizes: int) -> bytes:
    """Build the AU header section of RFC 3640 §3.2.1: length in bits, then 13 + 3 bits each."""
    heads = b"".join((size << 3).to_bytes(2, "big") for size in sizes)
    return (16 * len(sizes)).to_bytes(2, "big") + heads


def test_a_cameras_description_gives_the_format() -> None:
    audio = audio_format(media())
    assert (audio.sample_rate, audio.channels, audio.frame_samples) == (48000, 1, 1024)
    assert audio.codec == "mp4a.40.2"


@pytest.mark.parametrize(
    ("config", "rate", "channels"), [("1190", 48000, 2), ("1210", 44100, 2), ("1408", 16000, 1)]
)
def test_well_known_configs_are_read(config: str, rate: int, channels: int) -> None:
    # As FFmpeg and GStreamer write them for AAC-LC.
    audio = parse_config(bytes.fromhex(config))
    assert (audio.sample_rate, audio.channels) == (rate, channels)


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA", "MP4A-LATM", "G726-32"])
def test_other_codecs_are_refused_with_the_remedy(encoding: str) -> None:
    with pytest.raises(RefusedError, match="set its audio encoding to AAC"):
        audio_format(media(encoding))


@pytest.mark.parametrize("config", ["2b8c08", "1180", "11b0", "1f88"])
def test_other_kinds_of_aac_are_refused_with_the_remedy(config: str) -> None:
    with pytest.raises(RefusedError, match="AAC-LC, mono or stereo"):
        audio_format(media(config=config))


def test_a_clock_that_is_not_the_sample_rate_is_refused() -> None:
    with pytest.raises(ProtocolError, match="48000"):
        audio_format(media(rate=8000))


def test_several_frames_in_a_packet_follow_each_other_in_time() -> None:
    frames = AudioDepacketiser(FORMAT).take(packet(section(3, 2, 4) + b"abcdefghi", timestamp=5000))
    assert frames == [
        AudioFrame(timestamp=5000, data=b"abc", samples=1024),
        AudioFrame(timestamp=6024, data=b"de", samples=1024),
        AudioFrame(timestamp=7048, data=b"fghi", samples=1024),
    ]


def test_a_frame_in_fragments_is_put_together() -> None:
    depacketiser = AudioDepacketiser(FORMAT)
    assert depacketiser.take(packet(section(6) + b"abc", 0, marker=False)) == []
    assert depacketiser.take(packet(section(6) + b"def", 1)) == [
        AudioFrame(timestamp=0, data=b"abcdef", samples=1024)
    ]


def test_a_lost_fragment_loses_one_frame_and_is_counted() -> None:
    depacketiser = AudioDepacketiser(FORMAT)
    depacketiser.take(packet(section(9) + b"abc", 0, marker=False))
    with pytest.raises(ProtocolError, match="9 bytes ended with 3"):
        depacketiser.take(packet(section(9) + b"ghi", 2))
    assert depacketiser.lost_packets == 1
    assert depacketiser.take(packet(section(1) + b"x", 3, 1024)) == [
        AudioFrame(timestamp=1024, data=b"x", samples=1024)
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x10",
        b"\x00\x11\x00\x18abc",
        section(0) + b"x",
        section(3, 3) + b"abcd",
        section(2) + b"abcd",
        b"\x00\x10" + (3 << 3 | 1).to_bytes(2, "big") + b"abc",
        section(*[1] * 65) + bytes(65),
    ],
)
def test_malformed_packets_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        AudioDepacketiser(FORMAT).take(packet(payload))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=12))
def test_any_frames_survive_packing(frames: list[bytes]) -> None:
    sent = section(*map(len, frames)) + b"".join(frames)
    found = AudioDepacketiser(FORMAT).take(packet(sent))
    assert [frame.data for frame in found] == frames


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=20)
            | st.builds(bytes.__add__, st.just(b"\x00\x10"), st.binary(max_size=20)),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_arbitrary_payloads_raise_nothing_but_protocol_errors(
    parts: list[tuple[bytes, bool]],
) -> None:
    depacketiser = AudioDepacketiser(FORMAT)
    for number, (payload, marker) in enumerate(parts):
        try:
            depacketiser.take(packet(payload, number, marker=marker))
        except ProtocolError:
            continue


@given(st.binary(min_size=2, max_size=8))
def test_an_arbitrary_config_is_read_or_refused(config: bytes) -> None:
    try:
        audio = parse_config(config)
    except RefusedError:
        return
    assert audio.sample_rate >= 8000
