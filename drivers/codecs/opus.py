"""Opus frames out of RTP packets (RFC 7587), and how long each is (RFC 6716 §3)."""

from dataclasses import dataclass

from drivers.codecs.rtp import RtpPacket, Sequence
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame
from drivers.errors import ProtocolError, RefusedError

OPUS_RATE = 48_000  # RFC 7587 §4.1: the RTP clock, whatever was sampled
PACKET_BYTES_MAX = 48 * 1275  # RFC 6716 §3.4: frames of at most 1275 bytes, 48 at most
PACKET_SAMPLES_MAX = OPUS_RATE * 120 // 1000
FILLED_SAMPLES_MAX = OPUS_RATE
"""A pause of up to this long is filled, so that players need not stop."""

_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)
_FRAME_SAMPLES = _SILK * 3 + _HYBRID * 2 + _CELT * 4  # by the five bits of table 2
_MANY = 3  # a count of frames follows


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusFormat:
    """Time counts 48,000 a second, whatever was sampled."""

    channels: int

    @property
    def sample_rate(self) -> int:
        return OPUS_RATE

    @property
    def codec(self) -> str:
        """The codec's name for MediaSource (Opus in ISOBMFF §4.3.1, RFC 6381 §3.3)."""
        return "opus"


def opus_format(media: Media) -> OpusFormat:
    """Return the format of a media section; raises RefusedError for what RFC 7587 forbids."""
    if media.encoding != "OPUS" or media.clock_rate != OPUS_RATE:
        raise RefusedError(
            f"the camera announces Opus with a clock of {media.clock_rate} Hz instead of 48000; "
            "update its firmware"
        )
    return OpusFormat(channels=2 if media.parameters.get("sprop-stereo") == "1" else 1)


def packet_samples(packet: bytes) -> int:
    """Return an Opus packet's length in samples of 48 kHz; raises ProtocolError."""
    if not 1 <= len(packet) <= PACKET_BYTES_MAX:
        raise ProtocolError(f"Opus packet of {len(packet)} bytes")
    code = packet[0] & 0x3
    frames = 2 if code else 1
    if code == _MANY:
        if len(packet) < 2:  # noqa: PLR2004 - the count is the second byte
            raise ProtocolError("Opus packet without its count of frames")
        frames = packet[1] & 0x3F
    samples = frames * _FRAME_SAMPLES[packet[0] >> 3]
    if not 0 < samples <= PACKET_SAMPLES_MAX:
        raise ProtocolError(f"Opus packet of {frames} frames, more than 120 ms or none")
    return samples


class OpusDepacketiser:
    """One packet is one frame; what was lost or not sent (DTX) is filled for up to a second.

    What fills is a packet without data, for which decoders make up sound (RFC 6716 §3.2.1: no
    bytes mean a frame lost or not sent).
    """

    def __init__(self) -> None:
        self._sequence = Sequence()
        self._next: int | None = None  # RTP time
        self.lost_packets = 0

    def take(self, packet: RtpPacket) -> list[AudioFrame]:
        gap = self._sequence.gap(packet.sequence)
        if gap is None:
            return []
        self.lost_packets += gap
        samples = packet_samples(packet.payload)
        frames = self._fill(packet)
        self._next = packet.timestamp + samples & 0xFFFFFFFF
        return [
            *frames,
            AudioFrame(timestamp=packet.timestamp, data=packet.payload, samples=samples),
        ]

    def _fill(self, packet: RtpPacket) -> list[AudioFrame]:
        if self._next is None:
            return []
        missing = packet.timestamp - self._next & 0xFFFFFFFF
        single = _FRAME_SAMPLES[packet.payload[0] >> 3]
        if missing > FILLED_SAMPLES_MAX or missing % single:
            return []
        silent = bytes((packet.payload[0] & 0xFC,))
        return [
            AudioFrame(timestamp=self._next + at & 0xFFFFFFFF, data=silent, samples=single)
            for at in range(0, missing, single)
        ]
