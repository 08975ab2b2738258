"""Card readers on serial ports of their own."""

import random

from drivers.card_reader import CardReader
from drivers.entities import DeviceId, EventSink, NowMs
from drivers.transports.serial_address import line_settings, parse_serial_address
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Ports, Programs
from firmware_profiles.model import Profile


class Readers(Group):
    """Every reader that speaks in frames of a card's number."""

    link_types = frozenset({"card_frames"})

    def __init__(
        self, programs: Programs, ports: Ports, now_ms: NowMs, sink: EventSink, rng: random.Random
    ) -> None:
        self._programs = programs
        self._ports = ports
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._readers: dict[DeviceId, CardReader] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        address = parse_serial_address(adopted.address)
        self._ports.take(address.path, adopted.device)
        reader = CardReader(
            device=adopted.device,
            path=address.path,
            settings=line_settings(profile, "card_frames", address.baud),
            now_ms=self._now_ms,
            sink=self._sink,
            rng=self._rng,
        )
        self._readers[adopted.device] = reader
        self._programs.start(adopted.device, reader.run)

    async def release(self, device: DeviceId) -> None:
        reader = self._readers.pop(device, None)
        if reader is not None:
            await self._programs.stop(device)
            self._ports.free(reader.path, device)
