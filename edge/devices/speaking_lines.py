"""Devices that speak unasked, each on a line of its own: card readers and sports gateways."""

import random
from collections.abc import Callable

from drivers.card_reader import FORMATS, CardReader, FrameDecoder
from drivers.entities import DeviceId, EventSink, NowMs
from drivers.errors import SetupError
from drivers.sports.line_gateway import LineGateway
from drivers.transports.port_address import parse_port_address
from drivers.transports.serial_address import line_settings
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Ports, Programs
from firmware_profiles.model import Profile


class SpeakingLines(Group):
    """Every device that speaks in frames of a card's number, or in lines of text."""

    link_types = frozenset({"card_frames", "text_lines"})

    def __init__(
        self, programs: Programs, ports: Ports, now_ms: NowMs, sink: EventSink, rng: random.Random
    ) -> None:
        self._programs = programs
        self._ports = ports
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._listeners: dict[DeviceId, CardReader | LineGateway] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        listener = self._listener(adopted, profile)
        self._ports.take(listener.place, adopted.device)
        self._listeners[adopted.device] = listener
        self._programs.start(adopted.device, listener.run)

    async def release(self, device: DeviceId) -> None:
        listener = self._listeners.pop(device, None)
        if listener is not None:
            await self._programs.stop(device)
            self._ports.free(listener.place, device)

    def _listener(self, adopted: AdoptedDevice, profile: Profile) -> CardReader | LineGateway:
        link, address = profile.links[0], parse_port_address(adopted.address)
        settings = line_settings(profile, link.type, address.baud or link.baud[0])
        if link.type == "card_frames":
            return CardReader(
                device=adopted.device,
                address=address,
                settings=settings,
                new_decoder=_new_decoder(profile),
                now_ms=self._now_ms,
                sink=self._sink,
                rng=self._rng,
            )
        return LineGateway(
            device=adopted.device,
            address=address,
            settings=settings,
            profile=profile,
            now_ms=self._now_ms,
            sink=self._sink,
            rng=self._rng,
        )


def _new_decoder(profile: Profile) -> Callable[[], FrameDecoder]:
    formats = [FORMATS[event.format] for event in profile.events if event.format in FORMATS]
    if not formats:
        raise SetupError(f"{profile.id} says no format of cards; correct the profile")
    return formats[0]
