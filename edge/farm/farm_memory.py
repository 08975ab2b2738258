"""The clocks that the farm goes by, and what it remembers of its outputs through a restart."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

import msgspec

from edge.farm.engine import Kept
from edge.private_file import PrivateFile

REMEDY = "restore it, or move it away: today's watering is then counted from nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmClock:
    """``boot_ms`` is the machine's own clock, which no one sets; ``boot`` names its start."""

    now_ms: Callable[[], int]
    boot_ms: Callable[[], int]
    boot: str
    zone: tzinfo
    is_known: Callable[[], bool]

    def moment(self) -> datetime | None:
        """Return local time, None while the time of day is not known."""
        if not self.is_known():
            return None
        return datetime.fromtimestamp(self.now_ms() / 1_000, self.zone)


class _KeptFarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    at_ms: int
    boot: str
    boot_ms: int
    kept: Kept


class FarmMemory:
    """One 0600 file, replaced whole and durably."""

    def __init__(self, path: Path, clock: FarmClock) -> None:
        self._file = PrivateFile(path)
        self._clock = clock

    async def keep(self, kept: Kept) -> None:
        """Write it down; raises SetupError when the disk refuses."""
        content = _KeptFarm(
            at_ms=self._clock.now_ms(),
            boot=self._clock.boot,
            boot_ms=self._clock.boot_ms(),
            kept=kept,
        )
        await self._file.write(content)

    def read(self) -> tuple[Kept, float] | None:
        """Return what was kept last, and how many seconds ago by the surest clock; None at first.

        Raises BoxSetupError for a file that is not ours.
        """
        kept = self._file.read(_KeptFarm, REMEDY)
        if kept is None:
            return None
        passed_ms = self._clock.now_ms() - kept.at_ms
        if kept.boot == self._clock.boot:
            passed_ms = self._clock.boot_ms() - kept.boot_ms
        return kept.kept, max(0, passed_ms) / 1_000
