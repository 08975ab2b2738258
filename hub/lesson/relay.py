"""Relays sealed lessons from flagships to receivers, keeps them, and opens nothing.

Routes on the boxes' port (see ``sync.lessons.fragment_exchange`` for the messages):

- ``/lessons/{lesson}/publish`` and ``/lessons/{lesson}/follow``: WebSockets. A follower starts at
  the newest keyframe; ``?from=<take>:<track>:<number>,…`` sends what came after those first.
- ``/lessons/{lesson}/index``: what is held.
- ``/lessons/{lesson}/{take}/{track}/{name}``: immutable objects (``hub.lesson.objects``).
"""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Never

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from hub.lesson.admission import Identify, LessonAccess, lesson_of
from hub.lesson.minute_count import MINUTE_S, LoadCount
from hub.lesson.objects import LessonObjects
from hub.lesson.relayed_lesson import Party, Positions, RelayedLesson, RelayEvidence
from hub.lesson.wants import WANTS_MAX, Wants
from sync.errors import ForgedError, MalformedError
from sync.lessons.fragment_exchange import (
    Current,
    Holdings,
    Turn,
    Want,
    decode_from_box,
    encode_message,
)
from sync.lessons.fragment_log import (
    NUMBER_MAX,
    RECORD_BYTES_MAX,
    TRACK_MAX,
    LessonId,
    parse_record,
    parse_take_id,
)
from sync.lessons.fragment_objects import parse_number
from sync.lessons.fragment_outlet import Outlet
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_rungs import ANEW
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError
from sync.lessons.tcp_connection import give_up_after, prefer_bbr

_log = logging.getLogger(__name__)

DISK_BYTES_MAX = 200 * 1024**3
FOLLOWERS_MAX = 2000
LESSON_BYTES_MAX = 64 * 1024**3
"""A lesson that goes on is never given up for space: it may take so much of it."""
_TICK_S = 1.0
_LOOKS = 10
"""How often in a tick it is looked whether the loop is late."""
_RECLAIM_TICKS = 60
DEAD_MS = 8000
"""A box that acknowledges nothing for so long is gone: each is told something every second."""
_POSITIONS_MAX = 32
_POSITION_FIELDS = 3
_CLOSE_BYTES_MAX = 123  # RFC 6455 §5.5: a control frame's payload, less the code


class LessonRelay:
    """One hub's relay; :meth:`run` belongs in a task beside the server."""

    def __init__(
        self,
        shelf: LessonShelf,
        access: LessonAccess,
        identify: Identify,
        disk_bytes_max: int = DISK_BYTES_MAX,
        cache_url: str = "",
    ) -> None:
        """``cache_url``: where boxes may fetch objects instead, scheme and authority."""
        self._shelf = shelf
        self._cache_url = cache_url
        self._access = access
        self._identify = identify
        self._disk_bytes_max = disk_bytes_max
        self._lessons: dict[LessonId, RelayedLesson] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/lessons/{lesson}/publish", self._publish)
        app.router.add_get("/lessons/{lesson}/follow", self._follow)
        app.router.add_get("/lessons/{lesson}/index", self._index)
        LessonObjects(self._shelf, self._admit_reader).add_routes(app)

    def evidence(self, lesson: str) -> RelayEvidence | None:
        """Return what was seen of a lesson with a party connected lately, None for others."""
        live = self._lessons.get(LessonId(lesson))
        return None if live is None else live.evidence()

    async def run(self) -> Never:
        """Make what came durable every second and tell it; enforce access and disk limits.

        Once a minute each box is told how the hub and its link did.
        """
        ticks = 0
        load = LoadCount()
        while True:
            await _rest(load)
            ticks += 1
            held = self._held()
            is_durable = True
            begun_s = monotonic()
            try:
                await self._shelf.sync()
            except FragmentStoreError:
                _log.exception("lessons are not durable")
                is_durable = False  # told all the same: a hub that is silent is taken for gone
            load.note_disk(monotonic() - begun_s)
            for live in list(self._lessons.values()):
                live.enforce(self._access)
                live.count(is_durable=is_durable)
                if ticks % MINUTE_S == 0:
                    live.tell_minute(load)
                live.is_full = live.stored_bytes > LESSON_BYTES_MAX
                live.ask_again()
                if live.id in held:
                    live.tell(msgspec.structs.replace(held[live.id], durable=is_durable))
                if live.is_over():
                    del self._lessons[live.id]
                    self._shelf.close_lesson(live.id)
            if ticks % MINUTE_S == 0:
                load = LoadCount()
            if ticks % _RECLAIM_TICKS == 0:
                self._reclaim()

    def _reclaim(self) -> None:
        """Close what was opened for who fetched from a recording; give up what has no room."""
        for lesson in self._shelf.open_lessons() - self._lessons.keys():
            self._shelf.close_lesson(lesson)
        for gone in self._shelf.reclaim(self._disk_bytes_max, set(self._lessons)):
            _log.warning("lesson %s: take %s given up for space", gone.lesson, gone.take.hex())

    def _held(self) -> dict[LessonId, Holdings]:
        """Return what is held of each lesson that goes on, but for what the disk does not give."""
        held: dict[LessonId, Holdings] = {}
        for live in self._lessons.values():
            try:
                held[live.id] = live.holdings(durable=True)
            except FragmentStoreError as error:
                _log.error("lesson %s: %s", live.id, error)
        return held

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        school, lesson = self._admit(request, self._access.may_publish)
        socket, transport = await _connect(request)
        outlet = Outlet(transport, monotonic, _nothing)
        party = Party(school, transport, outlet, Wants(self._shelf, lesson))
        live = self._enter(lesson)
        try:
            live.let_publish(party)
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(outlet.run())
                await _take_in(live, party, socket)
                sending.cancel()
        finally:
            live.leave(party)
        return socket

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        school, lesson = self._admit(request, self._access.may_receive)
        try:
            positions = _parse_positions(request.query.get("from", ""))
        except MalformedError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        live = self._enter(lesson)
        if len(live.followers) >= FOLLOWERS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{FOLLOWERS_MAX} boxes follow already")
        socket, transport = await _connect(request)
        wants = Wants(self._shelf, lesson)
        standing = live.standings.get(school, ANEW)
        outlet = Outlet(transport, monotonic, wants.next_record, in_parts=True, standing=standing)
        party = Party(school, transport, outlet, wants)
        try:
            live.let_follow(party, positions)
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(outlet.run())
                await _take_wants(live, party, socket)
                sending.cancel()
        finally:
            live.leave(party)
        return socket

    async def _index(self, request: web.Request) -> web.Response:
        lesson = self._admit_reader(request)
        live = self._lessons.get(lesson) or self._relayed(lesson)
        body = encode_message(live.holdings(durable=False))
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _admit_reader(self, request: web.Request) -> LessonId:
        return self._admit(request, self._access.may_receive)[1]

    def _admit(
        self, request: web.Request, allowed: Callable[[int, str], bool]
    ) -> tuple[int, LessonId]:
        school, lesson = self._identify(request), lesson_of(request)
        if not allowed(school, lesson):
            text = (
                f"school {school} has no such part in lesson {lesson}; the district pairs schools"
            )
            raise web.HTTPForbidden(text=text)
        return school, lesson

    def _enter(self, lesson: LessonId) -> RelayedLesson:
        live = self._lessons.setdefault(lesson, self._relayed(lesson))
        live.idle_ticks = 0
        return live

    def _relayed(self, lesson: LessonId) -> RelayedLesson:
        return RelayedLesson(lesson, self._shelf, self._cache_url)


