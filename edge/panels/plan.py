"""What boards are to be told later; survives a restart in a file of the box's folder."""

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec

from drivers.errors import SetupError
from edge.private_file import PrivateFile

DAILIES_MAX = 32
PATTERNS_MAX = 64
UNLOCK_MINUTES_MAX = 24 * 60
REMEDY = "restore it, or move it away and enter the boards' times again"
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Clock = Annotated[str, msgspec.Meta(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\Z")]


class Relock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lock that is open until ``at_ms`` (Unix time)."""

    device: str
    at_ms: int


class Daily(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What boards are told each day at a time of the school's clock.

    ``rooms`` are patterns like ``3*``; empty means every board. ``last_day`` (ISO date) is the
    last one on which it was done.
    """

    name: Word
    at: Clock
    command: Word
    argument: Word
    rooms: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=PATTERNS_MAX)] = ()
    last_day: str = ""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    relocks: tuple[Relock, ...] = ()
    dailies: Annotated[tuple[Daily, ...], msgspec.Meta(max_length=DAILIES_MAX)] = ()


def is_room_of(room: str | None, patterns: tuple[str, ...]) -> bool:
    """Tell whether a board of this room is meant; without patterns each one is."""
    return not patterns or any(fnmatchcase(room or "", pattern) for pattern in patterns)


class PlanFile:
    """One 0600 file, replaced whole and durably; what changes it raises SetupError."""

    def __init__(self, path: Path) -> None:
        self._file = PrivateFile(path)
        self._turn = asyncio.Lock()
        self.plan = self._file.read(Plan, REMEDY) or Plan()

    async def relock(self, device: str, at_ms: int | None) -> None:
        """Lock a device again at ``at_ms``, or no more when None."""
        added = () if at_ms is None else (Relock(device=device, at_ms=at_ms),)

        def change(plan: Plan) -> Plan:
            kept = tuple(entry for entry in plan.relocks if entry.device != device)
            return msgspec.structs.replace(plan, relocks=kept + added)

        await self._change(change)

    async def daily(self, name: str, entry: Daily | None) -> None:
        """Put a daily order in the place of the one of this name, or take it away."""

        def change(plan: Plan) -> Plan:
            kept = tuple(daily for daily in plan.dailies if daily.name != name)
            dailies = kept if entry is None else (*kept, entry)
            if len(dailies) > DAILIES_MAX:
                raise SetupError(f"more than {DAILIES_MAX} daily orders; remove one first")
            return msgspec.structs.replace(plan, dailies=dailies)

        await self._change(change)

    async def _change(self, change: Callable[[Plan], Plan]) -> None:
        async with self._turn:
            before = self.plan
            # Before the disk has it: who is cancelled meanwhile has asked for it all the same.
            self.plan = change(before)
            try:
                await self._file.write(self.plan)
            except SetupError:
                self.plan = before
                raise
