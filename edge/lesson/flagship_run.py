"""A lesson at the school that gives it: capture the room, keep the recording, supply the hub."""

import asyncio

from edge.errors import NotNowError
from edge.lesson.capture.flagship_capture import FlagshipCapture
from edge.lesson.capture.source_troubles import source_troubles
from edge.lesson.classroom.board import BoardView
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.keys import key_ring
from edge.lesson.lesson_run import LessonRun
from edge.lesson.preparing.checks import SourceTrouble
from edge.lesson.transfer.material_sender import keep_sending
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.stored_records import told_events
from edge.lesson.way_back.return_wall import ReturnWall
from sync.errors import SyncError
from sync.lessons.lesson_events import LessonEvent


class FlagshipRun(LessonRun):
    """Captures the room's camera, keeps the recording and supplies the hub."""

    _publisher: LessonPublisher | None = None
    _capture: FlagshipCapture | None = None
    wall: ReturnWall | None = None
    """The classes of the lesson, while it is held."""

    @property
    def troubles(self) -> tuple[SourceTrouble, ...]:
        return () if self._capture is None else source_troubles(self._capture.troubles)

    def tell(self, event: LessonEvent) -> None:
        """Have something happen in the lesson; raises NotNowError when it is not being held."""
        if self._publisher is None:
            raise NotNowError("the lesson is not being prepared yet; try again ten minutes before")
        try:
            timed = self._publisher.tell(event)
        except (ValueError, SyncError) as error:  # it is over, or the disk takes no more
            raise NotNowError(str(error)) from error
        self.hear(timed)

    async def _hold(self) -> None:
        means = self._means
        key = await means.writer.call(means.keys.sealing_key, self.lesson.lesson)
        publisher = LessonPublisher(
            lesson=self.lesson.lesson,
            key=key,
            signing=means.identity.signing,
            shelf=means.shelf,
            route=means.route,
            now_ms=means.now_ms,
            on_status=self._note,
            on_item=self._publish,
        )
        self.wall = ReturnWall(
            lambda: self.lesson,
            means,
            self.board,
            tell=self.tell,
            recorder=lambda: publisher.recorder,
            changed=self._changed,
        )
        publisher.on_hub = self._book.hops.hub
        await self._hear_again()
        self._publisher = publisher
        self._line = publisher.line
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            following = tasks.create_task(
                key_ring.follow_sealing_key(means, self.lesson.lesson, key, publisher.use_key)
            )
            sending = tasks.create_task(
                self._beside(
                    "slides", lambda: keep_sending(publisher, means.materials, self.lesson.lesson)
                )
            )
            walling = tasks.create_task(self._beside("classes", self.wall.run))
            await self._until_start()
            if not self._is_over:
                capture = FlagshipCapture(
                    self.lesson.lesson,
                    publisher,
                    self._room.sources,
                    now_ms=means.now_ms,
                    rng=means.rng,
                    screen=self._room.screen,
                    changed=self._changed,
                )
                self._capture = capture
                self._lost_packets = lambda: capture.lost_packets
                capturing = tasks.create_task(self._beside("capture", capture.run))
                await self._until_end()
                capturing.cancel()
                await asyncio.wait([capturing])
                self._capture = None
                self._changed()
            following.cancel()
            walling.cancel()
            sending.cancel()
            self.wall = None
            publisher.finish()

    async def _hear_again(self) -> None:
        """Take in what happened before this process began."""
        means = self._means
        keys = await means.read_keys(self.lesson.lesson, means.identity.school)
        for timed in told_events(means.shelf, self.lesson.lesson, keys):
            self.hear(timed)

    def _publish(self, item: StreamItem) -> None:
        super()._publish(item)
        if self.wall is not None:
            self.wall.observe(item)

    def _take_up(self, view: BoardView) -> BoardView:
        if self.wall is not None:
            self.wall.follow()
        return view
