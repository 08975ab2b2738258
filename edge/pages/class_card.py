"""The page at a classroom's door: clock, lesson, timetable, taps, notices; works offline."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise

import msgspec
from aiohttp import web

from edge.attendance.register import day_of
from edge.class_cards.messages import CardMessage, MessageKind, read_messages
from edge.class_cards.office import TAP_DAYS, shown_name, week_of
from edge.pages.assets import Assets
from edge.pages.box_view import BoxView, Change
from edge.pages.card_queries import (
    Attendance,
    CardExtras,
    Honour,
    read_attendance,
    read_extras,
)
from edge.pages.language import Language
from edge.pages.queries import ClassCardRows, Room, Slot, Tap, read_class_card, read_taps
from edge.pages.rendering import Renderer
from edge.pages.rooms import Rooms, choose_room
from edge.pages.screens import screen_token
from edge.pages.streams import Streams, tell_names

DAYS = 31  # today and what the card needs to go on for thirty days without the box
CARD_CHANGES = frozenset({Change.SCHEDULE, Change.LESSON})
RELOAD = b"event: reload\ndata: now\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day of the timetable; [from, until) are its midnights in the school's time."""

    title: str
    from_ms: int
    until_ms: int
    slots: tuple[Slot, ...]
    duty: Sequence[int]
    honour: Sequence[Honour]


