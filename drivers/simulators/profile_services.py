"""A camera or an attendance terminal made of its profile: whole conversations of SOAP or HTTP.

A camera answers searches and tells its streams; nobody plays them. It is the make its profile
describes, quirks and all. Terminals call the box and tell of the taps that their profile quotes.
"""

import asyncio
import base64
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, NetmaskValueError
from typing import Never
from urllib.parse import parse_qs

from drivers.codecs import adms, isapi
from drivers.codecs.digest import Credentials
from drivers.entities import NowMs
from drivers.errors import SetupError
from drivers.simulators.adms_terminal import AdmsSimulator, Habits
from drivers.simulators.isapi_terminal import IsapiSimulator
from drivers.simulators.ledger import TellingLedger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_events import EventService
from drivers.simulators.onvif_habits import CameraHabits
from drivers.simulators.onvif_persona import persona_of
from drivers.simulators.onvif_replies import CameraStream
from firmware_profiles.model import LinkType, Profile

SERVICES: frozenset[LinkType] = frozenset({"onvif", "adms", "isapi"})
LOGIN = Credentials(user="admin", password="simulated")  # noqa: S106 - a device that is none
"""How a box is let in by a simulated camera or ISAPI terminal."""
EVENT_S = 3.0
LAN_BITS = 24
"""A camera answers searches from its own network, taken to be this long."""
_MOVES = {"yes": True, "no": False}
# A grey square of 16 pixels, as libavcodec writes it.
_GREY_JPEG = base64.b64decode(
    "/9j//gAQTGF2YzYyLjI4LjEwMgD/2wBDAAgEBAQEBAUFBQUFBQYGBgYGBgYGBgYGBgYHBwcICAgHBwcGBgcHCAgICAkJ"
    "CQgICAgJCQoKCgwMCwsODg4RERT/xABLAAEAAAAAAAAAAAAAAAAAAAAAAQEAAAAAAAAAAAAAAAAAAAAAEAEAAAAAAAAA"
    "AAAAAAAAAAAAEQEBAAAAAAAAAAAAAAAAAAAAIf/AABEIABAAEAMBIgACEQADEQD/2gAMAwEAAhEDEQA/AAAor//Z"
)

