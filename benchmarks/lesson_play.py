"""What a class had of a lesson, from what came to its box and when. Pure.

Times are Unix milliseconds. Sound is held against a page that plays ``BEHIND_MS`` behind the
teacher and gets further behind when it has to wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.lesson_box_end import Came
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND

BEHIND_MS = 1000
GAP_MS = 200
SPARE_MS = 300
HURRY = 0.06
NEVER_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a run in which the link was one and the same."""

    from_ms: int
    until_ms: int

    @property
    def seconds(self) -> int:
        return (self.until_ms - self.from_ms) // 1000

    def holds(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.until_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundFound:
    """``delays_ms`` has one entry a fragment, ``NEVER_MS`` for one that did not come.

    ``fragment_ms`` is how long a fragment lasts.
    """

    delays_ms: list[int]
    fragment_ms: float

    @property
    def lost(self) -> int:
        return sum(delay == NEVER_MS for delay in self.delays_ms)

    @property
    def gaps_ms(self) -> list[float]:
        """How long each silence of more than 200 ms is at a page that begins 1 s behind."""
        return [silence_ms for _, silence_ms in self.silences]

    @property
    def silences(self) -> list[tuple[float, float]]:
        """The same, each with the milliseconds of the stretch's sound that came before it.

        What is not there in time makes it wait, and then it plays that much later; a page that is
        further behind than it needs plays 6 % faster. A lost fragment is a silence of its length.
        """
        behind_ms, lost_ms = float(BEHIND_MS), 0.0
        silences: list[tuple[float, float]] = []
        for place, delay in enumerate(self.delays_ms):
            if delay == NEVER_MS:
                lost_ms += self.fragment_ms
                continue
            waits_ms = max(0.0, delay - behind_ms) + lost_ms
            lost_ms = 0.0
            if waits_ms > GAP_MS:
                silences.append((place * self.fragment_ms, waits_ms))
            spare = behind_ms - delay > SPARE_MS
            behind_ms = max(behind_ms, float(delay))
            if spare:
                behind_ms = max(BEHIND_MS, behind_ms - HURRY * self.fragment_ms)
        if lost_ms > GAP_MS:
            silences.append((len(self.delays_ms) * self.fragment_ms - lost_ms, lost_ms))
        return silences

    @property
    def gaps(self) -> int:
        return len(self.gaps_ms)

    def share(self, share: float) -> float:
        """Return the delay within which so large a share of the sound came."""
        ordered = sorted(self.delays_ms)
        return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


def picture_delay_ms(came: Sequence[Came], stretch: Stretch) -> float:
    """Return the median delay of the teacher's pictures that came in a stretch."""
    delays = [each.came_ms - each.told_ms for each in _pictures(came, stretch)]
    return float(median(delays)) if delays else float(NEVER_MS)


def picture_share(came: Sequence[Came], stretch: Stretch) -> float:
    """Return in how many percent of a stretch's seconds a picture came."""
    seconds = {(each.came_ms - stretch.from_ms) // 1000 for each in _pictures(came, stretch)}
    return 100 * len(seconds & set(range(stretch.seconds))) / stretch.seconds


def sound_of(came: Sequence[Came], stretch: Stretch) -> SoundFound:
    """Return what became of the sound that was captured in a stretch."""
    found = {each.number: each for each in came if each.track == SOUND}
    inside = [number for number, each in found.items() if stretch.holds(each.told_ms)]
    if not inside:
        return SoundFound(delays_ms=[NEVER_MS], fragment_ms=1000 * stretch.seconds)
    first, last = min(inside), max(inside)
    delays = [
        found[number].came_ms - found[number].told_ms if number in found else NEVER_MS
        for number in range(first, last + 1)
    ]
    told_ms = found[last].told_ms - found[first].told_ms
    return SoundFound(delays_ms=delays, fragment_ms=told_ms / max(1, last - first))


def large_again_s(came: Sequence[Came], good: Stretch) -> float:
    """Return how long after the link was good the first large picture came that is not late."""
    for each in came:
        fresh = each.came_ms - each.told_ms <= BEHIND_MS
        if each.track == PICTURE and each.came_ms >= good.from_ms and fresh:
            return (each.came_ms - good.from_ms) / 1000
    return float(NEVER_MS)


def slide_delays_s(came: Sequence[Came], stretch: Stretch) -> list[float]:
    """Return how long after it was shown each slide was both told of and there."""
    whole = {each.digest: each.came_ms for each in came if each.digest}
    return [
        (max(each.came_ms, whole.get(each.slide, NEVER_MS + each.came_ms)) - each.told_ms) / 1000
        for each in came
        if each.slide and stretch.holds(each.told_ms)
    ]


def _pictures(came: Sequence[Came], stretch: Stretch) -> list[Came]:
    return [
        each
        for each in came
        if each.track in (PICTURE, PICTURE_SMALL) and stretch.holds(each.came_ms)
    ]
