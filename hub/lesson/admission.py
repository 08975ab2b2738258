"""Who asks for which lesson: what the routes of a lesson begin with."""

from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId, parse_lesson_id

Identify = Callable[[web.Request], int]
"""Returns the number of the school whose box asks; raises HTTPUnauthorized or HTTPForbidden."""


class LessonAccess(Protocol):
    """Who may do what; asked at each connection and again every second while it lasts."""

    def may_publish(self, school: int, lesson: str) -> bool: ...
    def may_receive(self, school: int, lesson: str) -> bool: ...


def lesson_of(request: web.Request) -> LessonId:
    """Return the lesson that a request's path names; raises HTTPBadRequest for what is none."""
    try:
        return parse_lesson_id(request.match_info["lesson"])
    except MalformedError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
