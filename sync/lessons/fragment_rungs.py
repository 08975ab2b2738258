"""Which picture one link is sent: the teacher's large stream, the small one, or none. Pure.

Down at once, on evidence that picture comes too late; up only after a while in which nothing came
too late, when the link has delivered enough for two seconds on end, which the bytes of catch-up
show without risk, and at a keyframe of the stream that follows. Each rung that was left again is
waited for twice as long, so that neither a link at its limit nor a machine that stops now and then
goes up and down before a class. Sound and what is shown on the board are on every rung.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sync.lessons.fragment_log import is_sound
from sync.lessons.patience import Patience
from sync.lessons.tracks import PICTURE, PICTURE_SMALL


class Rung(StrEnum):
    """What a link is sent beside sound: every picture, the teacher's small one first, or none."""

    MAIN = "main"
    SMALL = "small"
    SOUND = "sound"


MARGIN = 1.25
"""The share of what a rung needs that must have been delivered before it is taken."""
WINDOWS = 2
HOPELESS = {Rung.MAIN: 0.8, Rung.SMALL: 0.5}
"""A link that catch-up filled and that carries less of what is needed is not tried blindly."""
HOLD_S_MIN = {Rung.MAIN: 5.0, Rung.SMALL: 3.0}
HOLD_S_MAX = {Rung.MAIN: 120.0, Rung.SMALL: 15.0}
"""How long a rung is kept before the next is tried, by the patience with the next: a class without
any picture would rather have one that comes and goes."""
CALM_S = 5.0
LASTED_S = 10.0
"""A small picture that lasted so long is tried as soon again as one that never failed."""
BLIND_S_MIN = {Rung.MAIN: 12.0, Rung.SMALL: 4.0}
BLIND_S_MAX = {Rung.MAIN: 120.0, Rung.SMALL: 20.0}
"""After this a rung is tried that catch-up, if there is any, could not show to be too high."""
PROBE_S, PROBE_EVERY_S = 2.5, 8.0
LATE_S = 8.0
LATE_TIMES = 4
"""So often within 8 s picture must come too late to be given up: a stall is no slow link."""
FULL_KNOWN_S = 3.0
SEEN_S_MAX = 3.0
SUPPLY_S_MAX = 1.0
"""A large stream silent for longer is given up further up the line; the small one is sent."""
TRIAL_S_MAX = 60.0
"""A large stream that ends again and again has to come for so long at most before it is sent."""
_SMOOTHING = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the next connection of one link begins with: the line is likely what it was."""

    rung: Rung = Rung.MAIN
    patience: Mapping[Rung, Patience] = field(default_factory=dict)


ANEW = Standing()


def sends(rung: Rung, track: int) -> bool:
    """Tell whether a rung sends a track, though the large stream may be silent further up."""
    if is_sound(track) or rung is Rung.MAIN:
        return True
    return rung is Rung.SMALL and track != PICTURE


class Supply:
    """What is offered, whatever a link then carries of it."""

    def __init__(self) -> None:
        self._seen_s: dict[int, float] = {}
        self._bytes: dict[int, int] = {}
        self._lacks_large = False
        self._patience = Patience()
        self._came_s: float | None = None  # since when the large stream comes without a break
        self._back_s: float | None = None  # since when it is sent again

    @property
    def track_bytes(self) -> dict[int, int]:
        """Each track's bytes since the beginning."""
        return dict(self._bytes)

    @property
    def lacks_large(self) -> bool:
        """Tell whether the teacher's small stream goes alone: the large one does not come.

        Nor is it sent at once when it comes again, if it ended before, and not long ago.
        """
        return self._lacks_large

    def note(self, track: int, count: int, now_s: float, *, keyframe: bool) -> None:
        """Take in that a fragment of ``count`` bytes exists."""
        self._bytes[track] = self._bytes.get(track, 0) + count
        if track == PICTURE:
            if not self.exists(PICTURE, now_s, SUPPLY_S_MAX):
                self._came_s = now_s
            if keyframe and self._lacks_large and self._is_proven(now_s):
                self._lacks_large, self._back_s = False, now_s
        elif keyframe and track == PICTURE_SMALL and not self._lacks_large:
            self._lacks_large = not self.exists(PICTURE, now_s, SUPPLY_S_MAX)
            if self._lacks_large and PICTURE in self._seen_s:
                lasted_s = 0.0 if self._back_s is None else now_s - self._back_s
                self._patience = self._patience.eased(lasted_s).failed()
        self._seen_s[track] = now_s

    def _is_proven(self, now_s: float) -> bool:
        """Tell whether the large stream is to be relied on, or all there is."""
        trial_s = min(self._patience.times - 1, TRIAL_S_MAX)
        lasts = self._came_s is not None and now_s - self._came_s >= trial_s
        return lasts or not self.exists(PICTURE_SMALL, now_s)

    def exists(self, track: int, now_s: float, silent_s: float = SEEN_S_MAX) -> bool:
        seen_s = self._seen_s.get(track)
        return seen_s is not None and now_s - seen_s < silent_s


