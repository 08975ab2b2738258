"""Hybrid logical clock: wall time that never runs backwards and respects what it has seen.

A stamp is one integer: Unix milliseconds << 16 | counter. Kulkarni et al., "Logical Physical
Clocks" (2014).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

Stamp = NewType("Stamp", int)

AHEAD_MS_MAX = 5 * 60 * 1000
"""A peer's stamp further ahead than this never advances my clock; the hub clamps it."""
PLAUSIBLE_MS = 1_767_225_600_000
"""2026-01-01: a wall clock that says less was never set; no node was built before."""
HEARD_MS_MAX = 3600 * 1000
"""So long after the hub's last word this node's wall clock is believed again."""
_COUNTER_BITS = 16


def stamp(wall_ms: int, counter: int = 0) -> Stamp:
    return Stamp(wall_ms << _COUNTER_BITS | counter)


def wall_ms(moment: Stamp) -> int:
    return moment >> _COUNTER_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The hub's word of the time, and what this node's wall clock said when it came (Unix ms)."""

    told_ms: int
    wall_ms: int

    @property
    def offset_ms(self) -> int:
        """How far the hub's clock is ahead of this node's."""
        return self.told_ms - self.wall_ms


class HybridClock:
    """Issues strictly rising stamps, all greater than 0.

    ``now_ms`` is the wall clock (Unix milliseconds); ``last`` is the greatest stamp this node has
    issued or taken over, read from its store at start.
    """

    def __init__(self, now_ms: Callable[[], int], last: Stamp = Stamp(0)) -> None:
        self._now_ms = now_ms
        self._last = last
        self._heard: Heard | None = None

    @property
    def last(self) -> Stamp:
        return self._last

    @property
    def heard(self) -> Heard | None:
        """What the hub last said of the time."""
        return self._heard

    def now_ms(self) -> int:
        return self._now_ms()

    def hear_hub(self, told_ms: int) -> None:
        """Take the hub's word of what time it is; it was said a little before now."""
        self._heard = Heard(told_ms=told_ms, wall_ms=self._now_ms())

    def present_ms(self) -> int:
        """Return the wall clock, or the hub's time while the wall clock is known to be wrong.

        A wall clock is wrong when the hub's is more than AHEAD_MS_MAX behind it, or when it was
        never set. One that is merely slow is left alone: a hub cannot push this node's stamps into
        the future.
        """
        now_ms = self._now_ms()
        heard = self._heard
        if heard is None:
            return now_ms
        since_ms = now_ms - heard.wall_ms
        is_ahead = heard.wall_ms - heard.told_ms > AHEAD_MS_MAX
        is_unset = now_ms < PLAUSIBLE_MS < heard.told_ms
        # Beyond these bounds the wall clock was set since, and the hub's word is of no use.
        if (is_ahead or is_unset) and 0 <= since_ms <= HEARD_MS_MAX:
            return heard.told_ms + since_ms
        return now_ms

    def tick(self) -> Stamp:
        self._last = Stamp(max(stamp(self.present_ms()), self._last + 1))
        return self._last

    def ticks(self, count: int) -> range:
        """Issue so many stamps at once, each one greater than the one before; at least one."""
        first = self.tick()
        self._last = Stamp(first + count - 1)
        return range(first, first + count)

    def come_back(self, to: Stamp) -> None:
        """Go on behind ``to`` although greater stamps were issued: all of them were clamped."""
        self._last = to

    def resume(self, issued: Stamp) -> None:
        """Go on behind a stamp of this node's own, read from its store."""
        self._last = max(self._last, issued)

    def observe(self, seen: Stamp) -> bool:
        """Take over a peer's stamp; return False, unchanged, if it is too far ahead."""
        if wall_ms(seen) - self.present_ms() > AHEAD_MS_MAX:
            return False
        self._last = max(self._last, seen)
        return True
