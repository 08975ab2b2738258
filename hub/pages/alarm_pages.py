"""The district's answer to a school's alarm: somebody here has seen it."""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web

from hub.lesson.timetable import Row
from hub.pages.hub_view import HubView
from provisioning.posted_form import read_posted

FIELDS_MAX = 8
PRINTABLE = r"\A[^\x00-\x1f\x7f]+\Z"


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the form says; ``remark`` is read at the school."""

    incident: Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=PRINTABLE)]
    who: Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=PRINTABLE)]
    remark: Annotated[str, msgspec.Meta(max_length=300)] = ""


class AlarmPages:
    def __init__(self, view: HubView) -> None:
        self._view = view

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/schools/{school:[0-9]{1,5}}/seen", self.answer)]

    async def answer(self, request: web.Request) -> web.Response:
        """Tell the school that its alarm was seen; it stays the school's to end."""
        school = int(request.match_info["school"])
        fields = dict(await read_posted(request))
        if len(fields) > FIELDS_MAX:
            raise web.HTTPRequestEntityTooLarge(FIELDS_MAX, len(fields))
        try:
            seen = msgspec.convert(fields, Seen)
        except msgspec.ValidationError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        row: Row = {
            "school": school,
            "incident": seen.incident,
            "at_ms": self._view.now_ms(),
            "who": seen.who,
            "remark": seen.remark or None,
        }
        await asyncio.to_thread(self._view.record_all, {"alarm_answer": [row]})
        raise web.HTTPSeeOther(f"/schools/{school}")
