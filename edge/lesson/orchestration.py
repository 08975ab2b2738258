"""Every lesson at its time: from the synced schedule, without the hub's help and without a hand."""

import asyncio
import logging
import os
import shutil
import sqlite3
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Never

import aiohttp
from aiohttp import web

from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Outcome
from drivers.errors import DriverError, SetupError
from edge.box_store import BoxStore
from edge.devices.displays import nearest_source
from edge.devices.fleet import Fleet
from edge.lesson.classroom_stream import StreamItem
from edge.lesson.fan_out import FanOut
from edge.lesson.hub_link import HubRoute
from edge.lesson.lesson_keys import LessonKeys
from edge.lesson.lesson_run import FlagshipRun, LessonMeans, LessonRun, ReceiverRun
from edge.lesson.partners import Partner, Partners
from edge.lesson.schedule import PREPARE_MS, ScheduledLesson, read_lessons
from edge.lesson.status import Cause, LessonStatus
from edge.pages.box_view import LessonRole, LessonState, LessonView
from edge.pages.queries import read_rooms
from edge.supervision import keep_running
from sync.errors import SyncError
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import RecipientId, recipient_id
from sync.store import connect_readonly
from sync.writer import Writer

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
READ_EVERY_S = 30.0
"""The schedule is read when the hub sent something of it, and at the latest after this."""
GRANT_EVERY_S = 3.0
MAKE_ROOM_EVERY_S = 600.0
DISK_FREE_MIN = 2 * 1024**3
"""Recordings give way, oldest first, so that this much stays free for records."""
SHOW_AFTER_MS = 10 * 60 * 1000
"""How long a room's page still speaks of a lesson that is over."""


@dataclass(slots=True)
class _Held:
    """A lesson's run and its task; ``leaving`` once the task was told to end."""

    run: LessonRun
    task: asyncio.Task[None]
    leaving: bool = False


