"""Each room's stream to its pages, and which lesson has the stage of a room."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Never

from aiohttp import web

from edge.box_store import BoxStore
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.schedule import ScheduledLesson
from edge.pages.queries import read_rooms
from edge.supervision import keep_running
from sync.lessons.fragment_log import LessonId
from sync.store import connect_readonly

SHOW_AFTER_MS = 10 * 60 * 1000
"""How long a room's page still speaks of a lesson that is over."""


class RoomStreams:
    """The school's rooms that somebody watches or a lesson is held in; :meth:`run` is its task."""

    def __init__(
        self,
        store: BoxStore,
        now_ms: Callable[[], int],
        scheduled: Callable[[], Mapping[LessonId, ScheduledLesson]],
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._scheduled = scheduled
        self._rooms: dict[str, FanOut] = {}
        self._on_stage: dict[str, LessonId | None] = {}
        self._opened: asyncio.Queue[FanOut] = asyncio.Queue()

    async def run(self) -> Never:
        """Serve the rooms known and those that are opened."""
        while not self._opened.empty():
            self._opened.get_nowait()
        for room in self._rooms.values():
            self._opened.put_nowait(room)
        async with asyncio.TaskGroup() as tasks:
            while True:
                opened = await self._opened.get()
                tasks.create_task(keep_running("a room's stream", opened.run))
        raise AssertionError("rooms are served until the daemon ends")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a classroom page's WebSocket, ``?room=``; 404 for a room the school has not."""
        room = request.query.get("room", "")
        if room not in self._rooms and room not in await asyncio.to_thread(self._known_rooms):
            raise web.HTTPNotFound(text="this school has no such room; choose one on the page")
        return await self.of(room).serve(request)

    def of(self, room: str) -> FanOut:
        """Return a room's stream, opened at the first call."""
        if room not in self._rooms:
            self._rooms[room] = FanOut(self._now_ms)
            self._opened.put_nowait(self._rooms[room])
        return self._rooms[room]

    def playing(self, room: str) -> FanOut | None:
        """Return a room's stream, None where nobody opened it."""
        return self._rooms.get(room)

    def is_on_stage(self, room: str, lesson: LessonId) -> bool:
        return self._on_stage.get(room) == lesson

    def chosen(self, room: str) -> ScheduledLesson | None:
        """Return the lesson running in a room, else the next one, else the last, else None."""
        now_ms = self._now_ms()
        mine = [each for each in self._scheduled().values() if each.mine.room == room]
        current = [each for each in mine if each.ends_ms > now_ms]
        lately = [each for each in mine if now_ms - SHOW_AFTER_MS < each.ends_ms <= now_ms]
        return next(iter(current), lately[-1] if lately else None)

    def set_stages(self) -> list[LessonId]:
        """Give each room's pages to one lesson, and return those that have them from now on.

        Another may still be filling its recording.
        """
        entered: list[LessonId] = []
        for room, fan_out in self._rooms.items():
            lesson = self.chosen(room)
            name = None if lesson is None else lesson.lesson
            if self._on_stage.get(room) != name:
                self._on_stage[room] = name
                fan_out.clear()
                entered += [] if name is None else [name]
        return entered

    def _known_rooms(self) -> set[str]:
        with closing(connect_readonly(self._store.path)) as connection:
            return {each.room for each in read_rooms(connection, self._store.identity.school)}
