"""Cuts encoded pictures and sound into RTP packets, as a camera does (RFC 6184, RFC 3640)."""

import random
from collections.abc import Iterable, Iterator

from drivers.codecs.rtp import RtpPacket, SenderReport, encode_rtp, encode_sender_report

PAYLOAD_BYTES_MAX = 1400

_STAP_A = 24
_FU_A = 28
_PARAMETER_SETS = {7, 8}


class RtpSender:
    """One stream's numbering; SSRC, first sequence number and timestamp are by chance."""

    def __init__(self, payload_type: int, rate: float, chance: random.Random) -> None:
        self._payload_type = payload_type
        self._rate = rate
        self._ssrc = chance.getrandbits(32)
        self._sequence = chance.getrandbits(16)
        self._offset = chance.getrandbits(32)
        self._packets = 0
        self._octets = 0

    def packets(self, timestamp: int, payloads: Iterable[bytes]) -> list[bytes]:
        """Return the packets of one frame, the last with the marker."""
        parts = list(payloads)
        return [
            self._packet(timestamp, payload, marker=number == len(parts))
            for number, payload in enumerate(parts, 1)
        ]

    def report(self, began_s: float, timestamp: int) -> bytes:
        """Return a sender report for a timestamp of a stream that began at a Unix time."""
        instant = SenderReport(
            self._ssrc, began_s + timestamp / self._rate, timestamp + self._offset
        )
        return encode_sender_report(instant, self._packets, self._octets)

    def _packet(self, timestamp: int, payload: bytes, *, marker: bool) -> bytes:
        packet = RtpPacket(
            self._payload_type,
            marker,
            self._sequence,
            timestamp + self._offset & 0xFFFFFFFF,
            self._ssrc,
            payload,
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._packets += 1
        self._octets += len(payload)
        return encode_rtp(packet)


def picture_payloads(units: Iterable[bytes]) -> Iterator[bytes]:
    """Yield payloads of packetization mode 1: parameter sets together, long units in fragments."""
    sets: list[bytes] = []
    for unit in units:
        if unit[0] & 0x1F in _PARAMETER_SETS:
            sets.append(unit)
            continue
        if sets:
            yield bytes((sets[0][0] & 0x60 | _STAP_A,)) + b"".join(
                len(one).to_bytes(2, "big") + one for one in sets
            )
            sets = []
        if len(unit) <= PAYLOAD_BYTES_MAX:
            yield unit
        else:
            yield from _fragments(unit)


def sound_payload(frame: bytes) -> bytes:
    """Return the payload of one AAC frame, mode AAC-hbr: 16 bits of headers, 13 of them size."""
    return b"\x00\x10" + (len(frame) << 3).to_bytes(2, "big") + frame


def _fragments(unit: bytes) -> Iterator[bytes]:
    size = PAYLOAD_BYTES_MAX - 2
    for start in range(1, len(unit), size):
        first = 0x80 if start == 1 else 0
        last = 0x40 if start + size >= len(unit) else 0
        head = bytes((unit[0] & 0xE0 | _FU_A, first | last | unit[0] & 0x1F))
        yield head + unit[start : start + size]
