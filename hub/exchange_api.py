"""Sync on the boxes' port: the exchange, and a held request that answers when something waits."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from provisioning.box_gate import BoxGate
from provisioning.enrolment_api import calling_box, refusal_response
from provisioning.errors import RefusedError
from sync.errors import MalformedError
from sync.exchange import MESSAGE_BYTES_MAX, Session
from sync.node import Imported, Node
from sync.writer import Writer

_log = logging.getLogger(__name__)

EXCHANGE_PATH = "/sync/exchange"
NOTIFY_PATH = "/sync/notify"
NOTIFY_HOLD_S = 50.0
MEDIA_TYPE = "application/x-schoolnode-sync"


@dataclass(slots=True)
class Heartbeat:
    """What the hub saw of one school's exchanges since it started; moments are Unix ms."""

    seen_ms: int
    stored_ms: int | None = None
    waiting_bytes: int = 0


class ExchangeDesk:
    """Answers boxes. ``on_import`` is told, on the event loop, what came from which school."""

    def __init__(
        self, node: Node, writer: Writer, gate: BoxGate, on_import: Callable[[int, Imported], None]
    ) -> None:
        self._node = node
        self._writer = writer
        self._gate = gate
        self._on_import = on_import
        self._sessions: dict[int, Session] = {}
        self._waiting: dict[int, asyncio.Event] = {}
        self.heartbeats: dict[int, Heartbeat] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(EXCHANGE_PATH, self._exchange)
        app.router.add_get(NOTIFY_PATH, self._notify, allow_head=False)

    def wake(self, schools: frozenset[int] | None = None) -> None:
        """Tell these schools, or all, that something waits for them."""
        for school, event in self._waiting.items():
            if schools is None or school in schools:
                event.set()

    async def _exchange(self, request: web.Request) -> web.Response:
        try:
            school = calling_box(request, self._gate).school
        except RefusedError as refusal:
            return refusal_response(refusal)
        if (request.content_length or 0) > MESSAGE_BYTES_MAX:
            raise web.HTTPRequestEntityTooLarge(MESSAGE_BYTES_MAX, request.content_length or 0)
        data = await request.read()
        session = self._sessions.setdefault(school, Session(self._node, school))
        try:
            answer, imported, message = await self._writer.call(session.answer, data)
        except MalformedError as error:
            _log.warning("school %d sent a sync message that was refused: %s", school, error)
            raise web.HTTPBadRequest(text=str(error)) from error
        self._note(school, imported, message.waiting_bytes)
        return web.Response(body=answer, content_type=MEDIA_TYPE)

    def _note(self, school: int, imported: Imported, waiting_bytes: int) -> None:
        now_ms = self._node.clock.now_ms()
        beat = self.heartbeats.setdefault(school, Heartbeat(now_ms))
        beat.seen_ms = now_ms
        beat.waiting_bytes = waiting_bytes
        for log, seq, reason in imported.refused:
            _log.warning("school %d, %s segment %d: %s", school, log, seq, reason)
        if imported.stored:
            beat.stored_ms = now_ms
            self._on_import(school, imported)

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