class Ladder:
    """One link's rung; times are seconds of one monotonic clock."""

    def __init__(
        self,
        standing: Standing = ANEW,
        *,
        both: bool = False,
        supply: Supply | None = None,
    ) -> None:
        """``standing``: that of the connection before this.

        ``both``: the other end passes the small stream on, and gets it beside the large.

        ``supply``: noted by who offers the same to many links; without it noted here.
        """
        self._both = both
        self._is_noting = supply is None
        self._supply = Supply() if supply is None else supply
        self._rung = standing.rung
        self._patience = dict(standing.patience)
        self._rising: Rung | None = None
        self._since_s: float | None = None
        self._rates: dict[int, float] = {}
        self._counted: dict[int, int] = {}
        self._counted_s: float | None = None
        self._delivered: deque[float] = deque(maxlen=WINDOWS)
        self._lates: deque[float] = deque(maxlen=LATE_TIMES)
        self._try_s: float | None = None
        self._calm_since_s: float | None = None
        self._full: deque[tuple[float, float]] = deque(maxlen=WINDOWS)

    @property
    def rung(self) -> Rung:
        return self._rung

    @property
    def standing(self) -> Standing:
        return Standing(rung=self._rung, patience=dict(self._patience))

    def takes(self, track: int) -> bool:
        """Tell whether this rung sends a track."""
        if not sends(self._rung, track):
            return False
        if self._both or self._rung is not Rung.MAIN:
            return True
        return track != (PICTURE if self._supply.lacks_large else PICTURE_SMALL)

    def passes(self, track: int, count: int, now_s: float) -> bool:
        """Tell whether a track is sent without a thought: nothing of this link is given up.

        Of the small picture that is never so: it may be beside the large one. Nor of the large one
        while the small one goes in its place.
        """
        is_picked = track == PICTURE_SMALL or (track == PICTURE and self._supply.lacks_large)
        if self._rung is not Rung.MAIN or is_picked:
            return False
        if self._is_noting:
            self._supply.note(track, count, now_s, keyframe=False)
        return True

    def probes(self, now_s: float) -> bool:
        """Tell whether pictures of catch-up may go now: below the top only for a while at times.

        They delay what is live a little, and show what the link carries.
        """
        if self._rung is Rung.MAIN or self._since_s is None:
            return True
        return (now_s - self._since_s) % PROBE_EVERY_S >= PROBE_EVERY_S - PROBE_S

    def note(self, track: int, count: int, now_s: float, *, keyframe: bool) -> None:
        """Take in that a fragment of ``count`` bytes exists; its keyframe may end a climb."""
        if self._is_noting:
            self._supply.note(track, count, now_s, keyframe=keyframe)
        if self._rising is not None and keyframe and track == _teacher(self._rising):
            self._rung, self._rising = self._rising, None
            self._since_s = now_s
            self._try_s = now_s + self._blind_s
            self._delivered.clear()

    def late(self, track: int, now_s: float) -> bool:
        """Take in that picture had to be given up as too old; True when the rung is now lower."""
        if self._rung is Rung.SOUND or (self._rung is Rung.SMALL and track != PICTURE_SMALL):
            return False
        self._rising = None
        self._delivered.clear()
        self._calm_since_s = now_s
        self._lates.append(now_s)
        if self._rung is Rung.MAIN and self._supply.exists(PICTURE_SMALL, now_s):
            lower = Rung.SMALL
        elif self._is_hopeless(now_s):
            lower = Rung.SOUND
        else:
            return False
        self._fail(0.0 if self._since_s is None else now_s - self._since_s)
        self._rung = lower
        self._since_s = now_s
        self._try_s = now_s + self._blind_s
        self._lates.clear()
        return True

    def _fail(self, lasted_s: float) -> None:
        """Take in that the present rung is left again; the top one went well for all below it."""
        for rung, known in self._patience.items():
            if rung is self._rung or self._rung is Rung.MAIN:
                self._patience[rung] = known.eased(lasted_s)
        if self._rung is Rung.SMALL and lasted_s >= LASTED_S:
            self._patience[self._rung] = Patience()
        self._patience[self._rung] = self._patience_with(self._rung).failed()

    def _patience_with(self, rung: Rung) -> Patience:
        return self._patience.get(rung, Patience())

    @property
    def _blind_s(self) -> float:
        above = Rung.SMALL if self._rung is Rung.SOUND else Rung.MAIN
        return min(BLIND_S_MIN[above] * self._patience_with(above).times, BLIND_S_MAX[above])

    def _is_hopeless(self, now_s: float) -> bool:
        """Tell whether not even the small stream goes, and not for a moment only."""
        known = [bytes_s for at_s, bytes_s in self._full if now_s - at_s < FULL_KNOWN_S]
        small = Rung.SMALL if self._supply.exists(PICTURE_SMALL, now_s) else Rung.MAIN
        if len(known) == WINDOWS and max(known) < HOPELESS[Rung.SMALL] * self._needed(small):
            return True
        return len(self._lates) == LATE_TIMES and now_s - self._lates[0] <= LATE_S

    def measured(self, bytes_s: float, now_s: float, *, probed: bool) -> None:
        """Take in what the link delivered in the last second or so.

        ``probed``: the link was full, by catch-up or by what is live, and carries no more.
        """
        self._count(now_s)
        if probed:
            self._full.append((now_s, bytes_s))
        else:
            self._full.clear()
        self._delivered.append(bytes_s)
        if self._since_s is None:
            self._since_s = now_s
        if self._try_s is None:
            self._try_s = now_s + self._blind_s
        if self._rung is Rung.MAIN:
            return
        above = self._above(now_s)
        enough = MARGIN * self._needed(above)
        is_sure = len(self._delivered) == WINDOWS and min(self._delivered) >= enough
        if probed and max(self._delivered) < HOPELESS[above] * self._needed(above):
            self._try_s = now_s + max(self._blind_s, PROBE_EVERY_S)
        hold_s = min(HOLD_S_MIN[above] * self._patience_with(above).times, HOLD_S_MAX[above])
        is_held = now_s - self._since_s < hold_s or not self._is_calm(now_s)
        self._rising = above if not is_held and (is_sure or now_s >= self._try_s) else None

    def _is_calm(self, now_s: float) -> bool:
        """Tell whether nothing has come too late for a while."""
        return self._calm_since_s is None or now_s - self._calm_since_s >= CALM_S

    def _above(self, now_s: float) -> Rung:
        small = self._rung is Rung.SOUND and self._supply.exists(PICTURE_SMALL, now_s)
        return Rung.SMALL if small else Rung.MAIN

    def _needed(self, rung: Rung) -> float:
        """Return bytes a second of sound and of what must not be late on a rung."""
        return sum(rate for track, rate in self._rates.items() if self._counts(rung, track))

    def _counts(self, rung: Rung, track: int) -> bool:
        if is_sound(track):
            return True
        small = track == PICTURE_SMALL
        return small if rung is Rung.SMALL else self._both or not small

    def _count(self, now_s: float) -> None:
        offered = self._supply.track_bytes
        if self._counted_s is not None and now_s > self._counted_s:
            for track, count in offered.items():
                rate = (count - self._counted.get(track, 0)) / (now_s - self._counted_s)
                known = self._rates.get(track, rate)
                self._rates[track] = known + _SMOOTHING * (rate - known)
        self._counted_s, self._counted = now_s, offered


def _teacher(rung: Rung) -> int:
    return PICTURE if rung is Rung.MAIN else PICTURE_SMALL
