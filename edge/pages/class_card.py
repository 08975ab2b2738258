"""The page at a classroom's door: clock, lesson, timetable, taps, notices; works offline."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise

from aiohttp import web

from edge.pages.assets import Assets
from edge.pages.box_view import BoxView
from edge.pages.language import Language
from edge.pages.queries import ClassCardRows, Room, Slot, read_class_card
from edge.pages.rendering import Renderer
from edge.pages.rooms import Rooms, choose_room

DAYS = 31  # today and what the card needs to go on for thirty days without the box


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
            request, "taps.html", await self._taps(request, await self._known_room(request))
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Stream the room's taps and emergencies as they are to be shown, and what else changed.

        A screen that runs another version of the page, or is no longer paired, is told to reload.
        """
        room = await self._known_room(request)
        screens = self._view.cards.screens
        screen = screens.find(screen_token(request))
        version = request.query.get("v", "")
        told = self._view.cards.turn(room.room)

        async def tell(changes: Sequence[Change]) -> bytes:
            nonlocal told
            if screen is not None and screens.find(screen_token(request)) != screen_as(screen):
                return b"event: reload\ndata: \n\n"
            events = [await tell_names([each for each in changes if each in CARD_CHANGES])]
            turn = self._view.cards.turn(room.room)
            if turn != told:
                told = turn
                events.append(
                    part("taps", self._renderer.text(request, "taps.html", await self._taps(request, room)))
                )
            if Change.EMERGENCY in changes:
                shown = {"emergencies": await self._emergencies(room)}
                events.append(part("emergency", self._renderer.text(request, "emergency.html", shown)))
            return b"".join(events)

        with ExitStack() as stack:
            if screen is not None:
                stack.enter_context(screens.opened(screen.screen, version))
            return await self._streams.serve(request, self._view.events(), tell)

    async def manifest(self, request: web.Request) -> web.Response:
        """Make the page installable (W3C Web Application Manifest)."""
        room = await self._rooms.find(request)
        if room is None:
            raise web.HTTPNotFound
        _ = self._renderer.language(request).translations.gettext
        start = request.rel_url.with_path("/class-card").with_query(room=room.room)
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

    async def _context(
        self, request: web.Request, room: Room, *, days: int = DAYS
    ) -> Mapping[str, object]:
        view = self._view
        now_ms = view.now_ms()
        midnights = find_midnights(datetime.fromtimestamp(now_ms / 1_000, view.timezone), days)
        rows = await asyncio.to_thread(self._read, room.room, midnights[0], midnights[-1])
        persons = {tap.person for tap in rows.taps if tap.person is not None}
        language = self._renderer.language(request)
        return {
            "room": room,
            "rows": rows,
            "days": self._days(language, rows, midnights),
            "names": view.person_names(persons),
            "lesson": view.lesson_now(room.room),
        }

    def _days(
        self, language: Language, rows: ClassCardRows, midnights: list[int]
    ) -> tuple[Day, ...]:
        """Sort slots into days; a day without slots stays, so that the card can say so."""
        return tuple(
            Day(
                title=language.day(
                    datetime.fromtimestamp(from_ms / 1_000, self._view.timezone).date()
                ),
                from_ms=from_ms,
                until_ms=until_ms,
                slots=tuple(slot for slot in rows.slots if from_ms <= slot.starts_ms < until_ms),
            )
            for from_ms, until_ms in pairwise(midnights)
        )

    def _read(self, room: str, day_ms: int, until_ms: int) -> ClassCardRows:
        with closing(self._view.connect()) as connection:
            return read_class_card(
                connection, self._view.school, room, day_ms=day_ms, until_ms=until_ms
            )


def find_midnights(now: datetime, days: int) -> list[int]:
    """Return today's midnight and the next ``days``; days of 23 or 25 hours come out right."""
    return [
        int(
            datetime.combine(now.date() + timedelta(days=day), time.min, now.tzinfo).timestamp()
            * 1_000
        )
        for day in range(days + 1)
    ]
