"""What a class says with a touch: its hand, an answer, a call for help.

Nobody signs in to raise a hand. So it is taken from the school's own network alone, from the box's
own page, for a room in which a lesson goes on, and only so often.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from edge.errors import NotNowError
from edge.pages.access import require_lan
from edge.pages.actions import Word
from edge.pages.box_view import BoxView
from edge.pages.json_wishes import read_wish
from edge.pages.rendering import Renderer
from sync.lessons.lesson_events import CHOICES_MAX, Answer, Hand, Help

TOUCHES_MAX = 12
"""Touches of one room within ``WINDOW_S``; a class that drums on its screen is asked to wait."""
WINDOW_S = 10.0
ROOMS_MAX = 256

T = TypeVar("T")


class RaisedHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    room: Word
    raised: bool


class GivenAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``choice`` is the place of what was chosen, from 0."""

    room: Word
    question: Word
    choice: Annotated[int, msgspec.Meta(ge=0, lt=CHOICES_MAX)]


class WantedHelp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    room: Word
    wanted: bool


class ClassTouch:
    """Three requests of the classroom page; each is answered 204, or with a sentence.

    What the lesson did not take (409) is told in the language of who touched.
    """

    def __init__(
        self,
        view: BoxView,
        renderer: Renderer,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._renderer = renderer
        self._monotonic_s = monotonic_s
        self._touches: OrderedDict[str, deque[float]] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/classroom/hand", self.hand),
            web.post("/api/classroom/answer", self.answer),
            web.post("/api/classroom/help", self.help),
        ]

    async def hand(self, request: web.Request) -> web.Response:
        wish = await self._read(request, RaisedHand)
        return await self._say(request, wish.room, Hand(raised=wish.raised))

    async def answer(self, request: web.Request) -> web.Response:
        wish = await self._read(request, GivenAnswer)
        answer = Answer(question=wish.question, choice=wish.choice, count=1)
        return await self._say(request, wish.room, answer)

    async def help(self, request: web.Request) -> web.Response:
        wish = await self._read(request, WantedHelp)
        return await self._say(request, wish.room, Help(wanted=wish.wanted))

    async def _read(self, request: web.Request, shape: type[T]) -> T:
        require_lan(request)
        return await read_wish(request, shape)

    async def _say(
        self, request: web.Request, room: str, said: Hand | Answer | Help
    ) -> web.Response:
        is_new = room not in self._touches
        self._admit(room)
        try:
            await self._view.classes.say(room, said)
        except NotNowError as error:
            if is_new:  # made-up rooms push no real one out of its count
                self._touches.pop(room, None)
            # The page shows the class this sentence as it is.
            why = self._renderer.language(request).retold(str(error))
            raise web.HTTPConflict(text=why) from error
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    def _admit(self, room: str) -> None:
        now_s = self._monotonic_s()
        touches = self._touches.setdefault(room, deque(maxlen=TOUCHES_MAX))
        self._touches.move_to_end(room)
        if len(self._touches) > ROOMS_MAX:
            self._touches.popitem(last=False)
        if len(touches) == TOUCHES_MAX and now_s - touches[0] < WINDOW_S:
            raise web.HTTPTooManyRequests(
                text="this room touched too often; wait some seconds",
                headers={"Retry-After": f"{WINDOW_S:.0f}"},
            )
        touches.append(now_s)
