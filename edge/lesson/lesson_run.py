"""One lesson's life at one school, from preparing to archived."""

import asyncio
import logging
import os
import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from drivers.codecs.digest import Credentials
from drivers.errors import DriverError
from edge.acquaintances import Acquaintances
from edge.lesson.capture import capture
from edge.lesson.classroom_stream import StreamItem
from edge.lesson.hub_link import HubRoute
from edge.lesson.lesson_keys import ensure_key, read_keys
from edge.lesson.partners import Partners
from edge.lesson.publish import LessonPublisher
from edge.lesson.receive import LessonReceiver
from edge.lesson.recording import RecordedTake, TakeRecorder, recorded_takes
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus, Phase, waiting
from edge.lesson.take import CaptureEvent, MediaFragment, MediaGap, TakeInit
from edge.pages.box_view import LessonState
from provisioning.identity import Identity
from sync.fragment_log import LessonId
from sync.fragment_shelf import LessonShelf
from sync.node import Node
from sync.oplog import Row
from sync.sealing import DataKey, KeyId
from sync.signing import sign
from sync.writer import Writer

_log = logging.getLogger(__name__)

CAPTURE_RETRY_S = 2.0
KEYS_EVERY_S = 1.0
COMPLETE_S_MAX = 12 * 3600.0
"""What a receiver could not get by then stays a listed gap: its flagship's box is gone."""
MINUTES_CONTEXT = b"schoolnode lesson minutes"


class Classroom(Protocol):
    """What a lesson needs of the room it is in."""

    async def prepare(self) -> None:
        """Switch the blackboard on and to the right source; failures are logged with a remedy."""

    def camera(self) -> tuple[str, Credentials | None]:
        """Return the main stream of the room's camera; raises DriverError."""

    def publish(self, item: StreamItem) -> None:
        """Hand a fragment to the room's pages."""

    def show(self, status: LessonStatus) -> None:
        """Tell the room's pages how the lesson goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonMeans:
    """What all lessons of a box share. ``reader`` is read on the store's thread."""

    identity: Identity
    node: Node
    writer: Writer
    reader: sqlite3.Connection
    acquaintances: Acquaintances
    partners: Partners
    shelf: LessonShelf
    route: HubRoute
    now_ms: Callable[[], int]
    rng: Random


class LessonRun:
    """See :class:`FlagshipRun` and :class:`ReceiverRun`."""

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
        self._id = LessonId(lesson.lesson)
        self._means = means
        self._room = room
        self._changed = changed
        self._live_s = 0.0
        self._told: tuple[Phase, str] | None = None
        self._quality: list[Row] = []

    @property
    def state(self) -> LessonState:
        now_ms = self._means.now_ms()
        if self.archived:
            return LessonState.ARCHIVED
        if self.status.phase is Phase.DONE:
            return LessonState.DONE
        if now_ms >= self.lesson.ends_ms:
            return LessonState.CATCHING_UP
        if now_ms < self.lesson.starts_ms or self.status.phase is Phase.WAITING:
            return LessonState.PREPARING
        return {
            Phase.LIVE: LessonState.LIVE,
            Phase.DEGRADED: LessonState.DEGRADED,
            Phase.CATCHING_UP: LessonState.CATCHING_UP,
        }[self.status.phase]

    def recorded(self) -> list[RecordedTake]:
        return recorded_takes(self._means.shelf, self._id)

    async def run(self) -> None:
        """Prepare, hold the lesson, fill what is missing, and write down what came of it."""
        async with asyncio.TaskGroup() as tasks:
            preparing = tasks.create_task(self._room.prepare())
            counting = tasks.create_task(self._count())
            await self._hold()
            counting.cancel()
            preparing.cancel()
        await self._write_down()
        self.archived = True
        self._changed()

    @abstractmethod
    async def _hold(self) -> None:
        """Take part until the lesson is over and whole."""

    async def _until(self, moment_ms: int) -> None:
        # The wall clock may be set while a lesson waits, so it is looked at again each second.
        while (left_ms := moment_ms - self._means.now_ms()) > 0:  # noqa: ASYNC110 - as said
            await asyncio.sleep(min(left_ms / 1000, 1.0))

    def _note(self, status: LessonStatus) -> None:
        self.status = status
        self._room.show(status)
        if (status.phase, status.cause) != self._told:
            self._told = (status.phase, status.cause)
            ages = [age for age in (status.sound_age_ms, status.picture_age_ms) if age is not None]
            self._quality.append(
                {
                    "at_ms": status.at_ms,
                    "lesson": self.lesson.lesson,
                    "hop": self.lesson.mine.role.value,
                    "state": status.phase.value,
                    "cause": status.cause.value or None,
                    "frames": status.missing,
                    "late_ms": min(ages, default=None),
                }
            )
            self._changed()

    async def _count(self) -> None:
        """Count the seconds in which sound came, and record how the lesson goes."""
        while True:
            await asyncio.sleep(1.0)
            age_ms = self.status.sound_age_ms
            if age_ms is not None and age_ms < 1500:  # noqa: PLR2004 - one tick and a half
                self._live_s += 1.0
            rows, self._quality = self._quality, []
            if rows:
                await self._means.writer.call(self._means.node.record, "lesson_quality", rows)

    async def _write_down(self) -> None:
        lesson = self.lesson.lesson
        takes = self.recorded()
        recorded_s = sum(max(take.seconds.values(), default=0.0) for take in takes)
        missing_s = sum(gap.seconds for take in takes for gap in take.gaps)
        rows: dict[str, list[Row]] = {
            "lesson_quality": self._quality,
            "recording": [
                {
                    "lesson": lesson,
                    "take": take.take.hex(),
                    "recorded_ms": int(max(take.seconds.values(), default=0.0) * 1000),
                    "bytes": take.stored_bytes,
                    "gaps": msgspec.json.encode(
                        [[gap.track, gap.first, gap.last] for gap in take.gaps]
                    ).decode(),
                    "complete": int(take.complete),
                }
                for take in takes
            ],
        }
        minutes: Row = {
            "lesson": lesson,
            "live_s": round(self._live_s),
            "recorded_s": round(recorded_s),
            "missing_s": round(missing_s),
            "rung": "main",
        }
        signature = sign(
            self._means.identity.signing,
            MINUTES_CONTEXT,
            msgspec.msgpack.encode([self._means.identity.school, *minutes.values()]),
        )
        rows["lesson_minutes"] = [{**minutes, "signature": signature}]
        self._quality = []
        await self._means.writer.call(self._means.node.record_all, rows)


