"""The day's lessons, one lesson, and the forms that schedule, move, swap and cancel."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import msgspec
from aiohttp import web

from hub.lesson.request import KINDS, RECEIVERS_MAX, LessonRequest
from hub.lesson.schedule import WEEKS_MAX, Plan, PlanRefusedError
from hub.locale.catalogue import CHINA_TIME, DAY_MS, start_of_day
from hub.locale.sentence import Sentence
from hub.pages.figures import Figures
from hub.pages.page_writer import LANGUAGE, PageWriter
from hub.pages.schedule_form import (
    FormRefusedError,
    TypedLesson,
    TypedParty,
    moment_of,
    parse_form,
    read_form,
    text,
)
from hub.pages.scheduling import Scheduling
from provisioning.posted_form import read_body, read_posted

T = TypeVar("T")

LESSON = "{lesson:[0-9A-Za-z_-]{1,64}}"


class ScheduleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a program posts to schedule a lesson."""

    request: LessonRequest
    weeks: int = 1


class MoveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    starts_ms: int
    ends_ms: int


class LessonPages:
    def __init__(
        self,
        writer: PageWriter,
        figures: Figures,
        scheduling: Scheduling,
        now_ms: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._figures = figures
        self._scheduling = scheduling
        self._now_ms = now_ms

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/lessons", self.day),
            web.get("/api/lessons", self.day_json),
            web.post("/lessons", self.schedule),
            web.post("/api/lessons", self.schedule_json),
            web.get("/lessons/new", self.form),
            web.get(f"/lessons/{LESSON}", self.lesson),
            web.get(f"/api/lessons/{LESSON}", self.lesson_json),
            web.post(f"/lessons/{LESSON}/cancel", self.cancel),
            web.post(f"/api/lessons/{LESSON}/cancel", self.cancel_json),
            web.post(f"/lessons/{LESSON}/move", self.move),
            web.post(f"/api/lessons/{LESSON}/move", self.move_json),
            web.post(f"/lessons/{LESSON}/swap", self.swap),
        ]

    async def day(self, request: web.Request) -> web.Response:
        day_ms = self._day_of(request)
        page = await self._figures.lesson_day(day_ms, request[LANGUAGE])
        context = {
            "page": page,
            "today_ms": start_of_day(page.now_ms),
            "day": iso_day(day_ms),
            "before": iso_day(day_ms - DAY_MS),
            "after": iso_day(day_ms + DAY_MS),
        }
        return await self._writer.page(request, "lessons.html", context)

    async def day_json(self, request: web.Request) -> web.Response:
        page = await self._figures.lesson_day(self._day_of(request), request[LANGUAGE])
        return await self._writer.json(request, page)

    async def lesson(self, request: web.Request) -> web.Response:
        return await self._lesson_page(request)

    async def lesson_json(self, request: web.Request) -> web.Response:
        detail = await self._figures.lesson(request.match_info["lesson"], request[LANGUAGE])
        return await self._writer.json(request, detail)

    async def form(self, request: web.Request) -> web.Response:
        now_ms = self._now_ms()
        typed = TypedLesson(
            day=iso_day(now_ms),
            rehearsal=request.query.get("rehearsal") == "1",
        )
        return await self._form_page(request, typed)

    async def schedule(self, request: web.Request) -> web.Response:
        """Schedule what the form says, or give the form back with what is in the way."""
        fields = await read_posted(request)
        typed = read_form(fields)
        if "more" in fields:
            room = RECEIVERS_MAX - len(typed.receivers)
            blanks = (TypedParty(),) * min(3, room)
            return await self._form_page(
                request, replace(typed, receivers=typed.receivers + blanks)
            )
        language = request[LANGUAGE]
        try:
            asked, weeks = parse_form(typed, await self._figures.school_names(language))
            plan = await self._scheduling.schedule(asked, weeks, language)
        except (FormRefusedError, PlanRefusedError) as error:
            return await self._form_page(request, typed, error.reasons, status=409)
        if plan.warnings:
            return await self._lesson_page(request, lesson=plan.lessons[0], warnings=plan.warnings)
        raise web.HTTPSeeOther(f"/lessons/{plan.lessons[0]}")

    async def schedule_json(self, request: web.Request) -> web.Response:
        body = await read_json(request, ScheduleBody)
        if not 1 <= body.weeks <= WEEKS_MAX:
            raise web.HTTPBadRequest(text=f"weeks is {body.weeks}; it is 1 to {WEEKS_MAX}")
        plan = await self._scheduling.schedule(body.request, body.weeks, request[LANGUAGE])
        return await self._plan_json(request, plan, status=201)

    async def cancel(self, request: web.Request) -> web.Response:
        return await self._change(
            request, lambda: self._scheduling.cancel(request.match_info["lesson"])
        )

    async def cancel_json(self, request: web.Request) -> web.Response:
        plan = await self._scheduling.cancel(request.match_info["lesson"])
        return await self._plan_json(request, plan)

    async def move(self, request: web.Request) -> web.Response:
        fields = await read_posted(request)
        day, starts, ends = (text(fields.get(name, "")) for name in ("day", "starts", "ends"))
        starts_ms, ends_ms = moment_of(day, starts), moment_of(day, ends)
        if starts_ms is None or ends_ms is None:
            missing = Sentence("Day or time is missing; choose a day, a start and an end.")
            return await self._lesson_page(request, faults=(missing,), status=409)
        lesson = request.match_info["lesson"]
        return await self._change(
            request,
            lambda: self._scheduling.move(lesson, starts_ms, ends_ms, request[LANGUAGE]),
        )

    async def move_json(self, request: web.Request) -> web.Response:
        body = await read_json(request, MoveBody)
        plan = await self._scheduling.move(
            request.match_info["lesson"], body.starts_ms, body.ends_ms, request[LANGUAGE]
        )
        return await self._plan_json(request, plan)

    async def swap(self, request: web.Request) -> web.Response:
        fields = await read_posted(request)
        other = text(fields.get("other", ""))
        lesson = request.match_info["lesson"]
        return await self._change(
            request, lambda: self._scheduling.swap(lesson, other, request[LANGUAGE])
        )

    async def _change(
        self, request: web.Request, act: Callable[[], Awaitable[Plan]]
    ) -> web.Response:
        try:
            await act()
        except PlanRefusedError as error:
            return await self._lesson_page(request, faults=error.reasons, status=409)
        raise web.HTTPSeeOther(f"/lessons/{request.match_info['lesson']}")

    async def _lesson_page(
        self,
        request: web.Request,
        *,
        lesson: str | None = None,
        warnings: Sequence[Sentence] = (),
        faults: Sequence[Sentence] = (),
        status: int = 200,
    ) -> web.Response:
        lesson = lesson or request.match_info["lesson"]
        detail = await self._figures.lesson(lesson, request[LANGUAGE])
        context = {
            "detail": detail,
            "warnings": warnings,
            "faults": faults,
            "day": iso_day(detail.lesson.starts_ms),
        }
        return await self._writer.page(
            request, "lesson.html", context, status=status, address=f"/lessons/{lesson}"
        )

    async def _form_page(
        self,
        request: web.Request,
        typed: TypedLesson,
        faults: Sequence[Sentence] = (),
        status: int = 200,
    ) -> web.Response:
        context = {
            "typed": typed,
            "faults": faults,
            "kinds": KINDS,
            "weeks_max": WEEKS_MAX,
            "receivers_max": RECEIVERS_MAX,
            "schools": await self._figures.school_names(request[LANGUAGE]),
            "recordings": await self._figures.recordings(),
        }
        return await self._writer.page(
            request, "lesson_new.html", context, status=status, address="/lessons/new"
        )

    async def _plan_json(self, request: web.Request, plan: Plan, status: int = 200) -> web.Response:
        model = {"lessons": plan.lessons, "warnings": plan.warnings}
        return await self._writer.json(request, model, status=status)

    def _day_of(self, request: web.Request) -> int:
        """Return when the day asked for begins (Unix ms); today if none or none that exists."""
        asked = moment_of(request.query.get("day", ""), "00:00")
        return start_of_day(self._now_ms()) if asked is None else asked


def iso_day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, CHINA_TIME).date().isoformat()


async def read_json(request: web.Request, shape: type[T]) -> T:
    """Read a program's body strictly; the message says what does not fit."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    try:
        return msgspec.json.decode(await read_body(request), type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text=str(error)) from error
