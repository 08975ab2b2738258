"""Sync on the boxes' port: one POST of each box that stays open both ways.

What a box sends is taken in by turns, so that in a crowd every school gets on and memory stays
bounded: a school has one message under work, may have its credit's worth under way, and no more is
read of it meanwhile. Short messages, an alarm or a receipt, do not wait for long ones.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from hub.calls_under_way import CallsUnderWay
from provisioning.box_gate import BoxGate
from provisioning.certificates import Binding
from provisioning.enrolment_api import calling_box, refusal_response
from provisioning.errors import RefusedError
from sync.errors import MalformedError
from sync.exchange.conversation import HEARTBEAT_MS, Conversation
from sync.exchange.framing import FrameReader
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX
from sync.exchange.pacing import Pace
from sync.lessons.tcp_connection import give_up_after
from sync.node import Imported, Node
from sync.writer import Writer

_log = logging.getLogger(__name__)

EXCHANGE_PATH = "/sync/exchange"
FIRST_S_MAX = 120.0
SILENCE_S_MAX = 4 * HEARTBEAT_MS / 1000
"""A box asks every HEARTBEAT_MS; one that is silent for longer has another line by now."""
STALLED_MS = 60_000
"""What a box's machine does not acknowledge for so long is not waited for."""
STREAMS_MAX = 4096
STREAMS_OF_A_SCHOOL_MAX = 4
"""A box has one stream; those of a line that was cut may still stand beside it."""
BUSY_AFTER_S = 30
SHORT_BYTES = 1024
"""Messages up to this length are not queued behind long ones."""
CALM_MESSAGES = 16
"""More long messages waiting than this is a crowd, which is asked for less, and later: a county
came back to power."""
RETRY_MS_A_MESSAGE = 8
"""What the hub takes for one of 16 KiB, about."""
MEDIA_TYPE = "application/x-schoolnode-sync"
_READ_BYTES_MAX = 64 * 1024


@dataclass(slots=True)
class Heartbeat:
    """What the hub saw of one box since it started; moments are Unix ms.

    ``waiting_bytes``: sealed and not sent, as the box last said; ``caught_up_ms``: when it was last
    heard with none.
    """

    seen_ms: int
    certificate_until_ms: int
    stored_ms: int | None = None
    waiting_bytes: int | None = None
    caught_up_ms: int | None = None


OnImport = Callable[[int, Imported, int], Awaitable[None]]
"""Hears what came from which school, and when that began (Unix ms)."""