async def _rest(load: LoadCount) -> None:
    for _ in range(_LOOKS):
        slept_s = monotonic()
        await asyncio.sleep(_TICK_S / _LOOKS)
        load.note_loop(monotonic() - slept_s - _TICK_S / _LOOKS)


def _nothing(_: Turn) -> None:
    return None


async def _connect(request: web.Request) -> tuple[web.WebSocketResponse, asyncio.Transport]:
    # No pings: on a line that has just become narrow their answers wait behind seconds of picture.
    socket = web.WebSocketResponse(compress=False, max_msg_size=RECORD_BYTES_MAX, timeout=1.0)
    await socket.prepare(request)
    if request.transport is None:
        raise ConnectionResetError("the box hung up")
    line = request.transport.get_extra_info("socket")
    prefer_bbr(line)
    give_up_after(line, DEAD_MS)
    return socket, request.transport


async def _take_in(live: RelayedLesson, party: Party, socket: web.WebSocketResponse) -> None:
    parts = PartJoiner()
    async for received in socket:
        try:
            if received.type is WSMsgType.BINARY:
                wire = parts.take(received.data)
                if wire is not None:
                    live.relay(parse_record(wire))
            elif received.type is WSMsgType.TEXT:
                told = decode_from_box(received.data)
                if isinstance(told, Current):
                    live.hear(party, told)
        except (MalformedError, ForgedError) as error:
            _log.warning("lesson %s from school %d: %s", live.id, party.school, error)
            await _close(socket, WSCloseCode.POLICY_VIOLATION, str(error))
        except FragmentStoreError as error:
            _log.exception("lesson %s from school %d", live.id, party.school)
            await _close(socket, WSCloseCode.TRY_AGAIN_LATER, str(error))


async def _take_wants(live: RelayedLesson, party: Party, socket: web.WebSocketResponse) -> None:
    async for received in socket:
        if received.type is WSMsgType.ERROR:
            return  # the link broke; aiohttp has closed it
        try:
            _take_want(party, received)
        except MalformedError as error:
            _log.warning("lesson %s to school %d: %s", live.id, party.school, error)
            await _close(socket, WSCloseCode.POLICY_VIOLATION, str(error))


def _take_want(party: Party, received: WSMessage) -> None:
    told = decode_from_box(received.data) if received.type is WSMsgType.TEXT else None
    if not isinstance(told, Want):
        raise MalformedError("a follower only asks for what it lacks; publish on the other address")
    if party.wants.is_full:
        raise MalformedError(f"more than {WANTS_MAX} wants at once; wait for their answer")
    party.wants.add(parse_take_id(told.take), told.stream, told.first, told.last)
    party.outlet.wake()


async def _close(socket: web.WebSocketResponse, code: int, why: str) -> None:
    await socket.close(code=code, message=why.encode()[:_CLOSE_BYTES_MAX])


def _parse_positions(query: str) -> Positions:
    """Read ``<take>:<track>:<number>,…`` or raise MalformedError."""
    positions: Positions = {}
    for one in query.split(",") if query else ():
        fields = one.split(":")
        if len(fields) != _POSITION_FIELDS or len(positions) >= _POSITIONS_MAX:
            raise MalformedError("from= takes up to 32 of <take>:<track>:<number>, by commas")
        take, track, number = fields
        name = parse_take_id(take), parse_number(track, TRACK_MAX)
        positions[name] = parse_number(number, NUMBER_MAX)
    return positions
