"""One lesson's life at one school, from preparing to archived."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine

from edge.lesson.classroom.board import BoardView, LessonBoard
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.evidence.hop_quality import ScreenReport
from edge.lesson.evidence.minutes import MinutesBook
from edge.lesson.lesson_means import Classroom, LessonMeans
from edge.lesson.preparing.checks import Check, SourceTrouble
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus, Phase, waiting
from edge.lesson.transfer.recording import RecordedTake, recorded_takes
from edge.pages.box_view import LessonState
from edge.supervision import keep_running
from sync.lessons.fragment_log import Kind
from sync.lessons.lesson_events import TimedEvent, Times, event_order
from sync.lessons.lesson_times import LessonOrder, LessonTimes
from sync.lessons.tcp_connection import TcpInfo

LOOK_AGAIN_S = 30.0
"""How often everything is looked at again before the bell."""
LOOK_S_MAX = 120.0
PUT_BACK_S_MAX = 180.0


class LessonRun:
    """See ``edge.lesson.flagship_run`` and ``edge.lesson.receiver_run``.

    ``lesson`` may be replaced while it runs: times and parties are looked at again each second.
    ``checks`` is what was found before the bell, ``board`` what the lesson's own time line says.
    """

    def __init__(
        self,
        lesson: ScheduledLesson,
        means: LessonMeans,
        room: Classroom,
        changed: Callable[[], None],
    ) -> None:
        self.lesson = lesson
        self.status = waiting(means.now_ms())
        self.archived = False
        self.checks: tuple[Check, ...] = ()
        self.board = LessonBoard()
        self._order: LessonOrder | None = None
        self._ordered_by: tuple[int, bytes, int] = (0, b"", 0)
        self._board_is_due = False
        self._inits: dict[int, StreamItem] = {}
        self._means = means
        self._room = room
        self._changed = changed
        self._book = MinutesBook(means, lesson)
        self._lost_packets: Callable[[], int] = lambda: 0
        self._line: Callable[[], TcpInfo | None] = lambda: None

    @property
    def state(self) -> LessonState:
        now_ms = self._means.now_ms()
        if self.archived:
            return LessonState.ARCHIVED
        if self.status.phase is Phase.DONE:
            return LessonState.DONE
        if self._is_over:
            return LessonState.CATCHING_UP
        if now_ms < self.lesson.starts_ms or self.status.phase is Phase.WAITING:
            return LessonState.PREPARING
        return {
            Phase.LIVE: LessonState.LIVE,
            Phase.DEGRADED: LessonState.DEGRADED,
            Phase.CATCHING_UP: LessonState.CATCHING_UP,
        }[self.status.phase]

    @property
    def troubles(self) -> tuple[SourceTrouble, ...]:
        """What of the room's pictures and sound does not come now that it should."""
        return ()

    @property
    def failing(self) -> list[Check]:
        """What fails: before the bell of all that is looked at, then of what may be mended yet."""
        is_ahead = self._means.now_ms() < self.lesson.starts_ms
        found = self.checks if is_ahead else self._look_on()
        return [check for check in found if check.is_failing]

    def _look_on(self) -> tuple[Check, ...]:
        """Look at the room while the lesson is held."""
        return ()

    def recorded(self) -> list[RecordedTake]:
        return recorded_takes(self._means.shelf, self.lesson.lesson)

    def follow(self, lesson: ScheduledLesson) -> ScheduledLesson:
        """Go on with the lesson as it is scheduled now, and return it as its teacher ordered it.

        The time line may bring an order before the schedule does.
        """
        self.lesson = self.ordered(lesson)
        return self.lesson

    def ordered(self, lesson: ScheduledLesson) -> ScheduledLesson:
        """Return the lesson as the newest order has it."""
        order = self._order
        is_news = order is not None and order.at_ms >= (lesson.ordered_ms or 0)
        return lesson.ordered(order) if is_news else lesson

    def hear(self, timed: TimedEvent) -> None:
        """Take in what happened in the lesson; at a start once more what happened before."""
        self.board.add(timed)
        event = timed.event
        if isinstance(event, Times) and event_order(timed) > self._ordered_by:
            self._ordered_by = event_order(timed)
            times = LessonTimes(starts_ms=event.starts_ms, ends_ms=event.ends_ms)
            self._order = LessonOrder(at_ms=timed.at_ms, planned=self.lesson.planned, times=times)
            self.follow(self.lesson)
        if not self._board_is_due:  # of many events at once the pages are told the sum
            self._board_is_due = True
            asyncio.get_running_loop().call_soon(self._show_board)

    async def run(self) -> None:
        """Prepare, hold the lesson, fill what is missing, and write down what came of it."""
        async with asyncio.TaskGroup() as tasks:
            counting = tasks.create_task(self._beside("counting", self._count))
            room = None
            if not self._is_over:  # a box that starts late leaves the blackboard as it is
                room = tasks.create_task(self._beside("room", self._keep_room))
            await self._hold()
            counting.cancel()
            if room is not None:
                await asyncio.wait([room], timeout=PUT_BACK_S_MAX)
                room.cancel()
        await self._book.write_down(self.lesson, self.recorded())
        self.archived = True
        self._changed()

    async def put_back(self) -> None:
        """Leave the room as it was, where the lesson ended before its time."""
        await self._room.put_back()

    @abstractmethod
    async def _hold(self) -> None:
        """Take part until the lesson is over and whole."""

    @property
    def _is_over(self) -> bool:
        return self._means.now_ms() >= self.lesson.ends_ms

    async def _beside(self, what: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do something without which the lesson can be held."""
        await keep_running(f"lesson {self.lesson.lesson}: {what}", work)

    async def _until_start(self) -> None:
        await self._until(lambda: self.lesson.starts_ms)

    async def _until_end(self) -> None:
        await self._until(lambda: self.lesson.ends_ms)

    async def _until(self, moment_ms: Callable[[], int]) -> None:
        # The wall clock may be set and the lesson moved meanwhile: both are looked at again.
        while (left_ms := moment_ms() - self._means.now_ms()) > 0:  # noqa: ASYNC110 - as said
            await asyncio.sleep(min(left_ms / 1000, 1.0))

    async def _keep_room(self) -> None:
        """Prepare the room, look at everything until the bell, and put the room back."""
        if not self._is_over:
            await self._room.prepare()
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(self._beside("preflight", self._keep_looking))
                await self._until_start()
                looking.cancel()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._beside("cameras", self._keep_cameras))
            await self._until_end()
            following.cancel()
        await self._room.put_back()

    async def _keep_looking(self) -> None:
        while self._means.now_ms() < self.lesson.starts_ms:
            async with asyncio.timeout(LOOK_S_MAX):
                self.checks = await self._room.look(self.lesson)
            self._book.note_checks(self.lesson, self.checks, self._means.now_ms())
            self._changed()
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _keep_cameras(self) -> None:
        """While the lesson is held: a camera may be found, or found again, after the bell."""
        while True:
            await self._room.prepare_cameras()
            await asyncio.sleep(LOOK_AGAIN_S)

    def _gauges(self) -> tuple[int, TcpInfo | None]:
        """Return what the cameras lost so far, and how the line to the hub is."""
        return self._lost_packets(), self._line()

    def note_screen(self, page: str, told: ScreenReport) -> None:
        """Take in what a page of the room says of itself; before the bell it decodes nothing."""
        self._room.pages.note(page, told)
        if told.frames is not None:
            self._book.hops.screen(page, told)

    def _publish(self, item: StreamItem) -> None:
        """Hand an item to the room's pages, and count it."""
        if item.kind is Kind.MEDIA:
            self._book.hops.media(item.track)
        if item.kind is Kind.INIT:
            others = {track: each for track, each in self._inits.items() if each.take == item.take}
            self._inits = {**others, item.track: item}
        self._room.publish(item)

    def take_stage(self) -> None:
        """Show the room's pages what began while another lesson had them."""
        for init in self._inits.values():
            self._room.publish(init)
        self._show_board()

    def _show_board(self) -> None:
        self._board_is_due = False
        self._room.show_board(self._take_up(self.board.view))
        self._changed()

    def _take_up(self, view: BoardView) -> BoardView:
        """Act on what holds now, and return it as the room's pages are to see it."""
        return view

    async def _count(self) -> None:
        await self._book.keep(
            lambda: self.status, lambda: not self._is_over, self._room.watched, self._gauges
        )

    def _note(self, status: LessonStatus) -> None:
        self.status = status
        self._room.show(status)
        if self._book.note(self.lesson, status):
            self._changed()