class Lessons:
    """Starts each lesson's run in time and keeps the rooms' streams; :meth:`run` is its task."""

    def __init__(
        self,
        store: BoxStore,
        writer: Writer,
        hub_context: ssl.SSLContext,
        fleet: Fleet,
        *,
        source: str,
        now_ms: Callable[[], int],
        rng: Random,
        changed: Callable[[], None],
    ) -> None:
        """``source`` is the input that blackboards are switched to."""
        folder = store.path.parent
        self._partners = Partners(store.node, store.acquaintances, folder / "partners.json")
        self._keys = LessonKeys(
            store.node, store.reader, store.identity.sealing, os.urandom, now_ms
        )
        self._store = store
        self._writer = writer
        self._hub_context = hub_context
        self._fleet = fleet
        self._shelf = LessonShelf(folder / "lessons")
        self._folder = folder
        self._source = source
        self._now_ms = now_ms
        self._rng = rng
        self._changed = changed
        self._scheduled: Mapping[LessonId, ScheduledLesson] = {}
        self._is_stale = True
        self._held: dict[LessonId, _Held] = {}
        self._granted: dict[LessonId, frozenset[RecipientId]] = {}
        self._grants_all = True
        self._rooms: dict[str, FanOut] = {}
        self._on_stage: dict[str, LessonId | None] = {}
        self._opened: asyncio.Queue[FanOut] = asyncio.Queue()

    def note_schedule(self) -> None:
        """Have the schedule read again: the hub sent something of it."""
        self._is_stale = True

    async def partners_of(self, school: int) -> list[Partner]:
        """Return the certified boxes of another school."""
        return await self._writer.call(self._partners.of, school)

    async def confirm_partner(self, school: int, fingerprint: str, who: str) -> None:
        """Confirm a key, also for lessons that are running or lately over.

        Raises BoxSetupError when the school has no such key.
        """
        await self._writer.call(self._partners.confirm, school, fingerprint, who)
        self._grants_all = True

    async def run(self) -> Never:
        """Watch the schedule and hold the lessons until cancelled."""
        identity = self._store.identity
        self._held.clear()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._hub_context)) as session,
            asyncio.TaskGroup() as tasks,
        ):
            url = f"https://{identity.hub_host}:{identity.hub_port}"
            means = LessonMeans(
                identity=identity,
                node=self._store.node,
                writer=self._writer,
                reader=self._store.reader,
                acquaintances=self._store.acquaintances,
                keys=self._keys,
                shelf=self._shelf,
                route=HubRoute(session, url, self._rng),
                now_ms=self._now_ms,
                rng=self._rng,
            )
            for room in self._rooms.values():
                self._opened.put_nowait(room)
            tasks.create_task(keep_running("lessons' rooms", lambda: self._serve_rooms(tasks)))
            tasks.create_task(keep_running("lessons' schedule", self._keep_reading))
            tasks.create_task(keep_running("lessons' keys", self._keep_granting))
            tasks.create_task(keep_running("recordings' room", self._keep_making_room))
            while True:
                self._follow_schedule(means, tasks)
                self._set_stages()
                await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError("lessons are watched until the daemon ends")

    async def serve_stream(self, request: web.Request) -> web.StreamResponse:
        """Answer a classroom page's WebSocket, ``?room=``; 404 for a room the school has not."""
        room = request.query.get("room", "")
        if room not in self._rooms and room not in await asyncio.to_thread(self._known_rooms):
            raise web.HTTPNotFound(text="this school has no such room; choose one on the page")
        return await self._room(room).serve(request)

    def lesson_now(self, room: str) -> LessonView | None:
        """Return the lesson running in a room, else the next one, else the last, else None."""
        now_ms = self._now_ms()
        chosen = self._chosen(room, now_ms)
        return None if chosen is None else self._view(chosen)

    def _chosen(self, room: str, now_ms: int) -> ScheduledLesson | None:
        mine = [each for each in self._scheduled.values() if each.mine.room == room]
        current = [each for each in mine if each.ends_ms > now_ms]
        lately = [each for each in mine if now_ms - SHOW_AFTER_MS < each.ends_ms <= now_ms]
        return next(iter(current), lately[-1] if lately else None)

    async def _keep_reading(self) -> Never:
        loop = asyncio.get_running_loop()
        read_s = -READ_EVERY_S
        while True:
            if self._is_stale or loop.time() - read_s >= READ_EVERY_S:
                self._is_stale = False
                read_s = loop.time()
                school = self._store.identity.school
                lessons = await self._writer.call(
                    read_lessons, self._store.reader, school, self._now_ms()
                )
                self._scheduled = {each.lesson: each for each in lessons}
            await asyncio.sleep(LOOK_EVERY_S)

    async def _keep_granting(self) -> Never:
        """Grant lessons' keys to partners as they are confirmed, and close them to who left."""
        while True:
            due_ms = self._now_ms() + PREPARE_MS
            everything, self._grants_all = self._grants_all, False
            mine = [
                lesson
                for lesson in self._scheduled.values()
                if lesson.mine.role is LessonRole.FLAGSHIP
                and lesson.starts_ms <= due_ms
                and (everything or lesson.lesson in self._held)
            ]
            try:
                await self._writer.call(self._grant, mine)
            except (sqlite3.Error, SyncError) as error:
                _log.warning("lessons' keys are not granted: %s", error)
                self._grants_all = True
            await asyncio.sleep(GRANT_EVERY_S)

    def _grant(self, lessons: Sequence[ScheduledLesson]) -> None:
        for lesson in lessons:
            keys = [
                key
                for party in lesson.receivers
                for key in self._partners.confirmed_keys(party.school)
            ]
            names = frozenset(recipient_id(key) for key in keys)
            if self._granted.get(lesson.lesson) != names:
                self._keys.grant(lesson.lesson, keys)
                self._granted[lesson.lesson] = names

    async def _keep_making_room(self) -> Never:
        while True:
            lacking = DISK_FREE_MIN - shutil.disk_usage(self._folder).free
            if lacking > 0:
                stored = self._shelf.stored_bytes()
                for gone in self._shelf.reclaim(max(0, stored - lacking), self._held.keys()):
                    _log.warning(
                        "the disk is nearly full: a recording of lesson %s was given up",
                        gone.lesson,
                    )
            await asyncio.sleep(MAKE_ROOM_EVERY_S)

    def _follow_schedule(self, means: LessonMeans, tasks: asyncio.TaskGroup) -> None:
        """Hold what is due, as it is scheduled now; end what was cancelled or moved away."""
        now_ms = self._now_ms()
        for name, held in list(self._held.items()):
            lesson = self._scheduled.get(name)
            if held.task.done():
                if held.leaving or lesson is None or lesson.done:
                    del self._held[name]
            elif held.leaving:
                continue
            elif lesson is None or not _goes_on(held.run.lesson, lesson, now_ms):
                _log.info("lesson %s ends here: it was cancelled or moved", name)
                held.leaving = True
                held.task.cancel()
            else:
                held.run.lesson = lesson
        for lesson in self._scheduled.values():
            is_due = lesson.starts_ms - PREPARE_MS <= now_ms
            if is_due and not lesson.done and lesson.lesson not in self._held and lesson.mine.room:
                self._start(lesson, means, tasks)

    def _start(self, lesson: ScheduledLesson, means: LessonMeans, tasks: asyncio.TaskGroup) -> None:
        kind = FlagshipRun if lesson.mine.role is LessonRole.FLAGSHIP else ReceiverRun
        fan_out = self._room(lesson.mine.room)
        is_shown = partial(self._is_on_stage, lesson.mine.room, lesson.lesson)
        room = _Room(lesson, self._fleet, fan_out, self._source, is_shown)
        run = kind(lesson, means, room, self._changed)
        self._held[lesson.lesson] = _Held(run, tasks.create_task(self._hold(run)))

    def _is_on_stage(self, room: str, lesson: LessonId) -> bool:
        return self._on_stage.get(room) == lesson

    async def _hold(self, run: LessonRun) -> None:
        try:
            await keep_running(f"lesson {run.lesson.lesson}", run.run)
        finally:
            self._shelf.close_lesson(run.lesson.lesson)
            self._is_stale = True

    def _set_stages(self) -> None:
        """Give each room's pages to one lesson: another may still be filling its recording."""
        now_ms = self._now_ms()
        for room, fan_out in self._rooms.items():
            lesson = self._chosen(room, now_ms)
            name = None if lesson is None else lesson.lesson
            if self._on_stage.get(room) != name:
                self._on_stage[room] = name
                fan_out.clear()

    def _known_rooms(self) -> set[str]:
        with closing(connect_readonly(self._store.path)) as connection:
            return {each.room for each in read_rooms(connection, self._store.identity.school)}

    def _room(self, room: str) -> FanOut:
        if room not in self._rooms:
            self._rooms[room] = FanOut(self._now_ms)
            self._opened.put_nowait(self._rooms[room])
        return self._rooms[room]

    async def _serve_rooms(self, tasks: asyncio.TaskGroup) -> Never:
        while True:
            room = await self._opened.get()
            tasks.create_task(keep_running("a room's stream", room.run))

    def _view(self, lesson: ScheduledLesson) -> LessonView:
        held = self._held.get(lesson.lesson)
        run = None if held is None or held.leaving else held.run
        state = LessonState.SCHEDULED if run is None else run.state
        evidence_ms = None
        if run is not None:
            ages = [
                age
                for age in (run.status.sound_age_ms, run.status.picture_age_ms)
                if age is not None
            ]
            evidence_ms = run.status.at_ms - min(ages) if ages else None
        flagship = lesson.flagship
        return LessonView(
            lesson=lesson.lesson,
            title_zh=lesson.title_zh,
            title_en=lesson.title_en,
            teacher=lesson.teacher,
            role=lesson.mine.role,
            state=LessonState.ARCHIVED if run is None and lesson.done else state,
            starts_ms=lesson.starts_ms,
            ends_ms=lesson.ends_ms,
            flagship=flagship.name if flagship else "",
            receivers=tuple(party.name for party in lesson.receivers),
            rehearsal=lesson.rehearsal,
            evidence_ms=evidence_ms,
            cause=Cause.NONE if run is None else run.status.cause,
        )


