"""One take: a camera's packets become initialisation segments and fragments, without a clock.

Nothing is transcoded and nothing waits: a picture is a fragment as soon as its last packet is
here; sound is gathered for up to 100 ms. A take starts at a keyframe.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.codecs.aac import AudioDepacketiser, AudioFrame, audio_format
from drivers.codecs.h264 import Loss, Picture, VideoDepacketiser, VideoFormat, parameter_sets
from drivers.codecs.rtp import (
    Bye,
    RtpPacket,
    SenderReport,
    parse_rtcp,
    parse_rtp,
)
from drivers.codecs.rtsp_session import TrackPacket
from drivers.codecs.sdp import Media
from drivers.errors import ProtocolError, RefusedError, UnreachableError
from edge.lesson.fmp4 import (
    AUDIO_TRACK,
    VIDEO_TIMESCALE,
    VIDEO_TRACK,
    Sample,
    audio_init,
    fragment,
    video_init,
)
from edge.lesson.timeline import TrackClock, align

AUDIO_FRAGMENT_MS = 100
KEYFRAME_WAIT_S = 10
JUMP_S = 10
"""A step of the camera's clock by more ends the take."""
FRAME_RATE_GUESS = 25.0
PICTURE_S_MAX = 0.5

_JUMP_BACK = (1 << 32) - JUMP_S * VIDEO_TIMESCALE  # a step this far is one back, by less


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInit:
    """The initialisation segment of a track; comes before the track's first fragment.

    A track that never sends is never announced. ``mime`` is for MediaSource.
    """

    track: int
    mime: str
    timescale: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFragment:
    """One moof+mdat; ``number`` counts from 0 in each track.

    ``decode_time`` and ``duration`` are in ``timescale``; ``capture_ms`` is the wall clock at which
    the (first) frame in it had arrived, Unix time.
    """

    track: int
    number: int
    keyframe: bool
    decode_time: int
    duration: int
    timescale: int
    capture_ms: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaGap:
    """The camera left packets out or sent broken ones; pictures go on at the next keyframe."""

    track: int
    packets: int
    capture_ms: int


CaptureEvent = TakeInit | MediaFragment | MediaGap
CaptureSink = Callable[[CaptureEvent], None]
"""Takes an event at once and never blocks."""


class Take:
    """Turns the packets of one PLAY into events for the sink.

    ``media`` is one video section and perhaps one of audio. ``receive`` raises UnreachableError
    when the take has to end and a new one may work, and RefusedError for what a person must set.
    """

    def __init__(self, media: tuple[Media, ...], sink: CaptureSink) -> None:
        self._media = media
        self._sources: list[int | None] = [None] * len(media)
        self._sink = sink
        self._video = _VideoTrack(media[0], sink)
        self._audio = _AudioTrack(media[1], sink) if len(media) > 1 else None
        self._began_ms = 0
        self.packets = [0] * len(media)
        """Well-formed media packets so far, of each track."""
        self.malformed = 0

    def receive(self, packet: TrackPacket, arrived_ms: int) -> None:
        """Take one packet in; ``arrived_ms`` is the wall clock."""
        try:
            if packet.is_control:
                self._take_control(packet)
            else:
                self._take_media(packet.track, parse_rtp(packet.data), arrived_ms)
        except ProtocolError:
            self.malformed += 1
            track = AUDIO_TRACK if packet.track else VIDEO_TRACK
            self._sink(MediaGap(track=track, packets=1, capture_ms=arrived_ms))

    def _take_control(self, packet: TrackPacket) -> None:
        for report in parse_rtcp(packet.data):
            match report:
                case SenderReport():
                    self._take_report(packet.track, report)
                case Bye():
                    raise UnreachableError("the camera ended its stream")

    def _take_report(self, track: int, report: SenderReport) -> None:
        if self._sources[track] not in {None, report.ssrc}:
            return
        if track == 0:
            self._video.clock.report(report)
        elif self._audio is not None:
            self._audio.clock.report(report)
        if self._audio is not None:
            align(self._video.clock, self._audio.clock)

    def _take_media(self, track: int, packet: RtpPacket, arrived_ms: int) -> None:
        if packet.payload_type != self._media[track].payload_type:
            return
        source = self._sources[track]
        if source is None:
            self._sources[track] = packet.ssrc
        elif source != packet.ssrc:
            raise UnreachableError("the camera restarted its stream")
        self.packets[track] += 1
        if track == 0:
            if not self._video.clock.started:
                self._began_ms = arrived_ms
            self._video.take(packet, arrived_ms)
        elif self._audio is not None and self._video.clock.started:
            self._audio.take(packet, arrived_ms, arrived_ms - self._began_ms)


