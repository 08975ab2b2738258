"""HLS for a room's players without MediaSource, ``/classroom/hls/<room>/…``.

- ``main.m3u8``, ``<track>.m3u8``, ``<track>/init-<n>.mp4``, ``<track>/<segment>.m4s`` and
  ``<track>/<segment>.<part>.m4s``: what plays now. A playlist asked for with ``_HLS_msn`` (and
  ``_HLS_part``), and the part a playlist hints at, are answered when they are there.
- ``<lesson>/main.m3u8`` and what it names: the recording of a lesson of the room that is just over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from aiohttp import web

from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.classroom.ll_hls import TARGET_S, Rendition
from edge.lesson.classroom.recorded_hls import RecordedHls
from edge.lesson.schedule import PAST, ScheduledLesson
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import NUMBER_MAX, TRACK_MAX, LessonId, parse_take_id
from sync.lessons.fragment_objects import parse_number
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import DataKey, KeyId

WAIT_S_MAX = 3.0 * TARGET_S
"""draft-pantos-hls-rfc8216bis §6.2.5.2: a blocked request is given up after three targets."""
WAITING_MAX = 512
_PLAYLIST = "application/vnd.apple.mpegurl"
_MEDIA = "video/mp4"
_NUMBER_MAX = 2**53
_SOUND_NAME = "sound"
_NOT_THERE = "nothing of that name plays here; begin again at main.m3u8"

_Answer = TypeVar("_Answer")


class HlsDesk:
    def __init__(
        self,
        room: Callable[[str], FanOut | None],
        shelf: LessonShelf,
        scheduled: Callable[[], Mapping[LessonId, ScheduledLesson]],
        keys_of: Callable[[ScheduledLesson], Awaitable[Mapping[KeyId, DataKey]]],
        now_ms: Callable[[], int],
    ) -> None:
        """``room`` returns a room's stream, None for one where nothing plays."""
        self._room = room
        self._shelf = shelf
        self._scheduled = scheduled
        self._keys_of = keys_of
        self._now_ms = now_ms
        self._waiting = 0

    def routes(self) -> list[web.RouteDef]:
        room = "/classroom/hls/{room}"
        lesson = f"{room}/{{lesson}}"
        return [
            web.get(f"{room}/main.m3u8", self._main),
            web.get(f"{room}/{{track:[0-9]+}}.m3u8", self._playlist),
            web.get(f"{room}/{{track:[0-9]+}}/init-{{number:[0-9]+}}.mp4", self._init),
            web.get(f"{room}/{{track:[0-9]+}}/{{segment:[0-9]+}}.m4s", self._segment),
            web.get(f"{room}/{{track:[0-9]+}}/{{segment:[0-9]+}}.{{part:[0-9]+}}.m4s", self._part),
            web.get(f"{lesson}/main.m3u8", self._recorded_main),
            web.get(f"{lesson}/{{track:[0-9]+}}.m3u8", self._recorded_playlist),
            web.get(
                f"{lesson}/{{take:[0-9a-f]+}}/{{track:[0-9]+}}/init-{{number:[0-9]+}}.mp4",
                self._recorded_init,
            ),
            web.get(
                f"{lesson}/{{take:[0-9a-f]+}}/{{track:[0-9]+}}/{{first:[0-9]+}}-{{last:[0-9]+}}.m4s",
                self._recorded_segment,
            ),
        ]

    async def _main(self, request: web.Request) -> web.Response:
        fan_out = self._fan_out(request)
        await self._wait(fan_out, lambda: fan_out.hls.main(_SOUND_NAME) is not None)
        return _text(fan_out.hls.main(_SOUND_NAME))

    async def _playlist(self, request: web.Request) -> web.Response:
        fan_out, rendition = self._fan_out(request), self._rendition(request)
        asked = request.query.get("_HLS_msn")
        if asked is not None:
            number = _parse(asked, _NUMBER_MAX)
            part = request.query.get("_HLS_part")
            place = None if part is None else _parse(part, _NUMBER_MAX)
            if rendition.is_far_ahead(number):
                raise web.HTTPBadRequest(text="that segment is far ahead; ask without _HLS_msn")
            await self._wait(fan_out, lambda: rendition.has(number, place))
        elif "_HLS_part" in request.query:
            raise web.HTTPBadRequest(text="_HLS_part goes with _HLS_msn")
        return _text(rendition.playlist(fan_out.hls.others(rendition.track)))

    async def _init(self, request: web.Request) -> web.Response:
        number = _parse(request.match_info["number"], _NUMBER_MAX)
        return _media(self._rendition(request).init(number))

    async def _segment(self, request: web.Request) -> web.Response:
        number = _parse(request.match_info["segment"], _NUMBER_MAX)
        return _media(self._rendition(request).segment(number))

    async def _part(self, request: web.Request) -> web.Response:
        fan_out, rendition = self._fan_out(request), self._rendition(request)
        number = _parse(request.match_info["segment"], _NUMBER_MAX)
        part = _parse(request.match_info["part"], _NUMBER_MAX)
        if rendition.part(number, part) is None and rendition.is_hinted(number, part):
            await self._wait(fan_out, lambda: not rendition.is_hinted(number, part))
        return _media(rendition.part(number, part))

    async def _recorded_main(self, request: web.Request) -> web.Response:
        recording = await self._recorded(request)
        return _text(_opened(lambda: recording.main(_SOUND_NAME)))

    async def _recorded_playlist(self, request: web.Request) -> web.Response:
        recording = await self._recorded(request)
        return _text(recording.playlist(_track(request)))

    async def _recorded_init(self, request: web.Request) -> web.Response:
        recording, take = await self._recorded(request), request.match_info["take"]
        number = _parse(request.match_info["number"], NUMBER_MAX)
        return _media(_opened(lambda: recording.init(parse_take_id(take), _track(request), number)))

    async def _recorded_segment(self, request: web.Request) -> web.Response:
        recording, take = await self._recorded(request), request.match_info["take"]
        first = _parse(request.match_info["first"], NUMBER_MAX)
        last = _parse(request.match_info["last"], NUMBER_MAX)
        return _media(
            _opened(lambda: recording.segment(parse_take_id(take), _track(request), first, last))
        )

    def _fan_out(self, request: web.Request) -> FanOut:
        found = self._room(request.match_info["room"])
        if found is None:
            raise web.HTTPNotFound(text="nothing plays in this room")
        return found

    def _rendition(self, request: web.Request) -> Rendition:
        found = self._fan_out(request).hls.rendition(_track(request))
        if found is None:
            raise web.HTTPNotFound(text=_NOT_THERE)
        return found

    async def _recorded(self, request: web.Request) -> RecordedHls:
        lesson = self._scheduled().get(LessonId(request.match_info["lesson"]))
        now_ms = self._now_ms()
        is_there = lesson is not None and lesson.mine.room == request.match_info["room"]
        if lesson is None or not is_there or now_ms < lesson.ends_ms:
            raise web.HTTPNotFound(text="no such lesson of this room is over")
        if not lesson.is_open_to_its_room(now_ms):
            raise web.HTTPNotFound(text=PAST)
        opener = FragmentOpener(lesson.lesson, await self._keys_of(lesson))
        return RecordedHls(self._shelf.takes(lesson.lesson), opener)

    async def _wait(self, fan_out: FanOut, is_there: Callable[[], bool]) -> None:
        """Return when it is there; 503 after three target durations, or for one waiter too many."""
        if is_there():
            return
        if self._waiting >= WAITING_MAX:
            raise web.HTTPServiceUnavailable(text=f"{WAITING_MAX} players wait already")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while not is_there():
                    await fan_out.next_part()
        except TimeoutError as error:
            raise web.HTTPServiceUnavailable(text="nothing new came; ask again") from error
        finally:
            self._waiting -= 1


def _track(request: web.Request) -> int:
    return _parse(request.match_info["track"], TRACK_MAX)


def _parse(text: str, most: int) -> int:
    try:
        return parse_number(text, most)
    except MalformedError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


def _opened(read: Callable[[], _Answer]) -> _Answer:
    """Open stored records for a player; what cannot be opened is not there."""
    try:
        return read()
    except (MalformedError, ForgedError, KeyMissingError) as error:
        raise web.HTTPNotFound(text=str(error)) from error


def _text(playlist: str | None) -> web.Response:
    if playlist is None:
        raise web.HTTPNotFound(text=_NOT_THERE)
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=playlist.encode(), content_type=_PLAYLIST, headers=headers)


def _media(data: bytes | None) -> web.Response:
    if data is None:
        raise web.HTTPNotFound(text=_NOT_THERE)
    headers = {"Cache-Control": "private, max-age=60"}
    return web.Response(body=data, content_type=_MEDIA, headers=headers)
