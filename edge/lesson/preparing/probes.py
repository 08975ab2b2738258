"""Looks at what a lesson needs before its bell: camera, line, keys, disk, clock, class cards."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from time import monotonic

from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import DeviceKind
from drivers.errors import DriverError
from edge.box_store import BoxStore
from edge.class_cards.screens import Screen
from edge.lesson.capture.camera_capture import capture
from edge.lesson.capture.capture_events import CaptureEvent, MediaFragment
from edge.lesson.keys.lesson_keys import read_former_keys, read_keys
from edge.lesson.keys.partners import Partners
from edge.lesson.preparing.checks import Check
from edge.lesson.preparing.line_trial import TRIAL_BYTES, try_line
from edge.lesson.preparing.preflight import (
    CameraFacts,
    CardFacts,
    Facts,
    Fault,
    LineFacts,
    StandInFacts,
    fault_of,
    judge,
)
from edge.lesson.recordings.retention import Keeping
from edge.lesson.room import Room
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.substitute import SubstitutePlayer
from edge.lesson.transfer.hub_link import HubRoute
from edge.pages.box_view import LessonRole
from sync.lessons.fragment_log import LessonId, is_sound
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import BLACKBOARD, DOCUMENT, PICTURE_SMALL
from sync.writer import Writer

SEEN_S_MAX = 14.0
"""How long a camera may take to its first keyframe."""
HEARD_S = 1.0
"""How long its sound is listened for after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What of the box matters to its lessons.

    ``night``: when a line paid by the byte carries what is patient, empty for other lines;
    ``may_fill``: whether it may now.
    """

    screens: Callable[[], Sequence[Screen]]
    is_clock_known: Callable[[], bool]
    night: str = ""
    may_fill: Callable[[], bool] = lambda: True
    keeping: Keeping = field(default_factory=Keeping)


class Probes:
    """Gathers the facts of one box's lessons and has them judged."""

    def __init__(
        self,
        surroundings: Surroundings,
        store: BoxStore,
        writer: Writer,
        partners: Partners,
        shelf: LessonShelf,
        now_ms: Callable[[], int],
        rng: Random,
    ) -> None:
        self._surroundings = surroundings
        self._store = store
        self._writer = writer
        self._partners = partners
        self._shelf = shelf
        self._now_ms = now_ms
        self._rng = rng
        self._line: dict[LessonId, LineFacts] = {}
        self._stand_in: dict[LessonId, StandInFacts] = {}

    async def look(self, lesson: ScheduledLesson, room: Room, route: HubRoute) -> tuple[Check, ...]:
        """Prepare again what failed, look at everything at once, and judge it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(room.prepare())
            camera = tasks.create_task(self._camera(lesson, room))
            board_picture = tasks.create_task(self._beside(lesson, room, BLACKBOARD))
            document = tasks.create_task(self._beside(lesson, room, DOCUMENT))
            stand_in = tasks.create_task(self._open_stand_in(lesson))
            line = tasks.create_task(self._try_line(lesson, route))
            keys = tasks.create_task(self._writer.call(self._keys, lesson))
        unconfirmed, has_key = keys.result()
        around = self._surroundings
        return judge(
            Facts(
                now_ms=self._now_ms(),
                role=lesson.mine.role,
                lesson_s=(lesson.ends_ms - lesson.starts_ms) // 1000,
                camera=camera.result(),
                board_picture=board_picture.result(),
                document=document.result(),
                aim=room.aim,
                boards=tuple(room.boards.values()),
                cards=tuple(
                    CardFacts(name=screen.name, heard_ms=screen.seen_ms)
                    for screen in around.screens()
                    if screen.room == lesson.mine.room and not screen.is_open
                ),
                page=room.pages.facts(0) if lesson.mine.role is LessonRole.RECEIVER else None,
                stand_in=stand_in.result(),
                line=line.result(),
                unconfirmed=unconfirmed,
                has_key=has_key,
                disk_free_bytes=shutil.disk_usage(self._store.path.parent).free,
                is_clock_known=around.is_clock_known(),
            )
        )

    async def _camera(self, lesson: ScheduledLesson, room: Room) -> CameraFacts | None:
        """Look at what the room's camera gives for a lesson; a class may have none.

        The main stream where the lesson is given; where it is received the small one, by which
        the teacher sees the class.
        """
        is_flagship = lesson.mine.role is LessonRole.FLAGSHIP
        if not is_flagship and not room.devices(DeviceKind.CAMERA):
            return None
        try:
            url, credentials = room.camera() if is_flagship else room.small_camera().stream()
            given = {source.track for source in room.sources()}
        except DriverError as error:
            return _fault(error)
        facts = await look_at_camera(url, credentials, self._now_ms, self._rng)
        return replace(facts, lacks_small=is_flagship and PICTURE_SMALL not in given)

    async def _beside(self, lesson: ScheduledLesson, room: Room, track: int) -> CameraFacts | None:
        """Look at what is shown beside the teacher; None where nothing is, or nothing is taught."""
        if lesson.mine.role is not LessonRole.FLAGSHIP:
            return None
        try:
            sources = {source.track: source for source in room.sources()}
        except DriverError:  # of the camera itself, which has a check of its own
            return None
        if track not in sources:
            return None
        try:
            url, credentials = sources[track].stream()
        except DriverError as error:
            return _fault(error)
        return await look_at_camera(url, credentials, self._now_ms, self._rng)

    async def _open_stand_in(self, lesson: ScheduledLesson) -> StandInFacts | None:
        """Try the recording that is named for the lesson, until it opens."""
        name = lesson.substitute
        if name is None or lesson.mine.role is LessonRole.FLAGSHIP:
            return None
        known = self._stand_in.get(name)
        if known is not None and known.opens:
            return known
        own = self._store.identity.sealing
        keys = await self._writer.call(read_former_keys, self._store.reader, name, own)
        opens = SubstitutePlayer(self._shelf, name, keys, lambda _: None, self._now_ms).opens
        found = StandInFacts(title=lesson.substitute_title or name, opens=opens)
        self._stand_in = {name: found}
        return found

    async def _try_line(self, lesson: ScheduledLesson, route: HubRoute) -> LineFacts:
        """Try the line once a lesson, and again only while it gives nothing."""
        known = self._line.get(lesson.lesson)
        if known is None or known.bits_a_s is None:
            noise = self._rng.randbytes(TRIAL_BYTES)
            known = await try_line(route, lesson.lesson, lesson.mine.role, noise)
            self._line = {lesson.lesson: known}
        return known

    def _keys(self, lesson: ScheduledLesson) -> tuple[tuple[str, ...], bool]:
        """Return who has no confirmed key, and whether the lesson's key is here; blocking."""
        if lesson.mine.role is LessonRole.FLAGSHIP:
            return (
                tuple(
                    party.name
                    for party in lesson.receivers
                    if not self._partners.confirmed_keys(party.school)
                ),
                True,
            )
        flagship = lesson.flagship
        own = self._store.identity.sealing
        keys = flagship and read_keys(self._store.reader, lesson.lesson, flagship.school, own)
        if flagship is None or self._partners.confirmed_keys(flagship.school):
            return (), bool(keys)
        return (flagship.name,), bool(keys)


