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
from edge.line_room import SPARE_S, LineRoom
from edge.supervision import under_watch
from sync.errors import MalformedError
from sync.exchange.framing import FrameReader, frame
from sync.lessons.tcp_connection import give_up_after, read_tcp_info, unacknowledged_bytes

EXCHANGE_PATH = "/sync/exchange"
CONNECT_S_MAX = 20.0
ANSWER_S_MAX = 60.0
"""A hub that has a thousand boxes to answer at once takes its time."""
STALLED_MS = 20_000
"""Where :mod:`edge.line_progress` sees nothing the kernel gives a line up after so long."""
PROGRESS_EVERY_S = 0.25
SILENT_S_MAX = 8.0
"""A line that acknowledges nothing for so long is left. Calling again costs seconds and the
handshakes' bytes, and what was half said is said again: short cuts are waited for."""
CONNECTING_SILENT_S_MAX = 4.0
"""The same before the hub has answered, when there is less to lose."""
PROBE_EVERY_S = 1.0
PROBE_BYTES = 16
"""A silent line is handed so much: a hundred bytes with all that TCP and TLS add. Once they arrive
the far machine tells what did not, which TCP then sends again at once; its own repetitions are long
packets, ever further apart, each for nothing while the line is cut."""
PROBES_AT_ONCE = 2
"""The first may also bring word of what had arrived before the cut, by which TCP takes the line's
round trip to be as long as the cut, and waits; the second tells it better."""
ROOM_EVERY_S = 0.05
"""How often a slow line is asked whether it takes more; 30 kbit/s are 190 bytes meanwhile."""
_GREETING_BYTES = 1_900
_GREETING_ROUND_TRIPS = 2
_GREETING_S_MIN = 0.001
"""What passes of TCP's and TLS's handshakes before anything is said, and how often it is waited for
the other end; the clock may say that it took no longer than that."""
_QUESTION = frame(b"")
_DROP_AT_ONCE = struct.pack("ii", 1, 0)  # socket(7): on, 0 s
_PACKET_BYTES = 1_448
_WAITING_BYTES_MAX = 256 * 1024
"""More is not handed over in advance, however fast the line."""
_READ_BYTES_MAX = 64 * 1024
_TEXT_BYTES_MAX = 500
_HEADERS_LEFT_OUT = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Speak = Callable[[], Awaitable[bytes | None]]


class HubUnreachableError(Exception):
    """The hub does not answer, or not as a hub of this version would: try again later.

    ``after_s``: not sooner, by the hub's word.
    """

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


class HubSilentError(HubUnreachableError):
    """Nothing comes back from the line."""


