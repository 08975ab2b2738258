"""The box's end of the connection to its hub: one POST that stays open both ways.

The request's body carries frames to the hub while the response's carries the hub's; both are
chunked and end with the connection. That is one round trip less than a WebSocket's upgrade, and
nothing more on the line than an answer to a question would be.
"""

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Never

import aiohttp

from edge.line_progress import LineProgress
from sync.errors import MalformedError
from sync.exchange.framing import FrameReader

EXCHANGE_PATH = "/sync/exchange"
CONNECT_S_MAX = 20.0
ANSWER_S_MAX = 60.0
"""A hub that has a thousand boxes to answer at once takes its time."""
STALLED_MS = 8_000
"""Where :mod:`edge.line_progress` sees nothing the kernel gives a line up after so long."""
PROGRESS_EVERY_S = 0.5
_DROP_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7): on, 0 s
_FRAMES_WAITING_MAX = 4
_READ_BYTES_MAX = 64 * 1024
_TEXT_BYTES_MAX = 500
_HEADERS_LEFT_OUT = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

First = Callable[[], Awaitable[bytes]]


class HubUnreachableError(Exception):
    """The hub does not answer, or not as a hub of this version would: try again later.

    ``after_s``: not sooner, by the hub's word.
    """

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


class HubStream:
    """Frames to the hub and from it; :func:`hub_stream` opens one."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(_FRAMES_WAITING_MAX)
        self._frames = FrameReader()
        self._heard: deque[bytes] = deque()
        self._content: aiohttp.StreamReader | None = None
        self._line: socket.socket | None = None

    async def send(self, data: bytes) -> None:
        """Hand over what a conversation speaks; waits while much is handed over already."""
        await self._outgoing.put(data)

    async def receive(self) -> bytes:
        """Return the content of the hub's next frame; raises HubUnreachableError."""
        assert self._content is not None
        while not self._heard:
            try:
                data = await self._content.read(_READ_BYTES_MAX)
            except (aiohttp.ClientError, OSError) as error:
                raise HubUnreachableError(describe(error)) from error
            if not data:
                raise HubUnreachableError("the hub ended the connection")
            self.received_bytes += len(data)
            try:
                self._heard.extend(self._frames.feed(data))
            except MalformedError as error:
                raise HubUnreachableError(f"the hub cannot be understood: {error}") from error
        return self._heard.popleft()

    async def watch(self) -> Never:
        """Raise HubUnreachableError once the line carries nothing more."""
        assert self._line is not None
        loop = asyncio.get_running_loop()
        progress = LineProgress(self._line, loop.time())
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            try:
                is_stalled = progress.is_stalled(loop.time())
            except OSError as error:
                raise HubUnreachableError(describe(error)) from error
            if is_stalled:
                # What the kernel still holds is sent again on the next connection, if need be.
                self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_AT_ONCE)
                raise HubUnreachableError("the line carries nothing more")

    def begin(self, content: aiohttp.StreamReader) -> None:
        """Read from now on what the hub answers."""
        self._content = content

    def end(self) -> None:
        """Let the request's body come to its end."""
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        self._outgoing.put_nowait(None)

    async def body(self, first: First) -> AsyncIterator[bytes]:
        """Yield the request's body; ``first`` is asked once the connection stands."""
        data: bytes | None = await first()
        while data is not None:
            self.sent_bytes += len(data)
            yield data
            data = await self._outgoing.get()

    def line(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket that is to be connected."""
        family, kind, protocol, _, _ = address
        self._line = socket.socket(family, kind, protocol)
        # tcp(7); Linux, where every box runs.
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
        return self._line


@asynccontextmanager
async def hub_stream(
    base: str, context: ssl.SSLContext, first: First, connect_s_max: float = CONNECT_S_MAX
) -> AsyncIterator[HubStream]:
    """Connect, send what ``first`` returns and wait for the hub's answer to it.

    ``first`` is called when the connection stands, so that nothing is sealed for one that fails.
    Raises HubUnreachableError, or what ``first`` raised.
    """
    faults: list[BaseException] = []

    async def noting_faults() -> bytes:
        try:
            return await first()
        except BaseException as fault:  # aiohttp would tell of a connection that failed
            faults.append(fault)
            raise

    stream = HubStream()
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(ssl=context, socket_factory=stream.line)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s_max)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                base, connector=connector, timeout=timeout, skip_auto_headers=_HEADERS_LEFT_OUT
            )
        )
        stack.callback(stream.end)
        try:
            async with asyncio.timeout(connect_s_max + ANSWER_S_MAX):
                response = await http.post(EXCHANGE_PATH, data=stream.body(noting_faults))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError and ssl's among them
            if faults:
                raise faults[0] from error
            raise HubUnreachableError(describe(error)) from error
        stack.callback(response.close)
        if response.status != 200:  # noqa: PLR2004 - HTTP's own number
            raise await _refusal(response)
        stream.begin(response.content)
        yield stream


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _refusal(response: aiohttp.ClientResponse) -> HubUnreachableError:
    try:
        text = (await response.content.read(_TEXT_BYTES_MAX)).decode(errors="replace")
    except (aiohttp.ClientError, OSError) as error:
        text = describe(error)
    after = response.headers.get("Retry-After", "")
    after_s = float(after) if after.isdecimal() and len(after) < 5 else 0.0  # noqa: PLR2004 - hours
    return HubUnreachableError(f"the hub answered {response.status}: {text}", after_s)
