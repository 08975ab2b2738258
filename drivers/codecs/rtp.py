"""RTP and RTCP packets (RFC 3550), and their wrapping counters made endless."""

import struct

import msgspec

from drivers.errors import ProtocolError

NTP_UNIX_OFFSET_S = 2_208_988_800  # 1900-01-01 to 1970-01-01

_FIXED = struct.Struct("!BBHII")
_RTCP_HEAD = struct.Struct("!BBH")
_REPORT_HEAD = struct.Struct("!BBHI")
_SENDER = struct.Struct("!IIIII")
_VERSION = 2
_PACKET_SENDER_REPORT = 200
_PACKET_RECEIVER_REPORT = 201
_PACKET_BYE = 203
_PACKET_TYPES = range(192, 224)  # RFC 5761 §4
_SEQUENCE_HALF = 1 << 15
_TIMESTAMP_HALF = 1 << 31


class RtpPacket(msgspec.Struct, frozen=True, gc=False):
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


class SenderReport(msgspec.Struct, frozen=True, gc=False):
    """One instant on both of a sender's clocks; ``ntp_s`` is Unix time in seconds."""

    ssrc: int
    ntp_s: float
    timestamp: int


class Bye(msgspec.Struct, frozen=True, gc=False):
    """The sender ends its stream."""


class Sequence:
    """Follows one sender's sequence numbers."""

    def __init__(self) -> None:
        self._next: int | None = None

    def gap(self, sequence: int) -> int | None:
        """Return how many packets are missing before this one; None if it is an old one."""
        expected = sequence if self._next is None else self._next
        missing = (sequence - expected) & 0xFFFF
        if missing >= _SEQUENCE_HALF:
            return None
        self._next = (sequence + 1) & 0xFFFF
        return missing


class Unwrapper:
    """Makes 32-bit timestamps endless: each is placed nearest to the one before."""

    def __init__(self) -> None:
        self._last: int | None = None

    def unwrap(self, timestamp: int) -> int:
        if self._last is None:
            self._last = timestamp
            return timestamp
        self._last = self.near(timestamp)
        return self._last

    def near(self, timestamp: int) -> int:
        """Place a timestamp without moving on, e.g. one of a sender report."""
        last = timestamp if self._last is None else self._last
        ahead = (timestamp - last) & 0xFFFFFFFF
        return last + (ahead if ahead < _TIMESTAMP_HALF else ahead - (1 << 32))


def parse_rtp(data: bytes) -> RtpPacket:
    """Parse one RTP packet; raises ProtocolError."""
    if len(data) < _FIXED.size:
        raise ProtocolError(f"RTP packet of {len(data)} bytes")
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    if first >> 6 != _VERSION:
        raise ProtocolError(f"RTP version {first >> 6}")
    start = _FIXED.size + 4 * (first & 0x0F)
    end = len(data)
    if first & 0x10:
        if end < start + 4:
            raise ProtocolError("RTP header extension is cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        if not 1 <= data[-1] <= end - start:
            raise ProtocolError("RTP padding is longer than the packet")
        end -= data[-1]
    if start > end:
        raise ProtocolError("RTP header is longer than the packet")
    return RtpPacket(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, data[start:end])


def encode_rtp(packet: RtpPacket) -> bytes:
    second = packet.payload_type | (0x80 if packet.marker else 0)
    head = _FIXED.pack(
        _VERSION << 6, second, packet.sequence, packet.timestamp & 0xFFFFFFFF, packet.ssrc
    )
    return head + packet.payload


def parse_rtcp(data: bytes) -> list[SenderReport | Bye]:
    """Parse a compound RTCP packet; kinds that say nothing about time or end are passed over."""
    found: list[SenderReport | Bye] = []
    position = 0
    while position < len(data):
        if len(data) - position < _RTCP_HEAD.size:
            raise ProtocolError("RTCP packet is cut off")
        first, kind, words = _RTCP_HEAD.unpack_from(data, position)
        end = position + _RTCP_HEAD.size + 4 * words
        if first >> 6 != _VERSION or kind not in _PACKET_TYPES or end > len(data):
            raise ProtocolError("not an RTCP packet")
        if kind == _PACKET_SENDER_REPORT:
            found.append(_parse_sender_report(data[position:end]))
        elif kind == _PACKET_BYE:
            found.append(Bye())
        position = end
    return found


def encode_sender_report(report: SenderReport, packets: int, octets: int) -> bytes:
    """Return an SR without report blocks, the smallest compound packet a receiver can use."""
    ntp = round((report.ntp_s + NTP_UNIX_OFFSET_S) * (1 << 32))
    return _REPORT_HEAD.pack(_VERSION << 6, _PACKET_SENDER_REPORT, 6, report.ssrc) + _SENDER.pack(
        ntp >> 32 & 0xFFFFFFFF,
        ntp & 0xFFFFFFFF,
        report.timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )


def encode_receiver_report(ssrc: int) -> bytes:
    """Return an RR without report blocks: somebody listens (RFC 3550 §6.4.2)."""
    return _REPORT_HEAD.pack(_VERSION << 6, _PACKET_RECEIVER_REPORT, 1, ssrc)


def _parse_sender_report(data: bytes) -> SenderReport:
    if len(data) < _REPORT_HEAD.size + _SENDER.size:
        raise ProtocolError("RTCP sender report is cut off")
    *_, ssrc = _REPORT_HEAD.unpack_from(data)
    seconds, fraction, timestamp, _, _ = _SENDER.unpack_from(data, _REPORT_HEAD.size)
    return SenderReport(ssrc, seconds - NTP_UNIX_OFFSET_S + fraction / (1 << 32), timestamp)
