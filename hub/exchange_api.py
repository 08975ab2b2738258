"""Sync on the boxes' port: the exchange, and a held request that answers when something waits."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from provisioning.box_gate import BoxGate
from provisioning.certificates import Binding
from provisioning.enrolment_api import calling_box, refusal_response
from provisioning.errors import RefusedError
from sync.errors import MalformedError
from sync.exchange import CREDIT_BYTES, FIRST_BYTES_MAX, MESSAGE_BYTES_MAX, Session
from sync.node import Imported, Node
from sync.writer import Writer

_log = logging.getLogger(__name__)

EXCHANGE_PATH = "/sync/exchange"
NOTIFY_PATH = "/sync/notify"
NOTIFY_HOLD_S = 50.0
BODY_S_MAX = 120.0
CALLS_OF_A_SCHOOL_MAX = 4
"""A box has one exchange under way; those of a line that was cut may still stand beside it."""
CALM_CALLS = 16
"""More exchanges at once than this are asked for less, and later: a county came back to power."""
RETRY_MS_A_CALL = 20
MEDIA_TYPE = "application/x-schoolnode-sync"


@dataclass(slots=True)
class Heartbeat:
    """What the hub saw of one box's exchanges since it started; moments are Unix ms."""

    seen_ms: int
    certificate_until_ms: int
    stored_ms: int | None = None
    waiting_bytes: int = 0


OnImport = Callable[[int, Imported, int], Awaitable[None]]
"""Hears what came from which school, and when that began (Unix ms)."""


class ExchangeDesk:
    """Answers boxes."""

    def __init__(self, node: Node, writer: Writer, gate: BoxGate, on_import: OnImport) -> None:
        self._node = node
        self._writer = writer
        self._gate = gate
        self._on_import = on_import
        self._sessions: dict[int, Session] = {}
        self._calls: Counter[int] = Counter()
        self._waiting: dict[int, asyncio.Event] = {}
        self.heartbeats: dict[str, Heartbeat] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(EXCHANGE_PATH, self._exchange)
        app.router.add_get(NOTIFY_PATH, self._notify, allow_head=False)

    def wake(self, schools: Collection[int]) -> None:
        """Tell these schools that something waits for them."""
        for school in schools:
            if school in self._waiting:
                self._waiting[school].set()

    async def _exchange(self, request: web.Request) -> web.Response:
        try:
            box = calling_box(request, self._gate)
        except RefusedError as refusal:
            return refusal_response(refusal)
        if (request.content_length or 0) > MESSAGE_BYTES_MAX:
            raise web.HTTPRequestEntityTooLarge(MESSAGE_BYTES_MAX, request.content_length or 0)
        with self._counted(box.school):
            data = await _body(request)
            session = self._sessions.setdefault(box.school, Session(self._node, box.school))
            begun_ms = self._node.clock.now_ms()
            crowd = max(0, self._calls.total() - CALM_CALLS)
            credit_bytes = FIRST_BYTES_MAX if crowd else CREDIT_BYTES
            try:
                answer, imported, message = await self._writer.call(
                    session.answer, data, credit_bytes, crowd * RETRY_MS_A_CALL
                )
            except MalformedError as error:
                _log.warning("school %d's sync message was refused: %s", box.school, error)
                raise web.HTTPBadRequest(text=str(error)) from error
        self._note(box, imported, message.waiting_bytes)
        if imported.stored:
            await self._on_import(box.school, imported, begun_ms)
        return web.Response(body=answer, content_type=MEDIA_TYPE)

    @contextmanager
    def _counted(self, school: int) -> Iterator[None]:
        if self._calls[school] >= CALLS_OF_A_SCHOOL_MAX:
            raise web.HTTPTooManyRequests(
                text=f"{CALLS_OF_A_SCHOOL_MAX} exchanges of this school are under way; wait",
                headers={"Retry-After": "5"},
            )
        self._calls[school] += 1
        try:
            yield
        finally:
            self._calls[school] -= 1
            if not self._calls[school]:
                del self._calls[school]

    def _note(self, box: Binding, imported: Imported, waiting_bytes: int) -> None:
        school, now_ms = box.school, self._node.clock.now_ms()
        beat = self.heartbeats.setdefault(box.box, Heartbeat(now_ms, box.not_after_ms))
        beat.seen_ms = now_ms
        beat.certificate_until_ms = box.not_after_ms
        beat.waiting_bytes = waiting_bytes
        for log, seq, reason in imported.refused:
            _log.warning("school %d, %s segment %d: %s", school, log, seq, reason)
        if imported.stored:
            beat.stored_ms = now_ms

    async def _notify(self, request: web.Request) -> web.Response:
        try:
            school = calling_box(request, self._gate).school
        except RefusedError as refusal:
            return refusal_response(refusal)
        event = self._waiting.setdefault(school, asyncio.Event())
        try:
            async with asyncio.timeout(NOTIFY_HOLD_S):
                await event.wait()
        except TimeoutError:
            return web.Response(status=204)
        event.clear()
        return web.Response(text="something waits")


async def _body(request: web.Request) -> bytes:
    """Return the body; a box that sends none in time is not waited for."""
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"no message within {BODY_S_MAX:.0f} s") from error
