"""What the cameras' page asks for: live pictures, and turning by hand."""

import random

from aiohttp import web

from drivers.cameras.camera_control import CameraControl
from drivers.cameras.messages import Motion
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.entities import DeviceId, NowMs
from drivers.errors import DriverError, RefusedError
from edge.cameras.live_view import LiveView
from edge.devices.cameras import Cameras

LIVE_MAX = 16
"""Cameras seen live at once; a box has other things to do as well."""
REPEAT_S = 0.8


class CameraDesk:
    """Live views are played while somebody looks; ``cameras`` drives the devices."""

    def __init__(self, cameras: Cameras, now_ms: NowMs, chance: random.Random) -> None:
        self._cameras = cameras
        self._now_ms = now_ms
        self._chance = chance
        self._live: dict[DeviceId, LiveView] = {}

    def camera(self, device: DeviceId) -> OnvifCamera:
        """Return an adopted camera; raises SetupError when it is none."""
        return self._cameras.camera(device)

    async def watch(self, device: DeviceId, request: web.Request) -> web.StreamResponse:
        """Answer a page's WebSocket with a camera's live picture.

        Raises SetupError for what is no camera, RefusedError when ``LIVE_MAX`` others are watched.
        """
        camera = self.camera(device)
        view = self._live.get(device)
        if view is None:
            if len(self._live) >= LIVE_MAX:
                raise RefusedError(f"{LIVE_MAX} cameras are being watched; close another page")
            view = LiveView(camera, self._cameras.credentials(device), self._now_ms, self._chance)
            self._live[device] = view
            self._cameras.programs.start(_name(device), view.run)
        try:
            return await view.fan_out.serve(request)
        finally:
            if not view.fan_out.viewers and self._live.get(device) is view:
                del self._live[device]
                await self._cameras.programs.stop(_name(device))


class Hand:
    """One person's hand on a camera's pad: what is held goes on, whatever ends, stops."""

    def __init__(self, control: CameraControl, who: str) -> None:
        self._control = control
        self._who = who
        self._motion = Motion()
        self._told_s = 0.0

    @property
    def is_moving(self) -> bool:
        return not self._motion.is_rest

    async def steer(self, motion: Motion, now_s: float) -> None:
        """Turn so from now on; the same again is passed on only in time. Raises DriverError."""
        if motion.is_rest:
            await self.release("released")
        elif motion != self._motion or now_s - self._told_s >= REPEAT_S:
            self._motion, self._told_s = motion, now_s
            await self._control.move(motion)

    async def release(self, why: str) -> None:
        """Stop what is held; harmless when nothing is. Raises DriverError."""
        motion, self._motion = self._motion, Motion()
        if motion.is_rest:
            return
        try:
            await self._control.stop()
        except DriverError as error:
            self._control.moved(motion, f"{self._who}: {why}; not told to stop: {error}")
            raise
        self._control.moved(motion, f"{self._who}: {why}")


def _name(device: DeviceId) -> str:
    return f"live view of {device}"
