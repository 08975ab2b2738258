"""The room of a lesson: switched for it, and given back as it was found."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.pjlink_projector import PjlinkProjector
from edge.devices.adopted import AdoptedDevice
from edge.lesson.preparing.former_boards import FormerBoard, FormerBoards
from edge.pages.box_view import LessonState
from sync.lessons.fragment_log import LessonId
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.lesson_desk import LessonDesk, lesson_desk, quicken
from tests.edge.school import MINUTE, Box, new_box, schedule
from tests.loopback import own_address

BOARD = DeviceId("pjlink:board")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = new_box(tmp_path)
    with made.opened():
        pass
    return made


@dataclass
class Board:
    desk: LessonDesk
    ledger: Path

    def orders(self) -> list[tuple[object, object]]:
        """Return what the projector was told to be, in order."""
        told = [(line.get("name"), line.get("parameter")) for line in read_ledger(self.ledger)]
        return [each for each in told if each[0] in {"POWR", "INPT"} and each[1] != "?"]

    def power(self) -> object:
        return self.desk.latest.get((BOARD, "power"))


@asynccontextmanager
async def blackboard(box: Box, folder: Path, last_two: str) -> AsyncIterator[Board]:
    host, ledger = own_address(last_two), folder / "board.jsonl"
    projector = PjlinkProjector(
        IPv4Interface(f"{host}/24"),
        Ledger(ledger, now_ms),
        random.Random(1),
        lamp_times_s=(0.1, 0.1),
    )
    async with running(projector.run()):
        await asyncio.sleep(0.05)
        async with lesson_desk(box, folder) as desk:
            desk.fleet.add(
                AdoptedDevice(
                    device=BOARD,
                    kind=DeviceKind.BLACKBOARD,
                    name="教室投影",
                    profile="pjlink-projector",
                    address=f"pjlink://{host}:4352",
                    room="101",
                )
            )
            board = Board(desk, ledger)
            await until(lambda: board.power() == "off")
            yield board


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
