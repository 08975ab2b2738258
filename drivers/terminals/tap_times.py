"""A terminal's own clock against the box's: when what it tells was."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

AHEAD_MS_MAX = 60_000
"""A newest record this far in the future is no delay of the line: the clock is ahead."""
BEHIND_MS_MAX = 120_000
SAME_LAG_MS = 10_000
SAME_LAGS = 3
"""So many records that came alone and equally late: the clock is behind, not the line."""
KEPT_DAYS = 31
"""Older records are those of a time before the box; they are acknowledged and dropped."""
_DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class PlacedTimes:
    """``moments_ms`` are by the box's clock, None for what is too old.

    ``offset_ms`` says how far the terminal's clock is ahead (negative: behind) and by how much the
    moments were moved; 0 where nothing shows that it is wrong.
    """

    moments_ms: tuple[int | None, ...]
    offset_ms: int = 0


class TerminalClock:
    """Places records on the box's clock; times are Unix milliseconds.

    No record can be of the future: where the newest of a push is, all of it are moved back
    together. That a clock is behind shows only in records that come one by one and equally late: a
    backlog is late too, but each of its records by another time.
    """

    def __init__(self) -> None:
        self._lags_ms: deque[int] = deque(maxlen=SAME_LAGS)

    def place(self, told_ms: Sequence[int], now_ms: int) -> PlacedTimes:
        if not told_ms:
            return PlacedTimes(())
        lead_ms = max(told_ms) - now_ms
        offset_ms = lead_ms if lead_ms > AHEAD_MS_MAX else self._behind(told_ms, lead_ms)
        oldest_ms = now_ms - KEPT_DAYS * _DAY_MS
        moved = [told - offset_ms for told in told_ms]
        moments = tuple(each if oldest_ms <= each else None for each in moved)
        return PlacedTimes(moments, offset_ms)

    def _behind(self, told_ms: Sequence[int], lead_ms: int) -> int:
        if len(told_ms) > 1 or lead_ms >= -BEHIND_MS_MAX:
            self._lags_ms.clear()
            return 0
        self._lags_ms.append(lead_ms)
        spread_ms = max(self._lags_ms) - min(self._lags_ms)
        is_steady = len(self._lags_ms) == SAME_LAGS and spread_ms <= SAME_LAG_MS
        return lead_ms if is_steady else 0