Tell = Callable[[Mapping[str, object]], None]
"""Hears at once what the device did: a mapping with its ``kind`` and the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clockwork:
    """The time that a simulated device lives by; ``event_s`` is how often something happens."""

    now_ms: NowMs
    zone: tzinfo
    event_s: float = EVENT_S


class ProfileService:
    """One simulated device; :meth:`run` is plugging it in, cancelling it is pulling the plug.

    ``listen`` is ``http:HOST:PORT`` where it answers, ``calls`` the box's ``HOST:PORT`` for
    terminals. Raises SetupError when the profile needs the other, or cannot show what is ``held``.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        listen: str | None,
        calls: str | None,
        tell: Tell,
        clock: Clockwork,
        held: Mapping[str, str] | None = None,
    ) -> None:
        self._profile = profile
        self._clock = clock
        self._tell = tell
        self._ledger = TellingLedger(tell, clock.now_ms)
        self._held = dict(held or {})
        self._listen = None if listen is None else _listening(listen)
        self._calls = None if calls is None else _place(calls, "HOST:PORT")
        self.place = ""
        kind = profile.links[0].type
        if kind == "adms" and self._calls is None:
            raise SetupError(f"{profile.id} calls the box; say where, --calls HOST:PORT")
        if kind != "adms" and self._listen is None:
            raise SetupError(f"{profile.id} waits to be asked; say where, --listen http:HOST:PORT")
        self._check_held()

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> Never:
        """Serve for ever; OSError when the address is not free. ``on_ready``: it waits now."""
        match self._profile.links[0].type:
            case "onvif":
                await self._run_camera(on_ready)
            case "adms":
                await self._run_adms(on_ready)
            case "isapi":
                await self._run_isapi(on_ready)
        raise AssertionError("a simulated device never ends")

    async def _run_camera(self, on_ready: Callable[[], None]) -> None:
        host, port = self._listen or ("", 0)
        interface = _interface(host)
        port = port or _free_port(host)
        stream = CameraStream(
            uri=f"rtsp://{host}:554/main", width=1280, height=720, fps=25, kbps=2_000
        )
        sub = CameraStream(uri=f"rtsp://{host}:554/sub", width=640, height=360, fps=15, kbps=400)
        camera = SimulatedOnvifCamera(
            interface,
            CameraMedia(main=stream, sub=sub, snapshot=lambda: _GREY_JPEG, has_ptz=False),
            self._ledger,
            self._clock.now_ms,
            random.Random(self._profile.id),  # noqa: S311 - its serial number, the same each time
            credentials=LOGIN,
            habits=CameraHabits(persona=persona_of(self._profile), port=port),
        )
        self.place = camera.address
        # No TaskGroup: whoever plugs the camera in wants its OSError, not a group of it.
        moving = asyncio.get_running_loop().create_task(self._move_before(camera.events))
        try:
            await camera.run(on_ready)
        finally:
            moving.cancel()
            await asyncio.wait([moving])

    async def _move_before(self, seen: EventService) -> None:
        moves = any(_MOVES[word] for word in self._held.values())
        seen.set_motion(moves)
        while not self._held:
            await asyncio.sleep(self._clock.event_s)
            moves = not moves
            seen.set_motion(moves)

    async def _run_adms(self, on_ready: Callable[[], None]) -> None:
        host, port = self._calls or ("", 0)
        numbers = self._taps()
        terminal = AdmsSimulator(
            _serial(self._profile),
            (host, port),
            self._ledger,
            self._clock.now_ms,
            random.Random(0),  # noqa: S311 - draws who taps
            Habits(
                source="0.0.0.0",  # noqa: S104 - it calls; any of our addresses will do
                zone=self._clock.zone,
                pause_s=(self._clock.event_s, self._clock.event_s),
                call_s=min(1.0, self._clock.event_s),
            ),
        )
        terminal.users = {number: card for card, number in numbers if number}
        self.place = f"{host}:{port}"
        on_ready()
        await terminal.run()

    async def _run_isapi(self, on_ready: Callable[[], None]) -> None:
        host, port = self._listen or ("", 0)
        terminal = IsapiSimulator(
            _mac(self._profile), host, LOGIN, self._clock.now_ms, self._clock.zone
        )
        terminal.port = port
        terminal.on_asked = lambda what: self._ledger.write("request", asked=what)
        if self._calls is not None:
            terminal.listener = f"http://{self._calls[0]}:{self._calls[1]}/isapi"
        await terminal.start()
        self.place = f"http://{host}:{terminal.port}"
        on_ready()
        taps = self._taps()
        try:
            while True:
                for card, number in taps:
                    await asyncio.sleep(self._clock.event_s)
                    event = terminal.swipe(card, number)
                    is_taken = self._calls is not None and await terminal.push(event)
                    self._ledger.write("tap", card=card, number=number, taken=is_taken)
        finally:
            await terminal.stop()

    def _taps(self) -> list[tuple[str, str]]:
        """Return card and number of those who tap: those held, or those that vectors quote."""
        if self._held:
            return [("", number) for number in self._held.values()]
        taps = [taps for vector in self._profile.vectors for taps in _quoted_taps(vector.reply)]
        if not taps:
            raise SetupError(f"{self._profile.id} quotes nobody who taps; say --set tap=NUMBER")
        return list(dict.fromkeys(taps))

    def _check_held(self) -> None:
        known = [event.id for event in self._profile.events]
        for name, value in self._held.items():
            if name not in known:
                told = ", ".join(known)
                raise SetupError(f"{self._profile.id} has no event {name!r}; it has {told}")
            if self._profile.links[0].type == "onvif":
                if value not in _MOVES:
                    raise SetupError(f"{name} cannot be {value[:40]!r}; give yes or no")
            elif not (value.isascii() and value.isalnum()):
                raise SetupError(f"{name} cannot be {value[:40]!r}; give a number")


def _quoted_taps(text: str) -> list[tuple[str, str]]:
    """Return card and number of each tap that a pushed text tells of."""
    if text.startswith(("{", "<")):
        event = isapi.read_push(_content_type(text), text.encode())
        return [(event.card, event.number)] if isinstance(event, isapi.AccessEvent) else []
    return [(each.card, each.number) for each in adms.read_attlog(text).punches]


def _content_type(text: str) -> str:
    return "application/json" if text.startswith("{") else "application/xml"


def _serial(profile: Profile) -> str:
    """Return the serial number by which the first quoted terminal called."""
    for vector in profile.vectors:
        told = parse_qs(vector.request.partition("?")[2]).get("SN")
        if told:
            return told[0]
    raise SetupError(f"{profile.id} quotes no serial number; write a request with SN= in a vector")


def _mac(profile: Profile) -> str:
    for vector in profile.vectors:
        event = isapi.read_push(_content_type(vector.reply), vector.reply.encode())
        if event.mac:
            return event.mac
    raise SetupError(f"{profile.id} quotes no MAC address; write a push with one in a vector")


def _listening(text: str) -> tuple[str, int]:
    scheme, _, rest = text.partition(":")
    if scheme != "http":
        raise SetupError(f"{text!r} is no place for it; write http:HOST:PORT")
    return _place(rest, "http:HOST:PORT")


def _place(text: str, wanted: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and int(port) < 1 << 16:
        return host, int(port)
    raise SetupError(f"{text!r} is no place; write {wanted}")


def _interface(host: str) -> IPv4Interface:
    try:
        return IPv4Interface(f"{IPv4Address(host)}/{LAN_BITS}")
    except (AddressValueError, NetmaskValueError) as error:
        raise SetupError(f"{host[:40]!r} is no IPv4 address; give one of this machine") from error


def _free_port(host: str) -> int:
    """Return a port nobody has now: a camera must know its own before it answers."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
