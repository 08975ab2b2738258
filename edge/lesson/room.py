"""A room as its lesson sees it: blackboard, camera and pages."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Outcome
from drivers.errors import DriverError, SetupError
from edge.devices.cameras import USE_H264, Shows
from edge.devices.displays import nearest_source
from edge.devices.fleet import Fleet
from edge.lesson.capture.flagship_capture import LessonSource
from edge.lesson.capture.shared_screen import SharedScreen, SharedScreens
from edge.lesson.classroom.board import BoardView
from edge.lesson.classroom.class_pages import ClassPages
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.preparing.checks import Check
from edge.lesson.preparing.former_boards import FormerBoard, FormerBoards
from edge.lesson.preparing.preflight import AimFacts, BoardFacts
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus
from sync.lessons.tracks import BLACKBOARD, DOCUMENT, PICTURE, PICTURE_SMALL

_log = logging.getLogger(__name__)

PRESETS = ("课堂", "上课", "专递课堂", "lesson", "Lesson", "classroom")
"""Names of a camera's position for lessons; the room's own name comes first."""

Look = Callable[[ScheduledLesson, "Room"], Awaitable[tuple[Check, ...]]]
"""Looks at all that a lesson needs in its room, and judges it."""
ValueOf = Callable[[DeviceId, str], object]
"""Returns what a device's point was last, None before it was anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMeans:
    """What all rooms share: the devices, what they last told, and what boards were before.

    ``source`` is the input that blackboards are switched to, ``screens`` what browsers share.
    """

    fleet: Fleet
    value_of: ValueOf
    former: FormerBoards
    source: str
    screens: SharedScreens = field(default_factory=SharedScreens)


