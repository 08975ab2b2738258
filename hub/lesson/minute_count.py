"""What the hub sees of its own load and of a box's link in each minute of a lesson. Pure."""

from dataclasses import dataclass

from sync.lessons.fragment_exchange import HubMinute
from sync.lessons.fragment_rungs import Rung

MINUTE_S = 60


@dataclass(slots=True)
class LoadCount:
    """The hub's own minute: the longest that its loop was late, and its disk took."""

    busy_ms: int = 0
    disk_ms: int = 0

    def note_loop(self, late_s: float) -> None:
        self.busy_ms = max(self.busy_ms, round(late_s * 1000))

    def note_disk(self, lasts_s: float) -> None:
        self.disk_ms = max(self.disk_ms, round(lasts_s * 1000))


@dataclass(slots=True)
class LinkCount:
    """One link's minute; ``dropped_before``: what was given up for it before."""

    silent_s: int = 0
    reduced_s: int = 0
    waiting_bytes: int = 0
    dropped_before: int = 0

    def tick(self, rung: Rung, waiting_bytes: int, *, is_silent: bool) -> None:
        """Count a second in which the link carried ``rung`` and so many bytes waited for it.

        ``is_silent``: it should bring live fragments, and none came.
        """
        self.silent_s += is_silent
        self.reduced_s += rung is not Rung.MAIN
        self.waiting_bytes = max(self.waiting_bytes, waiting_bytes)

    def minute(self, load: LoadCount, unstored_s: int, dropped: int) -> HubMinute:
        """Return what to tell the box of the minute, and begin the next.

        ``unstored_s``: seconds in which the lesson found no room on the disk. ``dropped``: live
        fragments given up for the link since it began.
        """
        told = HubMinute(
            busy_ms=load.busy_ms,
            disk_ms=load.disk_ms,
            unstored_s=unstored_s,
            silent_s=self.silent_s,
            reduced_s=self.reduced_s,
            dropped=dropped - self.dropped_before,
            waiting_bytes=self.waiting_bytes,
        )
        self.silent_s = self.reduced_s = self.waiting_bytes = 0
        self.dropped_before = dropped
        return told
