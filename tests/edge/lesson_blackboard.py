"""A box's lessons at work in a room whose blackboard is a projector."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.pjlink_projector import PjlinkProjector
from edge.devices.adopted import AdoptedDevice
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.lesson_desk import LessonDesk, lesson_desk
from tests.edge.school import Box
from tests.loopback import own_address

BOARD = DeviceId("pjlink:board")


@dataclass
class Board:
    """A room's projector, and the lessons that switch it."""

    desk: LessonDesk
    ledger: Path

    def orders(self) -> list[tuple[object, object]]:
        """Return what the projector was told to be, in order."""
        told = [(line.get("name"), line.get("parameter")) for line in read_ledger(self.ledger)]
        return [each for each in told if each[0] in {"POWR", "INPT"} and each[1] != "?"]

    def power(self) -> object:
        return self.desk.latest.get((BOARD, "power"))


@asynccontextmanager
async def blackboard(box: Box, folder: Path, last_two: str) -> AsyncIterator[Board]:
    """Run a box's lessons beside a projector that is off, at an own address ending so."""
    host, ledger = own_address(last_two), folder / "board.jsonl"
    projector = PjlinkProjector(
        IPv4Interface(f"{host}/24"),
        Ledger(ledger, now_ms),
        random.Random(1),
        lamp_times_s=(0.1, 0.1),
    )
    async with running(projector.run()):
        await asyncio.sleep(0.05)
        async with lesson_desk(box, folder) as desk:
            desk.fleet.add(
                AdoptedDevice(
                    device=BOARD,
                    kind=DeviceKind.BLACKBOARD,
                    name="教室投影",
                    profile="pjlink-projector",
                    address=f"pjlink://{host}:4352",
                    room="101",
                )
            )
            board = Board(desk, ledger)
            await until(lambda: board.power() == "off")
            yield board