class _VideoTrack:
    def __init__(self, media: Media, sink: CaptureSink) -> None:
        self._depacketiser = VideoDepacketiser(parameter_sets(media))
        self._sink = sink
        self._format: VideoFormat | None = None
        self._number = 0
        self._last = 0
        self._waiting_since: int | None = None  # RTP time
        self._seen = 0  # the same, of the last packet
        self._duration = round(VIDEO_TIMESCALE / max(media.frame_rate or FRAME_RATE_GUESS, 1.0))
        self.clock = TrackClock(VIDEO_TIMESCALE)

    def take(self, packet: RtpPacket, arrived_ms: int) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._seen = packet.timestamp
        if JUMP_S * VIDEO_TIMESCALE < (packet.timestamp - self._seen) & 0xFFFFFFFF < _JUMP_BACK:
            raise UnreachableError("the camera's picture clock jumped")
        self._seen = packet.timestamp
        for found in self._depacketiser.take(packet):
            match found:
                case Loss(packets=packets):
                    gap = MediaGap(track=VIDEO_TRACK, packets=packets, capture_ms=arrived_ms)
                    self._sink(gap)
                case Picture():
                    self._take_picture(found, arrived_ms)
        waited = (packet.timestamp - self._waiting_since) & 0xFFFFFFFF
        if KEYFRAME_WAIT_S * VIDEO_TIMESCALE < waited < _JUMP_BACK:
            raise UnreachableError(
                f"the camera sent no keyframe for {KEYFRAME_WAIT_S} s; "
                "set its I-frame interval to 1 s"
            )

    def _take_picture(self, picture: Picture, arrived_ms: int) -> None:
        if picture.keyframe:
            self._follow_format()
        if self._format is None:
            return
        self._waiting_since = picture.timestamp
        if not self.clock.started:
            self.clock.start(picture.timestamp, 0)
        decode_time = self.clock.place(picture.timestamp)
        if self._number:
            self._follow_duration(decode_time - self._last)
        self._last = decode_time
        sample = Sample(picture.data, self._duration, picture.keyframe)
        self._sink(
            MediaFragment(
                track=VIDEO_TRACK,
                number=self._number,
                keyframe=picture.keyframe,
                decode_time=decode_time,
                duration=self._duration,
                timescale=VIDEO_TIMESCALE,
                capture_ms=arrived_ms,
                data=fragment(VIDEO_TRACK, self._number, decode_time, (sample,)),
            )
        )
        self._number += 1

    def _follow_format(self) -> None:
        found = self._depacketiser.sets.video_format()
        if found is None or found == self._format:
            return
        if self._format is not None:
            raise UnreachableError("the camera changed its picture's format")
        self._format = found
        self._sink(
            TakeInit(
                track=VIDEO_TRACK,
                mime=f'video/mp4; codecs="{found.codec}"',
                timescale=VIDEO_TIMESCALE,
                data=video_init(found),
            )
        )

    def _follow_duration(self, step: int) -> None:
        if step < -VIDEO_TIMESCALE:
            raise UnreachableError("the camera's picture clock jumped back")
        if step <= 0:
            raise RefusedError(
                "the camera sends pictures in another order than they are shown; set its H.264 "
                "profile to Baseline or its number of B-frames to 0"
            )
        if step <= PICTURE_S_MAX * VIDEO_TIMESCALE:
            # The next picture is not here yet: it will come as soon as this one did.
            self._duration = step


class _AudioTrack:
    def __init__(self, media: Media, sink: CaptureSink) -> None:
        self._format = audio_format(media)
        self._depacketiser = AudioDepacketiser(self._format)
        self._sink = sink
        self._number = 0
        self._pending: list[Sample] = []
        self._pending_since_ms = 0
        self._next = 0
        self._lost = 0
        samples = AUDIO_FRAGMENT_MS * self._format.sample_rate // 1000
        self._fragment_frames = max(1, samples // self._format.frame_samples)
        self.clock = TrackClock(self._format.sample_rate)

    def take(self, packet: RtpPacket, arrived_ms: int, take_ms: int) -> None:
        frames = self._depacketiser.take(packet)
        if lost := self._depacketiser.lost_packets - self._lost:
            self._lost += lost
            self._sink(MediaGap(track=AUDIO_TRACK, packets=lost, capture_ms=arrived_ms))
        for frame in frames:
            if not self.clock.started:
                self._begin(frame, take_ms)
            self._take_frame(frame, arrived_ms)

    def _begin(self, frame: AudioFrame, take_ms: int) -> None:
        self.clock.start(frame.timestamp, max(take_ms, 0))
        self._next = self.clock.place(frame.timestamp)
        self._sink(
            TakeInit(
                track=AUDIO_TRACK,
                mime=f'audio/mp4; codecs="{self._format.codec}"',
                timescale=self._format.sample_rate,
                data=audio_init(self._format),
            )
        )

    def _take_frame(self, frame: AudioFrame, arrived_ms: int) -> None:
        """Lay frames end to end, and follow the camera's clock in steps of whole frames."""
        length = self._format.frame_samples
        ahead = self.clock.place(frame.timestamp) - self._next
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
        if len(self._pending) >= self._fragment_frames:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        duration = sum(sample.duration for sample in self._pending)
        decode_time = self._next - duration
        self._sink(
            MediaFragment(
                track=AUDIO_TRACK,
                number=self._number,
                keyframe=True,
                decode_time=decode_time,
                duration=duration,
                timescale=self._format.sample_rate,
                capture_ms=self._pending_since_ms,
                data=fragment(AUDIO_TRACK, self._number, decode_time, self._pending),
            )
        )
        self._pending = []
        self._number += 1
