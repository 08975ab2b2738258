"""A box of the page tests that has adopted one simulated camera with real pictures."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from drivers.cameras.onvif_camera import OnvifCamera
from drivers.entities import DeviceId
from drivers.simulators.ledger import Ledger
from drivers.simulators.rtsp_camera import RtspCamera
from edge.cameras.camera_desk import CameraDesk
from edge.devices.cameras import Cameras
from edge.devices.programs import Programs
from edge.notebook import Notebook
from edge.pages.box_view import Light, Sign
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from tests.drivers.camera_bench import ADOPTED, Camera, until, wall_ms
from tests.edge.adopted_devices import adopted_camera
from tests.edge.pages.simulated_box import NOW_MS, SimulatedBox, light_of

DEVICE = DeviceId("onvif:camera")
RTSP_PORT = 8554


@dataclass(frozen=True, slots=True)
class CameraRoom:
    """``control`` is the camera's ONVIF side with its ledger, ``pictures`` its RTSP side."""

    box: SimulatedBox
    control: Camera
    pictures: RtspCamera
    driver: OnvifCamera


@asynccontextmanager
async def camera_room(box: SimulatedBox, folder: Path) -> AsyncIterator[CameraRoom]:
    """Adopt a described camera; its pictures are served by ``pictures.serving`` alone."""
    control = Camera(folder)
    pictures = RtspCamera(
        Ledger(folder / "rtsp.jsonl", wall_ms), ADOPTED, now_ms=wall_ms, chance=random.Random(7)
    )
    programs, notebook = Programs(), Notebook(folder / "notebook.json")
    await notebook.keep_password(DEVICE, f"{ADOPTED.user}:{ADOPTED.password}")
    cameras = Cameras(programs, notebook, wall_ms, box.note, random.Random(5))
    box.cameras = CameraDesk(cameras, wall_ms, random.Random(6))
    adopted = adopted_camera(DEVICE, control.access.address, name="301 讲台摄像头", room="r301")
    cameras.add(adopted, load_catalog().profiles[ProfileId("onvif-camera")])
    running = asyncio.get_running_loop().create_task(programs.run())
    try:
        async with control.plugged_in():
            driver = cameras.camera(DEVICE)
            await until(lambda: bool(driver.control.imaging))
            light = light_of(adopted, Light.GOOD, Sign.ANSWERED, cameras.commands_of(DEVICE))
            box.lights.append(replace(light, evidence_ms=NOW_MS))
            yield CameraRoom(box, control, pictures, driver)
    finally:
        running.cancel()
        await asyncio.wait([running])
