import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from drivers.codecs.digest import Credentials
from drivers.errors import SetupError
from edge.lesson.classroom_stream import StreamItem
from edge.lesson.hub_link import HubRoute
from edge.lesson.lesson_keys import LessonKeys
from edge.lesson.lesson_run import (
    CAUSE_WORDS,
    FlagshipRun,
    LessonMeans,
    LessonRun,
    ReceiverRun,
)
from edge.lesson.schedule import read_lessons
from edge.lesson.status import Cause, LessonStatus
from edge.pages.box_view import LessonRole, LessonState
from hub.pages.lesson_lights import CAUSES
from sync.lessons.fragment_shelf import LessonShelf
from sync.writer import Writer
from tests.drivers.serial_bench import running, until
from tests.edge.lesson_desk import quicken
from tests.edge.school import MINUTE, Box, certificate_row, enrol, new_box, schedule

ROLES = {
    LessonRole.FLAGSHIP: {17: ("flagship", "101"), 18: ("receiver", "201")},
    LessonRole.RECEIVER: {18: ("flagship", "201"), 17: ("receiver", "101")},
}


@dataclass
class Room:
    """A room without devices, and what it was told."""

    prepared: int = 0
    shown: list[LessonStatus] = field(default_factory=list)
    items: list[StreamItem] = field(default_factory=list)

    async def prepare(self) -> None:
        self.prepared += 1

    def camera(self) -> tuple[str, Credentials | None]:
        raise SetupError("room 101 has no adopted camera; adopt one on the set-up page")

    def publish(self, item: StreamItem) -> None:
        self.items.append(item)

    def show(self, status: LessonStatus) -> None:
        self.shown.append(status)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = new_box(tmp_path)
    with made.opened():
        pass
    return made


@asynccontextmanager
async def held(
    box: Box, role: LessonRole, starts_in_ms: int, lasts_ms: int
) -> AsyncIterator[tuple[LessonRun, Room, LessonMeans]]:
    """Hold a lesson without a hub that answers, for the time of the block."""
    starts_ms = box.now_ms + starts_in_ms
    schedule(box, "a1", starts_ms, starts_ms + lasts_ms, ROLES[role])
    room = Room()
    with box.opened() as store, Writer() as writer:
        async with aiohttp.ClientSession() as http:
            means = LessonMeans(
                identity=store.identity,
                node=store.node,
                writer=writer,
                reader=store.reader,
                acquaintances=store.acquaintances,
                keys=LessonKeys(
                    store.node,
                    store.reader,
                    store.identity.sealing,
                    random.Random(2).randbytes,
                    box.district.clock,
                ),
                shelf=LessonShelf(box.folder / "lessons"),
                route=HubRoute(http, "http://127.0.0.1:9", random.Random(1)),
                now_ms=box.district.clock,
                rng=random.Random(1),
            )
            (lesson,) = read_lessons(store.reader, 17, box.now_ms)
            kind = FlagshipRun if role is LessonRole.FLAGSHIP else ReceiverRun
            run = kind(lesson, means, room, lambda: None)
            async with running(run.run()):
                yield run, room, means


@pytest.mark.parametrize("role", list(LessonRole))
def test_each_cause_has_a_word_that_the_hubs_pages_know(role: LessonRole) -> None:
    words = CAUSE_WORDS[role]
    assert words.keys() == set(Cause)
    assert {word for word in words.values() if word is not None} <= CAUSES.keys()
    assert [cause for cause, word in words.items() if word is None] == [Cause.NONE]


async def test_a_lesson_that_is_to_come_is_prepared_and_one_that_is_over_is_not(box: Box) -> None:
    async with held(box, LessonRole.FLAGSHIP, MINUTE, 40 * MINUTE) as (run, room, _):
        await until(lambda: room.prepared == 1)
        assert run.state is LessonState.PREPARING
    async with held(box, LessonRole.FLAGSHIP, -60 * MINUTE, 40 * MINUTE) as (run, room, _):
        await until(lambda: run.state is LessonState.CATCHING_UP and bool(room.shown))
        await asyncio.sleep(0.1)
        assert room.prepared == 0


async def test_a_missing_camera_is_said_once_and_named_to_the_hub(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    quicken(monkeypatch)
    async with held(box, LessonRole.FLAGSHIP, -MINUTE, 40 * MINUTE):
        await until(
            lambda: (
                box.rows("SELECT state, cause, hop FROM lesson_quality")
                == [("waiting", "wan", "flagship")]
            )
        )
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len([each for each in warnings if "no adopted camera" in each.message]) == 1


async def test_a_receiver_waits_for_the_flagships_box_to_be_known(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    async with held(box, LessonRole.RECEIVER, -MINUTE, 40 * MINUTE) as (run, room, _):
        await until(lambda: run.status.cause is Cause.NO_KEY)
        box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
        await until(lambda: room.shown[-1].cause is Cause.HUB_UNREACHABLE)
        await until(lambda: ("key",) in box.rows("SELECT cause FROM lesson_quality"))


async def test_a_disk_that_takes_no_rows_does_not_end_the_lesson(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    async with held(box, LessonRole.FLAGSHIP, MINUTE, 40 * MINUTE) as (run, room, means):
        await until(lambda: bool(room.shown))
        means.node._connection.execute("PRAGMA query_only=ON").close()
        run._note(room.shown[-1])
        await until(lambda: "counting failed and starts again" in caplog.text)
        means.node._connection.execute("PRAGMA query_only=OFF").close()
        await until(lambda: len(box.rows("SELECT cause FROM lesson_quality")) >= 1)
        assert room.prepared == 1


async def test_what_a_lesson_came_to_is_signed_and_written_down_in_one_step(box: Box) -> None:
    async with held(box, LessonRole.FLAGSHIP, MINUTE, 40 * MINUTE) as (run, _, _means):
        await run._write_down()
    ((live_s, signature),) = box.rows("SELECT live_s, signature FROM lesson_minutes")
    assert live_s == 0
    assert isinstance(signature, bytes)
    assert len(signature) == 64
