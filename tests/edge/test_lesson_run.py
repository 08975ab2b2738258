import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from edge.errors import NotNowError
from edge.lesson.evidence.minutes import CAUSE_WORDS
from edge.lesson.flagship_run import FlagshipRun
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.lesson_run import LessonRun
from edge.lesson.preparing.checks import Check, Fixer, Item, Standing
from edge.lesson.receiver_run import ReceiverRun
from edge.lesson.schedule import read_lessons
from edge.lesson.status import Cause, Phase, waiting
from edge.lesson.transfer.recording import TakeRecorder
from edge.pages.box_view import LessonRole, LessonState
from hub.pages.lesson_lights import CAUSES
from sync.lessons.fragment_log import LessonId, TakeId
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_sealing import new_take
from sync.lessons.lesson_events import Chapter, LessonEvent, TimedEvent, Times
from sync.lessons.lesson_minutes import read_minutes
from sync.lessons.lesson_times import LATER_MS_MAX, LONGER_MS_MAX
from sync.store import connect_readonly
from sync.writer import Writer
from tests.drivers.serial_bench import running, until
from tests.edge.lesson_bench import KEY, SIGNING, Camera
from tests.edge.lesson_desk import quicken
from tests.edge.lesson_run_bench import BareRoom, lesson_means
from tests.edge.school import MINUTE, Box, certificate_row, enrol, schedule

ROLES = {
    LessonRole.FLAGSHIP: {17: ("flagship", "101"), 18: ("receiver", "201")},
    LessonRole.RECEIVER: {18: ("flagship", "201"), 17: ("receiver", "101")},
}


@asynccontextmanager
async def held(
    box: Box, role: LessonRole, starts_in_ms: int, lasts_ms: int
) -> AsyncIterator[tuple[LessonRun, BareRoom, LessonMeans]]:
    """Hold a lesson without a hub that answers, for the time of the block."""
    starts_ms = box.now_ms + starts_in_ms
    schedule(box, "a1", starts_ms, starts_ms + lasts_ms, ROLES[role])
    room = BareRoom()
    with box.opened() as store, Writer() as writer:
        async with aiohttp.ClientSession() as http:
            route = http, "http://127.0.0.1:9"
            means = lesson_means(box, store, writer, route, 1, box.district.clock)
            (lesson,) = read_lessons(store.reader, 17, box.now_ms)
            kind = FlagshipRun if role is LessonRole.FLAGSHIP else ReceiverRun
            run = kind(lesson, means, room, lambda: None)
            async with running(run.run()):
                yield run, room, means
            means.shelf.close()


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
    async with held(box, LessonRole.FLAGSHIP, MINUTE, 40 * MINUTE) as (run, _, means):
        live = replace(waiting(0), phase=Phase.LIVE, sound_age_ms=80, rung=Rung.SOUND)
        for _ in range(7):
            await run._book._live.tick(live)
        await run._book.write_down(run.lesson, run.recorded())
        signing = means.identity.signing.public_key()
    with closing(connect_readonly(box.folder / "box.db")) as store:
        told = read_minutes(store.execute("SELECT * FROM lesson_minutes").fetchone())
    assert told.is_signed_by([signing])
    assert (told.minutes.school, told.minutes.live_s, told.minutes.sent_s) == (17, 7, 7)
    assert told.minutes.rungs == {"sound": 7}


