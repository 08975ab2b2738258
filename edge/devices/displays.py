"""Projectors and panels: commanded by people, put right again after a cut."""

import random
from collections.abc import Mapping
from urllib.parse import urlsplit

from drivers.displays.desired_state import DesiredState
from drivers.displays.pjlink_display import PjlinkDisplay
from drivers.displays.pjlink_link import DisplayAccess
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import SetupError
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Programs
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.model import Profile


class Displays(Group):
    """Every display."""

    link_types = frozenset({"pjlink"})

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
        self._displays: dict[DeviceId, PjlinkDisplay] = {}
        self._profiles: dict[DeviceId, Profile] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        parts = urlsplit(adopted.address)
        if parts.hostname is None:
            raise SetupError(f"{adopted.address!r} is no display's address")
        try:
            port = parts.port
        except ValueError as error:
            raise SetupError(f"{adopted.address!r} names no port: {error}") from error
        access = DisplayAccess(
            host=parts.hostname,
            port=port or profile.links[0].port or 4352,
            password=self._notebook.password(adopted.device),
        )
        display = PjlinkDisplay(
            adopted.device,
            access,
            profile,
            self._now_ms,
            self._sink,
            self._rng,
            desired=DesiredState(dict(self._notebook.wishes(adopted.device))),
        )
        self._displays[adopted.device] = display
        self._profiles[adopted.device] = profile
        self._programs.start(adopted.device, display.run)

    async def release(self, device: DeviceId) -> None:
        self._profiles.pop(device, None)
        if self._displays.pop(device, None) is not None:
            await self._programs.stop(device)

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        profile = self._profiles.get(device)
        if profile is None:
            return ()
        return tuple(
            CommandChoice(command=command.id, arguments=tuple(command.values))
            for command in profile.commands
        )

    async def command(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        return await self._displays[device].command(command, argument)

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        return {device: display.desired.wishes for device, display in self._displays.items()}
