"""Projectors and panels: commanded by people, put right again after a cut."""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

from drivers.displays.desired_state import DesiredState
from drivers.displays.display import Display
from drivers.displays.display_link import OpenLink
from drivers.displays.framed_link import FRAMINGS, FramedLink, check_unit
from drivers.displays.pjlink_link import DisplayAccess, PjlinkLink
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import SetupError
from drivers.transports.port_address import Place, TcpAddress, parse_port_address
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Ports, Programs
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.model import Command, Profile


class Displays(Group):
    """Every display."""

    link_types = frozenset({"pjlink", *FRAMINGS})

    def __init__(
        self,
        programs: Programs,
        ports: Ports,
        notebook: Notebook,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
    ) -> None:
        self._programs = programs
        self._ports = ports
        self._notebook = notebook
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._displays: dict[DeviceId, Display] = {}
        self._places: dict[DeviceId, Place] = {}
        self._profiles: dict[DeviceId, Profile] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        display = Display(
            adopted.device,
            self._opener(adopted, profile),
            profile,
            self._now_ms,
            self._sink,
            self._rng,
            desired=DesiredState(self._known_wishes(adopted.device, profile)),
        )
        self._displays[adopted.device] = display
        self._profiles[adopted.device] = profile
        self._programs.start(adopted.device, display.run)

    async def release(self, device: DeviceId) -> None:
        self._profiles.pop(device, None)
        if self._displays.pop(device, None) is not None:
            await self._programs.stop(device)
        place = self._places.pop(device, None)
        if place is not None:
            self._ports.free(place, device)

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        """Return what one press can command; what takes any text is left to the command line."""
        profile = self._profiles.get(device)
        if profile is None:
            return ()
        choices = [self._choice(device, command) for command in profile.commands]
        return tuple(choice for choice in choices if choice is not None)

    async def command(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        return await self._displays[device].command(command, argument)

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        return {device: display.desired.wishes for device, display in self._displays.items()}

    def _choice(self, device: DeviceId, command: Command) -> CommandChoice | None:
        words = self._displays[device].choices(command.id)
        if words:
            return CommandChoice(command=command.id, arguments=words)
        if command.range is not None:
            low, high = int(command.range.low), int(command.range.high)
            return CommandChoice(command=command.id, low=low, high=high)
        takes_text = "{value" in command.request
        return None if takes_text else CommandChoice(command=command.id)

    def _known_wishes(self, device: DeviceId, profile: Profile) -> dict[str, str]:
        """Return the kept wishes that the profile still knows: it may have been replaced."""
        known = {command.id for command in profile.commands}
        kept = self._notebook.wishes(device)
        return {name: value for name, value in kept.items() if name in known}

    def _opener(self, adopted: AdoptedDevice, profile: Profile) -> OpenLink:
        if profile.links[0].type == "pjlink":
            return self._pjlink(adopted, profile)
        address = parse_port_address(adopted.address)
        if isinstance(address, TcpAddress) and address.scheme != "tcp":
            raise SetupError(f"{adopted.address} is no display's address; write tcp://HOST:PORT")
        check_unit(address, profile.links[0])
        self._ports.take(address.place, adopted.device)
        self._places[adopted.device] = address.place
        return partial(FramedLink.open, address, profile)

    def _pjlink(self, adopted: AdoptedDevice, profile: Profile) -> OpenLink:
        parts = urlsplit(adopted.address)
        if parts.hostname is None:
            raise SetupError(f"{adopted.address!r} is no display's address")
        try:
            port = parts.port
        except ValueError as error:
            raise SetupError(f"{adopted.address!r} names no port: {error}") from error
        link = profile.links[0]
        access = DisplayAccess(
            host=parts.hostname,
            port=port or link.port or 4352,
            password=self._notebook.password(adopted.device),
        )
        return partial(PjlinkLink.open, access, answer_s=link.timeout_ms / 1000)


def nearest_source(offered: Sequence[CommandChoice], wanted: str) -> str:
    """Return the input wanted for lessons, or the first digital one of a board that has no such.

    PJLink displays call inputs by codes (``31`` to ``3Z`` are digital), others by words.
    """
    choice = next((each for each in offered if each.command == "source"), None)
    if choice is None or not choice.arguments or choice.takes(wanted):
        return wanted
    digital = [each for each in choice.arguments if each.startswith(("3", "hdmi"))]
    return digital[0] if digital else wanted
