"""G.711 to Opus, which browsers play: by libopus of the system, through ``opuslib-next``.

Never to AAC (its encoders add a tenth of a second), never through libraries that bring GPL codecs.
"""

from ctypes.util import find_library
from functools import cache

from drivers.codecs.g711 import ENCODINGS, G711_RATE, LinearSamples
from drivers.codecs.opus import OPUS_RATE, OpusFormat
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame
from drivers.errors import RefusedError, SetupError

BIT_RATE = 24_000
"""More than telephone sound can use."""
COMPLEXITY = 5
BLOCK_SAMPLES = G711_RATE * 20 // 1000
_SCALE = OPUS_RATE // G711_RATE


@cache
def has_libopus() -> bool:
    """Look for the system's library, once; starts a program, so not on the event loop."""
    return find_library("opus") is not None


class OpusFromG711:
    """Reads one stream of G.711; see ``drivers.codecs.sound.SoundReader``.

    Raises SetupError without libopus, RefusedError for another clock than G.711 has.
    """

    def __init__(self, media: Media) -> None:
        if media.encoding not in ENCODINGS or (media.clock_rate, media.channels) != (G711_RATE, 1):
            raise RefusedError(
                f"the camera's {media.encoding} sound has {media.clock_rate} Hz and "
                f"{media.channels} channels; set its audio encoding to AAC or Opus"
            )
        if not has_libopus():
            raise SetupError(
                "G.711 sound needs libopus, which this box lacks; run: apt install libopus0, "
                "or set the camera's audio encoding to AAC"
            )
        import opuslib_next  # noqa: PLC0415 - it fails where the library was not found

        self._encoder = opuslib_next.Encoder(G711_RATE, 1, "voip")
        self._encoder.bitrate = BIT_RATE
        self._encoder.complexity = COMPLEXITY
        self._lookahead = int(self._encoder.lookahead)
        self._linear = LinearSamples(media.encoding, BLOCK_SAMPLES)
        self.format = OpusFormat(channels=1)

    @property
    def lost_packets(self) -> int:
        return self._linear.lost_packets

    def take(self, packet: RtpPacket) -> list[AudioFrame]:
        return [
            AudioFrame(
                # What a decoder gives out for this frame was taken so much earlier.
                timestamp=begins - self._lookahead & 0xFFFFFFFF,
                data=self._encoder.encode(samples, BLOCK_SAMPLES),
                samples=BLOCK_SAMPLES * _SCALE,
            )
            for begins, samples in self._linear.take(packet)
        ]
