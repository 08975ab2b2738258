"""The teacher's wall: the classes of a lesson, their hands and answers, and who is called on.

It shows children: it opens to the setup code, or to the code of this very lesson.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import web

from edge.errors import NotNowError
from edge.lesson.way_back.return_wall import ReturnWall
from edge.pages.actions import PRINTABLE, Word
from edge.pages.form_desk import SHUT, FormDesk
from edge.pages.json_wishes import json_answer, read_wish
from edge.pages.rooms import Rooms, asked_room, choose_room
from sync.lessons.lesson_events import CHOICES_MAX

QUESTION_CHARS_MAX = 200
SCHOOL_DIGITS_MAX = 9

School = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
Choice = Annotated[str, msgspec.Meta(min_length=1, max_length=16, pattern=PRINTABLE)]


class CallWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls a class on; ``school`` 0 lets go of whoever is called."""

    room: Word
    school: School
    stage: bool = False


class MuteWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    room: Word
    school: School
    muted: bool


class AskWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks all classes; without choices the question that is open is closed."""

    room: Word
    text: Annotated[str, msgspec.Meta(max_length=QUESTION_CHARS_MAX)] = ""
    choices: Annotated[tuple[Choice, ...], msgspec.Meta(max_length=CHOICES_MAX)] = ()


class WallPage:
    def __init__(self, desk: FormDesk, rooms: Rooms) -> None:
        self._desk = desk
        self._view = desk.view
        self._rooms = rooms

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/lesson/wall", self.show),
            web.get("/lesson/wall/stream", self.stream),
            web.get("/api/wall", self.state),
            web.post("/api/wall/call", self.call),
            web.post("/api/wall/mute", self.mute),
            web.post("/api/wall/ask", self.ask),
        ]

    async def show(self, request: web.Request) -> web.Response:
        room = await self._rooms.find(request)
        if room is None:
            return await choose_room(request, self._rooms, self._desk.renderer)
        wall = self._view.classes.wall(room.room)
        allowed = self._desk.may_teach(request, wall)
        context = {
            "room": room,
            "lesson": self._view.lesson_now(room.room),
            "allowed": allowed,
            "wall": wall.view() if wall is not None and allowed else None,
        }
        return self._desk.renderer.page(request, "wall.html", context)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send one class's picture, and its voice while it is called on."""
        wall = self._wall(request, asked_room(request))
        school = request.query.get("school", "")
        known = school.isascii() and school.isdecimal() and len(school) <= SCHOOL_DIGITS_MAX
        stream = wall.stream_of(int(school)) if known else None
        if stream is None:
            raise web.HTTPNotFound(text="this class has no part in the lesson; reload the page")
        return await stream.serve(request)

    async def state(self, request: web.Request) -> web.Response:
        return json_answer(self._wall(request, asked_room(request)).view())

    async def call(self, request: web.Request) -> web.Response:
        wish = await read_wish(request, CallWish)
        return self._order(
            request, wish.room, lambda wall: wall.call_on(wish.school, stage=wish.stage)
        )

    async def mute(self, request: web.Request) -> web.Response:
        wish = await read_wish(request, MuteWish)
        return self._order(
            request, wish.room, lambda wall: wall.mute(wish.school, muted=wish.muted)
        )

    async def ask(self, request: web.Request) -> web.Response:
        wish = await read_wish(request, AskWish)
        return self._order(
            request, wish.room, lambda wall: wall.ask(wish.text.strip(), wish.choices)
        )

    def _order(
        self, request: web.Request, room: str, order: Callable[[ReturnWall], None]
    ) -> web.Response:
        """Have a wall do something, and answer how it stands; 409 when that does not fit."""
        wall = self._wall(request, room)
        try:
            order(wall)
        except NotNowError as error:
            raise web.HTTPConflict(text=str(error)) from error
        return json_answer(wall.view())

    def _wall(self, request: web.Request, room: str) -> ReturnWall:
        """Return the wall of a room's lesson, for who may see it."""
        wall = self._view.classes.wall(room)
        if not self._desk.may_teach(request, wall):
            raise web.HTTPForbidden(text=SHUT)
        if wall is None:
            raise web.HTTPNotFound(
                text="this room gives no lesson now; its wall opens when one begins"
            )
        return wall
