"""The repairs list with what a person put aside: for some days, or until it comes again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from drivers.errors import SetupError
from edge.errors import BoxSetupError
from edge.pages.box_view import Change
from edge.private_file import PrivateFile
from edge.repairs import Condition, Repair, find_repairs
from provisioning import errors
from sync.logs.oplog import Row

DAY_MS = 24 * 3_600_000
SHELVED_MAX = 200
DAYS_MAX = 90

_log = logging.getLogger(__name__)


class Shelved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who put a repair aside, and until when; ``until_ms`` None is until it comes again."""

    who: str
    at_ms: int
    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairList:
    """What is to be done, and what was put aside with who did so."""

    waiting: tuple[Repair, ...]
    shelved: tuple[tuple[Repair, Shelved], ...]


class RepairDesk:
    """One 0600 file keeps what was put aside; on the event loop's thread."""

    def __init__(
        self,
        path: Path,
        condition: Callable[[], Condition],
        record: Callable[[Mapping[str, Sequence[Row]]], Awaitable[None]],
        now_ms: Callable[[], int],
        changed: Callable[[Change], None],
    ) -> None:
        self._file = PrivateFile(path)
        self._turn = asyncio.Lock()
        self._condition = condition
        self._record = record
        self._now_ms = now_ms
        self._changed = changed
        self._shelf = _read(self._file)

    def list(self, *, has_rooms: bool = True) -> RepairList:
        """Return what is wrong at this moment; ``has_rooms``: the school has named rooms."""
        condition = replace(self._condition(), has_rooms=has_rooms)
        found = find_repairs(condition)
        shelved = {repair.key: self._shelf.get(repair.key) for repair in found}
        now_ms = condition.now_ms
        aside = [
            (repair, told)
            for repair in found
            if (told := shelved[repair.key]) is not None
            and (told.until_ms is None or told.until_ms > now_ms)
        ]
        keys = {repair.key for repair, _ in aside}
        return RepairList(
            waiting=tuple(repair for repair in found if repair.key not in keys),
            shelved=tuple(aside),
        )

    async def shelve(self, key: str, days: int | None, who: str) -> None:
        """Put a repair aside for some days; None: until it comes again after it was gone.

        Raises SetupError when there is none of this key, or the disk refuses.
        """
        told = self.list(has_rooms=False)
        if all(
            repair.key != key for repair in (*told.waiting, *(each for each, _ in told.shelved))
        ):
            raise SetupError(f"{key} is not among the repairs any more; reload the page")
        now_ms = self._now_ms()
        until_ms = None if days is None else now_ms + min(days, DAYS_MAX) * DAY_MS
        async with self._turn:
            shelf = {**self._shelf, key: Shelved(who=who, at_ms=now_ms, until_ms=until_ms)}
            while len(shelf) > SHELVED_MAX:
                del shelf[next(iter(shelf))]
            await self._keep(shelf)
        until = "it comes again" if days is None else f"{days} days are over"
        await self._audit(f"put aside until {until}", key, who)

    async def unshelve(self, key: str, who: str) -> None:
        """Take a repair up again; harmless when it was not put aside."""
        async with self._turn:
            if key not in self._shelf:
                return
            await self._keep({name: told for name, told in self._shelf.items() if name != key})
        await self._audit("take up again", key, who)

    async def tidy(self) -> None:
        """Forget what was put aside and is over or gone: should it come again, it is news."""
        async with self._turn:
            if not self._shelf:
                return
            condition = replace(self._condition(), has_rooms=False)
            keys = {repair.key for repair in find_repairs(condition)}
            kept = {
                key: told
                for key, told in self._shelf.items()
                if key in keys and (told.until_ms is None or told.until_ms > condition.now_ms)
            }
            if kept != self._shelf:
                try:
                    await self._keep(kept)
                except SetupError as error:
                    _log.warning("what was put aside is not remembered: %s", error)

    async def _keep(self, shelf: dict[str, Shelved]) -> None:
        await self._file.write(shelf)
        self._shelf = shelf
        self._changed(Change.DEVICES)

    async def _audit(self, action: str, key: str, who: str) -> None:
        row: Row = {"at_ms": self._now_ms(), "who": who, "action": action, "subject": key}
        await self._record({"audit_entry": [row]})


def _read(file: PrivateFile) -> dict[str, Shelved]:
    """Return the shelf; one that cannot be read is empty, and everything is shown again."""
    try:
        return file.read(dict[str, Shelved], "what was put aside is shown again") or {}
    except (BoxSetupError, errors.ProvisioningError) as error:
        _log.warning("%s", error)
        return {}