class HubStream:
    """Frames to the hub and from it; :func:`hub_stream` opens one."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self._waiting = bytearray()
        self._is_over = False
        self._is_silent = False
        self._probes = 0
        self._given = asyncio.Event()
        self._passed_on = asyncio.Event()
        self._frames = FrameReader()
        self._heard: deque[bytes] = deque()
        self._response: aiohttp.ClientResponse | None = None
        self._line: socket.socket | None = None
        self._called = asyncio.Event()
        self._called_s = 0.0
        self._room = LineRoom(0.0)
        self._beginning = asyncio.Lock()

    @property
    def bytes_a_s(self) -> float:
        """What the line carries at least; 0 before it stands."""
        return self._room.bytes_a_s

    async def send(self, data: bytes) -> None:
        """Hand over what a conversation speaks; waits while the line has enough to carry.

        So what is said next is composed as late as can be, and an alarm finds little before it.
        """
        self._waiting += data
        self._given.set()
        while len(self._waiting) > self._enough_bytes:
            self._passed_on.clear()
            await self._passed_on.wait()

    @property
    def _enough_bytes(self) -> int:
        """What may wait for the line without its having too little to carry."""
        return min(max(_PACKET_BYTES, int(SPARE_S * self.bytes_a_s)), _WAITING_BYTES_MAX)

    async def receive(self) -> bytes:
        """Return the content of the hub's next frame; raises HubUnreachableError."""
        assert self._response is not None
        while not self._heard:
            try:
                data = await self._response.content.read(_READ_BYTES_MAX)
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
        """Raise HubSilentError once the line carries nothing more, its parent once it is closed."""
        loop = asyncio.get_running_loop()
        await self._called.wait()
        assert self._line is not None
        progress = LineProgress(self._line, loop.time())
        probed_s = 0.0
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            now_s = loop.time()
            try:
                silent_s = progress.silent_s(now_s)
            except OSError as error:
                raise HubUnreachableError(describe(error)) from error
            is_answered = self._response is not None
            if silent_s > (SILENT_S_MAX if is_answered else CONNECTING_SILENT_S_MAX):
                self._drop()
                raise HubSilentError("the line carries nothing more")
            self._is_silent = is_answered and silent_s >= PROBE_EVERY_S
            if self._is_silent and now_s - probed_s >= PROBE_EVERY_S:
                probed_s = now_s
                self._probe()

    def _probe(self) -> None:
        """Have the line handed a little, whatever it carries: what waits, or a question."""
        self._probes = PROBES_AT_ONCE
        missing = PROBES_AT_ONCE - len(self._waiting)
        self._waiting += missing * _QUESTION if missing > 0 else b""
        self._given.set()

    def _drop(self) -> None:
        """Leave the line with all that the kernel holds: the next connection says it, if need be.

        TLS's farewell would wait behind that, and keep it on a line that came back.
        """
        assert self._line is not None
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_AT_ONCE)
        connection = None if self._response is None else self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def begin(self, response: aiohttp.ClientResponse) -> None:
        """Read from now on what the hub answers; on return nothing is spoken but by send."""
        async with self._beginning:
            self._response = response

    def end(self) -> None:
        """Let the request's body come to its end."""
        self._waiting.clear()
        self._is_over = True
        self._given.set()

    async def body(self, speak: Speak) -> AsyncIterator[bytes]:
        """Yield the request's body.

        ``speak`` is asked once the connection stands, and on until the hub answers or it is None.
        """
        self._room = LineRoom(self._greeting_bytes_a_s())
        has_more = True
        while not self._is_over:
            while has_more and len(self._waiting) <= self._enough_bytes:
                has_more = await self._speak_on(speak)
            size = await self._part_bytes()
            part = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._passed_on.set()
            if part:
                self.sent_bytes += size
                yield part
            elif not self._is_over:
                self._given.clear()
                await self._given.wait()

    def _greeting_bytes_a_s(self) -> float:
        """Return what the line carried while it was called, apart from its round trips."""
        assert self._line is not None
        took_s = asyncio.get_running_loop().time() - self._called_s
        info = read_tcp_info(self._line)
        waited_s = 0.0 if info is None else _GREETING_ROUND_TRIPS * info.round_trip_s_min
        return _GREETING_BYTES / max(took_s - waited_s, _GREETING_S_MIN)

    async def _speak_on(self, speak: Speak) -> bool:
        """Let ``speak`` say more while the hub has not answered; tell whether it did."""
        async with self._beginning:
            data = await speak() if self._response is None else None
            self._waiting += data or b""
        return data is not None

    async def _part_bytes(self) -> int:
        """Wait until the line takes more, and return how much; 0 when nothing waits."""
        assert self._line is not None
        while self._waiting:
            await asyncio.sleep(0)  # the kernel is given then what was yielded before
            info = read_tcp_info(self._line)
            if info is None:
                break
            unacked_bytes = unacknowledged_bytes(self._line)
            now_s = asyncio.get_running_loop().time()
            size = self._room.part_bytes(len(self._waiting), info, unacked_bytes, now_s)
            if self._is_silent:
                size = min(PROBE_BYTES, -(-len(self._waiting) // 2)) if self._probes else 0
                self._probes -= bool(size)
            if size:
                return size
            await asyncio.sleep(ROOM_EVERY_S)
        return len(self._waiting)

    def line(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket that is to be connected."""
        self._called_s = asyncio.get_running_loop().time()
        self._called.set()
        family, kind, protocol, _, _ = address
        self._line = socket.socket(family, kind, protocol)
        give_up_after(self._line, STALLED_MS)
        return self._line


@asynccontextmanager
async def hub_stream(
    base: str, context: ssl.SSLContext, speak: Speak, connect_s_max: float = CONNECT_S_MAX
) -> AsyncIterator[HubStream]:
    """Connect, send what ``speak`` returns and wait for the hub's answer to it.

    ``speak`` is called when the connection stands, so that nothing is sealed for one that fails,
    and again while the line would be idle, until the answer comes or it returns None.
    Raises HubUnreachableError, or what ``speak`` raised.
    """
    faults: list[BaseException] = []

    async def noting_faults() -> bytes | None:
        try:
            return await speak()
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
                body = stream.body(noting_faults)
                response = await under_watch(
                    lambda: http.post(EXCHANGE_PATH, data=body), stream.watch
                )
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError and ssl's among them
            if faults:
                raise faults[0] from error
            is_silent = isinstance(error, TimeoutError)
            raise (HubSilentError if is_silent else HubUnreachableError)(describe(error)) from error
        stack.callback(response.close)
        if response.status != 200:  # noqa: PLR2004 - HTTP's own number
            raise await _refusal(response)
        await stream.begin(response)
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
