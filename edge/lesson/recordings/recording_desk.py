"""What the command line asks of the library of recordings, on the daemon's socket."""

import msgspec
from aiohttp import web

from edge.errors import BoxSetupError, NotNowError
from edge.lesson.recordings.library import Library
from edge.lesson.recordings.shelved_lesson import Shelved
from sync.lessons.fragment_log import LessonId
from sync.lessons.tracks import PICTURE

PICTURES = frozenset({"1", "3", "5", "7", "9"})


class RecordingDesk:
    def __init__(self, library: Library) -> None:
        self._library = library

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/lessons", self._list)
        app.router.add_get("/lessons/{lesson}", self._show)
        app.router.add_get("/lessons/{lesson}/recording", self._send)
        app.router.add_post("/lessons/{lesson}/{wish:keep|let-go}", self._protect)

    async def _list(self, _: web.Request) -> web.Response:
        return _json({"lessons": [_told(each) for each in await self._library.lessons()]})

    async def _show(self, request: web.Request) -> web.Response:
        shelved = await self._find(request)
        return _json(
            {
                **_told(shelved),
                "gaps": await self._library.gaps(shelved),
                "minutes": [
                    {
                        "school": party.school,
                        "name": party.name[0],
                        "signed": party.is_signed,
                        "minutes": party.minutes,
                        "digest": party.minutes.digest.hex() if party.minutes else "",
                        "disagreements": party.disagreements,
                    }
                    for party in await self._library.minutes(shelved.told)
                ],
            }
        )

    async def _send(self, request: web.Request) -> web.StreamResponse:
        """Send the recording as one MP4 file."""
        shelved = await self._find(request)
        picture = request.query.get("picture", str(PICTURE))
        if picture not in PICTURES:
            raise BoxSetupError(f"{picture[:16]} is no picture; 1, 3, 5, 7 and 9 are")
        file = await self._library.file(shelved, int(picture))
        reader = await self._library.reader(shelved)
        response = web.StreamResponse()
        response.content_type = "video/mp4"
        response.content_length = file.movie.size
        await response.prepare(request)
        async for part in reader.read(file, 0, file.movie.size):
            await response.write(part)
        return response

    async def _protect(self, request: web.Request) -> web.Response:
        shelved = await self._find(request)
        protected = request.match_info["wish"] == "keep"
        await self._library.protect(shelved.told.lesson, protected=protected)
        return _json({"protected": protected})

    async def _find(self, request: web.Request) -> Shelved:
        try:
            return await self._library.find(LessonId(request.match_info["lesson"]))
        except NotNowError as error:
            raise BoxSetupError(str(error)) from error


def _told(shelved: Shelved) -> dict[str, object]:
    told = shelved.told
    return {
        "lesson": told.lesson,
        "title_zh": told.title_zh,
        "title_en": told.title_en,
        "room": told.room,
        "role": told.role,
        "rehearsal": told.rehearsal,
        "starts_ms": told.starts_ms,
        "ends_ms": told.ends_ms,
        "running": shelved.running,
        "here": shelved.here,
        "bytes": shelved.stored_bytes,
        "kept_until_ms": shelved.kept_until_ms,
        "protected": shelved.protected,
        "elsewhere": shelved.elsewhere,
        "gone_ms": told.gone_ms,
        "takes": [
            {
                "take": take.take,
                "recorded_ms": take.recorded_ms,
                "complete": take.complete,
                "gaps": take.gaps,
                "digest": take.digest.hex(),
            }
            for take in told.takes
        ],
    }


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
