"""The lessons that were held: the list, and each recording to look at and to take away.

Only with the setup code: children are seen and heard in them.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import quote

import msgspec
from aiohttp import web

from edge.errors import NotNowError
from edge.lesson.recordings.recording_file import RecordingError, RecordingFile
from edge.lesson.recordings.shelved_lesson import Shelved
from edge.lesson.recordings.time_line import caption_cues, chapter_cues
from edge.lesson.recordings.webvtt import FILE_BYTES_MAX, Cue, read_vtt, write_vtt
from edge.pages.actions import ActionError
from edge.pages.file_form import read_file_form
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.json_wishes import json_answer
from edge.pages.recording_words import recording_words
from edge.pages.rooms import Rooms
from provisioning.errors import SetupError
from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId
from sync.lessons.lesson_events import Language
from sync.lessons.tracks import BLACKBOARD, CALLED_PICTURE, DOCUMENT, PICTURE

LESSON = "{lesson:[0-9A-Za-z][0-9A-Za-z._-]{0,47}}"
PICTURES = {"": PICTURE} | {
    str(each): each for each in (PICTURE, BLACKBOARD, DOCUMENT, CALLED_PICTURE)
}
SENT_AT_ONCE = 8
"""Recordings sent at the same time: they are opened on the core that carries the lessons."""
PART_BYTES_MAX = 8 * 1024 * 1024
"""A browser that asks for the rest of a file gets so much and asks again."""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A form that only says yes."""


class AddedCaptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Captions in one language for a recording; the file comes beside."""

    language: Language


class LessonsPage:
    def __init__(self, desk: FormDesk, rooms: Rooms) -> None:
        self._desk = desk
        self._rooms = rooms
        self._view = desk.view
        self._sending = 0

    def routes(self) -> list[web.RouteDef]:
        acts = {
            "keep": self._keep,
            "let-go": self._let_go,
            "remove": self._remove,
            "captions": self._add_captions,
        }
        return [
            web.get("/lessons", self.show_all),
            web.get(f"/lessons/{LESSON}", self.show),
            web.get(f"/lessons/{LESSON}/recording.mp4", self.send),
            web.get(f"/lessons/{LESSON}/clock.json", self.send_clock),
            web.get(f"/lessons/{LESSON}/chapters.vtt", self.send_chapters),
            web.get(f"/lessons/{LESSON}/captions.vtt", self.send_captions),
            *(
                web.post(f"/lessons/{LESSON}/{path}", self._desk.acting(act, self._page))
                for path, act in acts.items()
            ),
        ]

    async def show_all(self, request: web.Request) -> web.Response:
        signed_in = self._desk.is_signed_in(request)
        library = self._view.recordings
        context = {
            "signed_in": signed_in,
            "lessons": await library.lessons() if signed_in else [],
            "school": self._view.school,
            "words_of": recording_words(self._gettext(request)),
            "room_names": await self._room_names(),
        }
        return self._desk.renderer.page(request, "lessons.html", context)

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send the recording as one MP4 file, or the part of it that a player asks for."""
        shelved, file = await self._file(request)
        if self._sending >= SENT_AT_ONCE:
            raise web.HTTPServiceUnavailable(
                text=f"{SENT_AT_ONCE} recordings are being sent already; try again soon",
                headers={"Retry-After": "30"},
            )
        self._sending += 1
        try:
            return await self._send(request, shelved, file)
        finally:
            self._sending -= 1

    async def _send(
        self, request: web.Request, shelved: Shelved, file: RecordingFile
    ) -> web.StreamResponse:
        size = file.movie.size
        try:
            asked = request.http_range
        except ValueError as error:
            raise web.HTTPRequestRangeNotSatisfiable(
                headers={"Content-Range": f"bytes */{size}"}
            ) from error
        first, end, _ = asked.indices(size)
        in_part = asked.start is not None
        if in_part and first >= end:
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
        if in_part and asked.stop is None:
            end = min(end, first + PART_BYTES_MAX)
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store"}
        if in_part:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        if "download" in request.query:
            name = quote(f"{shelved.told.title_zh or shelved.told.lesson}.mp4", safe="")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        response = web.StreamResponse(status=206 if in_part else 200, headers=headers)
        response.content_type = "video/mp4"
        response.content_length = end - first
        await response.prepare(request)
        if request.method != "HEAD":
            reader = await self._view.recordings.reader(shelved)
            with suppress(ConnectionError):  # the player has gone, or seeks elsewhere
                async for part in reader.read(file, first, end):
                    await response.write(part)
        return response

    async def send_clock(self, request: web.Request) -> web.Response:
        """Tell where in the file each take's time begins: [capture time, file's time], in ms."""
        _, file = await self._file(request)
        return json_answer(file.clock)

    async def send_chapters(self, request: web.Request) -> web.Response:
        shelved, file = await self._file(request)
        line = await self._view.recordings.time_line(shelved)
        return _vtt(chapter_cues(line, file.clock))

    async def send_captions(self, request: web.Request) -> web.Response:
        shelved, file = await self._file(request)
        line = await self._view.recordings.time_line(shelved)
        told = line.captions.get(request.query.get("language", ""), ())
        return _vtt(caption_cues(told, file.clock))

    async def _keep(self, request: web.Request, _who: str) -> str:
        return await self._set_protected(request, protected=True)

    async def _let_go(self, request: web.Request, _who: str) -> str:
        return await self._set_protected(request, protected=False)

    async def _set_protected(self, request: web.Request, *, protected: bool) -> str:
        await read_form(request, Nothing)
        try:
            await self._view.recordings.protect(_named(request), protected=protected)
        except SetupError as error:
            raise NotNowError(str(error)) from error
        return f"/lessons/{_named(request)}?said=done"

    async def _remove(self, request: web.Request, who: str) -> str:
        await read_form(request, Nothing)
        await self._view.recordings.give_up(_named(request), who)
        return f"/lessons/{_named(request)}?said=done"

    async def _add_captions(self, request: web.Request, _who: str) -> str:
        wish, data = await read_file_form(request, AddedCaptions, "file", FILE_BYTES_MAX)
        if data is None:
            raise ActionError(400, "invalid", "no file came; choose one")
        shelved = await self._shelved(request)
        try:
            await self._view.recordings.add_captions(shelved, wish.language, read_vtt(data))
        except (MalformedError, RecordingError) as error:
            raise ActionError(400, "invalid", str(error)) from error
        return f"/lessons/{_named(request)}?said=done"

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        context: dict[str, object] = {
            "signed_in": False,
            "lesson": _named(request),
            "refusal": refusal,
            "done": "said" in request.query,
        }
        if self._desk.is_signed_in(request):
            library = self._view.recordings
            shelved = await self._shelved(request)
            hops, root = await library.hops(shelved.told)
            line = await library.time_line(shelved) if shelved.here else None
            context |= {
                "signed_in": True,
                "shelved": shelved,
                "gaps": await library.gaps(shelved),
                "lacking_s": shelved.told.lacking_s(self._view.school),
                "is_whole": shelved.told.minutes_of(self._view.school) is not None,
                "pictures": await library.pictures(shelved),
                "hops": hops,
                "root": root,
                "parties": await library.minutes(shelved.told),
                "line": line,
                "words_of": recording_words(self._gettext(request)),
                "room_names": await self._room_names(),
            }
        return self._desk.renderer.page(request, "lesson.html", context, status=status)

    async def _shelved(self, request: web.Request) -> Shelved:
        self._desk.require_session(request)
        try:
            return await self._view.recordings.find(_named(request))
        except NotNowError as error:
            raise web.HTTPNotFound from error

    async def _file(self, request: web.Request) -> tuple[Shelved, RecordingFile]:
        shelved = await self._shelved(request)
        picture = PICTURES.get(request.query.get("picture", ""))
        if picture is None:
            raise web.HTTPNotFound
        try:
            return shelved, await self._view.recordings.file(shelved, picture)
        except RecordingError as error:
            raise web.HTTPConflict(text=str(error)) from error

    async def _room_names(self) -> dict[str, str]:
        return {room.room: room.name for room in await self._rooms.all()}

    def _gettext(self, request: web.Request) -> Callable[[str], str]:
        return self._desk.renderer.language(request).translations.gettext


def _named(request: web.Request) -> LessonId:
    return LessonId(request.match_info["lesson"])


def _vtt(cues: Iterable[Cue]) -> web.Response:
    return web.Response(
        text=write_vtt(cues), content_type="text/vtt", headers={"Cache-Control": "no-store"}
    )
