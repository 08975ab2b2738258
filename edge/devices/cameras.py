"""ONVIF cameras: one child process speaks for all of them, and only once there is one."""

import random

from drivers.cameras.messages import CameraAccess
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.entities import DeviceId, EventSink, NowMs
from drivers.errors import SetupError, UnreachableError
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Programs
from edge.notebook import Notebook
from firmware_profiles.model import Profile


class Cameras(Group):
    """Every camera."""

    link_types = frozenset({"onvif"})

    def __init__(
        self,
        programs: Programs,
        notebook: Notebook,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
    ) -> None:
        self._programs = programs
        self._notebook = notebook
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._worker: CameraWorker | None = None
        self._cameras: dict[DeviceId, OnvifCamera] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        del profile  # cameras describe themselves
        if self._worker is None:
            self._worker = CameraWorker(self._rng)
            self._programs.start("cameras", self._worker.run)
        _, _, serial = adopted.device.partition("onvif:serial:")
        access = CameraAccess(
            address=adopted.address,
            credentials=self._credentials(adopted.device),
            serial=serial or None,
        )
        camera = OnvifCamera(
            adopted.device, access, self._worker, self._now_ms, self._sink, self._rng
        )
        self._cameras[adopted.device] = camera
        self._programs.start(adopted.device, camera.run)

    async def release(self, device: DeviceId) -> None:
        if self._cameras.pop(device, None) is not None:
            await self._programs.stop(device)

    async def snapshot(self, device: DeviceId) -> bytes:
        """Return a JPEG of what a camera sees; raises DriverError."""
        return await self._camera(device).snapshot()

    def stream_of(self, device: DeviceId) -> tuple[str, Credentials | None]:
        """Return a camera's main stream and what it asks for; raises DriverError."""
        description = self._camera(device).description
        if description is None:
            raise UnreachableError(f"{device} has not answered yet; check its power and network")
        return description.main.uri, self._credentials(device)

    def _camera(self, device: DeviceId) -> OnvifCamera:
        try:
            return self._cameras[device]
        except KeyError as error:
            raise SetupError(f"{device} is no camera") from error

    def _credentials(self, device: DeviceId) -> Credentials | None:
        """Return a camera's user and password; what was entered without a colon is admin's."""
        entered = self._notebook.password(device)
        if entered is None:
            return None
        user, colon, password = entered.partition(":")
        if not colon:
            user, password = "admin", entered
        return Credentials(user=user, password=password)
