"""G.711 telephone sound to linear samples (ITU-T G.711), as RTP carries it (RFC 3551 §4.5.14)."""

from array import array
from collections.abc import Mapping

from drivers.codecs.rtp import RtpPacket, Sequence
from drivers.errors import ProtocolError

G711_RATE = 8_000
PACKET_BYTES_MAX = 8_000
FILLED_SAMPLES_MAX = G711_RATE
"""A pause of up to this long becomes silence; a longer one leaves its time empty."""

_SIGN = 0x80


def _ulaw(byte: int) -> int:
    """G.711 table 2a: inverted, a sign, three bits of segment, four of step; 14 bits, here 16."""
    word = ~byte & 0xFF
    magnitude = ((word & 0xF) << 3 | 0x84) << (word >> 4 & 7)
    return 0x84 - magnitude if word & _SIGN else magnitude - 0x84


def _alaw(byte: int) -> int:
    """G.711 table 1a: every second bit inverted; 13 bits, here 16."""
    word = byte ^ 0x55
    segment = word >> 4 & 7
    magnitude = (word & 0xF) << 4 | 8
    if segment:
        magnitude = (magnitude | 0x100) << (segment - 1)
    return magnitude if word & _SIGN else -magnitude


_TABLES: Mapping[str, tuple[int, ...]] = {
    "PCMU": tuple(_ulaw(byte) for byte in range(256)),
    "PCMA": tuple(_alaw(byte) for byte in range(256)),
}
ENCODINGS = frozenset(_TABLES)


def linear_samples(encoding: str, data: bytes) -> "array[int]":
    """Return signed 16-bit samples; ``encoding`` is one of ``ENCODINGS``."""
    table = _TABLES[encoding]
    return array("h", [table[byte] for byte in data])


class LinearSamples:
    """One stream's packets as an unbroken run of samples, given out in blocks of equal length."""

    def __init__(self, encoding: str, block: int) -> None:
        self._encoding = encoding
        self._block = block
        self._sequence = Sequence()
        self._waiting: array[int] = array("h")
        self._begins: int | None = None  # RTP time of the first that waits
        self.lost_packets = 0

    def take(self, packet: RtpPacket) -> list[tuple[int, bytes]]:
        """Return whole blocks: RTP time of the first sample, and the samples, native endian.

        Raises ProtocolError for a packet that is empty or too long.
        """
        gap = self._sequence.gap(packet.sequence)
        if gap is None:
            return []
        self.lost_packets += gap
        if not 1 <= len(packet.payload) <= PACKET_BYTES_MAX:
            raise ProtocolError(f"G.711 packet of {len(packet.payload)} bytes")
        samples = linear_samples(self._encoding, packet.payload)
        self._join(packet.timestamp, samples)
        return self._blocks()

    def _join(self, timestamp: int, samples: "array[int]") -> None:
        if self._begins is not None:
            ahead = (timestamp - self._begins - len(self._waiting)) & 0xFFFFFFFF
            if ahead <= FILLED_SAMPLES_MAX:
                self._waiting.extend([0] * ahead)
            elif ahead >= (1 << 32) - len(samples):
                del samples[: (1 << 32) - ahead]  # the camera's clock runs slower than its sound
            else:
                self._waiting = array("h")
                self._begins = timestamp
        else:
            self._begins = timestamp
        self._waiting.extend(samples)

    def _blocks(self) -> list[tuple[int, bytes]]:
        blocks: list[tuple[int, bytes]] = []
        while self._begins is not None and len(self._waiting) >= self._block:
            blocks.append((self._begins, self._waiting[: self._block].tobytes()))
            del self._waiting[: self._block]
            self._begins = self._begins + self._block & 0xFFFFFFFF
        return blocks
