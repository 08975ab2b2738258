"""A running box whose devices are in trouble, what was done to them, and what its store tells."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Never

import msgspec
import pytest

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Outcome, Quality
from drivers.simulators.ledger import read_ledger
from edge.box_store import open_box
from edge.config import BoxConfig
from edge.notebook import Notebook
from sync.logs.oplog import Row
from sync.store import connect_readonly
from tests.drivers.chaos_devices import (
    CAMERA_PASSWORD,
    NETWORK,
    Devices,
    write_profiles,
)
from tests.drivers.chaos_plan import Fault, draw_plan
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import enrol
from tests.hub.running_hub import Clock
from tests.provisioning.district import make_district

TICK_S = 0.05
MOTION_TICKS = 10
WAIT_S_MAX = 60.0
ROOT = Path(__file__).parents[2]
NOTICED = {
    ("bus", "unplugged"),
    ("units", "dead"),
    ("gate", "unplugged"),
    ("panel", "power cut"),
    ("projector", "power cut"),
    ("camera", "another address"),
}
"""Faults by which a device is gone, and a person has to be told so."""


@dataclass(frozen=True, slots=True)
class Befallen:
    """A fault that was, from its beginning until its victim was well again; Unix milliseconds.

    ``noticed_ms`` is when all its devices were told to be gone, None for what takes none away;
    ``ended_ms`` when the fault was over.
    """

    victim: str
    kind: str
    devices: Sequence[DeviceId]
    begun_ms: int
    noticed_ms: int | None
    ended_ms: int
    well_ms: int


@dataclass
class Chaos:
    """One box, its devices, and what befell them.

    ``ticks_ms`` is time as this event loop has it: a machine that stands still makes nobody late.
    A slow unit is slow for ``late_answers`` of them: so many that some come just when it is asked
    something else. ``orders`` are volumes ordered in the midst of it: what was claimed, and whether
    it was so.
    """

    seed: int
    devices: Devices
    box: RunningBox
    late_answers: int
    befallen: list[Befallen] = field(default_factory=list)
    ticks_ms: list[int] = field(default_factory=list)
    orders: list[tuple[Outcome, bool]] = field(default_factory=list)
    seen: int = 0
    """How often something moved before the steady camera."""

    async def start(self) -> None:
        """Wait until every device is well and the boards are on."""
        await self._wait(lambda: all(map(self.is_online, self.box.box._fleet.devices)), "start")
        for board in ("panel", "projector"):
            result = await self.order(board, "power", "on")
            assert result is Outcome.VERIFIED, f"{board}: {result}"
        steady = self.devices.path("steady_camera")
        await self._wait(
            lambda: any(line["kind"] == "pulled" for line in read_ledger(steady)), "start"
        )

    async def run(self, rounds: int) -> None:
        """Let everything happen; every victim's faults in turn, the victims side by side."""
        plan = draw_plan(self.seed, rounds)
        async with running(self._tick()), asyncio.TaskGroup() as victims:
            for victim, faults in plan.items():
                victims.create_task(self._befall(victim, faults))

    async def order(self, board: str, command: str, argument: str) -> Outcome:
        result = await self.box.box.command(DeviceId(board), command, argument, who="a person")
        return result.outcome

    def is_online(self, device: DeviceId) -> bool:
        told = self.box.box._recorder.presence.get(device)
        return told is not None and told.online

    def is_well(self, device: DeviceId, since_ms: int) -> bool:
        """Tell whether a device is there and has said something good since a moment."""
        if not self.is_online(device):
            return False
        if device == "panel" and self.devices.panel.state["power"] != "on":
            return False  # its power was cut, and what people wished is to be so again
        point = "clock_offset" if device.startswith("onvif:") else None
        return device == "card:gate" or any(
            value.quality is Quality.GOOD and value.observed_ms >= since_ms
            for (each, name), value in self.box.box._recorder.latest.items()
            if each == device and point in {None, name}
        )

    async def _befall(self, victim: str, faults: Sequence[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(fault.before_s)
            begun_ms, devices = now_ms(), self.devices.devices_of(victim)
            where = f"seed {self.seed}, {victim}, {fault}"
            await self.devices.begin(victim, fault)
            noticed_ms = None
            if (victim, fault.kind) in NOTICED:
                await self._wait(partial(self._are_gone, devices), where)
                noticed_ms = now_ms()
            if (victim, fault.kind) == ("units", "slow"):
                enough = self.devices.late_answers() + self.late_answers
                await self._wait(partial(self._were_late, enough), where)
            if fault.kind == "garbage" and victim == "panel":
                await self._order_volume(fault.seed % 100)
            if fault.kind == "wrong clock":
                await self._wait(partial(self._is_clock_doubted, devices[0]), where)
            await asyncio.sleep(fault.lasts_s)
            self.devices.end(victim, fault)
            ended_ms = now_ms()
            await self._wait(partial(self._are_well, devices, ended_ms), where)
            times_ms = (begun_ms, noticed_ms, ended_ms, now_ms())
            self.befallen.append(Befallen(victim, fault.kind, devices, *times_ms))

    def _are_gone(self, devices: Sequence[DeviceId]) -> bool:
        return not any(map(self.is_online, devices))

    def _are_well(self, devices: Sequence[DeviceId], since_ms: int) -> bool:
        return all(self.is_well(device, since_ms) for device in devices)

    def _were_late(self, answers: int) -> bool:
        return self.devices.late_answers() >= answers

    def _is_clock_doubted(self, device: DeviceId) -> bool:
        told = self.box.box._recorder.latest.get((device, "clock_offset"))
        return told is not None and told.quality is Quality.UNCERTAIN and bool(told.reason)

    async def _order_volume(self, volume: int) -> None:
        self.devices.volumes.add(float(volume))
        outcome = await self.order("panel", "volume", str(volume))
        self.orders.append((outcome, self.devices.panel.state["volume"] == str(volume)))

    async def _tick(self) -> Never:
        while True:
            for number in range(MOTION_TICKS):
                if number in {0, MOTION_TICKS // 2}:
                    self.devices.steady_camera.events.set_motion(number == 0)
                    self.seen += number == 0
                self.ticks_ms.append(now_ms())
                await asyncio.sleep(TICK_S)

    async def _wait(self, condition: Callable[[], bool], where: str) -> None:
        try:
            await until(condition, WAIT_S_MAX)
        except TimeoutError:
            pytest.fail(f"{where}: nothing came of it")


@dataclass(frozen=True, slots=True)
class Told:
    """What a box's store tells."""

    folder: Path

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with closing(connect_readonly(self.folder / "box.db")) as reader:
            return [tuple(row) for row in reader.execute(query, values)]

    def believed(self, device: DeviceId) -> Counter[tuple[object, ...]]:
        """Count the numbers of a device that the box took for good."""
        query = "SELECT point, value FROM reading WHERE device = ? AND quality = 'good'"
        return Counter(self.rows(query, device))

    def doubted(self, device: DeviceId) -> list[tuple[object, ...]]:
        query = "SELECT point, quality, reason FROM reading WHERE device = ? AND quality <> 'good'"
        return self.rows(query, device)

    def events(self, device: DeviceId, event: str) -> list[tuple[int, str]]:
        """Return when something befell a device, and the sentence for a person."""
        query = (
            "SELECT at_ms, detail FROM device_event WHERE device = ? AND event = ? ORDER BY at_ms"
        )
        return [(int(str(at)), str(detail)) for at, detail in self.rows(query, device, event)]


@asynccontextmanager
async def troubled_school(folder: Path, seed: int, late_answers: int) -> AsyncIterator[Chaos]:
    """Run a school whose devices are all adopted and well."""
    (folder / "lines").mkdir()
    profiles = write_profiles(folder / "profiles")
    enrol(make_district(folder / "hub", port=9), folder / "box", 17)
    config = msgspec.structs.replace(
        daemon_config(folder / "box", network=NETWORK), profiles=profiles
    )
    devices = Devices(folder, seed, profiles)
    await adopt(config, devices)
    try:
        async with running_box(config, Clock()) as box:
            chaos = Chaos(seed, devices, box, late_answers)
            await chaos.start()
            yield chaos
    finally:
        await devices.unplug()


async def adopt(config: BoxConfig, devices: Devices) -> None:
    """Write down every device as adopted, before the box starts."""
    notebook = Notebook(config.folder / "notebook.json")
    rows: list[Row] = []
    for each in devices.candidates():
        if each.kind is DeviceKind.CAMERA:
            password = f"{CAMERA_PASSWORD.user}:{CAMERA_PASSWORD.password}"
            await notebook.keep_password(DeviceId(each.identity), password)
        rows.append(
            {
                "device": each.identity,
                "kind": each.kind.value,
                "name": each.name,
                "profile": each.profile,
                "address": each.address,
                "room": "101",
                "evidence": "",
                "adopted_ms": now_ms(),
                "adopted_by": "a person",
            }
        )
    with open_box(config, Clock()) as store:
        store.node.record("device", rows)


def our_tasks() -> Counter[str]:
    """Count the product's tasks by what they run; the simulators' are not ours."""
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return Counter(code.co_qualname for code in codes if code is not None and _is_ours(code))


def _is_ours(code: CodeType) -> bool:
    path = Path(code.co_filename)
    return path.is_relative_to(ROOT / "edge") or (
        path.is_relative_to(ROOT / "drivers")
        and not path.is_relative_to(ROOT / "drivers" / "simulators")
    )


def open_files() -> Counter[str]:
    """Count this process's open files by what they are, e.g. ``socket``."""
    gc.collect()
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.append(str(each.readlink()).partition(":")[0])
    return Counter(found)
