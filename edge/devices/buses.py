"""Modbus devices: one bus a port, which its units share."""

import random
from collections.abc import Mapping
from pathlib import Path

from drivers.bus import ModbusBus
from drivers.entities import DeviceId, EventSink, NowMs
from drivers.errors import SetupError
from drivers.modbus_device import AdoptedUnit
from drivers.transports.serial_address import line_settings, parse_serial_address
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Ports, Programs
from firmware_profiles.model import Profile


class Buses(Group):
    """The units of every Modbus line."""

    link_types = frozenset({"modbus_rtu"})

    def __init__(
        self, programs: Programs, ports: Ports, now_ms: NowMs, sink: EventSink, rng: random.Random
    ) -> None:
        self._programs = programs
        self._ports = ports
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._buses: dict[Path, ModbusBus] = {}

    @property
    def by_port(self) -> Mapping[Path, ModbusBus]:
        """The buses that run; a search asks its questions between their polls."""
        return self._buses

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        address = parse_serial_address(adopted.address)
        if address.unit is None:
            raise SetupError(f"{adopted.address} names no unit; write …&unit=ID")
        settings = line_settings(profile, "modbus_rtu", address.baud)
        unit = AdoptedUnit(device=adopted.device, unit=address.unit, profile=profile)
        bus = self._buses.get(address.path)
        if bus is None:
            self._ports.take(address.path, _name(address.path))
            bus = ModbusBus(
                path=address.path,
                settings=settings,
                units=[unit],
                now_ms=self._now_ms,
                sink=self._sink,
                rng=self._rng,
            )
            self._buses[address.path] = bus
            self._programs.start(_name(address.path), bus.run)
            return
        if bus.settings != settings:
            raise SetupError(
                f"{address.path} runs at {bus.settings.baud} baud; set the new device to that"
            )
        try:
            bus.adopt(unit)
        except ValueError as error:
            raise SetupError(f"{error}; give one of the two another unit id") from error

    async def release(self, device: DeviceId) -> None:
        """End a device's polls, and its bus with the last of them."""
        for path, bus in list(self._buses.items()):
            bus.release(device)
            if not bus.units:
                del self._buses[path]
                await self._programs.stop(_name(path))
                self._ports.free(path, _name(path))


def _name(path: Path) -> str:
    return f"bus {path}"
