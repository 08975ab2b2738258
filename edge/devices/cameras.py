"""ONVIF cameras: one child process speaks for all of them, and only once there is one."""

import random
from collections.abc import Mapping
from enum import StrEnum

from drivers.cameras.messages import IMAGING_FIELDS, CameraAccess, Motion
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.outages import Outages, StreamWatch
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import RefusedError, SetupError
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Programs
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.model import Profile

MOVES = {
    "left": Motion(pan=-0.5),
    "right": Motion(pan=0.5),
    "up": Motion(tilt=0.5),
    "down": Motion(tilt=-0.5),
    "zoom_in": Motion(zoom=0.5),
    "zoom_out": Motion(zoom=-0.5),
}
PRESETS_SHOWN = 24
SHOWS = "shows"
MAC = "mac"
"""The hardware address a camera told first: another device at its address is not taken for it."""
USE_H264 = "use_h264"


class Shows(StrEnum):
    """What a room's camera, or an encoder in its place, shows in lessons; a person says it."""

    TEACHER = "teacher"
    BLACKBOARD = "board_screen"
    DOCUMENT = "document"


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
        self.programs = programs
        self._notebook = notebook
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._worker: CameraWorker | None = None
        self._cameras: dict[DeviceId, OnvifCamera] = {}
        self._in_lessons: dict[DeviceId, Shows] = {}  # of those in rooms
        self._outages: dict[DeviceId, Outages] = {}  # a camera keeps its own at another address

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        if self._worker is None:
            self._worker = CameraWorker(self._rng)
            self.programs.start("cameras", self._worker.run)
        _, _, serial = adopted.device.partition("onvif:serial:")
        access = CameraAccess(
            address=adopted.address,
            credentials=self.credentials(adopted.device),
            serial=serial or None,
            mac=self._notebook.facts(adopted.device).get(MAC),
            quirks=profile.quirk_ids,
        )
        camera = OnvifCamera(
            adopted.device,
            access,
            self._worker,
            self._now_ms,
            self._sink,
            self._rng,
            events=profile.events,
        )
        camera.outages = self._outages.setdefault(adopted.device, camera.outages)
        self._cameras[adopted.device] = camera
        if adopted.room is not None:
            kept = self._notebook.wishes(adopted.device).get(SHOWS, "")
            known = kept in set(Shows)
            self._in_lessons[adopted.device] = Shows(kept) if known else Shows.TEACHER
        self.programs.start(adopted.device, camera.run)

    async def release(self, device: DeviceId) -> None:
        self._in_lessons.pop(device, None)
        if self._cameras.pop(device, None) is not None:
            await self.programs.stop(device)
            if not self._cameras:
                self._worker = None
                await self.programs.stop("cameras")

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        """Return what one press can do; a hand on the pad of the cameras' page does the rest."""
        camera = self.camera(device)
        known, choices = camera.description, list[CommandChoice]()
        if known is not None and known.has_ptz:
            choices.append(CommandChoice(command="move", arguments=tuple(MOVES)))
            choices.append(CommandChoice(command="home"))
            names = [preset.name for preset in camera.control.presets[:PRESETS_SHOWN]]
            if names:
                choices.append(
                    CommandChoice(command="preset", arguments=tuple(dict.fromkeys(names)))
                )
        choices += [
            CommandChoice(command=each.field, low=round(each.low), high=round(each.high))
            for each in camera.control.imaging
            if 0 <= each.low < each.high
        ]
        if known is not None and known.main.encoding not in {"", "H264"}:
            choices.append(CommandChoice(command=USE_H264))
        if device in self._in_lessons:
            choices.append(CommandChoice(command=SHOWS, arguments=tuple(Shows)))
        return tuple(choices)

    async def command(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        """Carry out a command; presets go by their names, the first of a name counts."""
        camera = self.camera(device)
        if command == "move" and argument in MOVES:
            return await camera.control.nudge(argument, MOVES[argument])
        if command == "home":
            return await camera.control.go_home()
        if command == "keep_preset" and argument:
            return await camera.control.set_preset(argument)
        for field in IMAGING_FIELDS:
            if command == field and argument.isdecimal():
                return await camera.control.set_imaging(field, float(argument))
        if command in {"preset", "remove_preset"}:
            return await self._command_preset(device, command, argument)
        return await self._command_for_lessons(device, command, argument)

    async def _command_preset(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        camera = self.camera(device)
        tokens = {preset.name: preset.token for preset in reversed(camera.control.presets)}
        if argument not in tokens:
            raise SetupError(f"{device} has no position called {argument}; set it first")
        if command == "preset":
            return await camera.control.go_to_preset(tokens[argument])
        return await camera.control.remove_preset(tokens[argument])

    async def _command_for_lessons(
        self, device: DeviceId, command: str, argument: str
    ) -> CommandResult:
        camera = self.camera(device)
        if command == USE_H264:
            return await camera.use_h264()
        if command == SHOWS and argument in set(Shows) and device in self._in_lessons:
            self._in_lessons[device] = Shows(argument)
            return camera.noted(f"{SHOWS} {argument}")
        raise SetupError(f"{device} takes no {command} {argument}".rstrip())

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        return {device: {SHOWS: shows.value} for device, shows in self._in_lessons.items()}

    def facts(self) -> Mapping[DeviceId, Mapping[str, str]]:
        return {device: {MAC: camera.mac} for device, camera in self._cameras.items() if camera.mac}

    def shows(self, device: DeviceId) -> Shows:
        """Return what a camera shows in lessons: the teacher, until a person says otherwise."""
        return self._in_lessons.get(device, Shows.TEACHER)

    async def snapshot(self, device: DeviceId) -> bytes:
        """Return a JPEG of what a camera sees; raises DriverError."""
        return await self.camera(device).snapshot()

    def stream_of(self, device: DeviceId) -> tuple[str, Credentials | None]:
        """Return a camera's main stream and what it asks for; raises DriverError."""
        return self.camera(device).known().main.uri, self.credentials(device)

    def has_small_stream(self, device: DeviceId) -> bool:
        """Tell whether a camera offers a smaller picture too; raises DriverError."""
        return self.camera(device).known().sub is not None

    def small_stream_of(self, device: DeviceId) -> tuple[str, Credentials | None]:
        """Return a camera's smaller picture, as :meth:`stream_of`."""
        sub = self.camera(device).known().sub
        if sub is None:
            raise RefusedError(f"{device} offers no second stream; switch one on in the camera")
        return sub.uri, self.credentials(device)

    def stream_watch(self, device: DeviceId, seen_by: str) -> StreamWatch:
        """Return where one who plays a camera's stream tells whether it comes; raises SetupError.

        ``seen_by`` is another name for each who may play at once.
        """
        return self.camera(device).stream_watch(seen_by)

    def camera(self, device: DeviceId) -> OnvifCamera:
        """Return an adopted camera; raises SetupError."""
        try:
            return self._cameras[device]
        except KeyError as error:
            raise SetupError(f"{device} is no camera") from error

    def credentials(self, device: DeviceId) -> Credentials | None:
        """Return a camera's user and password, None when none was entered."""
        return self._notebook.credentials(device)
