"""A box's lessons at work in a room whose camera can be turned and was set to H.265."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers.entities import DeviceId, Outcome
from drivers.simulators.ledger import read_ledger
from drivers.simulators.onvif_motor import PRESETS
from tests.drivers.camera_bench import Camera
from tests.drivers.serial_bench import until
from tests.edge.adopted_devices import adopted_camera
from tests.edge.lesson_desk import LessonDesk, lesson_desk
from tests.edge.school import Box

CAMERA = DeviceId("onvif:one")
TURNS = {"preset", "home"}
KNOWN_S_MAX = 20.0
"""A camera's process has started and asked it everything by then."""


@dataclass
class TurningCamera:
    """A room's camera with its ledger, and the lessons that use it."""

    desk: LessonDesk
    control: Camera

    async def keep_position(self, name: str) -> object:
        """Store where the camera looks, as a person does; return the position's token."""
        result = await self.desk.fleet.command(CAMERA, "keep_preset", name)
        assert result.outcome is Outcome.VERIFIED
        (token,) = [
            line["token"] for line in self.control.lines("preset_set") if line["name"] == name
        ]
        return token

    def turns(self) -> list[object]:
        """Return where the camera was sent, in order: tokens of positions, and ``home``."""
        lines = [line for line in read_ledger(self.control.path) if line["kind"] in TURNS]
        return [line.get("token", "home") for line in lines]

    def encodings(self) -> dict[object, object]:
        """Return what each of its pictures was set to."""
        return {line["profile"]: line["encoding"] for line in self.control.lines("encoder_set")}


@asynccontextmanager
async def camera_to_come(box: Box, folder: Path) -> AsyncIterator[TurningCamera]:
    """Run a box's lessons in a room whose adopted camera is not plugged in yet."""
    control = Camera(folder, credentials=None, encoding="H265")
    async with lesson_desk(box, folder) as desk:
        desk.fleet.add(adopted_camera(CAMERA, control.access.address))
        yield TurningCamera(desk, control)


@asynccontextmanager
async def turning_camera(box: Box, folder: Path) -> AsyncIterator[TurningCamera]:
    """Run a box's lessons beside a camera that is known already."""
    control = Camera(folder, credentials=None, encoding="H265")
    async with control.plugged_in(), lesson_desk(box, folder) as desk:
        desk.fleet.add(adopted_camera(CAMERA, control.access.address))
        driver = desk.fleet.cameras.camera(CAMERA)
        await until(lambda: len(driver.control.presets) == len(PRESETS), KNOWN_S_MAX)
        yield TurningCamera(desk, control)
