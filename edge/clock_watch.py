"""The box's clock: what it says, how far that is to be believed, and what follows when it is wrong.

A box without a battery starts in 1970, or where it was switched off. It records all the same; once
the hub has told the time, or the machine's clock was set, the rows of that start are corrected,
and until the next start the box goes by the hub's time.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from sync.clock import AHEAD_MS_MAX, PLAUSIBLE_MS, Heard, HybridClock
from sync.clock_spans import ClockSpans, Trust
from sync.writer import Writer

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
JUMP_MS = 5_000
"""A wall clock that moves so far against the machine's own was set."""
NOTE_EVERY_MS = 10 * 60 * 1000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def read_boot() -> str:
    """Return what names this start of the machine."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def boot_ms() -> int:
    """Return how long the machine runs, standby included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class BoxClock:
    """Unix ms: the machine's wall clock, and what it lacks of the hub's when it is wrong."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self.added_ms = 0

    def __call__(self) -> int:
        return self._wall_ms() + self.added_ms

    def wall_ms(self) -> int:
        return self._wall_ms()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLight:
    """What status says of the clock; ``hub_offset_ms``: how far the hub's is ahead of it."""

    trust: Trust
    added_ms: int
    hub_offset_ms: int | None


class ClockWatch:
    """Looks at the clock every LOOK_EVERY_S; ``boot_ms`` is the machine's own clock."""

    def __init__(
        self,
        clock: BoxClock,
        stamps: HybridClock,
        spans: ClockSpans,
        writer: Writer,
        boot_ms: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._stamps = stamps
        self._spans = spans
        self._writer = writer
        self._boot_ms = boot_ms
        self._lead_ms = 0
        self._wall_lead_ms = 0
        self._trust = Trust.SET
        self._has_unknown = False
        self._heard: Heard | None = None

    def light(self) -> ClockLight:
        heard = self._stamps.heard
        return ClockLight(
            trust=self._trust,
            added_ms=self._clock.added_ms,
            hub_offset_ms=heard.offset_ms if heard else None,
        )

    async def load(self) -> None:
        """Judge the clock at the start, before anything is recorded."""
        before = await self._writer.call(self._spans.latest)
        recorded_ms = await self._writer.call(self._spans.recorded_ms)
        boot, wall = self._boot_ms(), self._clock.wall_ms()
        self._wall_lead_ms = wall - boot
        trust = Trust.SET
        if wall < max(PLAUSIBLE_MS, recorded_ms - AHEAD_MS_MAX):
            trust = Trust.UNKNOWN
            if before is not None and before.trust is Trust.HUB:
                # The daemon started anew; what the hub said of this boot still holds.
                trust, self._clock.added_ms = Trust.HUB, before.lead_ms - self._wall_lead_ms
        self._has_unknown = before is not None and before.trust is Trust.UNKNOWN
        await self._begin(trust)
        if trust is Trust.UNKNOWN:
            _log.warning("the clock is not known; rows are corrected once the hub tells the time")

    async def run(self) -> Never:
        """Look until cancelled."""
        noted_ms = self._boot_ms()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
                if self._boot_ms() - noted_ms > NOTE_EVERY_MS:
                    noted_ms = self._boot_ms()
                    await self._writer.call(self._spans.note_running, self._clock())
            except sqlite3.Error as error:
                _log.warning("the clock's state is not written (%s)", error)

    async def look(self) -> None:
        """Notice that the clock was set, or what the hub has said."""
        moved_ms = self._clock.wall_ms() - self._boot_ms() - self._wall_lead_ms
        if abs(moved_ms) > JUMP_MS:
            await self._note_setting(moved_ms)
            return
        heard = self._stamps.heard
        if heard is None or heard is self._heard:
            return
        self._heard = heard
        if self._has_unknown:
            # What a right clock says when the machine's own says 0.
            lead_ms = self._lead_ms + heard.offset_ms
            await self._correct(lead_ms, "hub")
            if abs(heard.offset_ms) > AHEAD_MS_MAX:
                self._clock.added_ms += heard.offset_ms
                await self._begin(Trust.HUB)

    async def _note_setting(self, moved_ms: int) -> None:
        self._wall_lead_ms += moved_ms
        was_unknown = self._trust is Trust.UNKNOWN
        # Whoever set the clock knows better than what was added to the old one.
        self._clock.added_ms = 0
        wall = self._clock.wall_ms()
        is_known = wall >= PLAUSIBLE_MS and (moved_ms > 0 or not was_unknown)
        _log.info("the clock was set by %+d s", moved_ms // 1000)
        await self._begin(Trust.SET if is_known else Trust.UNKNOWN)
        if is_known and self._has_unknown:
            await self._correct(self._lead_ms, "clock set")

    async def _begin(self, trust: Trust) -> None:
        boot = self._boot_ms()
        last_wall_ms = boot + self._lead_ms
        self._lead_ms = self._wall_lead_ms + self._clock.added_ms
        self._trust = trust
        self._has_unknown |= trust is Trust.UNKNOWN
        wall = boot + self._lead_ms
        await self._writer.call(self._spans.begin, boot, wall, trust, last_wall_ms)

    async def _correct(self, lead_ms: int, source: str) -> None:
        boot = self._boot_ms()
        last_wall_ms = boot + self._lead_ms
        made = await self._writer.call(
            self._spans.correct, lead_ms, source, boot + lead_ms, last_wall_ms
        )
        self._has_unknown = False
        if self._trust is Trust.UNKNOWN:
            self._trust = Trust.CORRECTED
        if made:
            _log.warning("the clock was wrong; %d corrections put its rows right", made)
