import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.rtp import (
    Bye,
    RtpPacket,
    SenderReport,
    Sequence,
    Unwrapper,
    encode_rtp,
    encode_sender_report,
    parse_rtcp,
    parse_rtp,
)
from drivers.errors import ProtocolError

# Laid out by hand from RFC 3550 §5.1: V=2 P X CC=1, M PT=96, 0x1234, then time, SSRC, CSRC,
# an extension of one word (§5.3.1), "media" and three bytes of padding.
FULL_PACKET = bytes.fromhex(
    "b1e01234 01020304 a0b0c0d0 00000001 bede0001 11223344 6d65646961 000003"
)


def test_extension_sources_and_padding_are_taken_off() -> None:
    assert parse_rtp(FULL_PACKET) == RtpPacket(96, True, 0x1234, 0x01020304, 0xA0B0C0D0, b"media")


@pytest.mark.parametrize("cut", range(len(FULL_PACKET) - 8))
def test_a_packet_cut_off_in_its_header_is_refused(cut: int) -> None:
    with pytest.raises(ProtocolError):
        parse_rtp(FULL_PACKET[:cut])


@given(
    st.builds(
        RtpPacket,
        st.integers(0, 127),
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.binary(max_size=100),
    )
)
def test_a_packet_reads_back(packet: RtpPacket) -> None:
    assert parse_rtp(encode_rtp(packet)) == packet


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x80", b"\xb1\xe0", b"\x80\xc8\x00\x06"]))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes, start: bytes) -> None:
    for parse in (parse_rtp, parse_rtcp):
        try:
            parse(start + data)
        except ProtocolError:
            continue


def test_a_sender_report_is_read_from_a_compound_packet() -> None:
    # RFC 3550 §6.4.1 by hand: 2024-01-01 00:00:00.5 UTC is NTP 3913056000.5; then SDES, then BYE.
    report = bytes.fromhex(
        "80c80006 a0b0c0d0 e93c7f00 80000000 00000064 00000005 00000384"
        "81ca0002 a0b0c0d0 01010000"
        "81cb0001 a0b0c0d0"
    )
    assert parse_rtcp(report) == [SenderReport(0xA0B0C0D0, 1704067200.5, 100), Bye()]


@given(st.integers(0, 0xFFFFFFFF), st.integers(1, 2_000_000_000_000))
def test_a_sender_report_reads_back_to_the_millisecond(timestamp: int, t_ms: int) -> None:
    sent = SenderReport(7, t_ms / 1000, timestamp)
    (read,) = parse_rtcp(encode_sender_report(sent, 5, 900))
    assert isinstance(read, SenderReport)
    assert (read.ssrc, read.timestamp) == (7, timestamp)
    assert read.ntp_s == pytest.approx(t_ms / 1000, abs=1e-3)


def test_missing_packets_are_counted_across_the_wrap_and_old_ones_are_known() -> None:
    sequence = Sequence()
    assert [sequence.gap(n) for n in (65533, 65534, 1, 1, 65534, 2)] == [0, 0, 2, None, None, 0]


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(-(1 << 30), 1 << 30), max_size=50))
def test_timestamps_unwrap_to_the_steps_they_were_made_of(first: int, steps: list[int]) -> None:
    unwrapper = Unwrapper()
    true = first
    assert unwrapper.unwrap(first) == first
    for step in steps:
        true += step
        assert unwrapper.unwrap(true & 0xFFFFFFFF) == true