def _goes_on(held: ScheduledLesson, lesson: ScheduledLesson, now_ms: int) -> bool:
    """Tell whether a lesson that is held is still this one: same place, and not put off."""
    is_due = lesson.starts_ms - PREPARE_MS <= now_ms
    return is_due and (lesson.mine.room, lesson.mine.role) == (held.mine.room, held.mine.role)


class _Room:
    """A room as its lesson sees it: blackboard, camera and pages."""

    def __init__(
        self,
        lesson: ScheduledLesson,
        fleet: Fleet,
        fan_out: FanOut,
        source: str,
        is_shown: Callable[[], bool],
    ) -> None:
        """``is_shown`` tells whether the room's pages are this lesson's now."""
        self._lesson = lesson
        self._fleet = fleet
        self._fan_out = fan_out
        self._source = source
        self._is_shown = is_shown

    async def prepare(self) -> None:
        for device in self._devices(DeviceKind.BLACKBOARD):
            source = nearest_source(self._fleet.commands_of(device), self._source)
            for command, argument in (("power", "on"), ("source", source)):
                try:
                    result = await self._fleet.command(device, command, argument)
                except DriverError as error:
                    _log.warning("lesson %s: %s: %s", self._lesson.lesson, device, error)
                    break
                if result.outcome is Outcome.FAILED:
                    _log.warning(
                        "lesson %s: the blackboard did not take %s %s (%s); look at its power and"
                        " cable",
                        self._lesson.lesson,
                        command,
                        argument,
                        result.detail,
                    )
                else:
                    _log.info(
                        "lesson %s: blackboard %s %s: %s",
                        self._lesson.lesson,
                        command,
                        argument,
                        result.outcome,
                    )

    def camera(self) -> tuple[str, Credentials | None]:
        cameras = self._devices(DeviceKind.CAMERA)
        if not cameras:
            raise SetupError(
                f"room {self._lesson.mine.room} has no adopted camera; adopt one on the set-up page"
            )
        return self._fleet.cameras.stream_of(cameras[0])

    def publish(self, item: StreamItem) -> None:
        if self._is_shown():
            self._fan_out.publish(item)

    def show(self, status: LessonStatus) -> None:
        if self._is_shown():
            self._fan_out.show(status)

    def _devices(self, kind: DeviceKind) -> list[DeviceId]:
        return [
            device
            for device, adopted in self._fleet.devices.items()
            if adopted.kind is kind and adopted.room == self._lesson.mine.room
        ]
