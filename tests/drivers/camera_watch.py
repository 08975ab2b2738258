"""A camera that a box has adopted, and all that it told, for tests."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.worker import CameraWorker
from drivers.entities import DeviceEvent, DeviceId, InputEdge, Measurement, Presence
from firmware_profiles.model import Event
from tests.drivers.camera_bench import Camera, wall_ms
from tests.drivers.serial_bench import running

MOTION = Event(
    id="motion",
    capability="motion",
    format="onvif",
    topic="tns1:RuleEngine/CellMotionDetector/Motion",
)


class Watched:
    """An adopted camera that is described, and what it told."""

    def __init__(self, camera: Camera, worker: CameraWorker, events: Sequence[Event]) -> None:
        self.events: list[DeviceEvent] = []
        self.camera = OnvifCamera(
            DeviceId("camera"),
            camera.access,
            worker,
            wall_ms,
            self.events.append,
            random.Random(3),
            events=events,
            status_s=0.05,
        )

    def measured(self, point: str) -> list[float | str | None]:
        return [e.value for e in self.events if isinstance(e, Measurement) and e.point == point]

    def edges(self) -> list[str]:
        return [event.event for event in self.events if isinstance(event, InputEdge)]

    def presences(self) -> list[bool]:
        return [event.online for event in self.events if isinstance(event, Presence)]


@asynccontextmanager
async def watched(
    camera: Camera, worker: CameraWorker, events: Sequence[Event] = (MOTION,)
) -> AsyncIterator[Watched]:
    watch = Watched(camera, worker, events)
    async with running(watch.camera.run()):
        yield watch
