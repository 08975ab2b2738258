"""Sports gateways, each on a line of its own."""

import random

from drivers.entities import DeviceId, EventSink, NowMs
from drivers.sports.line_gateway import LineGateway
from drivers.transports.port_address import parse_port_address
from drivers.transports.serial_address import line_settings
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Ports, Programs
from firmware_profiles.model import Profile


class LineGateways(Group):
    """Every gateway that speaks in lines of text."""

    link_types = frozenset({"text_lines"})

    def __init__(
        self, programs: Programs, ports: Ports, now_ms: NowMs, sink: EventSink, rng: random.Random
    ) -> None:
        self._programs = programs
        self._ports = ports
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._gateways: dict[DeviceId, LineGateway] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        address = parse_port_address(adopted.address)
        baud = address.baud or profile.link("text_lines").baud[0]
        self._ports.take(address.place, adopted.device)
        gateway = LineGateway(
            device=adopted.device,
            address=address,
            settings=line_settings(profile, "text_lines", baud),
            profile=profile,
            now_ms=self._now_ms,
            sink=self._sink,
            rng=self._rng,
        )
        self._gateways[adopted.device] = gateway
        self._programs.start(adopted.device, gateway.run)

    async def release(self, device: DeviceId) -> None:
        gateway = self._gateways.pop(device, None)
        if gateway is not None:
            await self._programs.stop(device)
            self._ports.free(gateway.place, device)
