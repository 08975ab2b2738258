"""Every lesson at its time: from the synced schedule, without the hub's help and without a hand."""

import asyncio
import logging
import os
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic
from typing import Never

import aiohttp

from edge.box_store import BoxStore
from edge.lesson.classroom.hls_desk import HlsDesk
from edge.lesson.classroom.replay import ReplayDesk
from edge.lesson.classroom.room_streams import RoomStreams
from edge.lesson.classroom.slide_desk import SlideDesk
from edge.lesson.evidence.hop_quality import ScreenReport
from edge.lesson.flagship_run import FlagshipRun
from edge.lesson.keys.granting import LessonGrants
from edge.lesson.keys.lesson_keys import LessonKeys, read_keys
from edge.lesson.keys.partners import Partners
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.lesson_run import LessonRun
from edge.lesson.lesson_views import LessonViews
from edge.lesson.preparing.probes import Probes, Surroundings
from edge.lesson.receiver_run import ReceiverRun
from edge.lesson.recordings.library import Library
from edge.lesson.recordings.recording_books import RecordingBooks
from edge.lesson.room import Room, RoomMeans
from edge.lesson.schedule import PREPARE_MS, ScheduledLesson, read_lessons
from edge.lesson.teaching.lesson_slides import LessonSlides
from edge.lesson.teaching.materials import Materials
from edge.lesson.teaching.teacher_code import TeacherCodes
from edge.lesson.teaching.teacher_desk import TeacherDesk
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.way_back.class_desk import ClassDesk
from edge.pages.box_view import LessonRole, LessonView, RoomCheck, RoomTrouble
from edge.supervision import keep_running
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.logs.oplog import Row
from sync.segments.sealing import DataKey, KeyId
from sync.writer import Writer

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
READ_EVERY_S = 30.0
"""The schedule is read when the hub sent something of it, and at the latest after this."""


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
        rooms: RoomMeans,
        surroundings: Surroundings,
        *,
        now_ms: Callable[[], int],
        rng: Random,
        changed: Callable[[], None],
    ) -> None:
        folder = store.path.parent
        partners = Partners(store.node, store.acquaintances, folder / "partners.json")
        self._keys = LessonKeys(
            store.node, store.reader, store.identity.sealing, os.urandom, now_ms
        )
        self._store = store
        self._writer = writer
        self._hub_context = hub_context
        self._shelf = LessonShelf(folder / "lessons")
        self._folder = folder
        self._materials = Materials(folder / "materials")
        self._now_ms = now_ms
        self._rng = rng
        self._changed = changed
        self._scheduled: dict[LessonId, ScheduledLesson] = {}
        self._is_stale = True
        self._was_read = asyncio.Event()
        self._held: dict[LessonId, _Held] = {}
        self._room_means = rooms
        self._may_fill = surroundings.may_fill
        self._probes = Probes(surroundings, store, writer, partners, self._shelf, now_ms, rng)
        self.grants = LessonGrants(
            partners, self._keys, writer, now_ms, lambda: self._scheduled, lambda: self._held
        )
        self.recordings = Library(
            self._shelf,
            folder,
            RecordingBooks(store, writer, self._keys),
            materials=self._materials,
            keeping=surroundings.keeping,
            is_held=self._held.__contains__,
            now_ms=now_ms,
        )
        self.teacher = TeacherDesk(
            TeacherCodes(secrets.randbelow, monotonic),
            self._giving,
            LessonSlides(self._materials, store.node, store.reader, writer),
            self._record_order,
            self._next_begins,
            now_ms,
        )
        self.classes = ClassDesk(self._giving, self._receiving)
        self._views = LessonViews(
            self._shelf, self.teacher.codes, self._count_slides, now_ms, surroundings.night
        )
        self.rooms = RoomStreams(store, now_ms, lambda: self._scheduled)
        self.replay = ReplayDesk(self._shelf, lambda: self._scheduled, self._received_keys, now_ms)
        self.slides = SlideDesk(self._materials, lambda: self._scheduled, self.rooms.chosen)
        self.hls = HlsDesk(
            self.rooms.playing, self._shelf, lambda: self._scheduled, self._received_keys, now_ms
        )

    def note_schedule(self) -> None:
        """Have the schedule read again: the hub sent something of it."""
        self._is_stale = True

    async def run(self) -> Never:
        """Watch the schedule and hold the lessons until cancelled."""
        identity = self._store.identity
        self._held.clear()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._hub_context)) as session,
            asyncio.TaskGroup() as tasks,
        ):
            route = HubRoute(session, f"https://{identity.hub_host}:{identity.hub_port}", self._rng)
            means = LessonMeans(
                identity=identity,
                node=self._store.node,
                writer=self._writer,
                reader=self._store.reader,
                acquaintances=self._store.acquaintances,
                keys=self._keys,
                materials=self._materials,
                shelf=self._shelf,
                route=route,
                now_ms=self._now_ms,
                rng=self._rng,
                may_fill=self._may_fill,
            )
            tasks.create_task(keep_running("lessons' rooms", self.rooms.run))
            tasks.create_task(keep_running("lessons' schedule", self._keep_reading))
            await self._was_read.wait()  # a class waits for a box that comes back in mid-lesson
            tasks.create_task(keep_running("lessons' keys", self.grants.run))
            tasks.create_task(keep_running("recordings", self.recordings.run))
            while True:
                self._follow_schedule(means, tasks)
                for entered in self.rooms.set_stages():
                    run = self._run_of(entered)
                    if run is not None:
                        run.take_stage()
                await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError("lessons are watched until the daemon ends")

    def note_screen(self, page: str, told: ScreenReport) -> None:
        """Let the lesson of a room know what one of its pages says of its decoding."""
        run = self._run_in(told.room)
        if run is not None:
            run.note_screen(page, told)

    def lesson_now(self, room: str) -> LessonView | None:
        """Return the lesson running in a room, else the next one, else the last, else None."""
        chosen = self.rooms.chosen(room)
        return None if chosen is None else self._views.view(chosen, self._run_of(chosen.lesson))

    def lesson_checks(self) -> list[RoomCheck]:
        """Return what fails of the lessons whose bell is near, and of those that are held."""
        now_ms = self._now_ms()
        return [
            RoomCheck(
                room=held.run.lesson.mine.room,
                is_held=held.run.lesson.starts_ms <= now_ms,
                check=check,
            )
            for held in self._held.values()
            if not held.leaving
            for check in held.run.failing
        ]

    def source_troubles(self) -> list[RoomTrouble]:
        """Return what does not come of the lessons given here, and what classes lack to be seen."""
        return [
            RoomTrouble(
                room=held.run.lesson.mine.room,
                gives=held.run.lesson.mine.role is LessonRole.FLAGSHIP,
                trouble=trouble,
            )
            for held in self._held.values()
            if not held.leaving
            for trouble in held.run.troubles
        ]

    def _run_of(self, lesson: LessonId) -> LessonRun | None:
        held = self._held.get(lesson)
        return None if held is None or held.leaving else held.run

    def _run_in(self, room: str) -> LessonRun | None:
        chosen = self.rooms.chosen(room)
        return None if chosen is None else self._run_of(chosen.lesson)

    def _giving(self, room: str) -> FlagshipRun | None:
        """Return what holds the lesson that a room gives, or prepares."""
        run = self._run_in(room)
        return run if isinstance(run, FlagshipRun) and not run.archived else None

    def _receiving(self, room: str) -> ReceiverRun | None:
        """Return what holds the lesson that a room receives, or prepares."""
        run = self._run_in(room)
        return run if isinstance(run, ReceiverRun) and not run.archived else None

    def _count_slides(self, lesson: LessonId) -> int:
        return len(self._materials.digests(lesson))

    def _next_begins(self, lesson: ScheduledLesson) -> int | None:
        """Return when the next lesson in a lesson's room begins."""
        later = [
            each.starts_ms
            for each in self._scheduled.values()
            if each.mine.room == lesson.mine.room
            and each.lesson != lesson.lesson
            and each.starts_ms >= lesson.planned.ends_ms
        ]
        return min(later, default=None)

    async def _record_order(self, row: Row) -> None:
        await self._writer.call(self._store.node.record, "lesson_order", [row])
        self.note_schedule()

    async def _received_keys(self, lesson: ScheduledLesson) -> Mapping[KeyId, DataKey]:
        """Return the keys of a lesson that its flagship granted to this box."""
        flagship, store = lesson.flagship, self._store
        if flagship is None:
            return {}
        own = store.identity.sealing
        return await self._writer.call(read_keys, store.reader, lesson.lesson, flagship.school, own)

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
                self._scheduled = {each.lesson: self._as_ordered(each) for each in lessons}
                self._was_read.set()
            await asyncio.sleep(LOOK_EVERY_S)

    def _as_ordered(self, lesson: ScheduledLesson) -> ScheduledLesson:
        run = self._run_of(lesson.lesson)
        return lesson if run is None else run.ordered(lesson)

    def _follow_schedule(self, means: LessonMeans, tasks: asyncio.TaskGroup) -> None:
        """Hold what is due, as it is scheduled now; end what was cancelled or moved away."""
        now_ms = self._now_ms()
        for name, held in list(self._held.items()):
            lesson = self._scheduled.get(name)
            if held.task.done():
                if held.leaving or lesson is None or lesson.done:
                    del self._held[name]
                    if held.leaving:
                        tasks.create_task(keep_running("a room put back", held.run.put_back))
            elif held.leaving:
                continue
            elif lesson is None or not _goes_on(held.run.lesson, lesson, now_ms):
                _log.info("lesson %s ends here: it was cancelled or moved", name)
                held.leaving = True
                held.task.cancel()
            else:
                self._scheduled[name] = held.run.follow(lesson)
        for lesson in self._scheduled.values():
            is_due = lesson.planned.starts_ms - PREPARE_MS <= now_ms
            if is_due and not lesson.done and lesson.lesson not in self._held and lesson.mine.room:
                self._start(lesson, means, tasks)

    def _start(self, lesson: ScheduledLesson, means: LessonMeans, tasks: asyncio.TaskGroup) -> None:
        kind = FlagshipRun if lesson.mine.role is LessonRole.FLAGSHIP else ReceiverRun
        name, place = lesson.lesson, lesson.mine.room
        room = Room(
            lesson,
            self._room_means,
            self.rooms.of(place),
            partial(self.rooms.is_on_stage, place, name),
            partial(self._is_room_needed, place, name),
            partial(self._probes.look, route=means.route),
        )
        run = kind(lesson, means, room, self._changed)
        self._held[name] = _Held(run, tasks.create_task(self._hold(run)))

    def _is_room_needed(self, room: str, lesson: LessonId) -> bool:
        """Tell whether another lesson that is not over has the room prepared."""
        now_ms = self._now_ms()
        return any(
            held.run.lesson.mine.room == room and held.run.lesson.ends_ms > now_ms
            for name, held in self._held.items()
            if name != lesson and not held.leaving
        )

    async def _hold(self, run: LessonRun) -> None:
        try:
            await keep_running(f"lesson {run.lesson.lesson}", run.run)
        finally:
            self._shelf.close_lesson(run.lesson.lesson)
            self._is_stale = True


def _goes_on(held: ScheduledLesson, lesson: ScheduledLesson, now_ms: int) -> bool:
    """Tell whether a lesson that is held is still this one: same place, and not put off."""
    is_due = lesson.planned.starts_ms - PREPARE_MS <= now_ms
    return is_due and (lesson.mine.room, lesson.mine.role) == (held.mine.room, held.mine.role)
