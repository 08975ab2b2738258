"""A lesson's slides to its room's pages: ``/classroom/materials/<SHA-256>?room=…&lesson=…``.

Without ``lesson`` it is the room's lesson of now. For a slide that is not whole here yet the answer
is 204, and the page asks again.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from edge.lesson.schedule import ScheduledLesson
from edge.lesson.teaching.materials import Materials, is_digest, media_type_of
from sync.lessons.fragment_log import LessonId

_DAY_S = 24 * 3600


class SlideDesk:
    def __init__(
        self,
        materials: Materials,
        scheduled: Callable[[], Mapping[LessonId, ScheduledLesson]],
        chosen: Callable[[str], ScheduledLesson | None],
    ) -> None:
        """``chosen`` returns a room's lesson of now."""
        self._materials = materials
        self._scheduled = scheduled
        self._chosen = chosen

    async def serve(self, request: web.Request) -> web.Response:
        room = request.query.get("room", "")
        name = request.query.get("lesson")
        lesson = self._chosen(room) if name is None else self._scheduled().get(LessonId(name))
        digest = request.match_info["digest"]
        if lesson is None or lesson.mine.room != room or not is_digest(digest):
            raise web.HTTPNotFound(text="this room's lesson has no such slide")
        found = await asyncio.to_thread(self._read, lesson.lesson, bytes.fromhex(digest))
        if found is None:  # no error: pages may be told of a slide before it is here
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        media_type, picture = found
        return web.Response(
            body=picture,
            content_type=media_type,
            headers={"Cache-Control": f"private, max-age={_DAY_S}, immutable"},
        )

    def _read(self, lesson: LessonId, digest: bytes) -> tuple[str, bytes] | None:
        path = self._materials.find(lesson, digest)
        picture = b"" if path is None else path.read_bytes()
        media_type = media_type_of(picture)
        return None if media_type is None else (media_type, picture)
