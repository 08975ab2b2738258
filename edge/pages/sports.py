"""The PE teacher's page: a lesson with bands as it goes on, and fitness results."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.web_request import FileField

from edge.attendance.register import day_of, span_of
from edge.errors import NotNowError
from edge.pages.access import SetupSessions, session_token
from edge.pages.actions import ActionError, Identity, Name, Word, explain
from edge.pages.box_view import BoxView
from edge.pages.card_queries import read_groups
from edge.pages.forms import read_form
from edge.pages.rendering import Renderer
from edge.pages.sports_words import station_words, unit_words
from edge.sports.exercise import Exercise
from edge.sports.fitness import STATIONS, Attempt, ResultError, best_of
from edge.sports.load import (
    COVERAGE_MIN,
    GROUP_DENSITY_MIN,
    INDIVIDUAL_DENSITY_MIN,
    INTENSITY_BPM,
    TOO_HIGH_BPM,
    ClassLoad,
)
from edge.sports.sports_rows import (
    PUPILS_MAX,
    SessionRow,
    read_attempts,
    read_pupils,
    read_sessions,
    read_worn,
)
from provisioning.posted_form import read_posted

BAND_FIELD = "band_"
_PERSON = re.compile(r"[0-9]{1,9}\Z")
REFUSED_SHOWN = 10
Act = Callable[[web.Request], Awaitable[str]]
"""Does what a form asks; returns what is to be said of it, empty for nothing."""


class BeginLesson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: Word
    teacher: Name
    alarm_bpm: Annotated[int, msgspec.Meta(ge=120, le=230)] = TOO_HIGH_BPM


class OfLesson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session: Identity


class Settle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    wearer: Word | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One reading of what the page shows; ``worn`` by person, as in the class's last lesson."""

    groups: Mapping[str, str]
    group: str | None
    pupils: tuple[int, ...]
    worn: Mapping[int, str]
    sessions: list[SessionRow]
    best: Mapping[tuple[int, str], Attempt]
    loads: Mapping[str, ClassLoad]