async def test_what_fails_before_the_bell_is_told_to_the_hub_once_and_forgotten_when_mended(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    camera = Check(item=Item.CAMERA, state=Standing.BAD, fact="away", remedy="power", who=Fixer.IT)
    sound = replace(camera, item=Item.SOUND, state=Standing.WARN)
    query = "SELECT hop, cause FROM lesson_quality WHERE state = 'preparing'"
    async with held(box, LessonRole.RECEIVER, MINUTE, 40 * MINUTE) as (run, room, _):
        room.checks = (camera, sound)
        told = [("preflight", "sound"), ("preflight", "camera"), ("receiver", "camera")]
        await until(lambda: box.rows(query)[-3:] == told)
        assert run.checks == (camera, sound)
        room.checks = ()
        await until(lambda: box.rows(query)[-1] == ("receiver", None))
        assert len(box.rows(query)) <= 5  # one more of the first look, before the room failed


async def test_the_room_is_put_back_when_the_lesson_is_over(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    async with held(box, LessonRole.FLAGSHIP, -MINUTE, 2 * MINUTE) as (_, room, _means):
        await until(lambda: room.prepared == 1)
        assert room.put_back_times == 0
        box.district.clock.ms += 2 * MINUTE
        await until(lambda: room.put_back_times == 1)


async def test_what_the_time_line_says_of_the_times_counts_before_the_schedule_knows(
    box: Box,
) -> None:
    async with held(box, LessonRole.RECEIVER, -MINUTE, 40 * MINUTE) as (run, room, _):
        planned = run.lesson
        run.hear(event(1, Times(starts_ms=planned.starts_ms, ends_ms=planned.ends_ms + MINUTE)))
        assert run.lesson.ends_ms == planned.ends_ms + MINUTE
        assert run.follow(planned).ends_ms == planned.ends_ms + MINUTE
        run.hear(event(3, Times(starts_ms=planned.starts_ms, ends_ms=planned.ends_ms + 2)))
        run.hear(event(2, Times(starts_ms=planned.starts_ms, ends_ms=planned.ends_ms + 9)))
        assert run.follow(planned).ends_ms == planned.ends_ms + 2
        await until(lambda: bool(room.boards))
        assert room.boards[-1].ends_ms == planned.ends_ms + 2


async def test_a_time_line_moves_a_lesson_no_further_than_a_teacher_may(box: Box) -> None:
    async with held(box, LessonRole.RECEIVER, -MINUTE, 40 * MINUTE) as (run, _, _means):
        planned = run.lesson
        for starts_ms, ends_ms in (
            (planned.starts_ms, planned.ends_ms + LONGER_MS_MAX + 1),
            (planned.starts_ms - 1, planned.ends_ms),
            (planned.starts_ms + LATER_MS_MAX + 1, planned.ends_ms + LATER_MS_MAX),
            (planned.ends_ms, planned.ends_ms),
        ):
            run.hear(event(1, Times(starts_ms=starts_ms, ends_ms=ends_ms)))
            assert (run.lesson.starts_ms, run.lesson.ends_ms) == (
                planned.starts_ms,
                planned.ends_ms,
            )


async def test_what_was_told_is_known_again_after_a_restart(box: Box) -> None:
    async with held(box, LessonRole.FLAGSHIP, -MINUTE, 40 * MINUTE) as (run, room, _):
        assert isinstance(run, FlagshipRun)
        await until(lambda: bool(room.shown))
        run.tell(Chapter(title="例题"))
        run.tell(Times(starts_ms=run.lesson.starts_ms, ends_ms=run.lesson.ends_ms + 5 * MINUTE))
        ends_ms = run.lesson.ends_ms
    async with held(box, LessonRole.FLAGSHIP, -MINUTE, 40 * MINUTE) as (run, room, _):
        await until(lambda: bool(room.boards))
        assert room.boards[-1].chapter is not None
        assert run.lesson.ends_ms == ends_ms


async def test_nothing_happens_in_a_lesson_that_is_not_held(box: Box) -> None:
    async with held(box, LessonRole.FLAGSHIP, -MINUTE, 40 * MINUTE) as (run, _, means):
        fresh = FlagshipRun(run.lesson, means, BareRoom(), lambda: None)
        with pytest.raises(NotNowError, match="ten minutes before"):
            fresh.tell(Chapter(title="例题"))


async def test_a_rehearsal_is_done_and_counts_for_nothing(box: Box) -> None:
    lesson, take = LessonId("a1"), new_take()
    async with held(box, LessonRole.FLAGSHIP, MINUTE, 40 * MINUTE) as (run, _, means):
        store = means.shelf.take(lesson, take)
        recorder = TakeRecorder(store, KEY, SIGNING, lambda _: None, lambda _: None)
        await Camera(random.Random(1)).film(recorder, 1.0)
        recorder.close()
        assert run.recorded()[0].seconds
        await run._book.write_down(replace(run.lesson, rehearsal=True), run.recorded())
        assert box.rows("SELECT live_s, recorded_s, missing_s, rung FROM lesson_minutes") == [
            (0, 0, 0, "rehearsal")
        ]
        assert box.rows("SELECT * FROM recording") == []
        await run._book.write_down(run.lesson, run.recorded())
        assert len(box.rows("SELECT * FROM recording")) == 1


def event(at: int, told: LessonEvent) -> TimedEvent:
    """Return an event of the lesson's time line; a greater ``at`` is a later one."""
    return TimedEvent(at_ms=10**15 + at, take=TakeId(bytes(8)), number=at, event=told)
