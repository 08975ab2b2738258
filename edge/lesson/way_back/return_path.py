"""A receiving class's way back to its teacher: small picture, voice while called on, its word.

All of it goes into the class's own return log, sealed with a key of this school that only the
flagship's confirmed boxes are granted. Picture and voice are live only: nobody writes them down.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Never

import msgspec

from drivers.errors import DriverError
from edge.errors import NotNowError
from edge.lesson.capture.camera_capture import capture, watched
from edge.lesson.capture.flagship_capture import LessonSource
from edge.lesson.classroom.board import AskedQuestion, BoardView, LessonBoard
from edge.lesson.keys.key_ring import follow_sealing_key
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.preparing.preflight import CAMERA_REMEDIES, fault_of
from edge.lesson.status import Cause, LessonStatus
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.stored_records import told_events
from edge.lesson.way_back.return_film import ReturnFilm
from edge.supervision import keep_running
from sync.errors import SyncError
from sync.lessons.fragment_log import LessonId
from sync.lessons.lesson_events import Answer, Hand, Help
from sync.lessons.tracks import return_log
from sync.logs.oplog import Row

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
CAMERA_AGAIN_S = 5.0
GIVE_WAY_S = 10.0
"""So long the lesson has to go well again before this class's picture is sent again."""
LEAVE_S_MAX = 15.0
"""How long what the class said last is still sent after the lesson's end."""
GRANTED_S_MAX = 10.0
"""How long the log's key may take to be granted to a flagship that is confirmed."""

UNCONFIRMED = (
    "the flagship's box is not confirmed here, so this class cannot be shown to its teacher; "
    "compare its key by telephone and confirm it: schoolnode partners"
)
CONFIRM = "Compare the key by telephone and confirm it: schoolnode partners."
GIVES_WAY = (
    "the line is needed for the lesson itself; this class's picture goes on when it has gone well "
    "for ten seconds"
)

NEEDS_LINE = frozenset({Cause.PICTURE_REDUCED, Cause.NO_PICTURE, Cause.NO_SOUND})
SmallCamera = Callable[[], LessonSource]
"""Returns the small stream of the room's camera; raises DriverError."""
Said = Hand | Answer | Help


class AskedByTeacher(msgspec.Struct, frozen=True, kw_only=True):
    """A question that is open; ``choice`` is the place of the class's answer, None before one."""

    question: AskedQuestion
    choice: int | None


