"""One take: a camera's packets become initialisation segments and fragments, without a clock.

Nothing waits, and nothing is transcoded but telephone sound: a picture is a fragment as soon as its
last packet is here; sound is gathered for up to 60 ms. A take starts at a keyframe.
"""

from dataclasses import dataclass, field

from drivers.codecs.rtp import Bye, RtpPacket, SenderReport, parse_rtcp, parse_rtp
from drivers.codecs.rtsp_session import TrackPacket
from drivers.codecs.sdp import Media
from drivers.errors import ProtocolError, UnreachableError
from edge.lesson.capture.capture_events import CaptureSink, MediaGap
from edge.lesson.capture.picture_track import PictureTrack
from edge.lesson.capture.sound_track import SoundTrack
from edge.lesson.capture.timeline import (
    ALIGN_S,
    DISBELIEF_S,
    NUDGE_S_MAX,
    TakeTimeline,
    align,
    drift,
)
from sync.lessons.tracks import PICTURE, SOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a source is in its take: the tracks of its picture and its sound.

    The main part begins the take. A further one follows its time: by sender reports where it
    ``shares_clock`` with the main one (another stream of the same camera), else by arrival. All of
    one take have the same ``timeline``.
    """

    picture: int = PICTURE
    sound: int = SOUND
    is_main: bool = True
    shares_clock: bool = True
    timeline: TakeTimeline = field(default_factory=TakeTimeline)


class Take:
    """Turns the packets of one PLAY into events for the sink.

    ``media`` is one video section and perhaps one of audio. Of a further ``part`` nothing is given
    before the main one began. ``receive`` raises UnreachableError when the source has to begin anew
    and may then work, and RefusedError for what a person must set.
    """

    def __init__(
        self,
        media: tuple[Media, ...],
        sink: CaptureSink,
        part: Part | None = None,
    ) -> None:
        self._media = media
        self._sources: list[int | None] = [None] * len(media)
        self._sink = sink
        self._part = part or Part()
        self._timeline = self._part.timeline
        self._video = PictureTrack(media[0], self._part.picture, self._timeline, sink)
        self._audio = (
            SoundTrack(media[1], self._part.sound, self._timeline, sink) if len(media) > 1 else None
        )
        if self._part.is_main:
            self._timeline.picture = self._video.clock
            self._timeline.arrivals = self._video.arrivals
        self._main_before_s: float | None = None
        self.packets = [0] * len(media)
        """Well-formed media packets so far, of each track."""
        self.malformed = 0

    def receive(self, packet: TrackPacket, arrived_ms: int, steady_ms: int) -> None:
        """Take one packet in; ``arrived_ms`` is the wall clock, ``steady_ms`` one nobody sets."""
        try:
            if packet.is_control:
                self._take_control(packet)
            else:
                self._take_media(packet.track, parse_rtp(packet.data), arrived_ms, steady_ms)
        except ProtocolError:
            self.malformed += 1
            track = self._part.sound if packet.track else self._part.picture
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
            self._note_delay(align(self._video.clock, self._audio.clock))
        main = self._timeline.picture
        if not self._part.is_main and self._part.shares_clock and main is not None:
            main_s, ours_s = main.take_began_s(), self._video.clock.take_began_s()
            if main_s is not None and ours_s is not None:
                self._follow(ours_s - main_s)

    def _take_media(self, track: int, packet: RtpPacket, arrived_ms: int, steady_ms: int) -> None:
        if packet.payload_type != self._media[track].payload_type:
            return
        source = self._sources[track]
        if source is None:
            self._sources[track] = packet.ssrc
        elif source != packet.ssrc:
            raise UnreachableError("the camera restarted its stream")
        self.packets[track] += 1
        if not self._part.is_main and self._timeline.began_ms is None:
            return
        if track == 0:
            judged = self._video.take(packet, arrived_ms, steady_ms)
        elif self._audio is not None and self._video.clock.started:
            judged = self._audio.take(packet, arrived_ms, steady_ms)
        else:
            return
        if judged:
            self._judge_arrivals()

    def _judge_arrivals(self) -> None:
        """Follow clocks that no sender report tells of."""
        audio, video = self._audio, self._video
        if audio is not None and not (audio.clock.reports and video.clock.reports):
            behind_s = drift(audio.arrivals, video.arrivals)
            if ALIGN_S < abs(behind_s) < DISBELIEF_S:
                (audio if behind_s > 0 else video).clock.delay(abs(behind_s))
                self._note_delay(behind_s)
        main = self._timeline.picture
        if self._part.is_main or main is None:
            return
        wander_s = self._timeline.arrivals.wander_s
        if self._main_before_s is None:
            self._main_before_s = wander_s
        elif not (self._part.shares_clock and main.reports and video.clock.reports):
            before_s = self._main_before_s
            self._follow(drift(video.arrivals, self._timeline.arrivals) + before_s)

    def _note_delay(self, error_s: float) -> None:
        """Tell the arrivals of the track that was ahead that it was delayed."""
        if self._audio is not None and ALIGN_S < abs(error_s) < DISBELIEF_S:
            (self._audio if error_s > 0 else self._video).arrivals.moved(abs(error_s))

    def _follow(self, behind_s: float) -> None:
        """Move a further source by what it is behind the main one; earlier only by little."""
        if ALIGN_S < abs(behind_s) < DISBELIEF_S:
            moved_s = max(behind_s, -NUDGE_S_MAX)
            self._video.clock.nudge(moved_s)
            self._video.arrivals.moved(moved_s)
