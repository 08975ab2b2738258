"""Boards told together, locked again in time, switched by the clock; simulated panels."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from drivers.discovery.candidate import DeviceKind
from drivers.entities import CommandResult, DeviceEvent, DeviceId, Outcome, Presence
from drivers.errors import SetupError
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.panel import SimulatedPanel
from edge.devices.adopted import AdoptedDevice
from edge.devices.fleet import Fleet
from edge.errors import BoxSetupError
from edge.notebook import Notebook
from edge.panels.board_office import BoardOffice
from edge.panels.plan import Daily, PlanFile
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from tests.drivers.serial_bench import now_ms, running, until

ZONE = timezone(timedelta(hours=8))
EVENING_MS = int(datetime(2026, 11, 23, 18, 0, 5, tzinfo=ZONE).timestamp() * 1000)


@dataclass
class School:
    """A box with its boards; ``restart`` is another box on the same folder."""

    folder: Path
    clock_ms: int = EVENING_MS
    clock_known: bool = True
    panels: dict[str, SimulatedPanel] = field(default_factory=dict)
    told: list[tuple[str, str, str, str]] = field(default_factory=list)

    events: list[DeviceEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.fleet = Fleet(
            load_catalog(),
            Notebook(self.folder / "notebook.json"),
            now_ms,
            self.events.append,
            random.Random(1),
        )
        self.office = BoardOffice(
            PlanFile(self.folder / "boards.json"),
            self.fleet,
            self.tell,
            now_ms=lambda: self.clock_ms,
            zone=ZONE,
            is_clock_known=lambda: self.clock_known,
            changed=lambda: None,
        )

    async def tell(self, device: DeviceId, command: str, argument: str, who: str) -> CommandResult:
        self.told.append((device, command, argument, who))
        return await self.fleet.command(device, command, argument)

    def adopt(self, name: str, room: str, port: int, profile: str = "samsung-mdc") -> None:
        self.fleet.add(
            AdoptedDevice(
                device=DeviceId(name),
                kind=DeviceKind.BLACKBOARD,
                name=name,
                profile=profile,
                address=f"tcp://127.0.0.1:{port}?unit=1",
                room=room,
            )
        )

    @asynccontextmanager
    async def plugged_in(self, name: str, port: int) -> AsyncIterator[SimulatedPanel]:
        ledger = self.folder / f"{name}.jsonl"
        panel = SimulatedPanel(
            load_catalog().profiles[ProfileId("samsung-mdc")],
            Ledger(ledger, now_ms),
            random.Random(port),
            warm_up_s=0.0,
        )
        async with running(panel.serve_tcp("127.0.0.1", port)):
            await until(lambda: bool(read_ledger(ledger)))
            yield panel

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self.fleet.run(), self.office.run()):
            yield

    def are_online(self, *devices: str) -> bool:
        online = {
            event.device: event.online for event in self.events if isinstance(event, Presence)
        }
        return all(online.get(DeviceId(device)) for device in devices)

    def is_told(self, *words: str) -> bool:
        return any(told[: len(words)] == words for told in self.told)


async def test_a_floor_is_told_at_once_and_one_dead_board_stays_one(tmp_path: Path) -> None:
    school = School(tmp_path)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(school.plugged_in("301", 22_301))
        second = await stack.enter_async_context(school.plugged_in("302", 22_302))
        below = await stack.enter_async_context(school.plugged_in("201", 22_201))
        for room in ("301", "302", "303", "201"):  # nobody listens for 303
            school.adopt(f"board:{room}", f"r{room}", 22_000 + int(room))
        await stack.enter_async_context(school.running())
        assert school.office.boards(["r3*"]) == ("board:301", "board:302", "board:303")
        await until(lambda: school.are_online("board:301", "board:302"))
        run = school.office.start(["r3*"], "power", "on", "a person")
        await run.done.wait()
        assert (first.state["power"], second.state["power"]) == ("on", "on")
        assert below.state["power"] == "off"
    outcomes = {device: result.outcome for device, result in run.results.items()}
    assert outcomes == {
        "board:301": Outcome.VERIFIED,
        "board:302": Outcome.VERIFIED,
        "board:303": Outcome.FAILED,
    }
    assert "done when back" in run.results[DeviceId("board:303")].detail
    assert school.office.runs[0] is run


async def test_what_a_board_does_not_take_is_said_and_never_sent(tmp_path: Path) -> None:
    school = School(tmp_path)
    school.adopt("board:301", "r301", 22_301)
    async with school.running():
        run = school.office.start((), "power", "sideways", "a person")
        await run.done.wait()
    assert run.results[DeviceId("board:301")].detail == "it takes no such command"
    assert not school.told


async def test_without_boards_nothing_is_begun(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no board"):
        School(tmp_path).office.start(["r9*"], "power", "off", "a person")


async def test_an_unlocked_board_is_locked_again_though_the_box_was_restarted(
    tmp_path: Path,
) -> None:
    school = School(tmp_path)
    async with school.plugged_in("301", 22_301) as panel:
        school.adopt("board:301", "r301", 22_301)
        async with school.running():
            await until(lambda: school.are_online("board:301"))
            panel.hold("lock", "on")
            result = await school.office.unlock(DeviceId("board:301"), 10, "a person")
            assert result.outcome is Outcome.VERIFIED
            assert panel.state["lock"] == "off"
        school.clock_ms += 9 * 60_000
        school.restart()
        school.adopt("board:301", "r301", 22_301)
        async with school.running():
            await asyncio.sleep(0.3)
            assert not school.is_told("board:301", "lock", "on")
            school.clock_ms += 60_000
            await until(lambda: panel.state["lock"] == "on")
            await until(lambda: not school.office.plan.plan.relocks)
    assert school.is_told("board:301", "lock", "on", "the box's clock")


@pytest.mark.parametrize(("device", "minutes"), [("board:301", 0), ("board:301", 1441), ("x", 5)])
async def test_an_unlocking_that_cannot_be_ended_is_refused(
    tmp_path: Path, device: str, minutes: int
) -> None:
    school = School(tmp_path)
    school.adopt("board:301", "r301", 22_301)
    with pytest.raises(SetupError):
        await school.office.unlock(DeviceId(device), minutes, "a person")
    assert not school.office.plan.plan.relocks
    assert not school.told


async def test_a_daily_order_is_done_once_a_day_and_soon_after_its_time_only(
    tmp_path: Path,
) -> None:
    school = School(tmp_path, clock_ms=EVENING_MS - 60_000)
    school.adopt("board:301", "r301", 22_301)
    await school.office.plan.daily(
        "evening", Daily(name="evening", at="18:00", command="power", argument="off")
    )
    async with school.running():
        await asyncio.sleep(0.3)
        assert not school.office.runs, "too early"
    for clock_ms, known, runs in (
        (EVENING_MS, False, 0),  # the clock is not known
        (EVENING_MS, True, 1),
        (EVENING_MS + 5 * 60_000, True, 0),  # done today
        (EVENING_MS + 86_400_000 + 3_600_000, True, 0),  # an hour late: nobody expects it now
        (EVENING_MS + 2 * 86_400_000, True, 1),
    ):
        school.clock_ms, school.clock_known = clock_ms, known
        school.restart()
        school.adopt("board:301", "r301", 22_301)
        async with school.running():
            if runs:
                await until(lambda: len(school.office.runs) == 1)
            else:
                await asyncio.sleep(0.2)
        assert len(school.office.runs) == runs, datetime.fromtimestamp(clock_ms / 1000, UTC)


async def test_a_damaged_plan_says_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "boards.json"
    path.write_text('{"relocks": 7}')
    path.chmod(0o600)
    with pytest.raises(BoxSetupError, match="move it away"):
        PlanFile(path)


async def test_plans_that_are_changed_at_once_leave_every_change(tmp_path: Path) -> None:
    plan = PlanFile(tmp_path / "boards.json")
    await asyncio.gather(*(plan.relock(f"board:{number}", number) for number in range(8)))
    again = PlanFile(tmp_path / "boards.json")
    assert {entry.device for entry in again.plan.relocks} == {f"board:{n}" for n in range(8)}
    await asyncio.gather(again.relock("board:0", None), again.relock("board:1", 99))
    kept = {entry.device: entry.at_ms for entry in PlanFile(tmp_path / "boards.json").plan.relocks}
    assert "board:0" not in kept
    assert kept["board:1"] == 99
