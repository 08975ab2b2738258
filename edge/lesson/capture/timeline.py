"""Places each track's RTP timestamps on the one time line of a take."""

from dataclasses import dataclass, field

from drivers.codecs.rtp import SenderReport, Unwrapper

ALIGN_S = 0.015
"""Tracks closer than this are left alone, so that a report's jitter moves nothing."""
DISBELIEF_S = 2.0
"""A report that moves a track by more contradicts what arrived; such cameras exist."""
STEP_S = 0.05
"""A camera's clock that moved by more between two reports was set."""
SETTLED_REPORTS = 3
WINDOW_MS = 10_000
"""The soonest arrival of so long a time tells how a clock runs, whatever the network's delay."""
NUDGE_S_MAX = 0.01
"""A further source is moved by no more a window: pictures keep their order."""


class TrackClock:
    """One track's way from RTP time to take time; both count ``rate`` a second.

    A started clock is only ever delayed, so that take time never goes back; but see ``nudge``.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._unwrapper = Unwrapper()
        self._offset: int | None = None
        self._report: tuple[float, int] | None = None
        self._unsettled = 0

    @property
    def started(self) -> bool:
        return self._offset is not None

    @property
    def reports(self) -> bool:
        """Tell whether the camera tells this track's time."""
        return self._report is not None

    @property
    def settled(self) -> bool:
        """Tell whether the camera's clock was not set since the last few reports."""
        return not self._unsettled

    def start(self, timestamp: int, take_ms: int) -> None:
        """Let the timestamp be ``take_ms`` after the take's beginning: it has just arrived."""
        self._offset = take_ms * self.rate // 1000 - self._unwrapper.unwrap(timestamp)

    def place(self, timestamp: int) -> int:
        """Return a timestamp's take time."""
        return self._unwrapper.unwrap(timestamp) + (self._offset or 0)

    def report(self, report: SenderReport) -> None:
        near = self._unwrapper.near if self.started else self._unwrapper.unwrap
        told = report.ntp_s, near(report.timestamp)
        if self._report is not None:
            before_s, before = self._report
            step_s = told[0] - before_s - (told[1] - before) / self.rate
            if abs(step_s) > STEP_S:
                self._unsettled = SETTLED_REPORTS
            elif self._unsettled:
                self._unsettled -= 1
        self._report = told

    def take_began_s(self) -> float | None:
        """Return the take's beginning on the camera's clock, as this track has it."""
        if self._report is None or self._offset is None:
            return None
        ntp_s, timestamp = self._report
        return ntp_s - (timestamp + self._offset) / self.rate

    def delay(self, seconds: float) -> None:
        self.nudge(max(seconds, 0))

    def nudge(self, seconds: float) -> None:
        """Move what follows later or, below 0, earlier: by less than a frame, or time goes back."""
        if self._offset is not None:
            self._offset += round(seconds * self.rate)


def align(video: TrackClock, audio: TrackClock) -> float:
    """Bring two tracks together by their sender reports; return the error found, in seconds.

    The track that runs ahead is delayed. Without both reports, where they cannot be true, and while
    only one of them knows of a camera's clock that was set, the alignment stays as it is.
    """
    video_s, audio_s = video.take_began_s(), audio.take_began_s()
    if video_s is None or audio_s is None or video.settled != audio.settled:
        return 0.0
    error_s = audio_s - video_s
    if ALIGN_S < abs(error_s) < DISBELIEF_S:
        ahead = audio if error_s > 0 else video
        ahead.delay(abs(error_s))
    return error_s


class ArrivalLine:
    """How much later than at first a track's frames arrive, on the box's steady clock.

    The network only ever delays: the soonest frame of each window shows the clocks alone.
    """

    def __init__(self) -> None:
        self._ends_ms: int | None = None
        self._soonest_ms = 0.0
        self._base_ms: float | None = None
        self.wander_s: float | None = None
        """None before a second window is over."""

    def hear(self, take_s: float, steady_ms: int) -> bool:
        """Take in a frame's take time and arrival; tell whether a window ended."""
        late_ms = steady_ms - take_s * 1000
        if self._ends_ms is None:
            self._ends_ms, self._soonest_ms = steady_ms + WINDOW_MS, late_ms
        if steady_ms < self._ends_ms:
            self._soonest_ms = min(self._soonest_ms, late_ms)
            return False
        if self._base_ms is None:
            self._base_ms = self._soonest_ms
        self.wander_s = (self._soonest_ms - self._base_ms) / 1000
        self._ends_ms, self._soonest_ms = steady_ms + WINDOW_MS, late_ms
        return True

    def moved(self, seconds: float) -> None:
        """Note that the track was delayed by so much: its frames arrive earlier for their time."""
        self._soonest_ms -= seconds * 1000
        if self.wander_s is not None:
            self.wander_s -= seconds


def drift(track: ArrivalLine, other: ArrivalLine) -> float:
    """Return by how many seconds ``track`` fell behind ``other`` since both began."""
    if track.wander_s is None or other.wander_s is None:
        return 0.0
    return track.wander_s - other.wander_s


@dataclass(slots=True)
class Lane:
    """What a track of a take goes on with when its source begins anew."""

    number: int = 0
    next_time: int = 0
    init: bytes = b""


@dataclass(slots=True)
class TakeTimeline:
    """What the sources of one take share; the main picture's first keyframe is at 0.

    ``picture`` and ``arrivals`` are the main picture's, by which further sources go.
    """

    began_ms: int | None = None
    """On the box's steady clock; None before."""
    picture: TrackClock | None = None
    arrivals: ArrivalLine = field(default_factory=ArrivalLine)
    lanes: dict[int, Lane] = field(default_factory=dict)

    def lane(self, track: int) -> Lane:
        return self.lanes.setdefault(track, Lane())

    def take_ms(self, steady_ms: int) -> int:
        """Return the take time of an arrival, as far as the main picture's clock has run by now."""
        if self.began_ms is None:
            return 0
        return max(0, steady_ms - self.began_ms - round(1000 * (self.arrivals.wander_s or 0.0)))
