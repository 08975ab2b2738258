"""One receiving class as its flagship follows it: picture, voice, and what it says."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.lesson.classroom.board import LessonBoard
from edge.lesson.classroom.classroom_stream import item_of
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.keys import key_ring
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.schedule import Party
from edge.lesson.status import FRESH_MS_MAX, LessonStatus, waiting
from edge.lesson.transfer.receive import LessonReceiver, Listener
from edge.supervision import keep_running
from sync.errors import MalformedError
from sync.lessons.fragment_log import Header, Kind, LessonId, is_sound
from sync.lessons.lesson_events import Answer, TimedEvent
from sync.lessons.tracks import return_log
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)


class Heard(StrEnum):
    """What comes from a class; the wall has a word for each."""

    LIVE = "live"  # its picture
    QUIET = "quiet"  # no picture ever; it said something, or speaks
    AWAY = "away"  # its picture came, and does not come now
    WAITING = "waiting"  # nothing was heard yet


class FollowedClass:
    """Follows one class's return log; :meth:`run` is its task.

    Its picture and voice are played and never kept here; what it said is.
    """

    def __init__(
        self,
        party: Party,
        lesson: LessonId,
        means: LessonMeans,
        *,
        changed: Callable[[], None],
        on_media: Callable[[int, Header, bytes], None],
    ) -> None:
        """``on_media`` hears the school and what it sends, opened, as it is played."""
        self.party = party
        self.fan_out = FanOut(means.now_ms)
        self._log_id = return_log(lesson, party.school)
        self._means = means
        self._changed = changed
        self._on_media = on_media
        self._keys: dict[KeyId, DataKey] = {}
        self._board = LessonBoard()
        self._status = waiting(means.now_ms())
        self._inits: dict[int, tuple[Header, bytes]] = {}
        self._is_heard = False
        self._said_ms: int | None = None
        self._told = Heard.WAITING

    @property
    def hand_ms(self) -> int | None:
        """Since when its hand is up, by its own box's clock, and never in the future."""
        return self._not_later(self._board.view.hand_ms)

    @property
    def help_ms(self) -> int | None:
        return self._not_later(self._board.view.help_ms)

    @property
    def inits(self) -> Mapping[int, bytes]:
        """The opened inits of what it sends, by track."""
        return {track: opened for track, (_, opened) in self._inits.items()}

    @property
    def heard(self) -> Heard:
        picture_ms = self._status.picture_age_ms
        if picture_ms is not None:
            return Heard.LIVE if picture_ms < FRESH_MS_MAX else Heard.AWAY
        is_silent = self._status.sound_age_ms is None and self._said_ms is None
        return Heard.WAITING if is_silent else Heard.QUIET

    @property
    def evidence_ms(self) -> int | None:
        """When something last came from it, Unix ms of this box."""
        known = (self._said_ms, self._status.evidence_ms)
        return max((each for each in known if each is not None), default=None)

    def answer(self, question: str) -> Answer | None:
        return self._board.answer(question)

    def let_speak(self, *, heard: bool) -> None:
        """Let its voice be heard on the wall from now on, or no longer."""
        if heard and not self._is_heard:
            for track, (header, opened) in self._inits.items():
                if is_sound(track):
                    self.fan_out.publish(item_of(header, opened))
        self._is_heard = heard

    async def run(self) -> Never:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.fan_out.run())
                tasks.create_task(keep_running(f"lesson {self._log_id}: keys", self._refresh))
                tasks.create_task(keep_running(f"lesson {self._log_id}: following", self._follow))
        finally:
            self._means.shelf.close_lesson(self._log_id)
        raise AssertionError("a class is followed until the lesson ends")

    async def _follow(self) -> None:
        receiver = LessonReceiver(
            lesson=self._log_id,
            keys=self._keys,
            flagship=await self._signing_key(),
            shelf=self._means.shelf,
            route=self._means.route,
            now_ms=self._means.now_ms,
            listener=Listener(on_status=self._note, on_media=self._take_in, on_event=self._hear),
        )
        await receiver.run()

    async def _signing_key(self) -> Ed25519PublicKey:
        """Wait for the class's box to be known here."""
        means = self._means
        while True:
            key = await means.writer.call(means.acquaintances.latest_signing_key, self.party.school)
            if key is not None:
                return key
            await asyncio.sleep(key_ring.KEYS_EVERY_S)

    async def _refresh(self) -> Never:
        """Take up the log's key as soon as the class's school grants it."""
        await key_ring.keep_keys(self._means, self._log_id, lambda: self.party.school, self._keys)

    def _note(self, status: LessonStatus) -> None:
        self._status = status
        self.fan_out.show(status)
        if self.heard is not self._told:
            self._told = self.heard
            self._changed()

    def _hear(self, timed: TimedEvent) -> None:
        self._board.add(timed)
        said_ms = min(timed.at_ms, self._means.now_ms())
        self._said_ms = max(self._said_ms or 0, said_ms)
        self._changed()

    def _take_in(self, header: Header, opened: bytes) -> None:
        if header.kind is Kind.INIT:
            self._inits[header.track] = header, opened
        if is_sound(header.track) and not self._is_heard:
            return
        self.fan_out.publish(item_of(header, opened))
        try:
            self._on_media(self.party.school, header, opened)
        except MalformedError as error:
            _log.warning("lesson %s: not put into the lesson: %s", self._log_id, error)

    def _not_later(self, at_ms: int | None) -> int | None:
        return None if at_ms is None else min(at_ms, self._means.now_ms())
