"""Plays a camera's stream over one TCP connection."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from drivers.codecs.digest import Credentials
from drivers.codecs.rtsp_session import Choice, ClientSession, Playing, TrackPacket, parse_url
from drivers.codecs.sdp import Media
from drivers.errors import ProtocolError, UnreachableError

HANDSHAKE_S = 5.0
GOODBYE_S = 0.5
READ_BYTES = 64 * 1024
EARLY_PACKETS_MAX = 2000


class RtspStream:
    """A stream that plays; ``media`` names the tracks in the order of their numbers."""

    def __init__(
        self,
        name: str,
        session: ClientSession,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
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
        events = await self._exchange()
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._keep_alive_at:
            self._keep_alive_at = now_s + self._session.keep_alive_s
            self._session.keep_alive()
            await self._flush()
        return [event for event in events if isinstance(event, TrackPacket)]

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

    Raises UnreachableError, RefusedError, ProtocolError, and SetupError for a bad ``url``.
    """
    address = parse_url(url)
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
    stream = RtspStream(name, ClientSession(address, credentials, choose, chance), reader, writer)
    try:
        await _start(stream, name)
        yield stream
    finally:
        await stream.say_goodbye()
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _start(stream: RtspStream, name: str) -> None:
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            await stream.start()
    except TimeoutError as error:
        raise UnreachableError(
            f"camera {name} started no stream within {HANDSHAKE_S:.0f} s; restart the camera"
        ) from error
