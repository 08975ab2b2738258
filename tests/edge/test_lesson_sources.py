"""What of a room a lesson shows: which camera stands for what, said by a person and kept."""

import random
from pathlib import Path

import pytest

from drivers.entities import CommandResult, DeviceEvent, DeviceId, Outcome
from drivers.errors import SetupError, UnreachableError
from edge.devices.fleet import Fleet
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.preparing.former_boards import FormerBoards
from edge.lesson.room import Room, RoomMeans
from edge.notebook import Notebook
from edge.pages.box_view import LessonRole
from firmware_profiles.catalog import load_catalog
from sync.lessons.fragment_log import LessonId
from sync.lessons.tracks import BLACKBOARD, DOCUMENT, PICTURE, PICTURE_SMALL
from tests.edge.adopted_devices import adopted_camera, described_camera
from tests.edge.planned_lesson import party, planned_lesson

ROOM = "101"
LESSON = planned_lesson(LessonId("lesson-1"), 0, 1, party(1, LessonRole.FLAGSHIP, ROOM))


class School:
    """A fleet of cameras that are said to have answered, and the room they stand in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[DeviceEvent] = []
        self.begin()

    def begin(self) -> None:
        """Start as a box does: what is kept on the disk is all that is known."""
        notebook = Notebook(self.folder / "notebook.json")
        self.fleet = Fleet(
            load_catalog(), notebook, lambda: 0, self.events.append, random.Random(1)
        )
        for name, room in (("front", ROOM), ("lid", ROOM), ("desk", ROOM), ("gate", None)):
            device = DeviceId(f"onvif:serial:{name}")
            self.fleet.add(
                adopted_camera(
                    device, "http://192.0.2.8/onvif/device_service", name=name, room=room
                )
            )
            self.fleet.cameras.camera(device).description = described_camera(name)
        means = RoomMeans(
            fleet=self.fleet,
            value_of=lambda _device, _point: None,
            former=FormerBoards(self.folder / "former.json"),
            source="31",
        )
        self.room = Room(
            LESSON,
            means,
            FanOut(lambda: 0),
            lambda: True,
            lambda: False,
            self.look,
        )

    async def look(self, *_: object) -> tuple[()]:
        return ()

    async def tell(self, camera: str, shows: str) -> CommandResult:
        return await self.fleet.command(DeviceId(f"onvif:serial:{camera}"), "shows", shows)

    def shown(self) -> dict[int, str]:
        return {one.track: one.stream()[0].split("2.8/")[1] for one in self.room.sources()}


async def test_the_first_camera_shows_the_teacher_until_a_person_says_otherwise_and_that_is_kept(
    tmp_path: Path,
) -> None:
    school = School(tmp_path)
    assert school.shown() == {PICTURE: "front/main", PICTURE_SMALL: "front/sub"}
    told = [await school.tell("front", "board_screen"), await school.tell("desk", "document")]
    assert {result.outcome for result in told} == {Outcome.VERIFIED}
    expected = {
        PICTURE: "lid/main",
        PICTURE_SMALL: "lid/sub",
        BLACKBOARD: "front/main",
        DOCUMENT: "desk/main",
    }
    assert school.shown() == expected
    school.begin()
    assert school.shown() == expected
    cameras = [source.camera for source in school.room.sources()]
    assert cameras[0] == cameras[1] != cameras[2]


async def test_what_a_lesson_misses_of_a_camera_is_in_that_cameras_ledger(tmp_path: Path) -> None:
    school = School(tmp_path)
    await school.tell("desk", "document")
    for source in school.room.sources():
        source.watch.lost(f"track {source.track}")
    school.room.small_camera().watch.back()

    def ledger(camera: str) -> list[str]:
        outages = school.fleet.cameras.camera(DeviceId(f"onvif:serial:{camera}")).outages
        return [each.reason for each in outages.ledger() if each.until_ms is None]

    assert ledger("front") == [f"track {PICTURE}"]
    assert ledger("desk") == [f"track {DOCUMENT}"]
    assert ledger("lid") == []


async def test_a_camera_beside_the_lessons_is_not_asked_and_a_word_nobody_knows_is_refused(
    tmp_path: Path,
) -> None:
    school = School(tmp_path)
    offered = {
        device: {each.command for each in school.fleet.commands_of(device)}
        for device in school.fleet.devices
    }
    assert [device for device, names in offered.items() if "shows" not in names] == [
        "onvif:serial:gate"
    ]
    for camera, shows in (("gate", "teacher"), ("lid", "ceiling")):
        with pytest.raises(SetupError, match=f"takes no shows {shows}"):
            await school.tell(camera, shows)


async def test_a_room_without_a_teachers_camera_says_what_to_do(tmp_path: Path) -> None:
    school = School(tmp_path)
    for camera in ("front", "lid", "desk"):
        await school.tell(camera, "document")
    with pytest.raises(SetupError, match="no adopted camera that shows the teacher"):
        school.room.sources()


async def test_a_document_camera_that_was_never_heard_of_is_left_to_be_tried_again(
    tmp_path: Path,
) -> None:
    school = School(tmp_path)
    await school.tell("desk", "document")
    school.fleet.cameras.camera(DeviceId("onvif:serial:desk")).description = None
    (document,) = [one for one in school.room.sources() if one.track == DOCUMENT]
    with pytest.raises(UnreachableError, match="has not answered yet"):
        document.stream()
