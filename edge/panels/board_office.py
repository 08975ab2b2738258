"""Tells many boards at once, each by itself, and does what was planned when its time comes."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Never

import msgspec

from drivers.discovery.candidate import DeviceKind
from drivers.entities import CommandResult, DeviceId, NowMs, Outcome
from drivers.errors import DriverError, SetupError
from edge.devices.fleet import Fleet
from edge.panels.plan import UNLOCK_MINUTES_MAX, Daily, PlanFile, is_room_of

_log = logging.getLogger(__name__)

TICK_S = 1.0
BOARD_S_MAX = 180.0  # a projector may take 90 s to warm up, and is read back afterwards
AT_ONCE_MAX = 16
RUNS_WAITING_MAX = 8
RUNS_KEPT = 20
LATE_MAX = timedelta(minutes=15)
"""How long after its time a daily order is still done by a box that was off."""
LOCK = "lock"

Tell = Callable[[DeviceId, str, str, str], Awaitable[CommandResult]]
"""Tells one device a command with an argument, in the name of somebody; raises DriverError."""


@dataclass(slots=True, kw_only=True, eq=False)
class GroupRun:
    """One order to many boards; ``results`` fills while it goes on."""

    number: int
    command: str
    argument: str
    who: str
    started_ms: int
    boards: tuple[DeviceId, ...]
    results: dict[DeviceId, CommandResult] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class BoardOffice:
    """Owns the group orders; :meth:`run` carries them out."""

    def __init__(
        self,
        plan: PlanFile,
        fleet: Fleet,
        tell: Tell,
        *,
        now_ms: NowMs,
        zone: tzinfo,
        is_clock_known: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.runs: deque[GroupRun] = deque(maxlen=RUNS_KEPT)
        self._fleet = fleet
        self._tell = tell
        self._now_ms = now_ms
        self._zone = zone
        self._is_clock_known = is_clock_known
        self._changed = changed
        self._waiting: asyncio.Queue[GroupRun] = asyncio.Queue(RUNS_WAITING_MAX)
        self._number = 0
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    def boards(self, rooms: Sequence[str] = ()) -> tuple[DeviceId, ...]:
        """Return the adopted boards of the rooms, by room and id."""
        patterns = tuple(rooms)
        meant = [
            adopted
            for adopted in self._fleet.devices.values()
            if adopted.kind is DeviceKind.BLACKBOARD and is_room_of(adopted.room, patterns)
        ]
        meant.sort(key=lambda adopted: (adopted.room or "", adopted.device))
        return tuple(adopted.device for adopted in meant)

    def start(self, rooms: Sequence[str], command: str, argument: str, who: str) -> GroupRun:
        """Begin to tell every board of the rooms; SetupError when there is none to tell."""
        boards = self.boards(rooms)
        if not boards:
            raise SetupError("no board is adopted in these rooms; the set-up page lists them")
        self._number += 1
        run = GroupRun(
            number=self._number,
            command=command,
            argument=argument,
            who=who,
            started_ms=self._now_ms(),
            boards=boards,
        )
        try:
            self._waiting.put_nowait(run)
        except asyncio.QueueFull as error:
            raise SetupError(f"{RUNS_WAITING_MAX} orders wait already; try again later") from error
        self.runs.appendleft(run)
        self._changed()
        return run

    async def unlock(self, device: DeviceId, minutes: int, who: str) -> CommandResult:
        """Unlock a board and lock it again after some minutes, whatever happens to the box.

        Raises SetupError when the board knows no lock or the time is out of bounds.
        """
        if not 1 <= minutes <= UNLOCK_MINUTES_MAX:
            raise SetupError(f"{minutes} minutes: choose 1 to {UNLOCK_MINUTES_MAX}")
        if device not in self._fleet.devices or not self._takes(device, LOCK, "off"):
            raise SetupError(f"{device} is no board with a lock; the set-up page lists them")
        # Written down first: a cut between the two leaves a locked board, never an open one.
        await self.plan.relock(device, self._now_ms() + minutes * 60_000)
        return await self._tell(device, LOCK, "off", who)

    async def run(self) -> Never:
        """Carry out what was ordered and planned until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_the_plan())
            while True:
                run = await self._waiting.get()
                tasks.create_task(self._carry_out(run))

    async def _carry_out(self, run: GroupRun) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for device in run.boards:
                    tasks.create_task(self._tell_one(run, device))
        finally:
            run.done.set()
        verified = sum(r.outcome is Outcome.VERIFIED for r in run.results.values())
        _log.info(
            "%s %s: %d of %d boards verified", run.command, run.argument, verified, len(run.boards)
        )
        self._changed()

    async def _tell_one(self, run: GroupRun, device: DeviceId) -> None:
        """Tell one board; whatever goes wrong stays its own result."""
        async with self._at_once:
            if not self._takes(device, run.command, run.argument):
                run.results[device] = self._failed(run, device, "it takes no such command")
                return
            try:
                async with asyncio.timeout(BOARD_S_MAX):
                    result = await self._tell(device, run.command, run.argument, run.who)
            except TimeoutError:
                result = self._failed(run, device, f"no result after {BOARD_S_MAX:g} s")
            except (DriverError, sqlite3.Error) as error:
                result = self._failed(run, device, str(error))
            run.results[device] = result
            self._changed()

    def _takes(self, device: DeviceId, command: str, argument: str) -> bool:
        if device not in self._fleet.devices:
            return False
        choices = self._fleet.commands_of(device)
        return any(c.command == command and c.takes(argument) for c in choices)

    def _failed(self, run: GroupRun, device: DeviceId, detail: str) -> CommandResult:
        return CommandResult(
            device=device,
            command=f"{run.command} {run.argument}",
            outcome=Outcome.FAILED,
            observed_ms=self._now_ms(),
            detail=detail,
        )

    async def _keep_the_plan(self) -> Never:
        while True:
            try:
                await self._lock_again()
                if self._is_clock_known():
                    await self._do_dailies()
            except SetupError as error:
                _log.warning("the boards' plan cannot be kept: %s", error)
            await asyncio.sleep(TICK_S)

    async def _lock_again(self) -> None:
        now_ms = self._now_ms()
        async with asyncio.TaskGroup() as tasks:
            for entry in self.plan.plan.relocks:
                if entry.at_ms <= now_ms:
                    tasks.create_task(self._lock_one(DeviceId(entry.device)))

    async def _lock_one(self, device: DeviceId) -> None:
        if device in self._fleet.devices:
            try:
                async with asyncio.timeout(BOARD_S_MAX):
                    await self._tell(device, LOCK, "on", "the box's clock")
            except (DriverError, sqlite3.Error, TimeoutError) as error:
                # The wish stands: the board locks when it is back.
                _log.warning("%s: not locked again yet: %s", device, error)
        try:
            await self.plan.relock(device, None)
        except SetupError as error:
            _log.warning("%s: the boards' plan cannot be kept: %s", device, error)

    async def _do_dailies(self) -> None:
        now = datetime.fromtimestamp(self._now_ms() / 1000, UTC).astimezone(self._zone)
        today = now.date().isoformat()
        for daily in self.plan.plan.dailies:
            hour, minute = map(int, daily.at.split(":"))
            late = now - now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            if daily.last_day == today or not timedelta() <= late <= LATE_MAX:
                continue
            await self.plan.daily(daily.name, msgspec.structs.replace(daily, last_day=today))
            self._begin(daily)

    def _begin(self, daily: Daily) -> None:
        try:
            self.start(daily.rooms, daily.command, daily.argument, f"daily order {daily.name}")
        except SetupError as error:
            _log.warning("daily order %s: %s", daily.name, error)
