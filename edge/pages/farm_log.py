"""The grow log of a class, with its photos, and its labour points."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from aiohttp import web
from yarl import URL

from edge.farm.farm_office import LogWish
from edge.farm.grow_log import LogEntry, Work, read_log, read_work
from edge.farm.photos import PHOTO_BYTES_MAX
from edge.pages import farm_forms as forms
from edge.pages.actions import ActionError
from edge.pages.card_queries import read_groups, read_pupils
from edge.pages.file_form import read_file_form
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form

PUPILS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One reading of what the page shows of a class, ``group``; empty where there is none."""

    groups: Mapping[str, str]
    group: str
    pupils: tuple[int, ...]
    entries: Sequence[LogEntry]
    work: Sequence[Work]


class FarmLogPage:
    """Everything here wants the setup code: names of pupils, and what they did."""

    def __init__(self, desk: FormDesk) -> None:
        self._desk = desk
        self._view = desk.view

    def routes(self) -> list[web.RouteDef]:
        acting, page = self._desk.acting, self._page
        return [
            web.get("/rooftop/log", self.show),
            web.post("/rooftop/log", acting(self._enter, page)),
            web.post("/rooftop/log/points", acting(self._propose_points, page)),
            web.post("/rooftop/log/answer", acting(self._answer_points, page)),
            web.get("/rooftop/photo/{name}", self._photo),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def _enter(self, request: web.Request, who: str) -> str:
        wish, photo = await read_file_form(request, forms.EnterLog, "photo", PHOTO_BYTES_MAX)
        if not wish.text and wish.height_cm is None and not photo:
            raise ActionError(400, "invalid", "give a text, a height or a photo")
        await self._view.farm.enter_log(
            LogWish(
                plot=wish.plot,
                class_group=wish.group or "",
                person=wish.person,
                text=wish.text or "",
                height_mm=None if wish.height_cm is None else round(wish.height_cm * 10),
                photo=photo,
            ),
            who,
        )
        return _log_of(wish.group)

    async def _propose_points(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.ProposePoints)
        await self._view.farm.propose_points(wish.person, wish.points, wish.work, who)
        return _log_of(wish.group)

    async def _answer_points(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.AnswerPoints)
        is_granted = wish.word == "confirm"
        await self._view.farm.answer_points(
            wish.task, wish.person, wish.teacher, who, is_granted=is_granted
        )
        return _log_of(wish.group)

    async def _photo(self, request: web.Request) -> web.Response:
        self._desk.require_session(request)
        found = await asyncio.to_thread(self._view.farm.photos.find, request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "private, max-age=86400"}
        return web.Response(body=found, content_type="image/jpeg", headers=headers)

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        signed_in = self._desk.is_signed_in(request)
        context: dict[str, object] = {
            "signed_in": signed_in,
            "refusal": refusal,
            "done": request.query.get("said") == "done",
        }
        if signed_in:
            shown = await asyncio.to_thread(self._read, request.query.get("group"))
            plots = self._view.farm.keeper.plots
            persons = {each.person for each in shown.entries if each.person}
            persons |= {each.person for each in shown.work} | set(shown.pupils)
            context |= {
                "shown": shown,
                "plots": plots,
                "plot_names": {plot.plot: plot.name for plot in plots},
                "points": _confirmed(shown.work),
                "names": self._view.person_names(persons),
            }
        return self._desk.renderer.page(request, "farm_log.html", context, status=status)

    def _read(self, wish: str | None) -> Shown:
        school = self._view.school
        with closing(self._view.connect()) as connection:
            groups = read_groups(connection, school)
            group = wish if wish in groups else next(iter(groups), "")
            pupils = read_pupils(connection, school, group)[:PUPILS_MAX]
            return Shown(
                groups=groups,
                group=group,
                pupils=pupils,
                entries=read_log(connection, school, group),
                work=read_work(connection, school, pupils),
            )


def _confirmed(work: Sequence[Work]) -> dict[int, int]:
    """Return each pupil's confirmed points."""
    points: dict[int, int] = {}
    for each in work:
        if each.is_granted:
            points[each.person] = points.get(each.person, 0) + each.points
    return points


def _log_of(group: str | None) -> str:
    return str(URL("/rooftop/log").with_query({"group": group or "", "said": "done"}))