class _EnoughError(Exception):
    """The camera was seen and heard: play it no longer."""


async def look_at_camera(
    url: str, credentials: Credentials | None, now_ms: Callable[[], int], rng: Random
) -> CameraFacts:
    """Play a camera until its first keyframe, and a second more for its sound."""
    began_s = monotonic()
    seen_s: float | None = None
    sounds = 0

    def take_in(event: CaptureEvent) -> None:
        nonlocal seen_s, sounds
        if isinstance(event, MediaFragment):
            if is_sound(event.track):
                sounds += 1
            elif seen_s is None:
                seen_s = monotonic()
        if seen_s is not None and monotonic() - seen_s >= HEARD_S:
            raise _EnoughError

    fault = CameraFacts(fault=Fault.SILENT, words="The camera answers and sends no picture.")
    try:
        async with asyncio.timeout(SEEN_S_MAX):
            await capture(url, credentials, take_in, now_ms=now_ms, chance=rng)
    except (_EnoughError, TimeoutError):
        pass
    except DriverError as error:
        fault = _fault(error)
    if seen_s is None:
        return fault
    return CameraFacts(keyframe_ms=round((seen_s - began_s) * 1000), sounds=sounds)


def _fault(error: DriverError) -> CameraFacts:
    return CameraFacts(fault=fault_of(error), words=str(error))