class ClassCardPage:
    """A room's card: of the room that the address names, else of the paired screen's."""

    def __init__(
        self,
        view: BoxView,
        renderer: Renderer,
        rooms: Rooms,
        assets: Assets,
        streams: Streams,
    ) -> None:
        self._view = view
        self._renderer = renderer
        self._rooms = rooms
        self._assets = assets
        self._streams = streams

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/class-card", self.show),
            web.get("/class-card/taps", self.show_taps),
            web.get("/class-card/stream", self.stream),
            web.get("/class-card/manifest.webmanifest", self.manifest),
            web.get("/class-card/worker.js", self.worker),
        ]

    async def show(self, request: web.Request) -> web.Response:
        room = await self._room(request)
        if room is None:
            return await choose_room(request, self._rooms, self._renderer)
        return self._renderer.page(request, "class_card.html", await self._context(request, room))

    async def show_taps(self, request: web.Request) -> web.Response:
        """Return only the taps and who is here, so that a busy morning stays cheap."""
        return self._renderer.page(
            request, "taps.html", await self._taps(await self._known_room(request))
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Stream taps, emergencies and what the class is asked as shown, and what else changed.

        A screen that runs another version of the page, or is no longer paired, is told to reload.
        """
        room = await self._known_room(request)
        screens = self._view.cards.screens
        token = screen_token(request)
        screen = screens.find(token)
        version = request.query.get("v", "")
        is_old = version not in {"", self._assets.digest}
        told = -1
        told_question: str | None = None

        async def tell(changes: Sequence[Change]) -> bytes:
            nonlocal told, told_question
            if is_old or (screen is not None and screens.find(token) is None):
                return RELOAD
            events = [await tell_names([each for each in changes if each in CARD_CHANGES])]
            turn = self._view.cards.turn(room.room)
            if turn != told:
                told = turn
                shown = await self._taps(room)
                events.append(_part("taps", self._renderer.text(request, "taps.html", shown)))
            if Change.EMERGENCY in changes:
                standing = {"emergencies": await asyncio.to_thread(self._emergencies, room.room)}
                text = self._renderer.text(request, "emergency.html", standing)
                events.append(_part("emergency", text))
            question = self._renderer.text(request, "card_question.html", self._asked(room.room))
            if question != told_question:
                told_question = question
                events.append(_part("question", question))
            return b"".join(events)

        with ExitStack() as stack:
            if screen is not None:
                stack.enter_context(screens.opened(screen.screen, version))
            return await self._streams.serve(
                request, self._view.events(), tell, (Change.EMERGENCY, Change.TAPS)
            )

    async def manifest(self, request: web.Request) -> web.Response:
        """Make the page installable (W3C Web Application Manifest)."""
        room = await self._known_room(request)
        _ = self._renderer.language(request).translations.gettext
        start = request.rel_url.with_path("/class-card")
        if "room" in request.query:
            start = start.with_query(room=room.room)
        return web.json_response(
            {
                "name": f"{_('Class card')} · {room.name}",
                "short_name": room.name,
                "id": str(start),
                "start_url": str(start),
                "scope": "/class-card",
                "display": "fullscreen",
                "background_color": "#0b1a21",
                "theme_color": "#0b1a21",
                "icons": [
                    {
                        "src": self._assets.url("icon.svg"),
                        "sizes": "any",
                        "type": "image/svg+xml",
                        "purpose": "any",
                    }
                ],
            },
            content_type="application/manifest+json",
            headers={"Cache-Control": "no-cache"},
        )

    async def worker(self, _request: web.Request) -> web.Response:
        """Serve the service worker; it is a new one whenever any asset is."""
        source = self._assets.get("worker.js").body.decode()
        return web.Response(
            text=f'const VERSION = "{self._assets.digest}";\n{source}',
            content_type="text/javascript",
            headers={"Cache-Control": "no-cache", "Service-Worker-Allowed": "/class-card"},
        )

    async def _room(self, request: web.Request) -> Room | None:
        if "room" in request.query:
            return await self._rooms.find(request)
        screen = self._view.cards.screens.find(screen_token(request))
        if screen is None:
            return None
        known = {room.room: room for room in await self._rooms.all()}
        return known.get(screen.room, Room(room=screen.room, name=screen.room))

    async def _known_room(self, request: web.Request) -> Room:
        room = await self._room(request)
        if room is None:
            raise web.HTTPNotFound
        return room

    async def _taps(self, room: Room) -> Mapping[str, object]:
        midnights = find_midnights(self._now(), 1)
        read = await asyncio.to_thread(self._read_taps, room.room, (midnights[0], midnights[1]))
        taps, arrived, attendance = read
        persons = {tap.person for tap in taps if tap.person is not None}
        return {
            "taps": taps,
            "arrived": arrived,
            "attendance": attendance,
            "names": self._names(persons),
        }

    async def _context(self, request: web.Request, room: Room) -> Mapping[str, object]:
        view = self._view
        now_ms = view.now_ms()
        midnights = find_midnights(self._now(), DAYS)
        rows, extras = await asyncio.to_thread(self._read, room.room, midnights)
        return {
            **await self._taps(room),
            "room": room,
            "query": {"room": room.room} if "room" in request.query else {},
            "version": self._assets.digest,
            "is_paired": self._view.cards.screens.find(screen_token(request)) is not None,
            "rows": rows,
            "days": self._days(self._renderer.language(request), rows, extras, midnights),
            "notices": extras.of_kind("notice"),
            "exams": extras.of_kind("exam"),
            "is_exam": any(
                exam.from_ms <= now_ms < exam.until_ms for exam in extras.of_kind("exam")
            ),
            "emergencies": await asyncio.to_thread(self._emergencies, room.room),
            "people": self._names(extras.persons),
            "tap_days": TAP_DAYS,
            "lesson": view.lesson_now(room.room),
            **self._asked(room.room),
        }

    def _asked(self, room: str) -> Mapping[str, object]:
        """Return what the class is asked now; a card that lost its box asks it no longer."""
        lesson = self._view.lesson_now(room)
        asked = None if lesson is None else self._view.classes.asked(room)
        return {"asked": asked, "asked_until_ms": 0 if lesson is None else lesson.ends_ms}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._view.now_ms() / 1_000, self._view.timezone)

    def _names(self, persons: Collection[int]) -> dict[int, str]:
        """Return names as the school lets its cards write them."""
        policy = self._view.cards.names
        names = {
            person: shown_name(name, policy)
            for person, name in self._view.person_names(persons).items()
        }
        return {person: name for person, name in names.items() if name}

    def _days(
        self,
        language: Language,
        rows: ClassCardRows,
        extras: CardExtras,
        midnights: list[int],
    ) -> tuple[Day, ...]:
        """Sort slots into days; a day without slots stays, so that the card can say so."""
        zone = self._view.timezone
        return tuple(
            Day(
                title=language.day(datetime.fromtimestamp(from_ms / 1_000, zone).date()),
                from_ms=from_ms,
                until_ms=until_ms,
                slots=tuple(slot for slot in rows.slots if from_ms <= slot.starts_ms < until_ms),
                duty=extras.duty.get(day_of(from_ms, zone), ()),
                honour=extras.honour.get(week_of(from_ms, zone), ()),
            )
            for from_ms, until_ms in pairwise(midnights)
        )

    def _read(self, room: str, midnights: list[int]) -> tuple[ClassCardRows, CardExtras]:
        school, zone = self._view.school, self._view.timezone
        span_ms = (midnights[0], midnights[-1])
        with closing(self._view.connect()) as connection:
            rows = read_class_card(connection, school, room, day_ms=span_ms[0], until_ms=span_ms[1])
            extras = read_extras(
                connection,
                school,
                room,
                span_ms=span_ms,
                days=[day_of(each, zone) for each in midnights],
                weeks=[week_of(each, zone) for each in midnights],
            )
        return rows, extras

    def _read_taps(
        self, room: str, span_ms: tuple[int, int]
    ) -> tuple[tuple[Tap, ...], int, Attendance | None]:
        school, day = self._view.school, day_of(span_ms[0], self._view.timezone)
        with closing(self._view.connect()) as connection:
            taps, arrived = read_taps(connection, school, room, span_ms[0])
            return taps, arrived, read_attendance(connection, school, room, day, span_ms)

    def _emergencies(self, room: str) -> list[CardMessage]:
        now_ms = self._view.now_ms()
        with closing(self._view.connect()) as connection:
            standing = read_messages(
                connection, self._view.school, from_ms=now_ms, until_ms=now_ms + 1
            )
        return [
            each
            for each in standing
            if each.kind is MessageKind.EMERGENCY and each.room in {None, room}
        ]


def _part(section: str, html: str) -> bytes:
    """Write a section's new content as an event."""
    body = msgspec.json.encode({"id": section, "html": html}).decode()
    return f"event: part\ndata: {body}\n\n".encode()


def find_midnights(now: datetime, days: int) -> list[int]:
    """Return today's midnight and the next ``days``; days of 23 or 25 hours come out right."""
    return [
        int(
            datetime.combine(now.date() + timedelta(days=day), time.min, now.tzinfo).timestamp()
            * 1_000
        )
        for day in range(days + 1)
    ]
