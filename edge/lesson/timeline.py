"""Places each track's RTP timestamps on the one time line of a take."""

from drivers.codecs.rtp import SenderReport, Unwrapper

ALIGN_S = 0.015
"""Tracks closer than this are left alone, so that a report's jitter moves nothing."""
DISBELIEF_S = 2.0
"""A report that moves a track by more contradicts what arrived; such cameras exist."""


class TrackClock:
    """One track's way from RTP time to take time; both count ``rate`` a second.

    A started clock only ever moves the track later, so that take time never goes back.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._unwrapper = Unwrapper()
        self._offset: int | None = None
        self._report: tuple[float, int] | None = None

    @property
    def started(self) -> bool:
        return self._offset is not None

    def start(self, timestamp: int, take_ms: int) -> None:
        """Let the timestamp be ``take_ms`` after the take's beginning: it has just arrived."""
        self._offset = take_ms * self.rate // 1000 - self._unwrapper.unwrap(timestamp)

    def place(self, timestamp: int) -> int:
        """Return a timestamp's take time."""
        return self._unwrapper.unwrap(timestamp) + (self._offset or 0)

    def report(self, report: SenderReport) -> None:
        near = self._unwrapper.near if self.started else self._unwrapper.unwrap
        self._report = (report.ntp_s, near(report.timestamp))

    def take_began_s(self) -> float | None:
        """Return the take's beginning on the camera's clock, as this track has it."""
        if self._report is None or self._offset is None:
            return None
        ntp_s, timestamp = self._report
        return ntp_s - (timestamp + self._offset) / self.rate

    def delay(self, seconds: float) -> None:
        if self._offset is not None:
            self._offset += round(max(seconds, 0) * self.rate)


def align(video: TrackClock, audio: TrackClock) -> float:
    """Bring two tracks together by their sender reports; return the error found, in seconds.

    The track that runs ahead is delayed. Without both reports, and where they cannot be true,
    the alignment by arrival stays.
    """
    video_s, audio_s = video.take_began_s(), audio.take_began_s()
    if video_s is None or audio_s is None:
        return 0.0
    error_s = audio_s - video_s
    if ALIGN_S < abs(error_s) < DISBELIEF_S:
        ahead = audio if error_s > 0 else video
        ahead.delay(abs(error_s))
    return error_s
