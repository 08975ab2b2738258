"""The flagship's side: what is captured lies on its disk first, and signs itself off."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from edge.lesson.status import FRESH_MS_MAX, Cause, Phase, Pulse
from edge.lesson.transfer.recording import recorded_takes
from sync.lessons import fragment_store
from sync.lessons.fragment_exchange import (
    Holdings,
    TakeHoldings,
    encode_message,
    holdings_of,
)
from sync.lessons.fragment_log import SIGNATURES, Kind, Stream
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_sealing import verify_group
from sync.lessons.fragment_shelf import TAKES_MAX, LessonShelf
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
    School,
    fingerprints,
    flagship,
    picture_numbers,
    school,
    until,
)
from tests.loopback import free_port


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


async def test_a_camera_that_fails_again_and_again_ends_neither_lesson_nor_recording(
    tmp_path: Path,
) -> None:
    roots = [tmp_path / name for name in ("flagship", "hub", "school")]
    async with (
        HubProcess(roots[1]) as hub,
        flagship(hub.port, roots[0]) as publisher,
        school(hub.port, roots[2]) as rural,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publisher.run())
        tasks.create_task(rural.receiver.run())
        await Camera(random.Random(1)).film(publisher.open_take(), 1)
        for number in range(TAKES_MAX + 5):
            await Camera(random.Random(number)).film(publisher.open_take(), 1 / 25)
            await until(partial(has_played, rural, number + 2))
        await Camera(random.Random(2)).film(publisher.open_take(), 1)
        publisher.finish()
        await until(lambda: publisher.status.phase is Phase.DONE)
        rural.receiver.finish()
    shelf = LessonShelf(roots[2])
    takes = recorded_takes(shelf, LESSON)
    shelf.close()
    assert len(takes) == TAKES_MAX
    assert [takes[0].seconds[PICTURE], takes[-1].seconds[PICTURE]] == [1.0, 1.0]
    assert fingerprints(roots[0]) == fingerprints(roots[1]) == fingerprints(roots[2])


def has_played(rural: School, takes: int) -> bool:
    return len({one.take for one in rural.items}) == takes


async def test_a_take_that_the_hub_gave_up_is_sent_again(tmp_path: Path) -> None:
    hub = ForgetfulHub()
    async with (
        hub.serve() as port,
        flagship(port, tmp_path) as publisher,
        asyncio.TaskGroup() as tasks,
    ):
        publishing = tasks.create_task(publisher.run())
        await Camera(random.Random(1)).film(publisher.open_take(), 0.4)
        publisher.close_take()
        [store] = publisher._shelf.takes(LESSON)
        whole = sum(store.index(stream).present.count for stream in store.streams)
        await until(lambda: sum(hub.came.values()) == whole)
        hub.held = [holdings_of(store)]
        await until(lambda: publisher.status.missing == 0 and hub.told > 2)
        assert set(hub.came.values()) == {1}
        hub.held = []
        await until(lambda: set(hub.came.values()) == {2})
        publishing.cancel()


class ForgetfulHub:
    """Says that it holds ``held``, and counts the records that come."""

    def __init__(self) -> None:
        self.held: list[TakeHoldings] = []
        self.came: Counter[bytes] = Counter()
        self.told = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_get(f"/lessons/{LESSON}/publish", self._publish)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
        await runner.cleanup()

    async def _publish(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        telling = asyncio.create_task(self._tell(socket))
        parts = PartJoiner()
        async for received in socket:
            wire = parts.take(received.data) if received.type is WSMsgType.BINARY else None
            if wire is not None:
                self.came[wire] += 1
        telling.cancel()
        return socket

    async def _tell(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            told = Holdings(durable=True, current=None, media_age_ms=0, takes=self.held)
            await socket.send_str(encode_message(told).decode())
            self.told += bool(self.held)
            await asyncio.sleep(0.05)


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


@pytest.mark.parametrize("order", [(SOUND, PICTURE), (PICTURE, SOUND)])
def test_what_stops_together_is_not_told_as_one_thing_and_then_as_all(
    order: tuple[int, int],
) -> None:
    moments = Moments()
    pulse = Pulse(moments)
    for track in order:
        pulse.beat(track)
        moments.now_s += 0.06
    told = []
    for _ in range(150):
        moments.now_s += 0.02
        told.append(pulse.judge(Cause.HUB_UNREACHABLE, Cause.FLAGSHIP_SILENT, missing=0))
    assert set(told) == {(Phase.LIVE, Cause.NONE), (Phase.DEGRADED, Cause.HUB_UNREACHABLE)}


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

    async with (
        HubProcess(tmp_path / "hub") as hub,
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(hub.port, tmp_path / "school") as rural,
        asyncio.TaskGroup() as tasks,
    ):
        working = [tasks.create_task(publisher.run()), tasks.create_task(rural.receiver.run())]
        with monkeypatch.context() as full:
            full.setattr(fragment_store, "_open_files", refuse)
            recorder = publisher.open_take()
        filming = tasks.create_task(Camera(random.Random(1)).film(recorder, 30))
        await until(lambda: len(picture_numbers(rural.items)) > 25)
        assert publisher.status.cause is Cause.DISK
        assert not list((tmp_path / "flagship").glob("*/*"))  # a half of a take opens nowhere
        for task in (*working, filming):
            task.cancel()


async def test_a_receiver_whose_disk_cannot_begin_a_take_plays_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        HubProcess(tmp_path / "hub") as hub,
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
