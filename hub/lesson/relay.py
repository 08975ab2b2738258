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
from dataclasses import dataclass, field
from time import monotonic
from typing import Never, Protocol

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from hub.lesson.objects import LessonObjects
from hub.lesson.wants import WANTS_MAX, Wants
from sync.errors import ForgedError, MalformedError
from sync.lessons.fragment_exchange import (
    WANT_RECORDS_MAX,
    Current,
    Holdings,
    Turn,
    Want,
    decode_from_box,
    encode_message,
    holdings_of,
)
from sync.lessons.fragment_log import (
    NUMBER_MAX,
    RECORD_BYTES_MAX,
    TRACK_MAX,
    Header,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    parse_lesson_id,
    parse_record,
    parse_take_id,
)
from sync.lessons.fragment_objects import parse_number
from sync.lessons.fragment_outlet import Outlet, binary_frame, message, prefer_bbr
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_queue import Parcel, parcel_of
from sync.lessons.fragment_rungs import Rung, sends
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.lessons.tracks import keeps_media

_log = logging.getLogger(__name__)

DISK_BYTES_MAX = 200 * 1024**3
FOLLOWERS_MAX = 2000
LESSON_BYTES_MAX = 64 * 1024**3
"""A lesson that goes on is never given up for space: it may take so much of it."""
LINKS_MAX = 4
"""Links on which one school follows a lesson; one more ends its oldest."""
ROOM_AGAIN_S = 5.0
"""Nothing refused by the disk for so long: there is room again, or nothing came."""
_TICK_S = 1.0
_RECLAIM_TICKS = 60
_IDLE_TICKS = 60
_HEARTBEAT_S = 5.0
_POSITIONS_MAX = 32
_POSITION_FIELDS = 3
_CLOSE_BYTES_MAX = 123  # RFC 6455 §5.5: a control frame's payload, less the code

Identify = Callable[[web.Request], int]
"""Returns the number of the school whose box asks; raises HTTPUnauthorized or HTTPForbidden."""


