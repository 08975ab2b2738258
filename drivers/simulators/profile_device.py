"""A device made of nothing but its profile, on a pseudo-terminal or a TCP port."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Never

from drivers.errors import ProtocolError, SetupError
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
from firmware_profiles.model import MODBUS, LinkType, Profile

HALF_FRAME_S = 0.05
UNASKED_S = 3.0
CONNECTIONS_MAX = 16
# These speak a whole conversation of HTTP or SOAP, of which vectors quote single messages.
_NOT_REPLAYED: frozenset[LinkType] = frozenset({"onvif", "adms", "isapi"})

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

    Modbus devices hold values and obey commands (:class:`ProfileUnit`); others answer as their
    vectors quote and say by themselves, every ``unasked_s``, what no request precedes. On a
    serial line it is silent unless it is spoken to at its own speed. Raises SetupError when the
    profile cannot be simulated there.
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
        if link.type in _NOT_REPLAYED:
            raise SetupError(
                f"{profile.id} speaks {link.type}, which no quoted message can play; it has a"
                " simulator of its own: python -m drivers.simulators"
            )
        if link.type in MODBUS:
            one = ProfileUnit(unit or link.unit or 1, profile)
            hold(one, held or {})
            self._units.append(one)
        elif held:
            raise SetupError(f"{profile.id} answers only as quoted; leave --set out")
        elif listen.scheme == "modbus":
            raise SetupError(f"{profile.id} does not speak Modbus; use serial: or tcp:")
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
