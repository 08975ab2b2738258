"""What a lesson's teacher orders from the remote: times, stage, slides, chapters."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from drivers.errors import SetupError
from edge.errors import NotNowError
from edge.lesson.classroom.board import BoardView, LessonBoard
from edge.lesson.preparing.checks import Check, SourceTrouble
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus
from edge.lesson.teaching.lesson_order import STEP_MIN_MAX, extend, order_row, put_off, stop
from edge.lesson.teaching.teacher_code import TeacherCodes
from sync.lessons.lesson_events import CallOn, Chapter, LessonEvent, Slide, Stopped, Times
from sync.lessons.lesson_times import LessonOrder
from sync.logs.oplog import Row

CHAPTER_CHARS_MAX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePicture:
    """One picture of the lesson's material; ``position`` counts from 1."""

    position: int
    title: str
    digest: str


class GivenLesson(Protocol):
    """A lesson that is given here, or prepared: ``edge.lesson.flagship_run``."""

    @property
    def lesson(self) -> ScheduledLesson: ...
    @property
    def board(self) -> LessonBoard: ...
    @property
    def status(self) -> LessonStatus: ...
    @property
    def checks(self) -> tuple[Check, ...]: ...
    @property
    def troubles(self) -> tuple[SourceTrouble, ...]: ...
    def tell(self, event: LessonEvent) -> None: ...


class Slides(Protocol):
    """The pictures of lessons at the flagship."""

    async def pictures(self, lesson: str) -> list[SlidePicture]:
        """Return a lesson's pictures in order."""

    async def add(self, lesson: str, title: str, picture: bytes) -> SlidePicture:
        """Add a picture at the end; raises SetupError for what is none or too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteView:
    """What the remote shows of one lesson; ``classes``: school, its name in Chinese, in English."""

    lesson: ScheduledLesson
    board: BoardView
    status: LessonStatus
    checks: tuple[Check, ...]
    troubles: tuple[SourceTrouble, ...]
    classes: tuple[tuple[int, str, str], ...]
    slides: tuple[SlidePicture, ...]

    @property
    def shown(self) -> SlidePicture | None:
        """The slide that is shown, if one."""
        slide = self.board.slide
        return next((each for each in self.slides if slide and each.digest == slide.digest), None)

    @property
    def before(self) -> SlidePicture | None:
        """The slide before the one that is shown."""
        return None if self.shown is None else self._at(self.shown.position - 1)

    @property
    def after(self) -> SlidePicture | None:
        """The slide after the one that is shown; the first where none is."""
        return self._at(1 if self.shown is None else self.shown.position + 1)

    def _at(self, position: int) -> SlidePicture | None:
        return next((each for each in self.slides if each.position == position), None)


RecordOrder = Callable[[Row], Awaitable[None]]
"""Writes a row of ``lesson_order`` durably."""
Find = Callable[[str], GivenLesson | None]
"""Returns what holds the lesson that a room gives now, or prepares; None where there is none."""
NextBegins = Callable[[ScheduledLesson], int | None]
"""Returns when the next lesson in a lesson's room begins, Unix ms; None for none."""


class TeacherDesk:
    """Orders of the lesson that a room gives; each raises NotNowError when it does not fit."""

    def __init__(
        self,
        codes: TeacherCodes,
        find: Find,
        slides: Slides,
        record: RecordOrder,
        next_begins: NextBegins,
        now_ms: Callable[[], int],
    ) -> None:
        self.codes = codes
        self._find = find
        self._slides = slides
        self._record = record
        self._next_begins = next_begins
        self._now_ms = now_ms

    def lesson(self, room: str) -> ScheduledLesson | None:
        """Return the lesson that the room gives, None when it gives none."""
        run = self._find(room)
        return None if run is None else run.lesson

    async def remote(self, room: str) -> RemoteView | None:
        run = self._find(room)
        if run is None:
            return None
        return RemoteView(
            lesson=run.lesson,
            board=run.board.view,
            status=run.status,
            checks=run.checks,
            troubles=run.troubles,
            classes=tuple(
                (party.school, party.name, party.name_en) for party in run.lesson.receivers
            ),
            slides=tuple(await self._slides.pictures(run.lesson.lesson)),
        )

    async def put_off(self, room: str, minutes: int) -> None:
        """Begin some minutes later."""
        run = self._run(room)
        _check_step(minutes)
        await self._order(
            run, put_off(run.lesson.planned, run.lesson.times, minutes, self._now_ms())
        )

    async def extend(self, room: str, minutes: int) -> None:
        """End some minutes later."""
        run = self._run(room)
        _check_step(minutes)
        await self._order(
            run, extend(run.lesson.planned, run.lesson.times, minutes, self._now_ms())
        )

    async def stop(self, room: str) -> None:
        """End the lesson now."""
        run = self._run(room)
        await self._order(
            run, stop(run.lesson.planned, run.lesson.times, self._now_ms()), Stopped()
        )

    def call_on(self, room: str, school: int, *, stage: bool) -> None:
        """Let a class be heard, with ``stage`` seen large by all; school 0 is nobody."""
        run = self._run(room)
        if school and all(party.school != school for party in run.lesson.receivers):
            raise NotNowError("this school has no part in the lesson; reload the page")
        run.tell(CallOn(school=school, stage=stage and school != 0))

    async def show_slide(self, room: str, position: int) -> None:
        """Show a picture of the lesson's material, or none for 0."""
        run = self._run(room)
        if position == 0:
            run.tell(Slide(digest=""))
            return
        pictures = await self._slides.pictures(run.lesson.lesson)
        found = next((each for each in pictures if each.position == position), None)
        if found is None:
            raise NotNowError("there is no such slide; reload the page")
        run.tell(Slide(digest=found.digest, position=position, title=found.title))

    async def add_slide(self, room: str, title: str, picture: bytes) -> None:
        """Add a picture at the end; it travels at once. Raises SetupError for what is none."""
        run = self._run(room)
        await self._slides.add(run.lesson.lesson, title, picture)

    def mark_chapter(self, room: str, title: str) -> None:
        """Note that a part of the lesson begins."""
        run = self._run(room)
        if self._now_ms() < run.lesson.starts_ms:
            raise NotNowError("the lesson has not begun")
        run.tell(Chapter(title=title[:CHAPTER_CHARS_MAX]))

    def _run(self, room: str) -> GivenLesson:
        run = self._find(room)
        if run is None:
            raise NotNowError("this room gives no lesson now")
        return run

    async def _order(self, run: GivenLesson, order: LessonOrder, *events: LessonEvent) -> None:
        """Tell an order to all who are there, and write it down for those who are away."""
        lesson = run.lesson.lesson
        next_ms = self._next_begins(run.lesson)
        is_longer = order.times.ends_ms > run.lesson.ends_ms
        if is_longer and next_ms is not None and order.times.ends_ms > next_ms:
            raise NotNowError("the next lesson in this room begins before that")
        times = Times(starts_ms=order.times.starts_ms, ends_ms=order.times.ends_ms)
        for event in (*events, times):
            run.tell(event)
        await self._record(order_row(lesson, order))


def _check_step(minutes: int) -> None:
    if not 1 <= minutes <= STEP_MIN_MAX:
        raise SetupError(f"{minutes} minutes: choose 1 to {STEP_MIN_MAX}")
