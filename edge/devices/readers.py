"""Card readers, each on a serial line of its own, here or behind a serial server."""

import random

from drivers.card_reader import FORMATS, CardReader
from drivers.entities import DeviceId, EventSink, NowMs
from drivers.errors import SetupError
from drivers.transports.port_address import parse_port_address
from drivers.transports.serial_address import line_settings
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
        formats = [FORMATS[event.format] for event in profile.events if event.format in FORMATS]
        if not formats:
            raise SetupError(f"{profile.id} says no format of cards; correct the profile")
        address = parse_port_address(adopted.address)
        baud = address.baud or profile.link("card_frames").baud[0]
        self._ports.take(address.place, adopted.device)
        reader = CardReader(
            device=adopted.device,
            address=address,
            settings=line_settings(profile, "card_frames", baud),
            new_decoder=formats[0],
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
            self._ports.free(reader.place, device)
