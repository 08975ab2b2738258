"""A lesson at a school that receives it: followed through the hub, played, kept, filled up."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.lesson.classroom.board import BoardView
from edge.lesson.classroom.classroom_stream import StreamItem, item_of
from edge.lesson.keys import key_ring
from edge.lesson.keys.lesson_keys import read_former_keys
from edge.lesson.lesson_run import LessonRun
from edge.lesson.preparing.checks import Check, Fixer, SourceTrouble, Standing
from edge.lesson.preparing.preflight import judge_page
from edge.lesson.stand_in import StandIn
from edge.lesson.status import Cause, LessonStatus, Phase, waiting
from edge.lesson.substitute import SubstitutePlayer
from edge.lesson.teaching.growing_slides import GrowingSlides
from edge.lesson.transfer.filling import fill
from edge.lesson.transfer.receive import LessonReceiver, Listener
from edge.lesson.transfer.stored_records import opened_records
from edge.lesson.way_back.return_path import ReturnPath
from sync.lessons.fragment_log import TakeId
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.tracks import PICTURE_SMALL
from sync.segments.sealing import DataKey, KeyId


class ReceiverRun(LessonRun):
    """Follows the flagship through the hub, plays it in the room and keeps the recording."""

    _stand_in: StandIn | None = None
    back: ReturnPath | None = None
    """The class's way back to its teacher, while the lesson goes on."""
    _flagship_status: LessonStatus | None = None

    @property
    def is_substituted(self) -> bool:
        """Whether a recording plays in the flagship's place."""
        return self._stand_in is not None and self._stand_in.is_playing

    @property
    def troubles(self) -> tuple[SourceTrouble, ...]:
        """Why the teacher does not see this class; that its picture gives way is no trouble."""
        back = self.back
        if back is None or not back.remedy or self._is_over:
            return ()
        return (
            SourceTrouble(
                track=PICTURE_SMALL,
                state=Standing.WARN,
                fact=back.trouble,
                remedy=back.remedy,
                who=Fixer.IT,
            ),
        )

    def _look_on(self) -> tuple[Check, ...]:
        page = None if self._is_over else self._room.pages.facts(self._room.watched()[0])
        return () if page is None else (judge_page(page),)

    async def _hold(self) -> None:
        means = self._means
        signing = await self._flagship_signing_key()
        flagship = self._flagship_school()
        keys = {} if flagship is None else await means.read_keys(self.lesson.lesson, flagship)
        growing = GrowingSlides(means.materials, self.lesson.lesson, self._changed)
        stand_in = StandIn(
            self._publish, self._load_substitute, partial(self._rejoin, keys), self._judge
        )
        self._stand_in = stand_in
        receiver = LessonReceiver(
            lesson=self.lesson.lesson,
            keys=keys,
            flagship=signing,
            shelf=means.shelf,
            route=means.route,
            now_ms=means.now_ms,
            listener=Listener(
                on_item=stand_in.publish,
                on_status=self._note,
                on_event=self.hear,
                on_chunk=growing.take,
                on_hub=self._book.hops.hub,
            ),
            may_fill=means.may_fill,
        )
        async with asyncio.TaskGroup() as tasks:
            back = self._begin_return(tasks)
            standing_in = tasks.create_task(self._beside("a recording", stand_in.run))
            refreshing = tasks.create_task(
                key_ring.keep_keys(means, self.lesson.lesson, self._flagship_school, keys)
            )
            slides = tasks.create_task(self._beside("slides", growing.run))
            following = tasks.create_task(receiver.run())
            await self._until_end()
            standing_in.cancel()
            if back is not None:
                back.finish()
            receiver.finish()
            await fill(receiver, following, means.may_fill, self._over_s, self._note_recorded)
            refreshing.cancel()
            slides.cancel()

    def _note(self, status: LessonStatus) -> None:
        if self.is_substituted:
            status = replace(status, phase=Phase.DEGRADED, cause=Cause.SUBSTITUTE)
        else:
            self._flagship_status = status
            if self.back is not None:
                self.back.note(status)
        super()._note(status)

    def _take_up(self, view: BoardView) -> BoardView:
        return view if self.back is None else self.back.follow(view)

    def _begin_return(self, tasks: asyncio.TaskGroup) -> ReturnPath | None:
        """Open the class's way back; a lesson that is over needs none."""
        if self._is_over:
            return None
        self.back = ReturnPath(
            self.lesson.lesson,
            self.lesson.mine.room,
            self._means,
            self._room.small_camera,
            self._show_board,
        )
        tasks.create_task(self._beside("returning", self.back.run))
        return self.back

    def _judge(self) -> tuple[LessonStatus, int]:
        """Return how the flagship's own stream goes, and how long ago the bell was."""
        now_ms = self._means.now_ms()
        since_bell_ms = -1 if self._is_over else now_ms - self.lesson.starts_ms
        return self._flagship_status or self.status, since_bell_ms

    async def _load_substitute(self) -> SubstitutePlayer | None:
        means, name = self._means, self.lesson.substitute
        if name is None:
            return None
        keys = await means.writer.call(read_former_keys, means.reader, name, means.identity.sealing)
        return SubstitutePlayer(means.shelf, name, keys, self._room.publish, means.now_ms)

    def _rejoin(self, keys: Mapping[KeyId, DataKey], take: TakeId) -> list[StreamItem]:
        """Return what the room's pages need to join a take at its newest keyframe."""
        store = self._means.shelf.find(self.lesson.lesson, take)
        records = store.join() if store is not None else ()
        opener = FragmentOpener(self.lesson.lesson, keys)
        return list(opened_records(records, opener, item_of))

    def _over_s(self) -> float:
        return (self._means.now_ms() - self.lesson.ends_ms) / 1000

    async def _note_recorded(self) -> None:
        await self._book.note_recorded(self.lesson, self.recorded())

    async def _flagship_signing_key(self) -> Ed25519PublicKey:
        """Return the flagship's key as soon as its box is known here."""
        means = self._means
        while True:
            flagship = self._flagship_school()
            if flagship is not None:
                key = await means.writer.call(means.acquaintances.latest_signing_key, flagship)
                if key is not None:
                    return key
            self._note(replace(waiting(means.now_ms()), cause=Cause.NO_KEY))
            await asyncio.sleep(key_ring.KEYS_EVERY_S)

    def _flagship_school(self) -> int | None:
        return None if self.lesson.flagship is None else self.lesson.flagship.school
