import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.opus import (
    OPUS_RATE,
    OpusDepacketiser,
    opus_format,
    packet_samples,
)
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame
from drivers.errors import ProtocolError, RefusedError

TWENTY_MS = 9 << 3  # RFC 6716 table 2: SILK, wideband, 20 ms, one frame
SOUND = bytes((TWENTY_MS, 1, 2, 3))


def media(rate: int = OPUS_RATE, **parameters: str) -> Media:
    return Media(
        kind="audio",
        payload_type=97,
        encoding="OPUS",
        clock_rate=rate,
        channels=2,
        parameters={name.replace("_", "-"): value for name, value in parameters.items()},
    )


def packet(number: int, timestamp: int, payload: bytes = SOUND) -> RtpPacket:
    return RtpPacket(97, False, number, timestamp & 0xFFFFFFFF, 7, payload)


@pytest.mark.parametrize(
    ("data", "ms"),
    [
        # RFC 6716 table 2, one configuration of each row, and §3.2's four ways to count frames.
        (bytes((0 << 3, 0)), 10),
        (bytes((3 << 3, 0)), 60),
        (bytes((11 << 3, 0)), 60),
        (bytes((12 << 3, 0)), 10),
        (bytes((15 << 3, 0)), 20),
        (bytes((16 << 3, 0)), 2.5),
        (bytes((31 << 3, 0)), 20),
        (bytes((31 << 3 | 1, 0)), 40),
        (bytes((31 << 3 | 2, 0)), 40),
        (bytes((31 << 3 | 3, 6, 0)), 120),
        (bytes((16 << 3 | 3, 48)), 120),
        (bytes((TWENTY_MS,)), 20),
    ],
)
def test_a_packet_tells_how_long_it_is(data: bytes, ms: float) -> None:
    assert packet_samples(data) == ms * 48


@pytest.mark.parametrize(
    "data", [b"", b"\xff", bytes((31 << 3 | 3, 0)), bytes((31 << 3 | 3, 7)), bytes(70_000)]
)
def test_a_packet_without_frames_or_of_more_than_120_ms_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        packet_samples(data)


def test_each_packet_is_a_frame_with_its_time() -> None:
    reader = OpusDepacketiser()
    frames = [frame for n in range(3) for frame in reader.take(packet(n, 5000 + 960 * n))]
    assert frames == [
        AudioFrame(timestamp=5000 + 960 * n, data=SOUND, samples=960) for n in range(3)
    ]


def test_lost_and_unsent_sound_is_filled_without_a_hole() -> None:
    reader = OpusDepacketiser()
    reader.take(packet(0xFFFF, -960))
    lost = reader.take(packet(1, 960))  # number 0 is missing
    unsent = reader.take(packet(2, 960 * 5))  # nothing was said for 60 ms
    assert reader.lost_packets == 1
    assert [frame.timestamp for frame in lost] == [0, 960]
    assert [frame.timestamp for frame in unsent] == [960 * n for n in (2, 3, 4, 5)]
    assert {frame.data for frame in [*lost[:-1], *unsent[:-1]]} == {bytes((TWENTY_MS,))}


def test_a_pause_of_seconds_leaves_its_time_empty() -> None:
    reader = OpusDepacketiser()
    reader.take(packet(0, 0))
    assert len(reader.take(packet(1, 10 * OPUS_RATE))) == 1


def test_stereo_is_announced_and_other_clocks_are_refused() -> None:
    assert opus_format(media()).channels == 1
    assert opus_format(media(sprop_stereo="1")).channels == 2
    with pytest.raises(RefusedError, match="16000 Hz"):
        opus_format(media(16_000))


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)),
        max_size=12,
    )
)
def test_arbitrary_packets_raise_nothing_but_protocol_errors_and_fill_a_second_at_most(
    sent: list[tuple[int, int, bytes]],
) -> None:
    reader = OpusDepacketiser()
    for number, timestamp, payload in sent:
        try:
            frames = reader.take(packet(number, timestamp, payload))
        except ProtocolError:
            continue
        assert sum(frame.samples for frame in frames[:-1]) <= OPUS_RATE
