"""Modbus devices: one bus a line, which its units share."""

import math
import random
from collections.abc import Mapping

from drivers.bus import ModbusBus
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import SetupError
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.transports.port_address import Place, parse_port_address
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Ports, Programs
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.model import Command, Profile


class Buses(Group):
    """The units of every Modbus line: serial, behind a serial server, or Modbus TCP."""

    link_types = frozenset({"modbus_rtu", "modbus_tcp"})

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
        self._buses: dict[Place, ModbusBus] = {}
        self._bus_of: dict[DeviceId, ModbusBus] = {}
        self._profiles: dict[DeviceId, Profile] = {}

    @property
    def by_port(self) -> Mapping[Place, ModbusBus]:
        """The buses that run; a search asks its questions between their polls."""
        return self._buses

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        address = parse_port_address(adopted.address)
        if address.unit is None:
            raise SetupError(f"{adopted.address} names no unit; write …&unit=ID")
        settings = modbus_settings(profile, address)
        unit = AdoptedUnit(
            device=adopted.device,
            unit=address.unit,
            profile=profile,
            wishes=self._notebook.wishes(adopted.device),
        )
        bus = self._buses.get(address.place)
        if bus is None:
            self._ports.take(address.place, _name(address.place))
            bus = ModbusBus(
                address=address,
                settings=settings,
                units=[unit],
                now_ms=self._now_ms,
                sink=self._sink,
                rng=self._rng,
            )
            self._buses[address.place] = bus
            self._programs.start(_name(address.place), bus.run)
        elif bus.settings != settings:
            raise SetupError(
                f"{address.place} runs at {bus.settings.baud} baud; set the new device to that"
            )
        else:
            try:
                bus.adopt(unit)
            except ValueError as error:
                raise SetupError(f"{error}; give one of the two another unit id") from error
        self._bus_of[adopted.device] = bus
        self._profiles[adopted.device] = profile

    async def release(self, device: DeviceId) -> None:
        """End a device's polls, and its bus with the last of them."""
        self._profiles.pop(device, None)
        bus = self._bus_of.pop(device, None)
        if bus is None:
            return
        await bus.release(device)
        place = bus.address.place
        if not bus.units and self._buses.pop(place, None) is not None:
            await self._programs.stop(_name(place))
            self._ports.free(place, _name(place))

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        profile = self._profiles.get(device)
        if profile is None:
            return ()
        return tuple(_choice(command) for command in profile.commands if command.write is not None)

    async def command(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        return await self._bus_of[device].order(device, command, argument)

    def hold(self, device: DeviceId, command: str, hold_s: float) -> None:
        """Make a command's output safe in ``hold_s``, unless this is called again before.

        For who switches on and might itself stop: a rule engine. Raises SetupError when the device
        has no such command, or the profile does not say what is safe.
        """
        bus = self._bus_of.get(device)
        if bus is None:
            raise SetupError(f"{device} is no adopted Modbus device")
        bus.hold(device, command, hold_s)

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        return {
            device: wishes
            for bus in self._buses.values()
            for device, wishes in bus.wishes().items()
        }


def _choice(command: Command) -> CommandChoice:
    span = command.range
    return CommandChoice(
        command=command.id,
        arguments=tuple(command.values),
        low=None if span is None else math.ceil(span.low),
        high=None if span is None else math.floor(span.high),
    )


def _name(place: Place) -> str:
    return f"bus {place}"
