"""Which picture one link is sent: the teacher's large stream, the small one, or none. Pure.

Down at once, on evidence that picture comes too late; up only when the link has delivered enough
for two seconds on end, which the bytes of catch-up show without risk, and at a keyframe of the
stream that follows. Sound and what is shown on the board are on every rung.
"""

from collections import deque
from enum import StrEnum

from sync.lessons.fragment_log import is_sound
from sync.lessons.tracks import PICTURE, PICTURE_SMALL

MARGIN = 1.25
"""The share of what a rung needs that must have been delivered before it is taken."""
WINDOWS = 2
HOLD_S_MIN, HOLD_S_MAX = 3.0, 60.0
"""How long a rung is kept before the next is tried; doubled when the next did not last."""
BLIND_S_MIN, BLIND_S_MAX = 12.0, 120.0
"""After this a link without catch-up, which can show nothing, is tried all the same."""
LASTED_S = 10.0
LATE_S = 6.0
LATE_TIMES = 2
"""So often within 6 s picture must come too late to be given up: one stall is no slow link."""
SEEN_S_MAX = 3.0
SUPPLY_S_MAX = 1.0
"""A large stream silent for longer is given up further up the line; the small one is sent."""
_SMOOTHING = 0.4


class Rung(StrEnum):
    """What a link is sent beside sound: every picture, the teacher's small one first, or none."""

    MAIN = "main"
    SMALL = "small"
    SOUND = "sound"


class Ladder:
    """One link's rung; times are seconds of one monotonic clock."""

    def __init__(self, rung: Rung = Rung.MAIN) -> None:
        self._rung = rung
        self._rising: Rung | None = None
        self._since_s: float | None = None
        self._seen_s: dict[int, float] = {}
        self._lacks_large = False
        self._offered: dict[int, int] = {}
        self._rates: dict[int, float] = {}
        self._counted_s: float | None = None
        self._delivered: deque[float] = deque(maxlen=WINDOWS)
        self._lates: deque[float] = deque(maxlen=LATE_TIMES)
        self._hold_s = HOLD_S_MIN
        self._blind_s = BLIND_S_MIN
        self._try_s: float | None = None

    @property
    def rung(self) -> Rung:
        return self._rung

    def takes(self, track: int) -> bool:
        """Tell whether this rung sends a track."""
        if is_sound(track) or self._rung is Rung.MAIN:
            return track != PICTURE_SMALL or self._lacks_large
        return self._rung is Rung.SMALL and track != PICTURE

    def note(self, track: int, count: int, now_s: float, *, keyframe: bool) -> None:
        """Take in that a fragment of ``count`` bytes exists; its keyframe may end a climb."""
        self._offered[track] = self._offered.get(track, 0) + count
        if keyframe and track == PICTURE:
            self._lacks_large = False
        elif keyframe and track == PICTURE_SMALL:
            self._lacks_large = not self._exists(PICTURE, now_s, SUPPLY_S_MAX)
        self._seen_s[track] = now_s
        if self._rising is not None and keyframe and track == _teacher(self._rising):
            self._rung, self._rising = self._rising, None
            self._since_s = now_s
            self._delivered.clear()

    def late(self, track: int, now_s: float) -> bool:
        """Take in that picture had to be given up as too old; True when the rung is now lower."""
        if self._rung is Rung.SOUND or (self._rung is Rung.SMALL and track != PICTURE_SMALL):
            return False
        self._rising = None
        self._lates.append(now_s)
        if self._rung is Rung.MAIN and self._exists(PICTURE_SMALL, now_s):
            lower = Rung.SMALL
        elif len(self._lates) == LATE_TIMES and now_s - self._lates[0] <= LATE_S:
            lower = Rung.SOUND
        else:
            return False
        lasted_s = LASTED_S if self._since_s is None else now_s - self._since_s
        failed = lasted_s < LASTED_S
        self._hold_s = min(2 * self._hold_s, HOLD_S_MAX) if failed else HOLD_S_MIN
        self._blind_s = min(2 * self._blind_s, BLIND_S_MAX) if failed else BLIND_S_MIN
        self._rung = lower
        self._since_s = now_s
        self._try_s = now_s + self._blind_s
        self._delivered.clear()
        self._lates.clear()
        return True

    def measured(self, bytes_s: float, now_s: float, *, probed: bool) -> None:
        """Take in what the link delivered in the last second or so.

        ``probed``: catch-up was ready to fill whatever was left, so that the link carries no more.
        """
        self._count(now_s)
        self._delivered.append(bytes_s)
        if self._rung is Rung.MAIN:
            return
        if self._since_s is None or self._try_s is None:
            self._since_s, self._try_s = now_s, now_s + self._blind_s
        above = self._above(now_s)
        enough = MARGIN * self._needed(above)
        is_sure = len(self._delivered) == WINDOWS and min(self._delivered) >= enough
        if probed and not is_sure:
            self._try_s = now_s + self._blind_s
        held = now_s - self._since_s < self._hold_s
        self._rising = above if not held and (is_sure or now_s >= self._try_s) else None

    def _above(self, now_s: float) -> Rung:
        small = self._rung is Rung.SOUND and self._exists(PICTURE_SMALL, now_s)
        return Rung.SMALL if small else Rung.MAIN

    def _needed(self, rung: Rung) -> float:
        """Return bytes a second of sound and of what must not be late on a rung."""
        large = rung is Rung.MAIN
        return sum(
            rate
            for track, rate in self._rates.items()
            if is_sound(track) or (track != PICTURE_SMALL if large else track == PICTURE_SMALL)
        )

    def _count(self, now_s: float) -> None:
        if self._counted_s is not None and now_s > self._counted_s:
            for track in {*self._rates, *self._offered}:
                rate = self._offered.get(track, 0) / (now_s - self._counted_s)
                known = self._rates.get(track, rate)
                self._rates[track] = known + _SMOOTHING * (rate - known)
        self._counted_s = now_s
        self._offered.clear()

    def _exists(self, track: int, now_s: float, silent_s: float = SEEN_S_MAX) -> bool:
        seen_s = self._seen_s.get(track)
        return seen_s is not None and now_s - seen_s < silent_s


def _teacher(rung: Rung) -> int:
    return PICTURE if rung is Rung.MAIN else PICTURE_SMALL
