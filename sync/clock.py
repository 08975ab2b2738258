"""Hybrid logical clock: wall time that never runs backwards and respects what it has seen.

A stamp is one integer: Unix milliseconds << 16 | counter. Kulkarni et al., "Logical Physical
Clocks" (2014).
"""

from collections.abc import Callable
from typing import NewType

Stamp = NewType("Stamp", int)

AHEAD_MS_MAX = 5 * 60 * 1000
"""A peer's stamp further ahead than this never advances my clock."""
_COUNTER_BITS = 16


def stamp(wall_ms: int, counter: int = 0) -> Stamp:
    return Stamp(wall_ms << _COUNTER_BITS | counter)


def wall_ms(moment: Stamp) -> int:
    return moment >> _COUNTER_BITS


class HybridClock:
    """Issues strictly rising stamps, all greater than 0.

    ``now_ms`` is the wall clock (Unix milliseconds); ``last`` is the greatest stamp this node has
    issued or taken over, read from its store at start.
    """

    def __init__(self, now_ms: Callable[[], int], last: Stamp = Stamp(0)) -> None:
        self._now_ms = now_ms
        self._last = last

    @property
    def last(self) -> Stamp:
        return self._last

    def now_ms(self) -> int:
        return self._now_ms()

    def tick(self) -> Stamp:
        self._last = Stamp(max(stamp(self._now_ms()), self._last + 1))
        return self._last

    def resume(self, issued: Stamp) -> None:
        """Go on behind a stamp of this node's own, read from its store."""
        self._last = max(self._last, issued)

    def observe(self, seen: Stamp) -> bool:
        """Take over a peer's stamp; return False, unchanged, if it is too far ahead."""
        if wall_ms(seen) - self._now_ms() > AHEAD_MS_MAX:
            return False
        self._last = max(self._last, seen)
        return True
