"""Simulated buses fast enough for tests, and what they and the driver under test wrote down."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from drivers.bus import ModbusBus
from drivers.entities import DeviceEvent, DeviceId, Measurement, Presence, Quality
from drivers.modbus_device import AdoptedUnit
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.modbus_rtu import Faults, ModbusRtuSimulator, SimulatedUnit
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_address import SerialAddress
from firmware_profiles.catalog import Catalog, load_catalog
from firmware_profiles.model import Profile, ProfileId

FAST_BAUD = 115_200
SOIL, AIR, LIGHT = (
    ProfileId(name) for name in ("soil-sen0601", "air-485-07d0", "light-485-200klx")
)

Value = tuple[int, str, float | str | None]
"""Unit, point, value: what is compared between ledger and driver."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def bundled(profile: ProfileId) -> Profile:
    return load_catalog().profiles[profile]


def quickened(profile: Profile, timeout_ms: int = 60, deadband: float = 0.0) -> Profile:
    """Return the profile on a fast line, so that thousands of reads take seconds."""
    link = msgspec.structs.replace(
        profile.links[0],
        baud=(FAST_BAUD,),
        baud_codes={FAST_BAUD: 2},
        timeout_ms=timeout_ms,
        quiet_ms=10,
        gap_ms=0,
    )
    points = tuple(msgspec.structs.replace(p, deadband=deadband) for p in profile.points)
    return msgspec.structs.replace(profile, links=(link,), points=points)


def patient_catalog(*models: str) -> Catalog:
    """Return the bundled profiles; units of these ``models`` may be as slow as a busy machine."""
    catalog = load_catalog()
    profiles = dict(catalog.profiles)
    for model in map(ProfileId, models):
        links = [msgspec.structs.replace(link, timeout_ms=1_500) for link in profiles[model].links]
        profiles[model] = msgspec.structs.replace(profiles[model], links=tuple(links))
    return Catalog(profiles=profiles, faults=catalog.faults)


@asynccontextmanager
async def running(*programs: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Run programs that never end for the time of the block."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(program) for program in programs]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 — conditions are plain data without an event
            await asyncio.sleep(0.005)


@dataclass
class Bench:
    """One simulated bus at ``folder/bus0`` and the driver that polls it."""

    folder: Path
    profiles: Sequence[Profile]
    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    baud: int = FAST_BAUD
    period_s: float = 0.02
    unit_max: int = 247
    events: list[DeviceEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        ids = rng.sample(range(1, self.unit_max + 1), len(self.profiles))
        self.rng = rng
        self.path = self.folder / "bus0"
        self.ledger_path = self.folder / "bus0.jsonl"
        self.units = [
            SimulatedUnit(unit, profile, rng)
            for unit, profile in zip(ids, self.profiles, strict=True)
        ]
        self.simulator = ModbusRtuSimulator(
            path=self.path,
            baud=self.baud,
            units=self.units,
            ledger=Ledger(self.ledger_path, now_ms),
            now_ms=now_ms,
            rng=rng,
            faults=self.faults,
        )

    def adopted(self) -> list[AdoptedUnit]:
        return [
            AdoptedUnit(device=DeviceId(f"modbus:bus0:{u.unit}"), unit=u.unit, profile=u.profile)
            for u in self.units
        ]

    def bus(self, units: Sequence[AdoptedUnit] | None = None) -> ModbusBus:
        period_s = self.period_s
        return ModbusBus(
            address=SerialAddress(path=self.path, baud=self.baud),
            settings=LineSettings(baud=self.baud),
            units=self.adopted() if units is None else units,
            now_ms=now_ms,
            sink=self.events.append,
            rng=self.rng,
            periods_s={"edge": period_s, "fast": period_s, "normal": period_s, "slow": period_s},
        )

    @property
    def measurements(self) -> list[Measurement]:
        return [event for event in self.events if isinstance(event, Measurement)]

    @property
    def presences(self) -> list[Presence]:
        return [event for event in self.events if isinstance(event, Presence)]

    def good_values(self) -> Counter[Value]:
        """Count what the driver believed."""
        return Counter(
            (int(m.device.rpartition(":")[2]), m.point, m.value)
            for m in self.measurements
            if m.quality is Quality.GOOD
        )

    def sent_values(self, *, kind: str, sound: bool, heard: bool = False) -> Counter[Value]:
        """Count what the simulator wrote down: sound or spoilt replies, perhaps only heard ones."""
        values: Counter[Value] = Counter()
        for line in read_ledger(self.ledger_path):
            if line["kind"] != kind or (line["fault"] is None) is not sound:
                continue
            if heard and not line["heard"]:
                continue
            assert isinstance(line["values"], dict)
            for point, value in line["values"].items():
                values[int(str(line["unit"])), point, value] += 1
        return values
