"""The PE teacher's page: a lesson with bands as it goes on, and fitness results."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.web_request import FileField

from edge.attendance.register import day_of, span_of
from edge.pages.actions import ActionError, Identity, Name, Word
from edge.pages.card_queries import read_groups, read_pupils
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import fitted, read_form
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
    read_sessions,
    read_worn,
)
from provisioning.posted_form import Posted, read_posted

BAND_FIELD = "band_"
_PERSON = re.compile(r"[0-9]{1,9}\Z")
REFUSED_SHOWN = 10
DONE = "/sports?said=done"


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

    def __init__(self, desk: FormDesk) -> None:
        self._desk = desk
        self._view = desk.view

    def routes(self) -> list[web.RouteDef]:
        acting, page = self._desk.acting, self._page
        return [
            web.get("/sports", self.show),
            web.post("/sports/begin", acting(self._begin, page)),
            web.post("/sports/end", acting(self._end, page)),
            web.post("/sports/list", acting(self._take_list, page)),
            web.post("/sports/settle", acting(self._settle, page)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def _begin(self, request: web.Request, _who: str) -> str:
        posted = await read_posted(request)
        if len(posted) > PUPILS_MAX + 8:
            raise ActionError(413, "invalid", f"more than {PUPILS_MAX} pupils")
        fields = {
            key: value
            for key, value in posted.items()
            if value != "" and not key.startswith(BAND_FIELD)
        }
        wish = fitted(fields, BeginLesson)
        worn = _worn(posted)
        await self._view.sports.begin(wish.group, wish.teacher, wish.alarm_bpm, worn)
        return DONE

    async def _end(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, OfLesson)
        await self._view.sports.end(wish.session)
        return DONE

    async def _take_list(self, request: web.Request, _who: str) -> web.Response:
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
        language = self._desk.renderer.language(request)
        shown = "; ".join(map(language.retold, refused[:REFUSED_SHOWN]))
        _ = language.translations.gettext
        said = _("%(taken)s results taken, %(refused)s not.") % {
            "taken": taken,
            "refused": len(refused),
        }
        return await self._page(request, None, 200, said=f"{said} {shown}".strip())

    async def _settle(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, Settle)
        await self._view.sports.settle(wish.number, wish.wearer or "")
        return DONE

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int, *, said: str = ""
    ) -> web.Response:
        if not self._desk.is_signed_in(request):
            context = {"signed_in": False, "refusal": refusal, "said": ""}
            return self._desk.renderer.page(request, "sports.html", context, status=status)
        view, now_ms = self._view, self._view.now_ms()
        _ = self._desk.renderer.language(request).translations.gettext
        going = view.sports.exercises()
        shown = await asyncio.to_thread(self._read, request.query.get("group"), going, now_ms)
        tiles = {each.session: each.tiles(now_ms) for each in going}
        persons = {*shown.pupils, *(person for person, _station in shown.best)}
        persons |= {tile.person for each in tiles.values() for tile in each}
        tested = {station for _person, station in shown.best}
        return self._desk.renderer.page(
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
                pupils=read_pupils(connection, school, group)[:PUPILS_MAX] if group else (),
                worn={person: band for band, person in worn.items()},
                sessions=[each for each in sessions if each.ends_ms is not None],
                best=best_of(read_attempts(connection, school, from_ms, until_ms)),
                loads={each.session: each.load(now_ms) for each in going},
            )


def _worn(posted: Posted) -> dict[str, int]:
    """Return who wears which band; raises ActionError for one that is given twice."""
    worn: dict[str, int] = {}
    for key, value in posted.items():
        person = key.removeprefix(BAND_FIELD)
        if person == key or not isinstance(value, str) or not _PERSON.match(person):
            continue
        band = value.strip()[:32]
        if band in worn:
            raise ActionError(400, "invalid", f"band {band} is given twice")
        if band:
            worn[band] = int(person)
    return worn


def _decode(content: bytes) -> str:
    """Read a file as stations write it: UTF-8, or the GB18030 of a Chinese Windows."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", errors="replace")
