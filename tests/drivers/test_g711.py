import random
import warnings
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.g711 import FILLED_SAMPLES_MAX, LinearSamples, linear_samples
from drivers.codecs.rtp import RtpPacket
from drivers.errors import ProtocolError

ALL = bytes(range(256))


def packet(number: int, timestamp: int, payload: bytes) -> RtpPacket:
    return RtpPacket(0, False, number & 0xFFFF, timestamp & 0xFFFFFFFF, 7, payload)


def test_every_byte_becomes_what_pythons_own_codec_says() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves Python with 3.13
        import audioop  # noqa: PLC0415 - only here, for the same reason
    assert linear_samples("PCMU", ALL).tobytes() == audioop.ulaw2lin(ALL, 2)
    assert linear_samples("PCMA", ALL).tobytes() == audioop.alaw2lin(ALL, 2)


@given(
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.integers(1, 500), min_size=1, max_size=30),
)
def test_packets_of_any_length_become_equal_blocks_end_to_end(
    begins: int, lengths: list[int]
) -> None:
    chance, reader, at = random.Random(1), LinearSamples("PCMA", 160), begins
    sent, blocks = b"", list[tuple[int, bytes]]()
    for number, length in enumerate(lengths):
        payload = chance.randbytes(length)
        blocks += reader.take(packet(number, at, payload))
        sent, at = sent + payload, at + length
    whole = linear_samples("PCMA", sent).tobytes()
    assert [begin for begin, _ in blocks] == [
        (begins + 160 * n) & 0xFFFFFFFF for n in range(len(sent) // 160)
    ]
    assert b"".join(data for _, data in blocks) == whole[: len(blocks) * 320]


def test_lost_sound_becomes_silence_of_its_length() -> None:
    reader = LinearSamples("PCMU", 160)
    reader.take(packet(0, 0, bytes(160)))
    blocks = reader.take(packet(2, 320, bytes(160)))
    assert reader.lost_packets == 1
    assert blocks[0] == (160, bytes(320))
    assert blocks[1] == (320, linear_samples("PCMU", bytes(160)).tobytes())


def test_a_pause_of_seconds_begins_anew_and_too_much_sound_is_cut() -> None:
    reader = LinearSamples("PCMU", 160)
    reader.take(packet(0, 0, bytes(200)))
    later = FILLED_SAMPLES_MAX * 3
    assert reader.take(packet(1, later, bytes(160)))[0][0] == later
    assert [at for at, _ in reader.take(packet(2, later + 150, bytes(160)))] == []
    assert [at for at, _ in reader.take(packet(3, later + 310, bytes(160)))] == [later + 160]


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=9000)),
        max_size=12,
    )
)
def test_arbitrary_packets_raise_nothing_but_protocol_errors_and_keep_little(
    sent: list[tuple[int, int, bytes]],
) -> None:
    reader = LinearSamples("PCMU", 160)
    for number, timestamp, payload in sent:
        try:
            blocks = reader.take(packet(number, timestamp, payload))
        except ProtocolError:
            continue
        samples = sum(len(array("h", data)) for _, data in blocks)
        assert samples <= FILLED_SAMPLES_MAX + len(payload) + 160


@pytest.mark.parametrize("size", [0, 8001])
def test_a_packet_that_no_camera_sends_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError, match=f"{size} bytes"):
        LinearSamples("PCMU", 160).take(packet(0, 0, bytes(size)))