class LessonAccess(Protocol):
    """Who may do what; asked at each connection and again every second while it lasts."""

    def may_publish(self, school: int, lesson: str) -> bool: ...
    def may_receive(self, school: int, lesson: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayEvidence:
    """What the relay saw of one lesson; ages are milliseconds, None for never.

    ``rung`` is that of the flagship's link, ``rungs`` has (school, rung) of each follower's.
    """

    publishing: bool
    followers: tuple[int, ...]
    rung: Rung
    rungs: tuple[tuple[int, Rung], ...]
    media_age_ms: int | None
    dropped: int
    stored_bytes: int


@dataclass(slots=True, eq=False)
class _Party:
    """``is_live``: a publisher that has said which take is live."""

    school: int
    transport: asyncio.Transport
    outlet: Outlet
    wants: Wants
    is_live: bool = False

    def want(self, header: Header) -> None:
        """Send a record when live leaves room; a follower that wants much asks for it itself."""
        if not self.wants.is_full:
            self.wants.add(header.take, header.stream, header.number, header.number)
            self.outlet.wake()


@dataclass(slots=True)
class _Lesson:
    """``heads``: how far the current take came live; ``unstored_s``: when the disk last refused."""

    id: LessonId
    keeps_media: bool
    publisher: _Party | None = None
    followers: list[_Party] = field(default_factory=list)
    current: TakeId | None = None
    heads: dict[Stream, int] = field(default_factory=dict)
    unstored_s: float | None = None
    is_full: bool = False
    rung: Rung = Rung.MAIN
    last_rungs: dict[int, Rung] = field(default_factory=dict)
    media_at_s: float | None = None
    idle_ticks: int = 0


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
        self._lessons: dict[LessonId, _Lesson] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/lessons/{lesson}/publish", self._publish)
        app.router.add_get("/lessons/{lesson}/follow", self._follow)
        app.router.add_get("/lessons/{lesson}/index", self._index)
        LessonObjects(self._shelf, self._admit_reader).add_routes(app)

    def evidence(self, lesson: str) -> RelayEvidence | None:
        """Return what was seen of a lesson with a party connected lately, None for others."""
        live = self._lessons.get(LessonId(lesson))
        if live is None:
            return None
        return RelayEvidence(
            publishing=live.publisher is not None,
            followers=tuple(sorted(party.school for party in live.followers)),
            rung=live.rung,
            rungs=tuple(sorted((party.school, party.outlet.rung) for party in live.followers)),
            media_age_ms=_media_age_ms(live),
            dropped=sum(party.outlet.dropped for party in live.followers),
            stored_bytes=self._stored_bytes(live),
        )

    async def run(self) -> Never:
        """Make what came durable every second and tell it; enforce access and disk limits."""
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            ticks += 1
            held = self._held()
            is_durable = True
            try:
                await self._shelf.sync()
            except FragmentStoreError:
                _log.exception("lessons are not durable")
                is_durable = False  # told all the same: a hub that is silent is taken for gone
            for live in list(self._lessons.values()):
                self._enforce_access(live)
                live.is_full = self._stored_bytes(live) > LESSON_BYTES_MAX
                _ask_again(live)
                if live.id in held:
                    _tell(live, msgspec.structs.replace(held[live.id], durable=is_durable))
                self._close_if_idle(live)
            if ticks % _RECLAIM_TICKS == 0:
                for lesson in self._shelf.open_lessons() - self._lessons.keys():
                    self._shelf.close_lesson(lesson)  # opened for who fetched from its recording
                for gone in self._shelf.reclaim(self._disk_bytes_max, set(self._lessons)):
                    _log.warning(
                        "lesson %s: take %s given up for space", gone.lesson, gone.take.hex()
                    )

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        school, lesson = self._admit(request, self._access.may_publish)
        socket, transport = await _connect(request)
        wants = Wants(self._shelf, lesson)
        party = _Party(school, transport, Outlet(transport, monotonic, _nothing), wants)
        live = self._enter(lesson)
        if live.publisher is not None:
            live.publisher.transport.abort()  # its box came back before the old link was missed
        live.publisher = party
        live.unstored_s = None  # it hears what is held, and sends the rest
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(party.outlet.run())
                party.outlet.offer(_holdings_message(self._holdings(live, durable=False)))
                await self._take_in(live, party, socket)
                sending.cancel()
        finally:
            if live.publisher is party:
                live.publisher = None
        return socket

    async def _take_in(self, live: _Lesson, party: _Party, socket: web.WebSocketResponse) -> None:
        parts = PartJoiner()
        async for received in socket:
            try:
                if received.type is WSMsgType.BINARY:
                    wire = parts.take(received.data)
                    if wire is not None:
                        self._relay(live, parse_record(wire))
                elif received.type is WSMsgType.TEXT:
                    told = decode_from_box(received.data)
                    if isinstance(told, Current):
                        self._begin(live, parse_take_id(told.take))
                        live.rung = told.rung
                        party.is_live = True
                        _tell(live, self._holdings(live, durable=False))
            except (MalformedError, ForgedError) as error:
                _log.warning("lesson %s from school %d: %s", live.id, party.school, error)
                await _close(socket, WSCloseCode.POLICY_VIOLATION, str(error))
            except FragmentStoreError as error:
                _log.exception("lesson %s from school %d", live.id, party.school)
                await _close(socket, WSCloseCode.TRY_AGAIN_LATER, str(error))

    def _relay(self, live: _Lesson, record: Record) -> None:
        header = record.header
        if header.lesson != live.id:
            raise MalformedError(f"a fragment of lesson {header.lesson} came under {live.id}")
        head = self._store(live, record)
        if head is None:
            return
        if live.current is None and header.kind in {Kind.INIT, Kind.MEDIA}:
            self._begin(live, header.take)
        if header.kind is Kind.FILE:
            for party in live.followers:
                party.want(header)
            return
        if header.kind is Kind.MEDIA:
            is_new = header.take == live.current and header.number > head
            if is_new:
                live.heads[header.stream] = header.number
            if not is_new or not sends(live.rung, header.track):
                return  # a hole filled: followers ask for it when they see it held
            live.media_at_s = monotonic()
        parcel = parcel_of(record, binary_frame(record.wire))
        for party in live.followers:
            party.outlet.offer(parcel)

    def _begin(self, live: _Lesson, take: TakeId) -> None:
        if take != live.current:
            live.current = take
            live.heads.clear()

    def _store(self, live: _Lesson, record: Record) -> int | None:
        """Keep a record; return how far its stream came before, None for one that is held already.

        What the disk does not take of a lesson that goes on is relayed all the same. Raises
        FragmentStoreError for what was only to be kept, MalformedError beyond LESSON_BYTES_MAX.
        """
        if live.is_full:
            raise MalformedError(f"lesson {live.id} is larger than any lesson; end it")
        header = record.header
        head = live.heads.get(header.stream, -1) if header.take == live.current else -1
        try:
            take = self._shelf.take(live.id, header.take)
            head = max(head, take.index(header.stream).head)
            is_kept = live.keeps_media or header.kind is not Kind.MEDIA
            if is_kept and not take.append(record):
                return None
        except FragmentStoreError:
            if live.publisher is None or not live.publisher.is_live:
                raise
            if live.unstored_s is None:
                _log.exception("lesson %s is relayed and not stored", live.id)
            live.unstored_s = monotonic()
        return head

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
        rung = live.last_rungs.get(school, Rung.MAIN)
        outlet = Outlet(transport, monotonic, wants.next_record, in_parts=True, rung=rung)
        party = _Party(school, transport, outlet, wants)
        party.outlet.offer(_holdings_message(self._holdings(live, durable=False)))
        self._join(live, party, positions)
        own = [each for each in live.followers if each.school == school]
        for old in own[: max(0, len(own) - LINKS_MAX + 1)]:
            old.transport.abort()
        live.followers.append(party)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(party.outlet.run())
                await _take_wants(live, party, socket)
                sending.cancel()
        finally:
            live.followers.remove(party)
            live.last_rungs[school] = outlet.rung
        return socket

    def _join(self, live: _Lesson, party: _Party, positions: dict[tuple[TakeId, int], int]) -> None:
        """Queue the newest group of pictures, and as catch-up what lies before it."""
        take = self._current(live)
        if take is None:
            return
        begins: dict[Stream, int] = {}
        for record in take.join():
            if record.header.kind is Kind.MEDIA and not sends(live.rung, record.header.track):
                continue
            begins.setdefault(record.header.stream, record.header.number)
            party.outlet.offer(parcel_of(record, binary_frame(record.wire)))
        for (name, track), number in positions.items():
            stream = Stream(Kind.MEDIA, track)
            last = begins.get(stream, 0) - 1
            if name == take.take and last > number:
                first = max(number + 1, last - WANT_RECORDS_MAX)
                party.wants.add(name, stream, first, last)
        party.outlet.wake()

    async def _index(self, request: web.Request) -> web.Response:
        _, lesson = self._admit(request, self._access.may_receive)
        live = self._lessons.get(lesson) or _Lesson(lesson, keeps_media(lesson))
        body = encode_message(self._holdings(live, durable=False))
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _admit_reader(self, request: web.Request) -> LessonId:
        return self._admit(request, self._access.may_receive)[1]

    def _admit(
        self, request: web.Request, allowed: Callable[[int, str], bool]
    ) -> tuple[int, LessonId]:
        school = self._identify(request)
        try:
            lesson = parse_lesson_id(request.match_info["lesson"])
        except MalformedError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if not allowed(school, lesson):
            text = (
                f"school {school} has no such part in lesson {lesson}; the district pairs schools"
            )
            raise web.HTTPForbidden(text=text)
        return school, lesson

    def _enter(self, lesson: LessonId) -> _Lesson:
        live = self._lessons.setdefault(lesson, _Lesson(lesson, keeps_media(lesson)))
        live.idle_ticks = 0
        return live

    def _stored_bytes(self, live: _Lesson) -> int:
        return sum(take.stored_bytes for take in self._shelf.open_takes(live.id))

    def _current(self, live: _Lesson) -> TakeStore | None:
        takes = self._shelf.takes(live.id)
        named = [take for take in takes if take.take == live.current]
        with_media = [take for take in takes if take.has_media]
        return next(iter(named or with_media[-1:]), None)

    def _holdings(self, live: _Lesson, *, durable: bool) -> Holdings:
        return Holdings(
            durable=durable,
            current=None if live.current is None else live.current.hex(),
            media_age_ms=_media_age_ms(live),
            takes=[holdings_of(take) for take in self._shelf.takes(live.id)],
            objects=self._cache_url,
        )

    def _held(self) -> dict[LessonId, Holdings]:
        """Return what is held of each lesson that goes on, but for what the disk does not give."""
        held: dict[LessonId, Holdings] = {}
        for live in self._lessons.values():
            try:
                held[live.id] = self._holdings(live, durable=True)
            except FragmentStoreError as error:
                _log.error("lesson %s: %s", live.id, error)
        return held

    def _enforce_access(self, live: _Lesson) -> None:
        publisher = live.publisher
        if publisher and not self._access.may_publish(publisher.school, live.id):
            publisher.transport.abort()
        for party in live.followers:
            if not self._access.may_receive(party.school, live.id):
                party.transport.abort()

    def _close_if_idle(self, live: _Lesson) -> None:
        live.idle_ticks = 0 if live.publisher or live.followers else live.idle_ticks + 1
        if live.idle_ticks > _IDLE_TICKS:
            del self._lessons[live.id]
            self._shelf.close_lesson(live.id)


def _nothing(_: Turn) -> None:
    return None


async def _connect(request: web.Request) -> tuple[web.WebSocketResponse, asyncio.Transport]:
    socket = web.WebSocketResponse(
        compress=False, heartbeat=_HEARTBEAT_S, max_msg_size=RECORD_BYTES_MAX, timeout=1.0
    )
    await socket.prepare(request)
    if request.transport is None:
        raise ConnectionResetError("the box hung up")
    prefer_bbr(request.transport.get_extra_info("socket"))
    return socket, request.transport


async def _take_wants(live: _Lesson, party: _Party, socket: web.WebSocketResponse) -> None:
    async for received in socket:
        if received.type is WSMsgType.ERROR:
            return  # the link broke; aiohttp has closed it
        try:
            _take_want(party, received)
        except MalformedError as error:
            _log.warning("lesson %s to school %d: %s", live.id, party.school, error)
            await _close(socket, WSCloseCode.POLICY_VIOLATION, str(error))


def _take_want(party: _Party, received: WSMessage) -> None:
    told = decode_from_box(received.data) if received.type is WSMsgType.TEXT else None
    if not isinstance(told, Want):
        raise MalformedError("a follower only asks for what it lacks; publish on the other address")
    if party.wants.is_full:
        raise MalformedError(f"more than {WANTS_MAX} wants at once; wait for their answer")
    party.wants.add(parse_take_id(told.take), told.stream, told.first, told.last)
    party.outlet.wake()


async def _close(socket: web.WebSocketResponse, code: int, why: str) -> None:
    await socket.close(code=code, message=why.encode()[:_CLOSE_BYTES_MAX])


def _ask_again(live: _Lesson) -> None:
    """Have the flagship connect anew, and then send what the disk did not take."""
    if live.unstored_s is None or monotonic() - live.unstored_s < ROOM_AGAIN_S:
        return
    live.unstored_s = None
    if live.publisher is not None:
        live.publisher.transport.abort()


def _tell(live: _Lesson, holdings: Holdings) -> None:
    told = _holdings_message(holdings)
    for party in (live.publisher, *live.followers):
        if party is not None:
            party.outlet.offer(told)


def _holdings_message(holdings: Holdings) -> Parcel:
    return message(encode_message(holdings))


def _media_age_ms(live: _Lesson) -> int | None:
    if live.media_at_s is None:
        return None
    return int((monotonic() - live.media_at_s) * 1000)


def _parse_positions(query: str) -> dict[tuple[TakeId, int], int]:
    """Read ``<take>:<track>:<number>,…`` or raise MalformedError."""
    positions: dict[tuple[TakeId, int], int] = {}
    for one in query.split(",") if query else ():
        fields = one.split(":")
        if len(fields) != _POSITION_FIELDS or len(positions) >= _POSITIONS_MAX:
            raise MalformedError("from= takes up to 32 of <take>:<track>:<number>, by commas")
        take, track, number = fields
        name = parse_take_id(take), parse_number(track, TRACK_MAX)
        positions[name] = parse_number(number, NUMBER_MAX)
    return positions
