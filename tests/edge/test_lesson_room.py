"""The room of a lesson: switched for it, and given back as it was found."""

import asyncio
from pathlib import Path

import pytest

from drivers.simulators.onvif_motor import PRESETS
from edge.lesson import room
from edge.lesson.preparing.former_boards import FormerBoard, FormerBoards
from edge.pages.box_view import LessonState
from sync.lessons.fragment_log import LessonId
from tests.drivers.serial_bench import until
from tests.edge.lesson_blackboard import BOARD, blackboard
from tests.edge.lesson_camera import KNOWN_S_MAX, camera_to_come, turning_camera
from tests.edge.lesson_desk import quicken
from tests.edge.school import MINUTE, Box, schedule

FOUND_S_MAX = 60.0
"""A camera that was not there is asked again after pauses that grow."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


async def test_a_blackboard_that_was_off_is_off_again_after_the_lesson(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    async with blackboard(box, tmp_path, "31.2") as board:
        schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
        await until(lambda: board.power() == "on")
        await until(lambda: board.desk.view("101").preflight != ())
        (told,) = [c for c in board.desk.view("101").preflight if c.item == "blackboard"]
        assert told.fact == "教室投影 is on and shows its input 31."
        box.district.clock.ms += 41 * MINUTE
        await until(lambda: board.orders()[-1] == ("POWR", "0"))


async def test_a_room_that_the_next_lesson_has_taken_is_left_to_it(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    async with blackboard(box, tmp_path, "31.3") as board:
        schedule(box, "a1", now - MINUTE, now + 5 * MINUTE)
        schedule(box, "b2", now + 8 * MINUTE, now + 48 * MINUTE)
        await until(lambda: board.desk.held() == {"a1", "b2"} and board.power() == "on")
        box.district.clock.ms += 6 * MINUTE
        await until(lambda: board.desk.state("101") is LessonState.PREPARING)
        await asyncio.sleep(0.5)
        assert ("POWR", "0") not in board.orders()
        box.district.clock.ms += 43 * MINUTE
        await until(lambda: board.orders()[-1] == ("POWR", "0"))


async def test_a_lesson_cancelled_while_it_is_prepared_gives_the_blackboard_back(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    async with blackboard(box, tmp_path, "31.4") as board:
        schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
        await until(lambda: board.power() == "on")
        schedule(box, "a1", now + MINUTE, now + 40 * MINUTE, cancelled=1)
        await until(lambda: board.orders()[-1] == ("POWR", "0"))


@pytest.mark.parametrize("others", [(), ("课堂",)])
async def test_a_camera_looks_at_the_lesson_in_h264_and_looks_home_after_it(
    box: Box, tmp_path: Path, others: tuple[str, ...]
) -> None:
    now = box.now_ms
    async with turning_camera(box, tmp_path) as camera:
        for name in others:
            await camera.keep_position(name)
        lesson = await camera.keep_position("101" if others else "课堂")  # the room's own is first
        schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
        await until(lambda: camera.encodings() == {"main": "H264", "sub": "H264"}, KNOWN_S_MAX)
        assert camera.turns() == [lesson]
        await until(lambda: camera.desk.view("101").preflight != (), KNOWN_S_MAX)
        assert camera.desk.view("101").state is LessonState.PREPARING
        box.district.clock.ms += 41 * MINUTE
        await until(lambda: camera.turns() == [lesson, "home"], KNOWN_S_MAX)
        assert len(camera.control.lines("encoder_set")) == 2  # each picture was set once


@pytest.mark.timeout(150)
async def test_a_camera_that_is_found_after_the_bell_is_set_and_turned_in_the_lesson(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PRESETS", PRESETS[1:2])
    now = box.now_ms
    async with camera_to_come(box, tmp_path) as camera:
        schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
        await until(lambda: camera.desk.held() == {"a1"})
        await asyncio.sleep(0.5)
        async with camera.control.plugged_in():
            await until(lambda: camera.encodings() == {"main": "H264", "sub": "H264"}, FOUND_S_MAX)
            await until(lambda: camera.turns() == ["preset-2"], FOUND_S_MAX)
            await asyncio.sleep(0.5)
            assert camera.turns() == ["preset-2"], "a person may turn it from then on"
            box.district.clock.ms += 41 * MINUTE
            await until(lambda: camera.turns() == ["preset-2", "home"], FOUND_S_MAX)


async def test_a_camera_without_a_position_for_lessons_is_left_where_a_person_turned_it(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    async with turning_camera(box, tmp_path) as camera:
        schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
        await until(lambda: camera.encodings() == {"main": "H264", "sub": "H264"}, KNOWN_S_MAX)
        await until(lambda: camera.desk.view("101").preflight != (), KNOWN_S_MAX)
        (told,) = [c for c in camera.desk.view("101").preflight if c.item == "aim"]
        assert "no position is stored for lessons" in told.fact
        box.district.clock.ms += 41 * MINUTE
        await until(lambda: camera.desk.state("101") is LessonState.CATCHING_UP, KNOWN_S_MAX)
        await asyncio.sleep(0.5)
        assert camera.turns() == []


async def test_what_a_board_was_is_remembered_through_a_restart_and_given_on_to_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "boards.json"
    off, on = FormerBoard(power="off", source=""), FormerBoard(power="on", source="31")
    await FormerBoards(path).keep(LessonId("a1"), BOARD, off)
    again = FormerBoards(path)
    await again.keep(LessonId("a1"), BOARD, on)
    await again.keep(LessonId("b2"), BOARD, on)
    assert await again.take(LessonId("a1")) == {BOARD: off}
    assert await FormerBoards(path).take(LessonId("b2")) == {BOARD: off}
    assert await FormerBoards(path).take(LessonId("a1")) == {}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": {"b": 3}}', b"\xff\xfe"])
async def test_a_damaged_memory_of_boards_costs_the_putting_back_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "boards.json"
    path.write_bytes(content)
    path.chmod(0o600)
    boards = FormerBoards(path)
    assert await boards.take(LessonId("a1")) == {}