class FlagshipRun(LessonRun):
    """Captures the room's camera, keeps the recording and supplies the hub."""

    async def _hold(self) -> None:
        means = self._means
        receivers = [party.school for party in self.lesson.receivers]
        keys = [key for school in receivers for key in means.partners.confirmed_keys(school)]
        key = await means.writer.call(
            ensure_key,
            means.node,
            means.reader,
            self.lesson.lesson,
            means.identity.sealing,
            keys,
            os.urandom,
        )
        publisher = LessonPublisher(
            lesson=self._id,
            key=key,
            signing=means.identity.signing,
            shelf=means.shelf,
            route=means.route,
            now_ms=means.now_ms,
            on_status=self._note,
            on_item=self._room.publish,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            await self._until(self.lesson.starts_ms)
            capturing = tasks.create_task(self._keep_capturing(publisher))
            await self._until(self.lesson.ends_ms)
            capturing.cancel()
            await asyncio.wait([capturing])
            publisher.finish()

    async def _keep_capturing(self, publisher: LessonPublisher) -> None:
        def note(attempt: RetryCallState) -> None:
            error = attempt.outcome.exception() if attempt.outcome else None
            _log.warning("lesson %s: the camera: %s", self.lesson.lesson, error)

        while True:
            async for attempt in AsyncRetrying(
                wait=wait_random_exponential(multiplier=0.2, max=CAPTURE_RETRY_S),
                retry=retry_if_exception_type(DriverError),
                before_sleep=note,
            ):
                with attempt:
                    try:
                        await self._capture_once(publisher)
                    finally:
                        publisher.close_take()

    async def _capture_once(self, publisher: LessonPublisher) -> None:
        url, credentials = self._room.camera()
        recorder: TakeRecorder | None = None

        def take_in(event: CaptureEvent) -> None:
            nonlocal recorder
            match event:
                case TakeInit():
                    # Opened by the first picture, not by each attempt: takes are counted.
                    recorder = recorder or publisher.open_take()
                    recorder.add_init(event.track, event.mime, event.data, self._means.now_ms())
                case MediaFragment():
                    assert recorder is not None
                    recorder.add(event)
                case MediaGap():
                    _log.warning(
                        "lesson %s: the camera left out %d packets of track %d",
                        self.lesson.lesson,
                        event.packets,
                        event.track,
                    )

        await capture(url, credentials, take_in, now_ms=self._means.now_ms, chance=self._means.rng)


class ReceiverRun(LessonRun):
    """Follows the flagship through the hub, plays it in the room and keeps the recording."""

    async def _hold(self) -> None:
        means = self._means
        flagship = self.lesson.flagship
        if flagship is None:
            _log.warning("lesson %s names no flagship; nothing to follow", self.lesson.lesson)
            return
        signing = means.acquaintances.latest_signing_key(flagship.school)
        while signing is None:
            await asyncio.sleep(KEYS_EVERY_S)
            signing = means.acquaintances.latest_signing_key(flagship.school)
        keys = await self._read_keys()
        receiver = LessonReceiver(
            lesson=self._id,
            keys=keys,
            flagship=signing,
            shelf=means.shelf,
            route=means.route,
            now_ms=means.now_ms,
            on_item=self._room.publish,
            on_status=self._note,
        )
        async with asyncio.TaskGroup() as tasks:
            refreshing = tasks.create_task(self._refresh(keys))
            following = tasks.create_task(receiver.run())
            await self._until(self.lesson.ends_ms)
            receiver.finish()
            await asyncio.wait([following], timeout=COMPLETE_S_MAX)
            following.cancel()
            refreshing.cancel()

    async def _refresh(self, keys: dict[KeyId, DataKey]) -> None:
        """Take up the lesson's key when its grant comes: a late grant must not need a restart."""
        while True:
            await asyncio.sleep(KEYS_EVERY_S)
            keys.update(await self._read_keys())

    async def _read_keys(self) -> dict[KeyId, DataKey]:
        means = self._means
        return await means.writer.call(
            read_keys, means.reader, self.lesson.lesson, means.identity.sealing
        )
