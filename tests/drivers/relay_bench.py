"""A simulated relay board on a fast line, and the bus that commands it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from drivers.bus import ModbusBus
from drivers.codecs.modbus import ReadReply, ReadRequest, Reply, Request, WriteOneRequest
from drivers.entities import CommandResult, DeviceEvent, DeviceId, Measurement, Presence, Quality
from drivers.modbus_device import AdoptedUnit
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.modbus_rtu import Faults, ModbusRtuSimulator
from drivers.simulators.profile_unit import ProfileUnit
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_address import SerialAddress
from firmware_profiles.model import Command, Event, Interlock, Link, Point, Profile, Verify, Write
from tests.drivers.serial_bench import FAST_BAUD, now_ms

UNIT = 7
DEVICE = DeviceId("modbus:relays:7")
ON_OFF = {"0": "off", "1": "on"}
LONGEST_S = 1


def relay(number: int, **fields: object) -> Command:
    """Return the command of one coil, read back by the point of its number."""
    made = Command(
        id=f"relay_{number}",
        capability="relay",
        write=Write(function=5, register=number),
        values={"off": "0", "on": "1"},
        verify=Verify(point=f"relay_{number}", delay_ms=0, expect="{word}"),
        idempotent=True,
    )
    return msgspec.structs.replace(made, **fields)


def coil(number: int) -> Point:
    return Point(
        id=f"relay_{number}",
        capability="relay",
        function=1,
        register=number,
        enum=ON_OFF,
        poll="fast",
    )


PUMP = relay(0, interlock=Interlock(longest_on_s=LONGEST_S, fail_safe="off"))
LAMP = relay(1)


def board(commands: Sequence[Command] = (PUMP, LAMP), events: Sequence[Event] = ()) -> Profile:
    link = Link(
        type="modbus_rtu", baud=(FAST_BAUD,), timeout_ms=200, quiet_ms=10, gap_ms=0, block_max=8
    )
    button = Point(
        id="button", capability="input", function=2, register=0, enum=ON_OFF, poll="fast"
    )
    return Profile(
        schema=1,
        id="relays",
        version=1,
        kind="farm_actuator",
        vendor="nobody",
        models=("eight",),
        firmware_range="*",
        license="Apache-2.0",
        tested="simulated",
        sources=(),
        links=(link,),
        points=(coil(0), coil(1), button),
        commands=tuple(commands),
        events=tuple(events),
    )


class Board:
    """A board some of whose points may be stuck, whatever it is told."""

    def __init__(self, profile: Profile) -> None:
        self.unit = UNIT
        self.held = ProfileUnit(UNIT, profile)
        self.stuck: dict[str, str] = {}

    def answer(self, request: Request, baud: int) -> tuple[Reply, dict[str, float | str | None]]:
        answer = self.held.answer(request, baud)
        for point, value in self.stuck.items():
            self.held.set(point, value)
        return answer


@dataclass
class Relays:
    """One board at ``folder/relays``; ``hand`` is what a person does to it."""

    folder: Path
    profile: Profile = field(default_factory=board)
    faults: Faults = field(default_factory=Faults)
    events: list[DeviceEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / "relays"
        self.ledger_path = self.folder / "relays.jsonl"
        self.unit = Board(self.profile)
        self.press(on=False)
        self.hand(0, on=False)
        self.hand(1, on=False)
        self.simulator = ModbusRtuSimulator(
            path=self.path,
            baud=FAST_BAUD,
            units=[self.unit],
            ledger=Ledger(self.ledger_path, now_ms),
            now_ms=now_ms,
            rng=random.Random(1),
            faults=self.faults,
        )

    def bus(self, wishes: Mapping[str, str] | None = None) -> ModbusBus:
        unit = AdoptedUnit(device=DEVICE, unit=UNIT, profile=self.profile, wishes=wishes or {})
        return ModbusBus(
            address=SerialAddress(path=self.path, baud=FAST_BAUD),
            settings=LineSettings(baud=FAST_BAUD),
            units=[unit],
            now_ms=now_ms,
            sink=self.events.append,
            rng=random.Random(2),
            periods_s={"edge": 0.02, "fast": 0.03, "normal": 0.03, "slow": 0.03},
        )

    def is_on(self, number: int) -> bool:
        request = ReadRequest(unit=UNIT, function=1, address=number, count=1)
        reply, _ = self.unit.answer(request, FAST_BAUD)
        assert isinstance(reply, ReadReply)
        return reply.values == (1,)

    def hand(self, number: int, *, on: bool) -> None:
        """Switch a relay by the button on the board."""
        request = WriteOneRequest(unit=UNIT, function=5, address=number, value=int(on))
        self.unit.answer(request, FAST_BAUD)

    def press(self, *, on: bool) -> None:
        self.unit.held.set("button", "on" if on else "off")

    def written(self, number: int) -> list[int]:
        """Return what the board was told of one coil, by its own ledger."""
        told = []
        for line in read_ledger(self.ledger_path):
            if line["kind"] == "reply_begun" and line["fc"] == 5 and line["address"] == number:
                assert isinstance(line["written"], list)
                told += line["written"]
        return told

    @property
    def is_here(self) -> bool:
        told = [event for event in self.events if isinstance(event, Presence)]
        return bool(told) and told[-1].online

    @property
    def results(self) -> list[CommandResult]:
        return [event for event in self.events if isinstance(event, CommandResult)]

    def readings(self, point: str) -> list[float | str | None]:
        return [
            event.value
            for event in self.events
            if isinstance(event, Measurement)
            and event.point == point
            and event.quality is Quality.GOOD
        ]
