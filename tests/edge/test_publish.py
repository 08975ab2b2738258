"""The flagship's side: what is captured lies on its disk first, and signs itself off."""

import asyncio
import random
from pathlib import Path

import pytest

from edge.lesson.status import FRESH_MS_MAX, Cause, Phase, Pulse
from edge.lesson.transfer.recording import recorded_takes
from sync.lessons import fragment_store
from sync.lessons.fragment_log import SIGNATURES, Kind, Stream
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_sealing import verify_group
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.lessons.tracks import BLACKBOARD, PICTURE_SMALL
from tests.edge.lesson_bench import (
    GROUP,
    LESSON,
    PICTURE,
    SIGNING,
    SOUND,
    Camera,
    HubProcess,
    flagship,
    free_port,
    picture_numbers,
    school,
    until,
)


async def test_without_a_hub_the_lesson_is_recorded_whole_and_the_status_says_so(
    tmp_path: Path,
) -> None:
    async with flagship(free_port(), tmp_path) as publisher, asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(publisher.run())
        await Camera(random.Random(1)).film(publisher.open_take(), 1)
        publisher.finish()
        await asyncio.sleep(1.1)
        status = publisher.status
        assert (status.phase, status.cause) == (Phase.CATCHING_UP, Cause.HUB_UNREACHABLE)
        assert not status.connected
        assert status.missing > 50
        publishing.cancel()
    shelf = LessonShelf(tmp_path)
    [take] = recorded_takes(shelf, LESSON)
    assert take.complete
    assert take.seconds == {PICTURE: 1.0, SOUND: 1.0}
    shelf.close()


async def test_each_group_of_pictures_is_signed_when_the_next_begins(tmp_path: Path) -> None:
    async with flagship(free_port(), tmp_path) as publisher:
        recorder = publisher.open_take()
        await Camera(random.Random(1)).film(recorder, 2.5 * GROUP / 25)
        shelf = LessonShelf(tmp_path / "unused")
        assert shelf.takes(LESSON) == []
        publisher.close_take()
    shelf = LessonShelf(tmp_path)
    [store] = shelf.takes(LESSON)
    groups = [verify_group(one, SIGNING.public_key()) for one in store.records(SIGNATURES)]
    picture = Stream(Kind.MEDIA, PICTURE)
    spans = [
        (covered.first, covered.count)
        for group in groups
        for covered, _ in group.ranges
        if covered.stream == picture
    ]
    assert spans == [(0, 10), (10, 10), (20, 5)]
    assert [group.final for group in groups[-2:]] == [False, True]
    shelf.close()


async def test_a_take_that_was_closed_takes_nothing_more(tmp_path: Path) -> None:
    async with flagship(free_port(), tmp_path) as publisher:
        recorder = publisher.open_take()
        recorder.add_init(PICTURE, "video/mp4", b"init", 0)
        publisher.open_take()
        with pytest.raises(ValueError, match="open a new one"):
            recorder.add_init(PICTURE, "video/mp4", b"init", 0)


class Moments:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_lesson_is_called_live_only_while_sound_and_picture_come() -> None:
    moments = Moments()
    pulse = Pulse(moments)

    def judged(link: Cause = Cause.NONE, missing: int = 0) -> tuple[Phase, Cause]:
        return pulse.judge(link, Cause.FLAGSHIP_SILENT, missing)

    assert judged(Cause.HUB_UNREACHABLE) == (Phase.WAITING, Cause.HUB_UNREACHABLE)
    pulse.beat(SOUND)
    pulse.beat(PICTURE)
    assert judged() == (Phase.LIVE, Cause.NONE)
    assert judged(missing=3) == (Phase.CATCHING_UP, Cause.NONE)
    moments.now_s += FRESH_MS_MAX / 1000
    pulse.beat(SOUND)
    assert judged() == (Phase.DEGRADED, Cause.NO_PICTURE)
    assert pulse.picture_age_ms == FRESH_MS_MAX
    moments.now_s += FRESH_MS_MAX / 1000
    pulse.beat(PICTURE)
    assert judged() == (Phase.DEGRADED, Cause.NO_SOUND)
    moments.now_s += FRESH_MS_MAX / 1000
    assert judged() == (Phase.DEGRADED, Cause.FLAGSHIP_SILENT)
    assert judged(Cause.HUB_UNREACHABLE) == (Phase.DEGRADED, Cause.HUB_UNREACHABLE)


def test_the_small_picture_alone_is_told_as_reduced_and_beside_the_large_one_as_live() -> None:
    moments = Moments()
    pulse = Pulse(moments)
    for track in (SOUND, PICTURE, PICTURE_SMALL):
        pulse.beat(track)
    told = [pulse.rung]
    moments.now_s += FRESH_MS_MAX / 1000
    for track in (SOUND, PICTURE_SMALL):
        pulse.beat(track)
    judged = pulse.judge(Cause.NONE, Cause.FLAGSHIP_SILENT, missing=9)
    assert judged == (Phase.DEGRADED, Cause.PICTURE_REDUCED)
    told.append(pulse.rung)
    moments.now_s += FRESH_MS_MAX / 1000
    for track in (SOUND, BLACKBOARD):
        pulse.beat(track)
    assert [*told, pulse.rung] == [Rung.MAIN, Rung.SMALL, Rung.SOUND]


async def test_a_disk_that_cannot_begin_a_take_does_not_stop_the_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> tuple[int, int]:
        folder.mkdir(parents=True)
        raise FragmentStoreError(f"{folder}: no room")

    hub = HubProcess(tmp_path / "hub")
    await hub.start()
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(hub.port, tmp_path / "school") as rural,
        asyncio.TaskGroup() as tasks,
    ):
        working = [tasks.create_task(publisher.run()), tasks.create_task(rural.receiver.run())]
        with monkeypatch.context() as full:
            full.setattr(fragment_store, "_open_files", refuse)
            recorder = publisher.open_take()
            full.undo()
            filming = tasks.create_task(Camera(random.Random(1)).film(recorder, 30))
        await until(lambda: len(picture_numbers(rural.items)) > 25)
        assert publisher.status.cause is Cause.DISK
        assert not list((tmp_path / "flagship").glob("*/*"))  # a half of a take opens nowhere
        for task in (*working, filming):
            task.cancel()
    await hub.kill()


async def test_a_receiver_whose_disk_cannot_begin_a_take_plays_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = HubProcess(tmp_path / "hub")
    await hub.start()
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(hub.port, tmp_path / "school") as rural,
        asyncio.TaskGroup() as tasks,
    ):

        def refuse(*_: object) -> TakeStore:
            raise FragmentStoreError("no room")

        monkeypatch.setattr(rural.shelf, "take", refuse)
        working = [tasks.create_task(publisher.run()), tasks.create_task(rural.receiver.run())]
        filming = tasks.create_task(Camera(random.Random(1)).film(publisher.open_take(), 30))
        await until(lambda: len(picture_numbers(rural.items)) > 25)
        assert not working[1].done()
        for task in (*working, filming):
            task.cancel()
    await hub.kill()
