"""All classes of a lesson at the school that gives it, and who of them is called on."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Never

from msgspec import Struct

from edge.errors import NotNowError
from edge.lesson.classroom.board import AskedQuestion, BoardView, LessonBoard
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.transfer.recording import TakeRecorder
from edge.lesson.way_back.called_class import CalledClass
from edge.lesson.way_back.followed_class import FollowedClass, Heard
from sync.lessons.fragment_log import Header, LessonId
from sync.lessons.lesson_events import CallOn, LessonEvent, Mute, Question, Results

LOOK_EVERY_S = 1.0
FREE_AFTER_S = 10.0
"""A class that was called on and sends nothing for so long is let go."""
PUPILS_MAX = 100
"""So much one class may weigh in an answer."""


class ClassView(Struct, frozen=True, kw_only=True):
    """One class on the wall; moments are Unix ms, ``answer`` is a place in the choices."""

    school: int
    name: str
    name_en: str
    class_group: str
    state: Heard
    evidence_ms: int | None
    hand_ms: int | None
    help_ms: int | None
    muted: bool
    answer: int | None


class QuestionView(Struct, frozen=True, kw_only=True):
    """The newest question; ``counts`` are those so far while it is ``open``."""

    question: str
    text: str
    choices: tuple[str, ...]
    counts: tuple[int, ...]
    answered: int
    open: bool


class WallView(Struct, frozen=True, kw_only=True):
    """What the wall shows; ``freed`` is the class let go last because nothing came from it."""

    lesson: str
    now_ms: int
    classes: tuple[ClassView, ...]
    called: int
    stage: bool
    freed: int
    question: QuestionView | None


class ReturnWall:
    """Follows every class's return log; :meth:`run` is its task.

    ``board`` is the lesson's own, folded by whoever holds the lesson, who calls :meth:`follow` at
    each event; ``tell`` has something happen in the lesson.
    """

    def __init__(
        self,
        scheduled: Callable[[], ScheduledLesson],
        means: LessonMeans,
        board: LessonBoard,
        *,
        tell: Callable[[LessonEvent], None],
        recorder: Callable[[], TakeRecorder | None],
        changed: Callable[[], None],
    ) -> None:
        self.lesson: LessonId = scheduled().lesson
        self._scheduled = scheduled
        self._means = means
        self._board = board
        self._tell = tell
        self._changed = changed
        self._classes: dict[int, FollowedClass] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._called = self._speaks = 0
        self._voice = CalledClass(recorder, means.now_ms)
        self._heard_s = monotonic()
        self._freed = 0

    def view(self) -> WallView:
        board = self._board.view
        return WallView(
            lesson=self.lesson,
            now_ms=self._means.now_ms(),
            classes=tuple(self._class(one, board) for one in self._classes.values()),
            called=board.called,
            stage=board.stage,
            freed=self._freed,
            question=None if board.question is None else self._question(board.question),
        )

    def stream_of(self, school: int) -> FanOut | None:
        """Return a class's picture, None for one that has no part in the lesson."""
        followed = self._classes.get(school)
        return None if followed is None else followed.fan_out

    def call_on(self, school: int, *, stage: bool) -> None:
        """Let a class be heard by all, 0 for none; raises NotNowError for one that has no part."""
        self._check(school)
        self._freed = 0
        if school in self._board.view.muted:
            self._tell(Mute(school=school, muted=False))
        self._tell(CallOn(school=school, stage=stage and school != 0))

    def mute(self, school: int, *, muted: bool) -> None:
        """Hold a class's voice back, or no longer; raises NotNowError as :meth:`call_on`."""
        self._check(school)
        self._tell(Mute(school=school, muted=muted))

    def ask(self, text: str, choices: tuple[str, ...]) -> None:
        """Ask all classes; without choices only close the question that is open.

        Raises NotNowError for a question that no class could be shown.
        """
        self._close_question()
        if not choices:
            return
        try:
            self._tell(Question(question=f"q{self._means.now_ms()}", text=text, choices=choices))
        except ValueError as error:
            raise NotNowError(str(error)) from error

    def follow(self) -> None:
        """Follow what the lesson's board says now."""
        board = self._board.view
        if board.called != self._called:
            self._called, self._heard_s = board.called, monotonic()
            followed = self._classes.get(board.called)
            self._voice.begin({} if followed is None else followed.inits)
        self._speaks = 0 if board.called in board.muted else board.called
        for school, each in self._classes.items():
            each.let_speak(heard=school == self._speaks)
        self._changed()

    def observe(self, item: StreamItem) -> None:
        """Learn the take's time line from what this school's own camera gives."""
        self._voice.observe(item)

    async def run(self) -> Never:
        """Follow the classes that have a part in the lesson now, until cancelled."""
        self._running.clear()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._follow_parties(tasks)
                self._free_silent()
                await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError("the classes are followed until the lesson ends")

    def _follow_parties(self, tasks: asyncio.TaskGroup) -> None:
        parties = {party.school: party for party in self._scheduled().receivers}
        for school in self._classes.keys() - parties.keys():
            running = self._running.pop(school, None)  # None: this task has just begun anew
            if running is not None:
                running.cancel()
            del self._classes[school]
            self._changed()
        for school, party in parties.items():
            if school not in self._classes:
                self._classes[school] = FollowedClass(
                    party,
                    self.lesson,
                    self._means,
                    changed=self._changed,
                    on_media=self._take_in,
                )
                self._classes[school].let_speak(heard=school == self._speaks)
                self._changed()
            if school not in self._running:
                self._running[school] = tasks.create_task(self._classes[school].run())

    def _free_silent(self) -> None:
        """Let go of a class whose box is gone: the others shall not wait for it."""
        if self._called and monotonic() - self._heard_s > FREE_AFTER_S:
            freed = self._called
            with suppress(NotNowError):  # the lesson is just ending
                self.call_on(0, stage=False)
                self._freed = freed

    def _take_in(self, school: int, header: Header, opened: bytes) -> None:
        if school == self._called:
            self._heard_s = monotonic()
            self._voice.take_in(header, opened)

    def _check(self, school: int) -> None:
        if school and school not in self._classes:
            raise NotNowError(f"school {school} has no part in this lesson; reload the page")

    def _close_question(self) -> None:
        asked = self._board.view.question
        if asked is not None and asked.counts is None:
            counts = self._counts(asked)
            self._tell(Results(question=asked.question, counts=counts))

    def _counts(self, asked: AskedQuestion) -> tuple[int, ...]:
        counts = [0] * len(asked.choices)
        for each in self._classes.values():
            answer = each.answer(asked.question)
            if answer is not None and answer.choice < len(counts):
                counts[answer.choice] += min(answer.count, PUPILS_MAX)
        return tuple(counts)

    def _question(self, asked: AskedQuestion) -> QuestionView:
        answered = [each for each in self._classes.values() if each.answer(asked.question)]
        return QuestionView(
            question=asked.question,
            text=asked.text,
            choices=asked.choices,
            counts=self._counts(asked) if asked.counts is None else asked.counts,
            answered=len(answered),
            open=asked.counts is None,
        )

    def _class(self, followed: FollowedClass, board: BoardView) -> ClassView:
        party, asked = followed.party, board.question
        answer = None if asked is None else followed.answer(asked.question)
        return ClassView(
            school=party.school,
            name=party.name,
            name_en=party.name_en,
            class_group=party.class_group,
            state=followed.heard,
            evidence_ms=followed.evidence_ms,
            hand_ms=followed.hand_ms,
            help_ms=followed.help_ms,
            muted=party.school in board.muted,
            answer=None if answer is None else answer.choice,
        )
