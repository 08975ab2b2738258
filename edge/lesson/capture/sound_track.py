"""A sound's packets to fragments of 60 or 100 ms; what browsers do not play becomes Opus."""

from collections.abc import Sequence

from drivers.codecs.aac import AudioDepacketiser, AudioFormat, audio_format
from drivers.codecs.g711 import ENCODINGS
from drivers.codecs.opus import OpusDepacketiser, OpusFormat, opus_format
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.codecs.sound import AudioFrame, SoundReader
from drivers.errors import RefusedError, UnreachableError
from drivers.opus_encoder import OpusFromG711
from edge.lesson.capture.capture_events import CaptureSink, MediaGap
from edge.lesson.capture.fmp4 import Sample, audio_init
from edge.lesson.capture.timeline import ArrivalLine, TakeTimeline, TrackClock
from edge.lesson.capture.track_output import TrackOutput

GATHER_MS, LIGHT_GATHER_MS = 60, 100
LIGHT_BITS_A_SECOND = 32_000
"""Sound of less is gathered for longer. Some 270 bytes go beside each fragment on a line: at 43 ms
that is 50 kb/s, with which a lesson that was made for a line of 64 kb/s does not fit it.
"""
JUMP_S = 10
"""A step of the camera's clock by more ends the take."""
PREFERENCE = ("MPEG4-GENERIC", "OPUS", "PCMA", "PCMU")
"""What is taken of several sounds: what needs no work first."""


def sound_reader(media: Media) -> tuple[SoundReader, AudioFormat | OpusFormat]:
    """Return what reads a media section, and what comes out.

    Raises RefusedError or SetupError with the remedy for what cannot be taken, and ProtocolError
    for a broken announcement.
    """
    if media.encoding in ENCODINGS:
        transcoded = OpusFromG711(media)
        return transcoded, transcoded.format
    if media.encoding == "OPUS":
        return OpusDepacketiser(), opus_format(media)
    if media.encoding != "MPEG4-GENERIC":
        raise RefusedError(
            f"the camera's sound is {media.encoding or 'of an unnamed kind'}, which browsers do "
            "not play; set its audio encoding to AAC, Opus or G.711"
        )
    aac = audio_format(media)
    return AudioDepacketiser(aac), aac


def is_gathered(frames: Sequence[Sample], rate: int) -> bool:
    """Tell whether a fragment of sound goes; frames are alike, their durations at ``rate`` Hz."""
    samples = sum(frame.duration for frame in frames)
    bits = 8 * sum(len(frame.data) for frame in frames)
    is_light = bits * rate < LIGHT_BITS_A_SECOND * samples
    longer = samples + frames[-1].duration
    return longer * 1000 > (LIGHT_GATHER_MS if is_light else GATHER_MS) * rate


class SoundTrack:
    """One source's sound on one track."""

    def __init__(self, media: Media, track: int, timeline: TakeTimeline, sink: CaptureSink) -> None:
        self._reader, self._format = sound_reader(media)
        self._track = track
        self._output = TrackOutput(track, self._format.sample_rate, timeline, sink)
        self._sink = sink
        self._pending: list[Sample] = []
        self._pending_since_ms = 0
        self._next = 0
        self._lost = 0
        self._scale = self._format.sample_rate // media.clock_rate
        self.clock = TrackClock(media.clock_rate)
        self.arrivals = ArrivalLine()

    def take(self, packet: RtpPacket, arrived_ms: int, steady_ms: int) -> bool:
        """Take in a packet; tell whether a window of arrivals ended."""
        frames = self._reader.take(packet)
        if lost := self._reader.lost_packets - self._lost:
            self._lost += lost
            self._sink(MediaGap(track=self._track, packets=lost, capture_ms=arrived_ms))
        judged = False
        for frame in frames:
            if not self.clock.started:
                self._begin(frame, steady_ms)
            self._take_frame(frame, arrived_ms)
            judged |= self.arrivals.hear(self._next / self._format.sample_rate, steady_ms)
        return judged

    def _begin(self, frame: AudioFrame, steady_ms: int) -> None:
        self.clock.start(frame.timestamp, self._output.begins_ms(steady_ms))
        self._next = self.clock.place(frame.timestamp) * self._scale
        self._output.announce(
            f'audio/mp4; codecs="{self._format.codec}"', audio_init(self._format, self._track)
        )

    def _take_frame(self, frame: AudioFrame, arrived_ms: int) -> None:
        """Lay frames end to end, and follow the camera's clock in steps of whole frames."""
        length = frame.samples
        ahead = self.clock.place(frame.timestamp) * self._scale - self._next
        if abs(ahead) > JUMP_S * self._format.sample_rate:
            raise UnreachableError("the camera's sound clock jumped")
        if ahead <= -length:
            return  # more sound than time: one frame less keeps lips and voice together
        if ahead >= length:
            self._flush()
            self._next += ahead
        if not self._pending:
            self._pending_since_ms = arrived_ms
        self._pending.append(Sample(frame.data, length, keyframe=True))
        self._next += length
        if is_gathered(self._pending, self._format.sample_rate):
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        duration = sum(sample.duration for sample in self._pending)
        self._output.give(self._pending, self._next - duration, self._pending_since_ms)
        self._pending = []
