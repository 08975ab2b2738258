"""A picture's packets to fragments: one a picture, from a keyframe on."""

from drivers.codecs.h264 import Loss, Picture, VideoDepacketiser, VideoFormat, parameter_sets
from drivers.codecs.rtp import RtpPacket
from drivers.codecs.sdp import Media
from drivers.errors import RefusedError, UnreachableError
from edge.lesson.capture.capture_events import CaptureSink, MediaGap
from edge.lesson.capture.fmp4 import VIDEO_TIMESCALE, Sample, video_init
from edge.lesson.capture.timeline import ArrivalLine, TakeTimeline, TrackClock
from edge.lesson.capture.track_output import TrackOutput

KEYFRAME_WAIT_S = 10
JUMP_S = 10
"""A step of the camera's clock by more ends the take."""
FRAME_RATE_GUESS = 25.0
PICTURE_S_MAX = 0.5

_JUMP_BACK = (1 << 32) - JUMP_S * VIDEO_TIMESCALE  # a step this far is one back, by less


class PictureTrack:
    """One source's picture on one track; a first picture of all is at 0 of the take's time."""

    def __init__(self, media: Media, track: int, timeline: TakeTimeline, sink: CaptureSink) -> None:
        self._depacketiser = VideoDepacketiser(parameter_sets(media))
        self._track = track
        self._timeline = timeline
        self._output = TrackOutput(track, VIDEO_TIMESCALE, timeline, sink)
        self._sink = sink
        self._format: VideoFormat | None = None
        self._last: int | None = None
        self._waiting_since: int | None = None  # RTP time
        self._seen = 0  # the same, of the last packet
        self._duration = round(VIDEO_TIMESCALE / max(media.frame_rate or FRAME_RATE_GUESS, 1.0))
        self.clock = TrackClock(VIDEO_TIMESCALE)
        self.arrivals = ArrivalLine()

    def take(self, packet: RtpPacket, arrived_ms: int, steady_ms: int) -> bool:
        """Take in a packet; tell whether a window of arrivals ended.

        ``arrived_ms`` is the wall clock, ``steady_ms`` one that nobody sets.
        """
        if self._waiting_since is None:
            self._waiting_since = self._seen = packet.timestamp
        if JUMP_S * VIDEO_TIMESCALE < (packet.timestamp - self._seen) & 0xFFFFFFFF < _JUMP_BACK:
            raise UnreachableError("the camera's picture clock jumped")
        self._seen = packet.timestamp
        judged = False
        for found in self._depacketiser.take(packet):
            match found:
                case Loss(packets=packets):
                    self._sink(MediaGap(track=self._track, packets=packets, capture_ms=arrived_ms))
                case Picture():
                    judged |= self._take_picture(found, arrived_ms, steady_ms)
        waited = (packet.timestamp - self._waiting_since) & 0xFFFFFFFF
        if KEYFRAME_WAIT_S * VIDEO_TIMESCALE < waited < _JUMP_BACK:
            raise UnreachableError(
                f"the camera sent no keyframe for {KEYFRAME_WAIT_S} s; "
                "set its I-frame interval to 1 s"
            )
        return judged

    def _take_picture(self, picture: Picture, arrived_ms: int, steady_ms: int) -> bool:
        if picture.keyframe:
            self._follow_format()
        if self._format is None:
            return False
        self._waiting_since = picture.timestamp
        if not self.clock.started:
            self._start(picture.timestamp, steady_ms)
        decode_time = self.clock.place(picture.timestamp)
        if self._last is not None:
            self._follow_duration(decode_time - self._last)
        self._last = decode_time
        sample = Sample(picture.data, self._duration, picture.keyframe)
        self._output.give((sample,), decode_time, arrived_ms)
        return self.arrivals.hear(decode_time / VIDEO_TIMESCALE, steady_ms)

    def _start(self, timestamp: int, steady_ms: int) -> None:
        if self._timeline.began_ms is None:
            self._timeline.began_ms = steady_ms
        self.clock.start(timestamp, self._output.begins_ms(steady_ms))

    def _follow_format(self) -> None:
        found = self._depacketiser.sets.video_format()
        if found is None or found == self._format:
            return
        if self._format is not None:
            raise UnreachableError("the camera changed its picture's format")
        self._format = found
        self._output.announce(f'video/mp4; codecs="{found.codec}"', video_init(found, self._track))

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
