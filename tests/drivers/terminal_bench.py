"""A school around a terminal: taps that are kept, or refused while the disk is full."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, timezone

from drivers.entities import CardRead, CommandResult, DeviceEvent, Measurement, Presence
from drivers.errors import UnreachableError
from drivers.terminals.office import TapOffice

ZONE = timezone(timedelta(hours=8))
NOW_MS = 1_795_332_600_000
"""2026-11-22 07:30:00 at the school."""


@dataclass
class Facts:
    """A terminal's memory, as the notebook keeps it."""

    kept: Mapping[str, str] = field(default_factory=dict)
    writes: int = 0

    def read(self) -> Mapping[str, str]:
        return self.kept

    async def keep(self, facts: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        self.kept = facts
        self.writes += 1


@dataclass
class School:
    now_ms: int = NOW_MS
    is_disk_full: bool = False
    taps: dict[str, CardRead] = field(default_factory=dict)
    events: list[DeviceEvent] = field(default_factory=list)
    people: dict[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)

    def clock(self) -> int:
        return self.now_ms

    @property
    def office(self) -> TapOffice:
        return TapOffice(deliver=self._deliver, people=lambda: dict(self.people), zone=ZONE)

    async def _deliver(self, taps: Sequence[CardRead]) -> None:
        await asyncio.sleep(0)
        if self.is_disk_full:
            raise UnreachableError("the disk takes no taps; free some space")
        for tap in taps:
            assert tap.key is not None
            self.taps.setdefault(tap.key, tap)

    def seen(self) -> list[tuple[str, str, int]]:
        """Return number, card and seconds before now of every tap that was kept."""
        return [
            (tap.number, tap.card, round((self.now_ms - tap.observed_ms) / 1000))
            for tap in self.taps.values()
        ]

    def offsets(self) -> list[float | str | None]:
        points = [event for event in self.events if isinstance(event, Measurement)]
        return [event.value for event in points if event.point == "clock_offset"]

    def results(self) -> list[CommandResult]:
        return [event for event in self.events if isinstance(event, CommandResult)]

    def presence(self) -> list[bool]:
        return [event.online for event in self.events if isinstance(event, Presence)]
