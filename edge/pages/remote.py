"""The teacher's remote: one phone-sized page for the lesson that a room gives.

Opened by the lesson's short code, which the room's paired screen shows, or by the setup code.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from edge.lesson.teaching.lesson_order import STEP_MIN_MAX
from edge.lesson.teaching.teacher_desk import CHAPTER_CHARS_MAX
from edge.pages.access import Handler, address_of
from edge.pages.actions import ActionError
from edge.pages.file_form import read_file_form
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.lesson_words import told_check, told_trouble
from edge.pages.rooms import Rooms, asked_room, choose_room
from provisioning.code_sessions import TooManyAttemptsError, WrongCodeError
from sync.lessons.materials import FILE_BYTES_MAX

REMOTE = "/lesson/remote"
ACT_S_MAX = 60.0
"""A slide of 4 MB comes from a telephone in so long."""

Code = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=STEP_MIN_MAX)]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=CHAPTER_CHARS_MAX)]
School = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class OpenForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Code


class StepForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    minutes: Minutes


class CallForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``stage`` names the school that is seen large, ``school`` one that is heard; 0 nobody."""

    school: School = 0
    stage: School = 0


class SlideForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    position: Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class ChapterForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Title


class UploadForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Title | None = None


Act = Callable[[web.Request, str], Awaitable[None]]
"""Does what a form asks of a room's lesson."""


class RemotePage:
    """Shows and takes what a teacher decides while the lesson runs."""

    def __init__(self, desk: FormDesk, rooms: Rooms) -> None:
        self._desk = desk
        self._view = desk.view
        self._rooms = rooms

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(REMOTE, self.show),
            web.post(f"{REMOTE}/open", self.open),
            *(
                web.post(f"{REMOTE}/{path}", self._acting(act))
                for path, act in {
                    "later": self._later,
                    "longer": self._longer,
                    "stop": self._stop,
                    "call": self._call,
                    "slide": self._slide,
                    "chapter": self._chapter,
                    "upload": self._upload,
                    "code": self._show_code,
                }.items()
            ),
        ]

    async def show(self, request: web.Request) -> web.Response:
        room = await self._rooms.find(request)
        if room is None:
            return await choose_room(request, self._rooms, self._desk.renderer)
        return await self._page(request)

    async def open(self, request: web.Request) -> web.Response:
        """Take the lesson's code, and remember who entered it for that lesson."""
        _ = self._desk.renderer.language(request).translations.gettext
        wish, room = await read_form(request, OpenForm), asked_room(request)
        lesson = self._view.teacher.lesson(room)
        if lesson is None:
            text = _("This room gives no lesson now. The remote opens ten minutes before one.")
            return await self._page(request, (text, ""), 409)
        codes = self._view.teacher.codes
        try:
            token = codes.open(lesson.lesson, wish.code, address_of(request))
        except WrongCodeError:
            text = _("That is not the lesson's code. The page of the room shows it.")
            return await self._page(request, (text, ""), 403)
        except TooManyAttemptsError as error:
            text = _("Too many tries. Wait {n} s, then try again.").replace(
                "{n}", str(error.retry_s)
            )
            return await self._page(request, (text, ""), 429)
        answer = web.HTTPSeeOther(_address(room))
        codes.give_cookie(lesson.lesson, answer, token)
        raise answer

    async def _later(self, request: web.Request, room: str) -> None:
        await self._view.teacher.put_off(room, (await read_form(request, StepForm)).minutes)

    async def _longer(self, request: web.Request, room: str) -> None:
        await self._view.teacher.extend(room, (await read_form(request, StepForm)).minutes)

    async def _stop(self, _request: web.Request, room: str) -> None:
        await self._view.teacher.stop(room)

    async def _call(self, request: web.Request, room: str) -> None:
        wish = await read_form(request, CallForm)
        self._view.teacher.call_on(room, wish.stage or wish.school, stage=wish.stage != 0)

    async def _slide(self, request: web.Request, room: str) -> None:
        await self._view.teacher.show_slide(room, (await read_form(request, SlideForm)).position)

    async def _chapter(self, request: web.Request, room: str) -> None:
        self._view.teacher.mark_chapter(room, (await read_form(request, ChapterForm)).title)

    async def _upload(self, request: web.Request, room: str) -> None:
        wish, picture = await read_file_form(request, UploadForm, "photo", FILE_BYTES_MAX)
        if picture is None:
            raise ActionError(400, "invalid", "choose a picture first")
        await self._view.teacher.add_slide(room, wish.title or "", picture)

    async def _show_code(self, _request: web.Request, room: str) -> None:
        lesson = self._view.teacher.lesson(room)
        if lesson is not None:
            self._view.teacher.codes.show_again(lesson.lesson)

    def _is_open(self, request: web.Request, room: str) -> bool:
        return self._desk.may_teach(request, self._view.teacher.lesson(room))

    def _acting(self, act: Act) -> Handler:
        """Make the handler of one form: for who opened this room's lesson."""

        async def handle(request: web.Request) -> web.StreamResponse:
            room = asked_room(request)
            if not self._is_open(request, room):
                _ = self._desk.renderer.language(request).translations.gettext
                return await self._page(request, (_("Enter the lesson's code first."), ""), 403)

            async def done() -> str:
                await act(request, room)
                return _address(room)

            return await self._desk.carry_out(request, done(), self._page, ACT_S_MAX)

        return handle

    async def _page(
        self, request: web.Request, refusal: Refusal | None = None, status: int = 200
    ) -> web.Response:
        renderer, room = self._desk.renderer, asked_room(request)
        language = renderer.language(request)
        remote = await self._view.teacher.remote(room)
        is_open = remote is not None and self._is_open(request, room)
        shown = remote if is_open else None
        return renderer.page(
            request,
            "remote.html",
            {
                "room": room,
                "refusal": refusal,
                "is_open": is_open,
                "gives": remote is not None,
                "lesson": self._view.lesson_now(room),
                "remote": shown,
                "checks": [told_check(check, language) for check in shown.checks] if shown else [],
                "troubles": [told_trouble(each, language) for each in shown.troubles]
                if shown
                else [],
                "now_ms": self._view.now_ms(),
            },
            status=status,
        )


def _address(room: str) -> str:
    return f"{REMOTE}?{urlencode({'room': room})}"