class ReturnPath:
    """One class's way back in one lesson; :meth:`run` is its task.

    ``trouble`` says why the teacher does not see this class, empty while it does; ``remedy`` what
    to do, empty where that is nothing.
    """

    def __init__(
        self,
        lesson: LessonId,
        room: str,
        means: LessonMeans,
        camera: SmallCamera,
        changed: Callable[[], None],
    ) -> None:
        self.trouble = ""
        self.remedy = ""
        self._lesson = lesson
        self._room = room
        self._means = means
        self._camera = camera
        self._changed = changed
        self._school = means.identity.school
        self._log_id = return_log(lesson, self._school)
        self._own = LessonBoard()
        self._lesson_view = BoardView()
        self._publisher: LessonPublisher | None = None
        self._source: LessonSource | None = None
        self._is_shared = False
        self._gives_way_until_s = 0.0
        self._over = asyncio.Event()

    @property
    def asked(self) -> AskedByTeacher | None:
        """What the class is asked now and can answer."""
        question = self._lesson_view.question
        is_heard = self._publisher is not None and self._is_shared and not self._over.is_set()
        if question is None or question.counts is not None or not is_heard:
            return None
        answer = self._own.answer(question.question)
        return AskedByTeacher(question=question, choice=None if answer is None else answer.choice)

    def follow(self, view: BoardView) -> BoardView:
        """Follow what holds in the lesson, and return it as this class's pages are to see it."""
        self._lesson_view = view
        if view.called == self._school and self._own.view.hand_ms is not None:
            with suppress(NotNowError):  # the lesson is just ending, or the disk is full
                self._tell(Hand(raised=False))  # the call answers it
        own = self._own.view
        answer = None if view.question is None else self._own.answer(view.question.question)
        return msgspec.structs.replace(
            view,
            hand_ms=own.hand_ms,
            help_ms=own.help_ms,
            school=self._school,
            choice=None if answer is None else answer.choice,
        )

    def note(self, status: LessonStatus) -> None:
        """Let the picture give way where the lesson itself needs the line.

        That of a class which is called on goes on: its teacher has asked for it.
        """
        if status.cause in NEEDS_LINE:
            self._gives_way_until_s = monotonic() + GIVE_WAY_S

    async def say(self, said: Said) -> None:
        """Tell the teacher, and write it down; what holds already is not said again.

        Raises NotNowError where it reaches nobody or fits nothing that is asked.
        """
        if self._publisher is None or self._over.is_set():
            raise NotNowError("the lesson is over; nobody hears it any more")
        if not self._is_shared:
            raise NotNowError(UNCONFIRMED)
        if not self._is_news(said):
            return
        row = self._row(said)
        self._tell(said)
        if row is not None:
            table, columns = row
            await self._means.writer.call(self._means.node.record, table, [columns])

    def finish(self) -> None:
        """End it: the lesson is over. :meth:`run` returns soon after."""
        self._over.set()

    async def run(self) -> None:
        """Send what may be sent until finished."""
        means = self._means
        key = await means.writer.call(means.keys.sealing_key, self._log_id)
        await self._hear_again()
        publisher = LessonPublisher(
            lesson=self._log_id,
            key=key,
            signing=means.identity.signing,
            shelf=means.shelf,
            route=means.route,
            now_ms=means.now_ms,
            on_status=lambda _: None,
        )
        self._publisher = publisher
        follow_key = partial(follow_sealing_key, means, self._log_id, key, publisher.use_key)
        try:
            async with asyncio.TaskGroup() as tasks:
                publishing = tasks.create_task(publisher.run())
                working = [
                    tasks.create_task(keep_running(f"lesson {self._log_id}: {what}", work))
                    for what, work in (
                        ("who opens it", self._look_who_opens),
                        ("key", follow_key),
                        ("camera", self._keep_filming),
                    )
                ]
                await self._over.wait()
                for task in working:
                    task.cancel()
                await asyncio.wait(working)
                publisher.finish()
                await asyncio.wait([publishing], timeout=LEAVE_S_MAX)
                publishing.cancel()
        finally:
            self._publisher = None
            if self._source is not None:
                self._source.watch.leave()
            means.shelf.close_lesson(self._log_id)
        means.shelf.forget(self._log_id)

    async def _hear_again(self) -> None:
        """Take up what this class said before this process began."""
        means = self._means
        keys = await means.read_keys(self._log_id, self._school)
        for timed in told_events(means.shelf, self._log_id, keys):
            self._own.add(timed)

    async def _look_who_opens(self) -> Never:
        """Look whether the flagship can open the log."""
        means = self._means
        while True:
            try:
                self._is_shared = await means.writer.call(means.keys.is_shared, self._log_id)
            except (sqlite3.Error, SyncError) as error:
                _log.warning("lesson %s: its key is not read: %s", self._log_id, error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _keep_filming(self) -> Never:
        begun_s = monotonic()
        while True:
            if not self._is_shared:
                if monotonic() - begun_s > GRANTED_S_MAX:
                    self._note_trouble(UNCONFIRMED, CONFIRM)
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            try:
                await self._film()
            except DriverError as error:
                self._note_trouble(str(error), CAMERA_REMEDIES[fault_of(error)])
            finally:
                if self._publisher is not None:
                    self._publisher.close_take()
            await asyncio.sleep(CAMERA_AGAIN_S)

    async def _film(self) -> None:
        publisher = self._publisher
        assert publisher is not None
        source = self._camera()
        film = ReturnFilm(
            publisher,
            may_show=self._may_show,
            may_speak=self._may_speak,
            now_ms=self._means.now_ms,
        )
        if self._source is not None and self._source.camera != source.camera:
            self._source.watch.leave()
        self._source = source
        with watched(source.watch, film.take_in) as take_in:
            await capture(
                *source.stream(),
                take_in,
                now_ms=self._means.now_ms,
                chance=self._means.rng,
                on_silence=self._note_silence,
            )

    def _may_show(self) -> bool:
        is_needed = monotonic() < self._gives_way_until_s
        gives_way = is_needed and self._lesson_view.called != self._school
        self._note_trouble(GIVES_WAY if gives_way else "")
        return self._is_shared and not gives_way

    def _may_speak(self) -> bool:
        view = self._lesson_view
        return self._is_shared and view.called == self._school and self._school not in view.muted

    def _tell(self, said: Said) -> None:
        if self._publisher is None:
            return
        try:
            self._own.add(self._publisher.tell(said))
        except (ValueError, SyncError) as error:
            raise NotNowError(str(error)) from error
        self._changed()

    def _is_news(self, said: Said) -> bool:
        own = self._own.view
        match said:
            case Hand(raised=raised):
                return raised != (own.hand_ms is not None)
            case Help(wanted=wanted):
                return wanted != (own.help_ms is not None)
            case Answer(question=name, choice=choice):
                asked = self._lesson_view.question
                if asked is None or asked.question != name or asked.counts is not None:
                    raise NotNowError("this question is not open any more")
                if choice >= len(asked.choices):
                    raise NotNowError("the question has no such choice")
                return self._own.answer(name) != said

    def _row(self, said: Said) -> tuple[str, Row] | None:
        """Return the table and the row by which it is archived."""
        at_ms = self._means.now_ms()
        match said:
            case Hand(raised=raised):
                return "hand_raise", {
                    "at_ms": at_ms,
                    "lesson": self._lesson,
                    "room": self._room,
                    "raised": int(raised),
                }
            case Answer(question=name, choice=choice, count=count):
                asked = self._lesson_view.question
                return "quick_answer", {
                    "at_ms": at_ms,
                    "lesson": self._lesson,
                    "question": name,
                    "choice": str(choice) if asked is None else asked.choices[choice],
                    "count": count,
                }
            case Help():
                return None

    def _note_silence(self, why: str) -> None:
        _log.warning("lesson %s: the class cannot be heard: %s", self._log_id, why)

    def _note_trouble(self, trouble: str, remedy: str = "") -> None:
        if trouble != self.trouble:
            self.trouble, self.remedy = trouble, remedy
            if trouble:
                _log.warning("lesson %s: the class is not seen: %s", self._log_id, trouble)
            self._changed()