class SportsPage:
    """Everything here wants the setup code: heart rates are health figures."""

    def __init__(self, view: BoxView, renderer: Renderer, sessions: SetupSessions) -> None:
        self._view = view
        self._renderer = renderer
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sports", self.show),
            web.post("/sports/begin", self._acting(self._begin)),
            web.post("/sports/end", self._acting(self._end)),
            web.post("/sports/list", self._acting(self._take_list)),
            web.post("/sports/settle", self._acting(self._settle)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None)

    async def _begin(self, request: web.Request) -> str:
        posted = await read_posted(request)
        if len(posted) > PUPILS_MAX + 8:
            raise ActionError(413, "invalid", f"more than {PUPILS_MAX} pupils")
        worn: dict[str, int] = {}
        fields: dict[str, object] = {}
        for key, value in posted.items():
            person = key.removeprefix(BAND_FIELD)
            if not key.startswith(BAND_FIELD):
                if value != "":
                    fields[key] = value
            elif isinstance(value, str) and value.strip() and _PERSON.match(person):
                band = value.strip()[:32]
                if band in worn:
                    raise ActionError(400, "invalid", f"band {band} is given twice")
                worn[band] = int(person)
        try:
            wish = msgspec.convert(fields, BeginLesson, strict=False)
        except msgspec.ValidationError as error:
            raise ActionError(400, "invalid", str(error)) from error
        await self._view.sports.begin(wish.group, wish.teacher, wish.alarm_bpm, worn)
        return ""

    async def _end(self, request: web.Request) -> str:
        wish = await read_form(request, OfLesson)
        await self._view.sports.end(wish.session)
        return ""

    async def _take_list(self, request: web.Request) -> str:
        posted = await read_posted(request)
        listed, file = posted.get("list", ""), posted.get("file", "")
        if isinstance(file, FileField) and file.filename:
            content = await asyncio.to_thread(file.file.read)
            text = _decode(content)
        else:
            text = listed if isinstance(listed, str) else ""
        try:
            taken, refused = await self._view.sports.take_list(text)
        except ResultError as error:
            raise ActionError(400, "invalid", str(error)) from error
        shown = "; ".join(refused[:REFUSED_SHOWN])
        _ = self._renderer.language(request).translations.gettext
        said = _("%(taken)s results taken, %(refused)s not.") % {
            "taken": taken,
            "refused": len(refused),
        }
        return f"{said} {shown}".strip()

    async def _settle(self, request: web.Request) -> str:
        wish = await read_form(request, Settle)
        await self._view.sports.settle(wish.number, wish.wearer or "")
        return ""

    def _acting(self, act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            _ = self._renderer.language(request).translations.gettext
            if not self._sessions.knows(session_token(request)):
                refusal = (_("Enter the setup code first."), "")
                return await self._page(request, refusal, status=403)
            try:
                said = await act(request)
            except NotNowError as error:
                text = _("That does not fit what stands now; look again.")
                return await self._page(request, (text, str(error)), status=409)
            except ActionError as error:
                refusal = (explain(error, _), error.detail)
                return await self._page(request, refusal, status=error.status)
            if said:
                return await self._page(request, None, said=said)
            raise web.HTTPSeeOther("/sports?said=done")

        return answer

    async def _page(
        self,
        request: web.Request,
        refusal: tuple[str, str] | None,
        *,
        status: int = 200,
        said: str = "",
    ) -> web.Response:
        if not self._sessions.knows(session_token(request)):
            context = {"signed_in": False, "refusal": refusal, "said": ""}
            return self._renderer.page(request, "sports.html", context, status=status)
        view, now_ms = self._view, self._view.now_ms()
        _ = self._renderer.language(request).translations.gettext
        going = view.sports.exercises()
        shown = await asyncio.to_thread(self._read, request.query.get("group"), going, now_ms)
        tiles = {each.session: each.tiles(now_ms) for each in going}
        persons = {*shown.pupils, *(person for person, _station in shown.best)}
        persons |= {tile.person for each in tiles.values() for tile in each}
        tested = {station for _person, station in shown.best}
        return self._renderer.page(
            request,
            "sports.html",
            {
                "signed_in": True,
                "refusal": refusal,
                "said": said or (_("Done.") if "said" in request.query else ""),
                "shown": shown,
                "going": going,
                "tiles": tiles,
                "names": view.person_names(persons),
                "strange": view.sports.strange_bands()[:20],
                "doubtful": view.sports.doubtful(),
                "stations": [each for each in STATIONS if each in tested],
                "units": {name: each.unit for name, each in STATIONS.items()},
                "station_words": station_words(_),
                "unit_words": unit_words(_),
                "group_min": GROUP_DENSITY_MIN,
                "individual_min": INDIVIDUAL_DENSITY_MIN,
                "coverage_min": COVERAGE_MIN,
                "intensity": INTENSITY_BPM,
                "too_high": TOO_HIGH_BPM,
            },
            status=status,
        )

    def _read(self, wish: str | None, going: list[Exercise], now_ms: int) -> Shown:
        view, school = self._view, self._view.school
        from_ms, until_ms = span_of(day_of(now_ms, view.timezone), view.timezone)
        with closing(view.connect()) as connection:
            groups = read_groups(connection, school)
            group = wish if wish in groups else next(iter(groups), None)
            sessions = read_sessions(connection, school)
            before = next((each for each in sessions if each.class_group == group), None)
            worn = read_worn(connection, school, before.session) if before else {}
            return Shown(
                groups=groups,
                group=group,
                pupils=read_pupils(connection, school, group) if group else (),
                worn={person: band for band, person in worn.items()},
                sessions=[each for each in sessions if each.ends_ms is not None],
                best=best_of(read_attempts(connection, school, from_ms, until_ms)),
                loads={each.session: each.load(now_ms) for each in going},
            )


def _decode(content: bytes) -> str:
    """Read a file as stations write it: UTF-8, or the GB18030 of a Chinese Windows."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", errors="replace")