class Room:
    """One lesson's room; what :meth:`prepare` changed :meth:`put_back` undoes."""

    def __init__(
        self,
        lesson: ScheduledLesson,
        means: RoomMeans,
        fan_out: FanOut,
        is_shown: Callable[[], bool],
        is_needed: Callable[[], bool],
        look: Look,
    ) -> None:
        """``is_shown`` tells whether the room's pages are this lesson's now.

        ``is_needed``: another lesson has the room prepared already.
        """
        self._lesson = lesson
        self._means = means
        self._fleet = means.fleet
        self._fan_out = fan_out
        self._is_shown = is_shown
        self._is_needed = is_needed
        self._look = look
        self.boards: dict[DeviceId, BoardFacts] = {}
        self.aim: AimFacts | None = None
        self.pages = ClassPages()
        self._asked_h264: set[DeviceId] = set()

    async def prepare(self) -> None:
        """Switch boards on and to the source, and aim the camera; what is done is left alone."""
        for device in self.devices(DeviceKind.BLACKBOARD):
            known = self.boards.get(device)
            if known is None or known.fault:
                await self._means.former.keep(self._lesson.lesson, device, self._board_now(device))
                self.boards[device] = await self._prepare_board(device)
        await self.prepare_cameras()

    async def prepare_cameras(self) -> None:
        """Aim and set the cameras that were not known, or did not do it; others are left alone."""
        # A camera tells its positions a moment after itself.
        if self.aim is None or self.aim.fault or not self.aim.preset:
            self.aim = await self._aim()
        await self._have_h264()

    async def look(self, lesson: ScheduledLesson) -> tuple[Check, ...]:
        return await self._look(lesson, self)

    async def put_back(self) -> None:
        former = await self._means.former.take(self._lesson.lesson)
        if self._is_needed():
            return
        await self._put_boards_back(former)
        if self.aim is not None and self.aim.preset and not self.aim.fault:
            for device in self._cameras(Shows.TEACHER)[:1]:
                await self._tell(device, "home", None)

    def camera(self) -> tuple[str, Credentials | None]:
        """Return the teacher's camera's main stream; raises DriverError."""
        return self._fleet.cameras.stream_of(self._main_camera())

    def sources(self) -> Sequence[LessonSource]:
        cameras, main = self._fleet.cameras, self._main_camera()
        streams = [(PICTURE, main, cameras.stream_of)]
        if cameras.has_small_stream(main):
            streams.append((PICTURE_SMALL, main, cameras.small_stream_of))
        for track, shows in ((BLACKBOARD, Shows.BLACKBOARD), (DOCUMENT, Shows.DOCUMENT)):
            streams += [(track, each, cameras.stream_of) for each in self._cameras(shows)[:1]]
        return [self._source(*each) for each in streams]

    def small_camera(self) -> LessonSource:
        """Return the small stream by which a class is shown to its teacher; raises DriverError."""
        cameras, main = self._fleet.cameras, self._main_camera()
        return self._source(PICTURE_SMALL, main, cameras.small_stream_of)

    def _source(
        self,
        track: int,
        camera: DeviceId,
        stream: Callable[[DeviceId], tuple[str, Credentials | None]],
    ) -> LessonSource:
        return LessonSource(
            track=track,
            camera=camera,
            stream=partial(stream, camera),
            watch=self._fleet.cameras.stream_watch(camera, f"{self._lesson.lesson}/{track}"),
        )

    @property
    def screen(self) -> SharedScreen:
        return self._means.screens.of(self._lesson.mine.room)

    def _main_camera(self) -> DeviceId:
        teachers = self._cameras(Shows.TEACHER)
        if not teachers:
            raise SetupError(
                f"room {self._lesson.mine.room} has no adopted camera that shows the teacher; "
                "adopt one, or say so of one, on the set-up page"
            )
        return teachers[0]

    def _cameras(self, shows: Shows) -> list[DeviceId]:
        shown_by = self._fleet.cameras.shows
        return [each for each in self.devices(DeviceKind.CAMERA) if shown_by(each) is shows]

    def publish(self, item: StreamItem) -> None:
        if self._is_shown():
            self._fan_out.publish(item)

    def show(self, status: LessonStatus) -> None:
        if self._is_shown():
            self._fan_out.show(status)

    def watched(self) -> tuple[int, int]:
        return (self._fan_out.viewers, self._fan_out.dropped) if self._is_shown() else (0, 0)

    def show_board(self, view: BoardView) -> None:
        if self._is_shown():
            self._fan_out.show_board(view)

    def devices(self, kind: DeviceKind) -> list[DeviceId]:
        """Return the room's adopted devices of a kind."""
        return [
            device
            for device, adopted in self._fleet.devices.items()
            if adopted.kind is kind and adopted.room == self._lesson.mine.room
        ]

    async def _prepare_board(self, device: DeviceId) -> BoardFacts:
        name = self._fleet.devices[device].name
        source = nearest_source(self._fleet.commands_of(device), self._means.source)
        verified = True
        for command, argument in (("power", "on"), ("source", source)):
            outcome, detail = await self._tell(device, command, argument)
            if outcome is Outcome.FAILED:
                return BoardFacts(name=name, source=source, fault=detail or "no answer")
            verified = verified and outcome is Outcome.VERIFIED
        return BoardFacts(name=name, source=source, verified=verified)

    def _board_now(self, device: DeviceId) -> FormerBoard:
        power, source = (self._means.value_of(device, point) for point in ("power", "source"))
        return FormerBoard(
            power=power if isinstance(power, str) else "",
            source=source if isinstance(source, str) else "",
        )

    async def _put_boards_back(self, former: Mapping[DeviceId, FormerBoard]) -> None:
        for device, before in former.items():
            if device not in self._fleet.devices:
                continue
            now = self._board_now(device)
            ours = nearest_source(self._fleet.commands_of(device), self._means.source)
            if now.power not in {"on", ""} or now.source not in {ours, ""}:
                continue  # a person has used it since: it is theirs
            if before.power == "off":
                await self._tell(device, "power", "off")
            elif before.source and before.source != ours:
                await self._tell(device, "source", before.source)

    async def _aim(self) -> AimFacts | None:
        """Send the room's camera to its position for lessons; None for one that cannot turn."""
        for device in self._cameras(Shows.TEACHER)[:1]:
            offered = {choice.command: choice for choice in self._fleet.commands_of(device)}
            if "home" not in offered:
                return None
            names = offered["preset"].arguments if "preset" in offered else ()
            preset = next(
                (each for each in (self._lesson.mine.room, *PRESETS) if each in names), ""
            )
            if not preset:
                return AimFacts()
            outcome, detail = await self._tell(device, "preset", preset)
            fault = (detail or "no answer") if outcome is Outcome.FAILED else ""
            return AimFacts(preset=preset, fault=fault)
        return None

    async def _have_h264(self) -> None:
        """Have the cameras of the lesson encode so that browsers play it, each once."""
        for device in self.devices(DeviceKind.CAMERA):
            offered = {choice.command for choice in self._fleet.commands_of(device)}
            if USE_H264 in offered and device not in self._asked_h264:
                self._asked_h264.add(device)
                await self._tell(device, USE_H264, None)

    async def _tell(
        self, device: DeviceId, command: str, argument: str | None
    ) -> tuple[Outcome, str]:
        try:
            result = await self._fleet.command(device, command, argument)
        except DriverError as error:
            outcome, detail = Outcome.FAILED, str(error)
        else:
            outcome, detail = result.outcome, result.detail
        level = logging.WARNING if outcome is Outcome.FAILED else logging.INFO
        _log.log(
            level,
            "lesson %s: %s %s %s: %s %s",
            self._lesson.lesson,
            device,
            command,
            argument or "",
            outcome,
            detail,
        )
        return outcome, detail
