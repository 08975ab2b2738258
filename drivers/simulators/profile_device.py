"""A device made of nothing but its profile, on a pseudo-terminal or a TCP port."""

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Literal, Never

from drivers.codecs import pjlink
from drivers.displays.framed_link import FRAMINGS
from drivers.errors import ProtocolError, SetupError
from drivers.simulators.ledger import Ledger
from drivers.simulators.panel import SimulatedPanel
from drivers.simulators.pjlink_projector import PjlinkProjector
from drivers.simulators.profile_speakers import (
    Exchange,
    ReplaySpeaker,
    RtuSpeaker,
    Speaker,
    TcpSpeaker,
    unasked,
)
from drivers.simulators.profile_unit import ProfileUnit, hold
from drivers.simulators.pty_link import PtyLink, closing_line
from firmware_profiles.model import MODBUS, Profile

HALF_FRAME_S = 0.05
UNASKED_S = 3.0
CONNECTIONS_MAX = 16

Observe = Callable[[Exchange], None]
"""Hears each exchange at once: the ledger of the simulated device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a simulated device waits: a serial line's name, or a host and port."""

    scheme: Literal["serial", "tcp", "modbus"]
    path: Path = Path()
    host: str = ""
    port: int = 0


def parse_listen(text: str) -> Listen:
    """Return the parts of ``serial:PATH``, ``tcp:HOST:PORT`` or ``modbus:HOST:PORT``.

    Raises SetupError when it is none of them.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "serial" and rest:
        return Listen(scheme="serial", path=Path(rest))
    host, _, port = rest.rpartition(":")
    if scheme in {"tcp", "modbus"} and host and port.isascii() and port.isdigit():
        number = int(port)
        if number <= 0xFFFF:  # noqa: PLR2004 - the largest port
            kind: Literal["tcp", "modbus"] = "tcp" if scheme == "tcp" else "modbus"
            return Listen(scheme=kind, host=host.strip("/[]"), port=number)
    raise SetupError(f"{text!r} is no place; write serial:PATH, tcp:HOST:PORT or modbus:HOST:PORT")


class ProfileDevice:
    """One simulated device; :meth:`run` is plugging it in, cancelling it is pulling the plug.

    Modbus devices and displays hold values and obey commands; others answer as their vectors quote
    and say by themselves, every ``unasked_s``, what no request precedes. On a serial line it is
    silent unless it is spoken to at its own speed. Raises SetupError when the profile cannot be
    simulated there.
    """

    def __init__(
        self,
        profile: Profile,
        listen: Listen,
        observe: Observe,
        *,
        unit: int | None = None,
        baud: int | None = None,
        held: Mapping[str, str] | None = None,
        unasked_s: float = UNASKED_S,
    ) -> None:
        self._listen = listen
        self._unasked_s = unasked_s
        self._observe = observe
        link = profile.links[0]
        self._baud = baud or next(iter(link.baud), 9600)
        self._unasked = unasked(profile)
        self._units: list[ProfileUnit] = []
        self._panel: SimulatedPanel | None = None
        self._projector: PjlinkProjector | None = None
        self._id = unit if unit is not None else (1 if link.unit is None else link.unit)
        if link.type in MODBUS:
            one = ProfileUnit(self._id, profile)
            hold(one, held or {})
            self._units.append(one)
        elif link.type in FRAMINGS:
            self._panel = _panel(profile, self._id, held or {})
        elif link.type == "pjlink" and not held:
            # Draws only names and numbers of its own.
            chance = random.Random(0)  # noqa: S311 - a fixed seed is the point
            self._projector = PjlinkProjector(IPv4Interface("127.0.0.1"), _no_ledger(), chance)
        elif held:
            raise SetupError(f"{profile.id} answers only as quoted; leave --set out")
        if listen.scheme == "modbus" and not self._units:
            raise SetupError(f"{profile.id} does not speak Modbus; use serial: or tcp:")
        if listen.scheme == "serial" and self._projector is not None:
            raise SetupError(f"{profile.id} speaks over a network only; use tcp:")
        self._profile = profile
        self._has_requests = bool(self._units) or any(v.request for v in profile.vectors)
        self.port = listen.port

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> Never:
        """Serve for ever; OSError when the address is not free. ``on_ready``: it waits now."""
        if self._listen.scheme == "serial":
            await self._serve_line(on_ready)
        await self._serve_tcp(on_ready)
        raise AssertionError("a simulated device never ends")

    def _speaker(self) -> Speaker | None:
        if self._listen.scheme == "modbus":
            return TcpSpeaker(self._units)
        if self._panel is not None:
            return _PanelSpeaker(self._panel)
        if self._projector is not None:
            return _PjlinkSpeaker(self._projector)
        if self._units:
            return RtuSpeaker(self._units, self._baud if self._listen.scheme == "serial" else 0)
        return ReplaySpeaker(self._profile) if self._has_requests else None

    async def _serve_line(self, on_ready: Callable[[], None]) -> Never:
        link = PtyLink(self._listen.path)
        speaker = self._speaker()
        async with closing_line(link), asyncio.TaskGroup() as tasks:
            on_ready()
            tasks.create_task(self._speak_unasked(link.write, lambda: link.baud == self._baud))
            while True:
                try:
                    async with asyncio.timeout(HALF_FRAME_S):
                        data = await link.read()
                except TimeoutError:
                    if speaker is not None:
                        speaker.forget()
                    data = await link.read()
                if speaker is not None and link.baud == self._baud:
                    self._say(speaker, data, link.write)
        raise AssertionError("a line never ends")

    async def _serve_tcp(self, on_ready: Callable[[], None]) -> Never:
        writers: set[asyncio.StreamWriter] = set()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(writers) >= CONNECTIONS_MAX:
                writer.close()
                return
            writers.add(writer)
            speaker = self._speaker()
            if isinstance(speaker, _PjlinkSpeaker):
                writer.write(speaker.greeting)
            try:
                while data := await reader.read(256):
                    if speaker is not None:
                        self._say(speaker, data, writer.write)
                        await writer.drain()
            except (ProtocolError, OSError):
                pass
            finally:
                writers.discard(writer)
                writer.close()

        def tell_all(data: bytes) -> None:
            for writer in writers:
                with suppress(OSError):
                    writer.write(data)

        server = await asyncio.start_server(converse, self._listen.host, self._listen.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            on_ready()
            await self._speak_unasked(tell_all, lambda: bool(writers))
        finally:
            server.close()
            for writer in writers:
                writer.transport.abort()
        raise AssertionError("the server never ends")

    def _say(self, speaker: Speaker, data: bytes, write: Callable[[bytes], None]) -> None:
        for exchange in speaker.receive(data):
            write(exchange.said)
            self._observe(exchange)

    async def _speak_unasked(
        self, write: Callable[[bytes], None], heard: Callable[[], bool]
    ) -> Never:
        while True:
            for exchange in self._unasked:
                await asyncio.sleep(self._unasked_s)
                if heard():
                    write(exchange.said)
                    self._observe(exchange)
            if not self._unasked:
                await asyncio.sleep(3600)


class _PanelSpeaker:
    """One conversation with a panel, which others may have as well."""

    def __init__(self, panel: SimulatedPanel) -> None:
        self._panel = panel
        self._framing = panel.framing()

    def receive(self, data: bytes) -> list[Exchange]:
        said = self._panel.hear(self._framing, data)
        return [Exchange(data, frame, dict(self._panel.state)) for frame in said]

    def forget(self) -> None:
        self._framing.clear()


class _PjlinkSpeaker:
    """One connection to a PJLink display that asks for no password."""

    def __init__(self, projector: PjlinkProjector) -> None:
        self._projector = projector
        self._lines = pjlink.Lines()

    @property
    def greeting(self) -> bytes:
        return pjlink.encode(pjlink.build_greeting(pjlink.Greeting(token=None)))

    def receive(self, data: bytes) -> list[Exchange]:
        exchanges = []
        for line in self._lines.receive(data):
            command = pjlink.parse_command(line)
            answer = self._projector.answer(command)
            if answer is None:
                continue
            reply = pjlink.Reply(
                pjlink_class=command.pjlink_class, name=command.name, parameter=answer
            )
            said = pjlink.encode(pjlink.build_reply(reply))
            exchanges.append(Exchange(pjlink.encode(line), said, {}))
        return exchanges

    def forget(self) -> None:
        """Keep what came: TCP delivers a line in as many pieces as it likes."""


def _no_ledger() -> Ledger:
    # What it does is observed exchange by exchange; ledgers are for tests.
    return Ledger(Path(os.devnull), lambda: 0)


def _panel(profile: Profile, unit: int, held: Mapping[str, str]) -> SimulatedPanel:
    panel = SimulatedPanel(profile, _no_ledger(), random.Random(0), unit=unit, warm_up_s=0.0)  # noqa: S311 - draws faults, of which there are none
    for name, word in held.items():
        if name not in panel.state:
            raise SetupError(f"{profile.id} has no point {name!r}; it has {', '.join(panel.state)}")
        words = profile.point(name).enum
        if words and word not in words.values():
            raise SetupError(f"{name} cannot read {word[:40]!r}; give {', '.join(words.values())}")
        panel.hold(name, word)
    return panel
