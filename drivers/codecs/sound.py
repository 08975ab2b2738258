"""What every kind of sound has in common once it is out of its packets."""

from dataclasses import dataclass
from typing import Protocol

from drivers.codecs.rtp import RtpPacket


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFrame:
    """One frame; ``timestamp`` in RTP units, not wrapped anew, ``samples`` in the format's rate."""

    timestamp: int
    data: bytes
    samples: int


class SoundReader(Protocol):
    """Collects one stream's packets into frames that browsers play."""

    @property
    def lost_packets(self) -> int:
        """So far."""

    def take(self, packet: RtpPacket) -> list[AudioFrame]:
        """Return the frames this packet completes; raises ProtocolError for a malformed one."""
