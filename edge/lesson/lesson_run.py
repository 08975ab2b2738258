"""One lesson's life at one school, from preparing to archived."""

import asyncio
import logging
import sqlite3
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Never, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
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
from edge.lesson.lesson_keys import LessonKeys, read_keys
from edge.lesson.publish import LessonPublisher
from edge.lesson.receive import LessonReceiver
from edge.lesson.recording import RecordedTake, TakeRecorder, recorded_takes
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import Cause, LessonStatus, Phase, waiting
from edge.lesson.take import CaptureEvent, MediaFragment, MediaGap, TakeInit
from edge.pages.box_view import LessonRole, LessonState
from edge.supervision import keep_running
from provisioning.identity import Identity
from sync.errors import SyncError
from sync.lessons.fragment_shelf import LessonShelf
from sync.logs.oplog import Row
from sync.node import Node
from sync.segments.sealing import DataKey, KeyId
from sync.segments.signing import sign
from sync.writer import Writer

_log = logging.getLogger(__name__)

CAPTURE_RETRY_S = 2.0
KEYS_EVERY_S = 1.0
KEYS_AGAIN_S = 10.0
KEY_GRACE_S = 15.0
"""How long the grants of a new key travel, and are looked for, before it seals."""
COMPLETE_S_MAX = 12 * 3600.0
"""What a receiver could not get by then stays a listed gap: its flagship's box is gone."""
QUALITY_ROWS_MAX = 1000
"""Changes of a lesson's state that wait for the disk; beyond it the oldest go."""
MINUTES_CONTEXT = b"schoolnode lesson minutes"

_EVERYWHERE = {
    Cause.NONE: None,
    Cause.HUB_UNREACHABLE: "wan",
    Cause.HUB_REFUSES: "hub",
    Cause.FLAGSHIP_SILENT: "flagship",
    Cause.CAMERA_SILENT: "camera",
    Cause.NO_KEY: "key",
    Cause.DISK: "box",
}
CAUSE_WORDS: Mapping[LessonRole, Mapping[Cause, str | None]] = {
    LessonRole.FLAGSHIP: {
        **_EVERYWHERE,
        Cause.NO_PICTURE: "camera",
        Cause.NO_SOUND: "camera",
    },
    LessonRole.RECEIVER: {**_EVERYWHERE, Cause.NO_PICTURE: "wan", Cause.NO_SOUND: "wan"},
}
"""Where the trouble is, in the hub's words (``lesson_quality.cause``)."""


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
    keys: LessonKeys
    shelf: LessonShelf
    route: HubRoute
    now_ms: Callable[[], int]
    rng: Random


