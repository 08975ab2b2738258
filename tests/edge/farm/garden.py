"""A roof with a real simulated relay board on a serial line, and the keeper that waters it."""

import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from drivers.codecs.modbus import ReadReply, ReadRequest, WriteOneRequest
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceEvent, DeviceId, Measurement, Presence, Quality
from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator
from drivers.simulators.profile_unit import ProfileUnit
from edge.devices.adopted import AdoptedDevice
from edge.devices.fleet import Fleet
from edge.farm.farm_memory import FarmClock
from edge.farm.keeper import FarmKeeper
from edge.farm.rule import Rule, write_rule
from edge.farm.world import Seen
from edge.notebook import Notebook
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from sync.logs.oplog import Row
from tests.drivers.serial_bench import now_ms, patient_catalog, running
from tests.edge.farm.rules import MONDAY, PUMP, SOIL, ZONE
from tests.edge.pages.simulated_box import SCHOOL, SimulatedBox

UNIT = 9
BAUD = 9_600


@dataclass
class Garden:
    """``moment`` is the school's clock; the machine's own runs as it does."""

    folder: Path
    moment: datetime = MONDAY
    is_clock_known: bool = True
    boot: str = "first"
    rows: list[Row] = field(default_factory=list)
    events: list[DeviceEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.box = SimulatedBox(self.folder / "box.sqlite")
        self.board = ProfileUnit(UNIT, load_catalog().profiles[ProfileId("relay-waveshare-rtu-8")])
        self.restart()

    def restart(self) -> None:
        """Another box on the same folder; the board keeps its relays as they are."""
        self.events.clear()
        self.simulator = ModbusRtuSimulator(
            path=self.folder / "line",
            baud=BAUD,
            units=[self.board],
            ledger=Ledger(self.folder / "line.jsonl", now_ms),
            now_ms=now_ms,
            rng=random.Random(1),
        )
        self.fleet = Fleet(
            patient_catalog("relay-waveshare-rtu-8"),
            Notebook(self.folder / "notebook.json"),
            now_ms,
            self.hear,
            random.Random(2),
        )
        self.keeper = FarmKeeper(
            self.folder / "farm.json",
            SCHOOL,
            self.fleet,
            self.record,
            self.box.connect,
            clock=FarmClock(
                now_ms=lambda: int(self.moment.timestamp() * 1_000),
                boot_ms=lambda: time.monotonic_ns() // 1_000_000,
                boot=self.boot,
                zone=ZONE,
                is_known=lambda: self.is_clock_known,
            ),
            changed=lambda: None,
        )
        line = self.folder / "line"
        self.adopt(PUMP.device, DeviceKind.FARM_ACTUATOR, "relay-waveshare-rtu-8", f"{line}", UNIT)
        self.adopt(SOIL.device, DeviceKind.FARM_SENSOR, "soil-sen0601", f"{self.folder}/soil", 1)

    def adopt(self, device: str, kind: DeviceKind, profile: str, path: str, unit: int) -> None:
        self.fleet.add(
            AdoptedDevice(
                device=DeviceId(device),
                kind=kind,
                name=device,
                profile=profile,
                address=f"serial:{path}?baud={BAUD}&unit={unit}",
                room=None,
            )
        )

    def hear(self, event: DeviceEvent) -> None:
        self.events.append(event)
        self.keeper.take(event)

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self.rows += rows["farm_action"]

    def write_rule(self, rule: Rule, name: str = "r1", *, is_enabled: bool = True) -> None:
        self.box.insert(
            "farm_rule", rule=name, plot="p1", definition=write_rule(rule), enabled=is_enabled
        )

    def measure(self, value: float | None, quality: Quality = Quality.GOOD) -> None:
        """Let the probe in the soil say something."""
        self.keeper.take(
            Measurement(
                device=DeviceId(SOIL.device),
                point=SOIL.point,
                value=value,
                unit="%",
                quality=quality,
                observed_ms=self.keeper._clock.now_ms(),
                source="test",
            )
        )

    def is_on(self, number: int = 1) -> bool:
        """Ask the board itself, past the line."""
        request = ReadRequest(unit=UNIT, function=1, address=number - 1, count=1)
        reply, _ = self.board.answer(request, BAUD)
        assert isinstance(reply, ReadReply)
        return reply.values == (1,)

    def switch_by_hand(self, *, on: bool, number: int = 1) -> None:
        self.board.answer(
            WriteOneRequest(unit=UNIT, function=5, address=number - 1, value=int(on)), BAUD
        )

    @property
    def is_board_here(self) -> bool:
        """Whether it is there and was read: what nobody has seen yet is not driven."""
        told = [e for e in self.events if isinstance(e, Presence) and e.device == PUMP.device]
        is_online = bool(told) and told[-1].online
        pump = self.keeper.outputs().get(PUMP)
        return is_online and pump is not None and self.keeper.seen(pump) is not Seen.UNKNOWN

    def told(self) -> list[tuple[object, object, object]]:
        return [(row["command"], row["outcome"], row["reason"]) for row in self.rows]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with running(self.simulator.run(), self.fleet.run(), self.keeper.run()):
            yield
