"""The adopted devices, and which group drives each."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Never

from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import DriverError, SetupError
from drivers.terminals.office import TapOffice
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.buses import Buses
from edge.devices.cameras import Cameras
from edge.devices.displays import Displays
from edge.devices.programs import Ports, Programs
from edge.devices.speaking_lines import SpeakingLines
from edge.devices.terminals import Terminals
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.catalog import Catalog
from firmware_profiles.model import Profile, ProfileId

_log = logging.getLogger(__name__)

NOTES_EVERY_S = 2.0
Keep = Callable[[DeviceId, Mapping[str, str]], Awaitable[None]]


class Fleet:
    """Adopts, moves and lets go of devices; :meth:`run` drives them."""

    def __init__(
        self,
        catalog: Catalog,
        notebook: Notebook,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
        office: TapOffice | None = None,
    ) -> None:
        self._catalog = catalog
        self._notebook = notebook
        self._programs = Programs()
        self.ports = Ports()
        self.buses = Buses(self._programs, self.ports, notebook, now_ms, sink, rng)
        self.cameras = Cameras(self._programs, notebook, now_ms, sink, rng)
        self.terminals = Terminals(self._programs, notebook, now_ms, sink, rng, office)
        groups: tuple[Group, ...] = (
            self.buses,
            self.cameras,
            SpeakingLines(self._programs, self.ports, now_ms, sink, rng),
            Displays(self._programs, self.ports, notebook, now_ms, sink, rng),
            self.terminals,
        )
        self._groups = {link: group for group in groups for link in group.link_types}
        self._devices: dict[DeviceId, AdoptedDevice] = {}
        self._driven_by: dict[DeviceId, Group] = {}
        self._deadbands: dict[tuple[DeviceId, str], float] = {}

    @property
    def devices(self) -> Mapping[DeviceId, AdoptedDevice]:
        return self._devices

    @property
    def deadbands(self) -> Mapping[tuple[DeviceId, str], float]:
        """How little a point may change without being recorded again."""
        return self._deadbands

    def room_of(self, device: DeviceId) -> str | None:
        adopted = self._devices.get(device)
        return adopted.room if adopted else None

    def profile_of(self, device: DeviceId) -> Profile:
        """Return an adopted device's profile; raises SetupError when it is not adopted."""
        if device not in self._devices:
            raise SetupError(f"{device} is not adopted; the set-up page lists what is")
        return self._profile(self._devices[device].profile)

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        """Return what an adopted device can be told."""
        return self._driven_by[device].commands_of(device)

    def add(self, adopted: AdoptedDevice) -> None:
        """Drive one more device from now on.

        Raises SetupError when its profile or address cannot be used, or its place is taken.
        """
        if adopted.device in self._devices:
            raise SetupError(f"{adopted.device} is adopted already; release it first")
        profile = self._profile(adopted.profile)
        link = profile.links[0].type
        group = self._groups.get(link)
        if group is None:
            raise SetupError(
                f"{adopted.device}: this version has no driver for {link}; update the box"
            )
        group.add(adopted, profile)
        self._devices[adopted.device] = adopted
        self._driven_by[adopted.device] = group
        for point in profile.points:
            self._deadbands[adopted.device, point.id] = point.deadband

    async def remove(self, device: DeviceId) -> None:
        """Drive a device no more and forget its password; raises SetupError for an unknown one."""
        await self._let_go(device)
        await self._notebook.forget(device)

    async def move(self, device: DeviceId, address: str) -> None:
        """Drive a device at another address from now on; raises SetupError as :meth:`add`."""
        before = await self._let_go(device)
        try:
            self.add(replace(before, address=address))
        except SetupError:
            self.add(before)
            raise

    async def command(self, device: DeviceId, command: str, argument: str | None) -> CommandResult:
        """Carry out a command; raises SetupError when the device takes none."""
        if device not in self._driven_by:
            raise SetupError(f"{device} is not adopted; the set-up page lists what is")
        result = await self._driven_by[device].command(device, command, argument or "")
        await self._keep_notes()
        return result

    async def run(self) -> Never:
        """Run every driver until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._go_on_keeping_notes())
            await self._programs.run()

    async def _go_on_keeping_notes(self) -> Never:
        """Write down what is learnt, and wishes that end when a hand changes a display."""
        while True:
            await asyncio.sleep(NOTES_EVERY_S)
            await self._keep_notes()

    async def _keep_notes(self) -> None:
        groups = set(self._driven_by.values())
        for device, wishes in [pair for group in groups for pair in group.wishes().items()]:
            await self._keep(device, self._notebook.keep_wishes, wishes)
        for device, facts in [pair for group in groups for pair in group.facts().items()]:
            await self._keep(device, self._notebook.keep_facts, facts)

    async def _keep(self, device: DeviceId, keep: Keep, told: Mapping[str, str]) -> None:
        if device not in self._devices:
            return  # let go of meanwhile
        try:
            await keep(device, told)
        except DriverError as error:
            _log.warning("%s: what was told of it is not kept: %s", device, error)

    def _profile(self, name: str) -> Profile:
        try:
            return self._catalog.profiles[ProfileId(name)]
        except KeyError as error:
            raise SetupError(
                f"there is no device profile {name}; add its file, or adopt with another"
            ) from error

    async def _let_go(self, device: DeviceId) -> AdoptedDevice:
        """End a device's driver; on a bus, only its polls."""
        adopted = self._devices.pop(device, None)
        if adopted is None:
            raise SetupError(f"{device} is not adopted; the set-up page lists what is")
        for key in [key for key in self._deadbands if key[0] == device]:
            del self._deadbands[key]
        await self._driven_by.pop(device).release(device)
        return adopted
