"""AAC frames out of RTP packets (RFC 3640, mode AAC-hbr)."""

import re
from dataclasses import dataclass

from drivers.codecs.rtp import RtpPacket, Sequence
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame
from drivers.errors import ProtocolError, RefusedError

FRAME_BYTES_MAX = 6144  # ISO/IEC 14496-3 §4.5.3.1: 6144 bits a channel, 8 channels
FRAMES_A_PACKET_MAX = 64

_AAC_LC = 2
_SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_CHANNELS_MAX = 2
_CONFIG = re.compile(r"(?:[0-9A-Fa-f]{2}){2,64}")
_HBR = {"sizelength": "13", "indexlength": "3", "indexdeltalength": "3"}
_HEADER_BITS = 16
_SECTION_HEAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFormat:
    """``config`` is the AudioSpecificConfig; a frame is ``frame_samples`` long."""

    config: bytes
    sample_rate: int
    channels: int
    frame_samples: int

    @property
    def codec(self) -> str:
        """The codec's name for MediaSource (RFC 6381 §3.3)."""
        return f"mp4a.40.{self.config[0] >> 3}"


def audio_format(media: Media) -> AudioFormat:
    """Return the format of a media section; raises RefusedError where browsers cannot play it."""
    if media.encoding != "MPEG4-GENERIC" or media.parameters.get("mode", "").lower() != "aac-hbr":
        raise RefusedError(
            f"the camera's sound is {media.encoding or 'of an unnamed kind'}, which browsers do "
            "not play; set its audio encoding to AAC"
        )
    if any(media.parameters.get(name) != value for name, value in _HBR.items()):
        raise RefusedError("the camera packs AAC in a way of its own; update its firmware")
    config = media.parameters.get("config", "")
    if not _CONFIG.fullmatch(config):
        raise ProtocolError("the AAC config of the session description is not hexadecimal")
    found = parse_config(bytes.fromhex(config))
    if found.sample_rate != media.clock_rate:
        raise ProtocolError(
            f"AAC of {found.sample_rate} Hz is announced with a clock of {media.clock_rate} Hz"
        )
    return found


def parse_config(config: bytes) -> AudioFormat:
    """Parse an AudioSpecificConfig of at least two bytes (ISO/IEC 14496-3 §1.6.2.1)."""
    word = int.from_bytes(config[:2], "big")
    kind, rate, channels = word >> 11, word >> 7 & 0xF, word >> 3 & 0xF
    if kind != _AAC_LC or rate >= len(_SAMPLE_RATES) or not 1 <= channels <= _CHANNELS_MAX:
        raise RefusedError(
            "the camera's AAC is not of the plain kind; set its audio to AAC-LC, mono or stereo"
        )
    return AudioFormat(
        config=config,
        sample_rate=_SAMPLE_RATES[rate],
        channels=channels,
        frame_samples=960 if word & 0x4 else 1024,
    )


class AudioDepacketiser:
    """Collects one stream's packets into frames; a frame with a missing packet is left out."""

    def __init__(self, audio: AudioFormat) -> None:
        self._frame_samples = audio.frame_samples
        self._sequence = Sequence()
        self._fragments: list[bytes] = []
        self._fragment_size = 0
        self.lost_packets = 0

    def take(self, packet: RtpPacket) -> list[AudioFrame]:
        """Return the frames this packet completes; raises ProtocolError for a malformed one."""
        gap = self._sequence.gap(packet.sequence)
        if gap is None:
            return []
        if gap:
            self.lost_packets += gap
            self._fragments.clear()
        sizes, position = _frame_sizes(packet.payload)
        if len(sizes) == 1 and len(packet.payload) - position < sizes[0]:
            return self._take_fragment(packet, sizes[0], packet.payload[position:])
        if self._fragments:
            return self._take_fragment(packet, sizes[0], packet.payload[position:])
        if position + sum(sizes) != len(packet.payload):
            raise ProtocolError("AAC frames do not fill their RTP packet")
        frames: list[AudioFrame] = []
        for number, size in enumerate(sizes):
            timestamp = packet.timestamp + number * self._frame_samples
            frames.append(self._frame(timestamp, packet.payload[position : position + size]))
            position += size
        return frames

    def _take_fragment(self, packet: RtpPacket, size: int, part: bytes) -> list[AudioFrame]:
        """RFC 3640 §3.2.3: every fragment's header tells the size of the whole frame."""
        if self._fragments and size != self._fragment_size:
            self._fragments.clear()
            raise ProtocolError("AAC fragments disagree on the size of their frame")
        self._fragments.append(part)
        self._fragment_size = size
        have = sum(map(len, self._fragments))
        if have < size and not packet.marker:
            return []
        data = b"".join(self._fragments)
        self._fragments.clear()
        if have != size:
            raise ProtocolError(f"AAC frame of {size} bytes ended with {have}")
        return [self._frame(packet.timestamp, data)]

    def _frame(self, timestamp: int, data: bytes) -> AudioFrame:
        return AudioFrame(timestamp=timestamp, data=data, samples=self._frame_samples)


def _frame_sizes(payload: bytes) -> tuple[list[int], int]:
    """Read the AU headers; return the frames' sizes and where the first begins."""
    head_bits = int.from_bytes(payload[:_SECTION_HEAD], "big")
    count, rest = divmod(head_bits, _HEADER_BITS)
    start = _SECTION_HEAD + 2 * count
    if rest or not 1 <= count <= FRAMES_A_PACKET_MAX or start >= len(payload):
        raise ProtocolError("AAC packet with a broken header section")
    heads = [int.from_bytes(payload[at : at + 2], "big") for at in range(_SECTION_HEAD, start, 2)]
    if any(head & 0x7 for head in heads):
        raise ProtocolError("AAC frames are interleaved")
    sizes = [head >> 3 for head in heads]
    if not all(1 <= size <= FRAME_BYTES_MAX for size in sizes):
        raise ProtocolError("AAC frame of no or too many bytes")
    return sizes, start
