"""Plays a camera's stream: all over one TCP connection or, where it has to be, media over UDP."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from drivers.codecs.digest import Credentials
from drivers.codecs.rtp import encode_receiver_report
from drivers.codecs.rtsp_session import (
    Choice,
    ClientSession,
    OnlyUdpError,
    Playing,
    TrackPacket,
)
from drivers.codecs.rtsp_url import RtspUrl, parse_url
from drivers.codecs.sdp import Media
from drivers.errors import ProtocolError, UnreachableError
from drivers.rtp_ports import RtpPorts

HANDSHAKE_S = 5.0
CLOSE_S = 0.5
GOODBYE_S = 0.5
READ_BYTES = 64 * 1024
EARLY_PACKETS_MAX = 2000
UDP_TRACKS = 2
"""Picture and sound."""
LOOK_S = 1.0
"""How often the connection is looked at while media comes over UDP: it may be closed."""


class RtspStream:
    """A stream that plays; ``media`` names the tracks in the order of their numbers."""

    def __init__(
        self,
        name: str,
        session: ClientSession,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ports: RtpPorts | None,
        ssrc: int,
    ) -> None:
        """``ports`` is where media comes in if not over the connection, ``ssrc`` our name there."""
        self._ports = ports
        self._ssrc = ssrc
        self._look_at = 0.0
        self._name = name
        self._session = session
        self._reader = reader
        self._writer = writer
        self._early: list[TrackPacket] = []
        self._keep_alive_at = 0.0
        self.media: tuple[Media, ...] = ()

    async def read(self) -> list[TrackPacket]:
        """Wait for bytes and return the packets they complete, often several, sometimes none.

        Sends the keep-alive when it is due. Raises UnreachableError when the camera hangs up and
        ProtocolError when it stops speaking RTSP. How long to wait is the caller's to bound.
        """
        if self._early:
            packets, self._early = self._early, []
            return packets
        packets = await (self._read_ports(self._ports) if self._ports else self._read_connection())
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._keep_alive_at:
            self._keep_alive_at = now_s + self._session.keep_alive_s
            self._session.keep_alive()
            await self._flush()
        return packets

    async def _read_connection(self) -> list[TrackPacket]:
        return [event for event in await self._exchange() if isinstance(event, TrackPacket)]

    async def _read_ports(self, ports: RtpPorts) -> list[TrackPacket]:
        packets = await ports.read(LOOK_S)
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._look_at:
            self._look_at = now_s + LOOK_S
            for track, port in enumerate(self._session.report_ports):
                if port is not None:  # RFC 3550 §6.2: who plays is heard of
                    ports.report(track, port, encode_receiver_report(self._ssrc))
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await self._exchange()
        return packets

    async def close(self) -> None:
        """Say goodbye and close."""
        await self.say_goodbye()
        self._writer.transport.abort()
        if self._ports is not None:
            self._ports.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def start(self) -> None:
        """Go through the handshake; packets that overtake its end are kept for ``read``."""
        self._session.start()
        await self._flush()
        while not self.media:
            for event in await self._exchange():
                match event:
                    case Playing(media=media):
                        self.media = media
                    case TrackPacket():
                        self._early.append(event)
            if len(self._early) > EARLY_PACKETS_MAX:
                raise ProtocolError(f"camera {self._name} sends media but never answers PLAY")
        now_s = asyncio.get_running_loop().time()
        self._keep_alive_at = now_s + self._session.keep_alive_s

    async def say_goodbye(self) -> None:
        """Tell the camera that it may stop; it finds out by itself where this does not reach it."""
        self._session.teardown()
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._flush()
        except (TimeoutError, UnreachableError):
            return

    async def _exchange(self) -> list[TrackPacket | Playing]:
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            raise UnreachableError(f"camera {self._name}: the connection broke") from error
        if not data:
            raise UnreachableError(f"camera {self._name} closed the connection")
        events = self._session.receive(data)
        await self._flush()
        return events

    async def _flush(self) -> None:
        if not (data := self._session.outgoing()):
            return
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise UnreachableError(f"camera {self._name}: the connection broke") from error


@asynccontextmanager
async def play(
    url: str, credentials: Credentials | None, choose: Choice, *, chance: random.Random
) -> AsyncIterator[RtspStream]:
    """Connect, authenticate and start the chosen tracks; stop them on leaving.

    Media comes over the connection, or over UDP where ``url`` has ``transport=udp`` or the camera
    sends it in no other way. Raises UnreachableError, RefusedError, ProtocolError, and SetupError
    for a bad ``url``.
    """
    address = parse_url(url)
    open_stream = partial(_open, address, credentials, choose, chance)
    try:
        stream = await open_stream(over_udp=address.wants_udp)
    except OnlyUdpError:
        # A camera that shares one stream among all closes it first, and refuses until it has.
        await asyncio.sleep(CLOSE_S)
        stream = await open_stream(over_udp=True)
    try:
        yield stream
    finally:
        await stream.close()


async def _open(
    address: RtspUrl,
    credentials: Credentials | None,
    choose: Choice,
    chance: random.Random,
    *,
    over_udp: bool,
) -> RtspStream:
    name = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, limit=READ_BYTES
            )
    except (OSError, TimeoutError) as error:
        raise UnreachableError(
            f"camera {name} does not answer; check its power and network"
        ) from error
    ports = RtpPorts(writer.get_extra_info("peername")[0]) if over_udp else None
    client_ports = ports.ports if ports is not None else ()  # filled when they are open
    session = ClientSession(address, credentials, choose, chance, client_ports)
    stream = RtspStream(name, session, reader, writer, ports, chance.getrandbits(32))
    try:
        if ports is not None:
            await ports.open(writer.get_extra_info("sockname")[0], UDP_TRACKS)
        await _start(stream, name)
    except BaseException:
        await stream.close()
        raise
    return stream


async def _start(stream: RtspStream, name: str) -> None:
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            await stream.start()
    except TimeoutError as error:
        raise UnreachableError(
            f"camera {name} started no stream within {HANDSHAKE_S:.0f} s; restart the camera"
        ) from error