class LessonRun:
    """See :class:`FlagshipRun` and :class:`ReceiverRun`.

    ``lesson`` may be replaced while it runs: times and parties are looked at again each second.
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
        self._means = means
        self._room = room
        self._changed = changed
        self._live_s = 0.0
        self._told: tuple[Phase, str] | None = None
        self._quality: deque[Row] = deque(maxlen=QUALITY_ROWS_MAX)

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

    def recorded(self) -> list[RecordedTake]:
        return recorded_takes(self._means.shelf, self.lesson.lesson)

    async def run(self) -> None:
        """Prepare, hold the lesson, fill what is missing, and write down what came of it."""
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self._beside("counting", self._count))]
            if not self._is_over:  # a box that starts late leaves the blackboard as it is
                helpers.append(tasks.create_task(self._beside("preparing", self._room.prepare)))
            await self._hold()
            for helper in helpers:
                helper.cancel()
        await self._write_down()
        self.archived = True
        self._changed()

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
                    "cause": CAUSE_WORDS[self.lesson.mine.role][status.cause],
                    "frames": status.missing,
                    "late_ms": min(ages, default=None),
                }
            )
            self._changed()

    async def _count(self) -> Never:
        """Count the seconds in which sound came, and record how the lesson goes."""
        while True:
            await asyncio.sleep(1.0)
            age_ms = self.status.sound_age_ms
            if age_ms is not None and age_ms < 1500:  # noqa: PLR2004 - one tick and a half
                self._live_s += 1.0
            rows = list(self._quality)
            if not rows:
                continue
            self._quality.clear()
            try:
                await self._means.writer.call(self._means.node.record, "lesson_quality", rows)
            except sqlite3.Error:
                self._quality.extendleft(reversed(rows))
                raise

    async def _write_down(self) -> None:
        lesson = self.lesson.lesson
        takes = self.recorded()
        recorded_s = sum(max(take.seconds.values(), default=0.0) for take in takes)
        missing_s = sum(gap.seconds for take in takes for gap in take.gaps)
        rows: dict[str, list[Row]] = {
            "lesson_quality": list(self._quality),
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
                if take.seconds
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
        await self._means.writer.call(self._means.node.record_all, rows)
        self._quality.clear()


class FlagshipRun(LessonRun):
    """Captures the room's camera, keeps the recording and supplies the hub."""

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
            on_item=self._room.publish,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            following = tasks.create_task(self._follow_key(publisher, key))
            await self._until_start()
            if not self._is_over:
                capturing = tasks.create_task(
                    self._beside("capture", lambda: self._keep_capturing(publisher))
                )
                await self._until_end()
                capturing.cancel()
                await asyncio.wait([capturing])
            following.cancel()
            publisher.finish()

    async def _follow_key(self, publisher: LessonPublisher, key: DataKey) -> Never:
        """Seal under the lesson's new key when a party left, once the others should have it."""
        means = self._means
        while True:
            await asyncio.sleep(KEYS_EVERY_S)
            try:
                now = await means.writer.call(means.keys.sealing_key, self.lesson.lesson)
            except (sqlite3.Error, SyncError) as error:
                _log.warning("lesson %s: its key is not read: %s", self.lesson.lesson, error)
                continue
            if now != key:
                await asyncio.sleep(KEY_GRACE_S)
                publisher.use_key(now)
                key = now

    async def _keep_capturing(self, publisher: LessonPublisher) -> Never:
        told = ""

        def note(attempt: RetryCallState) -> None:
            nonlocal told
            trouble = str(attempt.outcome.exception()) if attempt.outcome else ""
            if trouble != told:  # tried every two seconds: said once
                _log.warning("lesson %s: the camera: %s", self.lesson.lesson, trouble)
            told = trouble

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
        signing = await self._flagship_signing_key()
        if signing is None:
            return
        keys = await self._read_keys()
        receiver = LessonReceiver(
            lesson=self.lesson.lesson,
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
            await self._until_end()
            receiver.finish()
            await asyncio.wait([following], timeout=COMPLETE_S_MAX)
            following.cancel()
            refreshing.cancel()

    async def _flagship_signing_key(self) -> Ed25519PublicKey | None:
        """Return the flagship's key as soon as its box is known here, None if that is too late."""
        means = self._means
        give_up_ms = int(COMPLETE_S_MAX * 1000)
        while means.now_ms() < self.lesson.ends_ms + give_up_ms:
            flagship = self.lesson.flagship
            if flagship is not None:
                key = await means.writer.call(
                    means.acquaintances.latest_signing_key, flagship.school
                )
                if key is not None:
                    return key
            self._note(replace(waiting(means.now_ms()), cause=Cause.NO_KEY))
            await asyncio.sleep(KEYS_EVERY_S)
        return None

    async def _refresh(self, keys: dict[KeyId, DataKey]) -> Never:
        """Take up the lesson's key when its grant comes: a late grant must not need a restart."""
        while True:
            await asyncio.sleep(KEYS_AGAIN_S if keys else KEYS_EVERY_S)
            try:
                keys.update(await self._read_keys())
            except sqlite3.Error as error:
                _log.warning("lesson %s: keys are not read: %s", self.lesson.lesson, error)

    async def _read_keys(self) -> dict[KeyId, DataKey]:
        means, flagship = self._means, self.lesson.flagship
        if flagship is None:
            return {}
        return await means.writer.call(
            read_keys,
            means.reader,
            self.lesson.lesson,
            flagship.school,
            means.identity.sealing,
        )
