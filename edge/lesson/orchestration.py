"""Every lesson at its time: from the synced schedule, without the hub's help and without a hand."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Never

import aiohttp
from aiohttp import web

from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Outcome
from drivers.errors import DriverError, SetupError
from edge.box_store import BoxStore
from edge.fleet import Fleet
from edge.lesson.classroom_stream import StreamItem
from edge.lesson.fan_out import FanOut
from edge.lesson.hub_link import HubRoute
from edge.lesson.lesson_run import FlagshipRun, LessonMeans, LessonRun, ReceiverRun
from edge.lesson.partners import Partners
from edge.lesson.schedule import PREPARE_MS, ScheduledLesson, read_lessons
from edge.lesson.status import Cause, LessonStatus
from edge.pages.box_view import LessonRole, LessonState, LessonView
from edge.supervision import keep_running
from provisioning.tls import box_client_context
from sync.fragment_shelf import LessonShelf
from sync.store import connect_readonly
from sync.writer import Writer

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
ROOMS_MAX = 200
SHOW_AFTER_MS = 10 * 60 * 1000
"""How long a room's page still speaks of a lesson that is over."""


class Lessons:
    """Starts each lesson's run in time and keeps the rooms' streams; :meth:`run` is its task."""

    def __init__(
        self,
        store: BoxStore,
        writer: Writer,
        fleet: Fleet,
        *,
        folder: Path,
        source: str,
        now_ms: Callable[[], int],
        rng: Random,
        changed: Callable[[], None],
    ) -> None:
        """``source`` is the input that blackboards are switched to, ``folder`` the box's."""
        self.partners = Partners(folder / "partners.json", store.acquaintances)
        self._store = store
        self._writer = writer
        self._fleet = fleet
        self._shelf = LessonShelf(folder / "lessons")
        self._source = source
        self._now_ms = now_ms
        self._rng = rng
        self._changed = changed
        self._reader = connect_readonly(store.path)
        self._scheduled: Mapping[str, ScheduledLesson] = {}
        self._runs: dict[str, LessonRun] = {}
        self._rooms: dict[str, FanOut] = {}
        self._opened: asyncio.Queue[FanOut] = asyncio.Queue()

    async def run(self) -> Never:
        """Watch the schedule and hold the lessons until cancelled."""
        identity = self._store.identity
        connector = aiohttp.TCPConnector(ssl=box_client_context(identity, self._now_ms))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            asyncio.TaskGroup() as tasks,
        ):
            url = f"https://{identity.hub_host}:{identity.hub_port}"
            means = LessonMeans(
                identity=identity,
                node=self._store.node,
                writer=self._writer,
                reader=self._reader,
                acquaintances=self._store.acquaintances,
                partners=self.partners,
                shelf=self._shelf,
                route=HubRoute(session, url, self._rng),
                now_ms=self._now_ms,
                rng=self._rng,
            )
            tasks.create_task(self._serve_rooms(tasks))
            while True:
                lessons = await self._writer.call(self._read)
                self._scheduled = {each.lesson: each for each in lessons}
                for lesson in lessons:
                    self._start(lesson, means, tasks)
                await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError("lessons are watched until the daemon ends")

    async def serve_stream(self, request: web.Request) -> web.StreamResponse:
        """Answer a classroom page's WebSocket, ``?room=``."""
        return await self._room(request.query.get("room", "")).serve(request)

    def lesson_now(self, room: str) -> LessonView | None:
        """Return the lesson running in a room, else the next one, else the last, else None."""
        now_ms = self._now_ms()
        mine = [each for each in self._scheduled.values() if each.mine.room == room]
        current = [each for each in mine if each.ends_ms > now_ms]
        lately = [each for each in mine if now_ms - SHOW_AFTER_MS < each.ends_ms <= now_ms]
        chosen = next(iter(current), lately[-1] if lately else None)
        return None if chosen is None else self._view(chosen, now_ms)

    def _read(self) -> list[ScheduledLesson]:
        lessons = read_lessons(self._reader, self._store.identity.school, self._now_ms())
        done = {
            row["lesson"]
            for row in self._reader.execute(
                "SELECT lesson FROM lesson_minutes WHERE school = ? AND deleted = 0",
                (self._store.identity.school,),
            )
        }
        # A lesson that is written down is kept only for the pages, which show it a while longer.
        return [
            each
            for each in lessons
            if each.lesson not in done or self._now_ms() - SHOW_AFTER_MS < each.ends_ms
        ]

    def _start(self, lesson: ScheduledLesson, means: LessonMeans, tasks: asyncio.TaskGroup) -> None:
        due = self._now_ms() >= lesson.starts_ms - PREPARE_MS
        if not due or lesson.lesson in self._runs or not lesson.mine.room:
            return
        kind = FlagshipRun if lesson.mine.role is LessonRole.FLAGSHIP else ReceiverRun
        room = _Room(lesson, self._fleet, self._room(lesson.mine.room), self._source)
        run = kind(lesson, means, room, self._changed)
        self._runs[lesson.lesson] = run
        tasks.create_task(keep_running(f"lesson {lesson.lesson}", run.run))

    def _room(self, room: str) -> FanOut:
        known = self._rooms.get(room)
        if known is None:
            if len(self._rooms) >= ROOMS_MAX:
                raise web.HTTPServiceUnavailable(text=f"{ROOMS_MAX} rooms are open already")
            known = FanOut(self._now_ms)
            self._rooms[room] = known
            self._opened.put_nowait(known)
        return known

    async def _serve_rooms(self, tasks: asyncio.TaskGroup) -> Never:
        while True:
            room = await self._opened.get()
            tasks.create_task(room.run())

    def _view(self, lesson: ScheduledLesson, now_ms: int) -> LessonView:
        run = self._runs.get(lesson.lesson)
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
            state=LessonState.ARCHIVED if run is None and now_ms > lesson.ends_ms else state,
            starts_ms=lesson.starts_ms,
            ends_ms=lesson.ends_ms,
            flagship=flagship.name if flagship else "",
            receivers=tuple(party.name for party in lesson.receivers),
            rehearsal=lesson.rehearsal,
            evidence_ms=evidence_ms,
            cause=Cause.NONE if run is None else run.status.cause,
        )


class _Room:
    """A room as its lesson sees it: blackboard, camera and pages."""

    def __init__(self, lesson: ScheduledLesson, fleet: Fleet, fan_out: FanOut, source: str) -> None:
        self._lesson = lesson
        self._fleet = fleet
        self._fan_out = fan_out
        self._source = source

    async def prepare(self) -> None:
        for device in self._devices(DeviceKind.BLACKBOARD):
            for command, argument in (("power", "on"), ("source", self._source)):
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
        return self._fleet.stream_of(cameras[0])

    def publish(self, item: StreamItem) -> None:
        self._fan_out.publish(item)

    def show(self, status: LessonStatus) -> None:
        self._fan_out.show(status)

    def _devices(self, kind: DeviceKind) -> list[DeviceId]:
        return [
            device
            for device, adopted in self._fleet.devices.items()
            if adopted.kind is kind and adopted.room == self._lesson.mine.room
        ]