@dataclass(slots=True, eq=False)
class _Stream:
    """One box's open POST."""

    box: Binding
    request: web.Request
    conversation: Conversation
    frames: FrameReader = field(default_factory=FrameReader)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def contents(self) -> AsyncIterator[bytes]:
        """Yield what the box's frames hold, until it hangs up or is silent for too long.

        Raises MalformedError for what is no frame.
        """
        while True:
            try:
                async with asyncio.timeout(SILENCE_S_MAX):
                    data = await self.request.content.read(_READ_BYTES_MAX)
            except (ConnectionError, TimeoutError):
                return
            if not data:
                return
            for content in self.frames.feed(data):
                yield content

    def abort(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()


class ExchangeDesk:
    """Answers boxes."""

    def __init__(self, node: Node, writer: Writer, gate: BoxGate, on_import: OnImport) -> None:
        self._node = node
        self._writer = writer
        self._gate = gate
        self._on_import = on_import
        self._streams: dict[str, _Stream] = {}
        self._arriving: dict[str, _Stream] = {}
        self._calls = CallsUnderWay()
        self._turn = asyncio.Lock()
        self._queued = 0
        self.heartbeats: dict[str, Heartbeat] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(EXCHANGE_PATH, self._exchange)
        app.on_shutdown.append(self._hang_up)

    def wake(self, schools: Collection[int]) -> None:
        """Tell these schools what waits for them."""
        for stream in self._streams.values():
            if stream.box.school in schools:
                stream.news.set()

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        try:
            box = calling_box(request, self._gate)
        except RefusedError as refusal:
            return refusal_response(refusal)
        with self._counted(box.school):
            drop_when_stalled(request)
            conversation = Conversation(self._node, box.school, Pace(), _now_ms(), asks=False)
            stream = _Stream(box, request, conversation)
            contents = stream.contents()
            try:
                with _alone(self._arriving, stream):
                    async with asyncio.timeout(FIRST_S_MAX):
                        first = await anext(contents, None)
                if first is None:
                    raise web.HTTPBadRequest(text="the stream ended before its first message")
                await self._hear(stream, first)
            except TimeoutError as error:
                text = f"no message within {FIRST_S_MAX:.0f} s"
                raise web.HTTPRequestTimeout(text=text) from error
            except MalformedError as error:
                _log.warning("school %d's sync message was refused: %s", box.school, error)
                raise web.HTTPBadRequest(text=str(error)) from error
            response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE})
            await response.prepare(request)
            with _alone(self._streams, stream):
                await self._converse(stream, contents, response)
        return response

    async def _converse(
        self, stream: _Stream, contents: AsyncIterator[bytes], response: web.StreamResponse
    ) -> None:
        """Return when the box hung up, or said what cannot be understood."""
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(self._keep_speaking(stream, response))
            # The first answer, an alarm's receipt, goes before what came behind is taken in.
            await asyncio.sleep(0)
            try:
                async for content in contents:
                    await self._hear(stream, content)
            except MalformedError as error:
                _log.warning("school %d's stream was ended: %s", stream.box.school, error)
            except sqlite3.Error as error:
                _log.error("nothing is taken in (%s): free some space", error)
            stream.abort()
            speaking.cancel()

    async def _hear(self, stream: _Stream, content: bytes) -> None:
        """Take in one message; on return the school is about to be answered."""
        begun_ms = self._node.clock.now_ms()
        async with self._in_turn(len(content)):
            heard = await self._writer.call(stream.conversation.hear, content, _now_ms())
        stream.news.set()
        waiting = None if heard.message is None else heard.message.waiting_bytes
        self._note(stream.box, heard.imported, waiting)
        if heard.imported.stored:
            await self._on_import(stream.box.school, heard.imported, begun_ms)

    @asynccontextmanager
    async def _in_turn(self, size: int) -> AsyncIterator[None]:
        """Let long messages pass one at a time, in the order in which they came."""
        if size <= SHORT_BYTES:
            yield
            return
        self._queued += 1
        try:
            async with self._turn:
                yield
        finally:
            self._queued -= 1

    async def _keep_speaking(self, stream: _Stream, response: web.StreamResponse) -> None:
        """Say what there is to say, until the line or the store fails: the stream ends with it."""
        while True:
            stream.news.clear()
            crowd = max(0, self._queued - CALM_MESSAGES)
            credit_bytes = FIRST_BYTES_MAX if crowd else CREDIT_BYTES
            try:
                data = await self._writer.call(
                    stream.conversation.speak, _now_ms(), credit_bytes, crowd * RETRY_MS_A_MESSAGE
                )
                if data is not None:
                    await response.write(data)
                    continue
            except (ConnectionError, sqlite3.Error) as error:
                _log.info("school %d's stream ends: %s", stream.box.school, error)
                stream.abort()
                return
            due_ms = stream.conversation.due_ms()
            wait_s = None if due_ms is None else max(0.0, (due_ms - _now_ms()) / 1000)
            try:
                async with asyncio.timeout(wait_s):
                    await stream.news.wait()
            except TimeoutError:
                pass

    @contextmanager
    def _counted(self, school: int) -> Iterator[None]:
        if self._calls.total() >= STREAMS_MAX:
            raise web.HTTPServiceUnavailable(
                text="as many boxes are connected as this hub takes; try again later",
                headers={"Retry-After": str(BUSY_AFTER_S)},
            )
        if self._calls.of(school) >= STREAMS_OF_A_SCHOOL_MAX:
            raise web.HTTPTooManyRequests(
                text=f"{STREAMS_OF_A_SCHOOL_MAX} streams of this school are open; wait",
                headers={"Retry-After": "5"},
            )
        with self._calls.one(school):
            yield

    def _note(self, box: Binding, imported: Imported, waiting_bytes: int | None) -> None:
        school, now_ms = box.school, self._node.clock.now_ms()
        beat = self.heartbeats.setdefault(box.box, Heartbeat(now_ms, box.not_after_ms))
        beat.seen_ms = now_ms
        beat.certificate_until_ms = box.not_after_ms
        if waiting_bytes is not None:
            beat.waiting_bytes = waiting_bytes
        if beat.waiting_bytes == 0 and not imported.refused:
            beat.caught_up_ms = now_ms
        for log, seq, reason in imported.refused:
            _log.warning("school %d, %s segment %d: %s", school, log, seq, reason)
        if imported.stored:
            beat.stored_ms = now_ms

    async def _hang_up(self, _app: web.Application) -> None:
        for stream in (*self._streams.values(), *self._arriving.values()):
            stream.abort()


@contextmanager
def _alone(streams: dict[str, _Stream], stream: _Stream) -> Iterator[None]:
    """Keep the stream as its box's; the one before it, of a line that was cut, ends."""
    name = stream.box.box
    former = streams.get(name)
    if former is not None:
        former.abort()
    streams[name] = stream
    try:
        yield
    finally:
        if streams.get(name) is stream:
            del streams[name]


def drop_when_stalled(request: web.Request) -> None:
    """Have the kernel give up a connection whose other end acknowledges nothing for STALLED_MS."""
    if request.transport is not None:
        give_up_after(request.transport.get_extra_info("socket"), STALLED_MS)


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
