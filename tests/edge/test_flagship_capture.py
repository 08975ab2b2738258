"""Several sources of a room in one take, from cameras that come and go."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.cameras.messages import CameraAccess
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.outages import UNWATCHED, Loss, StreamWatch
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.entities import DeviceEvent, DeviceId, Measurement
from drivers.errors import UnreachableError
from edge.lesson.capture import flagship_capture
from edge.lesson.capture.flagship_capture import FlagshipCapture, LessonSource
from edge.lesson.capture.shared_screen import SharedScreen
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import Kind, LessonId
from sync.lessons.fragment_sealing import new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import BLACKBOARD, DOCUMENT, PICTURE, PICTURE_SMALL, SOUND
from sync.segments.sealing import DataKey
from tests.edge.test_capture import ADMIN, now_ms, simulated_camera
from tests.edge.test_shared_screen import configuration, picture

LESSON = LessonId("lesson-1")
TEACHER, TABLE = DeviceId("teacher"), DeviceId("table")


class Takes:
    """Records each take for real, and what was opened of it."""

    def __init__(self, shelf: LessonShelf) -> None:
        self._shelf = shelf
        self._open: TakeRecorder | None = None
        self.items: list[StreamItem] = []

    def open_take(self) -> TakeRecorder:
        assert self._open is None
        store = self._shelf.take(LESSON, new_take())
        self._open = TakeRecorder(
            store,
            DataKey(bytes(32)),
            Ed25519PrivateKey.from_private_bytes(bytes(32)),
            lambda _: None,
            self.items.append,
        )
        return self._open

    def close_take(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def of(self, track: int) -> list[StreamItem]:
        return [one for one in self.items if (one.kind, one.track) == (Kind.MEDIA, track)]

    @property
    def ids(self) -> set[bytes]:
        return {one.take for one in self.items}


def source(
    track: int, camera: DeviceId, url: Callable[[], str], watch: StreamWatch = UNWATCHED
) -> LessonSource:
    def stream() -> tuple[str, Credentials | None]:
        return url(), ADMIN

    return LessonSource(track=track, camera=camera, stream=stream, watch=watch)


def driver(told: list[DeviceEvent]) -> OnvifCamera:
    """Return a camera's driver that nobody runs: its ledger is all that is wanted."""
    chance = random.Random(1)
    access = CameraAccess(address="http://192.0.2.8/onvif/device_service")
    return OnvifCamera(TEACHER, access, CameraWorker(chance), now_ms, told.append, chance)


@asynccontextmanager
async def capturing(
    folder: Path,
    *sources: LessonSource,
    screen: SharedScreen | None = None,
    find: Callable[[], Sequence[LessonSource]] | None = None,
    changed: Callable[[], None] = lambda: None,
) -> AsyncIterator[tuple[FlagshipCapture, Takes]]:
    shelf = LessonShelf(folder / "lessons")
    takes = Takes(shelf)
    capture = FlagshipCapture(
        LESSON,
        takes,
        find or (lambda: sources),
        now_ms=now_ms,
        rng=random.Random(1),
        screen=screen,
        changed=changed,
    )
    task = asyncio.get_running_loop().create_task(capture.run())
    try:
        async with asyncio.timeout(30):
            yield capture, takes
    finally:
        task.cancel()
        await asyncio.wait([task])
        shelf.close()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 — packets announce nothing
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quickened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flagship_capture, "CAPTURE_RETRY_S", 0.05)
    monkeypatch.setattr(flagship_capture, "SOURCE_RETRY_S", 0.05)


async def test_a_document_camera_comes_and_goes_within_the_take_of_the_main_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "table").mkdir()
    where = ""

    def table() -> str:
        if not where:
            raise UnreachableError("the document camera has not answered yet")
        return where

    async with simulated_camera(tmp_path) as main:
        sources = (
            source(PICTURE, TEACHER, lambda: main.url("sub")),
            source(PICTURE_SMALL, TEACHER, lambda: main.url("sub")),
            source(DOCUMENT, TABLE, table),
        )
        async with capturing(tmp_path, *sources) as (capture, takes):
            await until(lambda: bool(takes.of(PICTURE_SMALL) and takes.of(SOUND)))
            await until(lambda: DOCUMENT in capture.troubles)
            assert "has not answered yet" in str(capture.troubles[DOCUMENT])
            async with AsyncExitStack() as power:
                camera = await power.enter_async_context(simulated_camera(tmp_path / "table"))
                where = camera.url("sub")
                await until(lambda: len(takes.of(DOCUMENT)) > 3)
                assert DOCUMENT not in capture.troubles
                await power.aclose()
            await until(lambda: DOCUMENT in capture.troubles)
            seen = len(takes.of(DOCUMENT))
            async with simulated_camera(tmp_path / "table") as camera:
                where = camera.url("sub")
                await until(lambda: len(takes.of(DOCUMENT)) > seen + 3)
        assert len(takes.ids) == 1
        for track in (PICTURE, PICTURE_SMALL, DOCUMENT, SOUND):
            items = takes.of(track)
            assert [item.number for item in items] == list(range(len(items)))
            assert all(a.decode_us < b.decode_us for a, b in pairwise(items))
        inits = [one.track for one in takes.items if one.kind is Kind.INIT]
        assert sorted(inits) == sorted((PICTURE, PICTURE_SMALL, DOCUMENT, SOUND))
        # What was taken at the same moment lies at the same place of the one time line.
        main_at = {item.capture_ms: item.decode_us for item in takes.of(PICTURE)}
        for item in [*takes.of(DOCUMENT), *takes.of(PICTURE_SMALL)]:
            near = min(main_at, key=lambda at_ms: abs(at_ms - item.capture_ms))
            apart_ms = (item.decode_us - main_at[near]) / 1000 - (item.capture_ms - near)
            assert abs(apart_ms) < 500


async def test_a_trouble_is_told_when_it_comes_and_goes_and_ends_with_what_is_waited_for(
    tmp_path: Path,
) -> None:
    tries = 0

    def away() -> str:
        nonlocal tries
        tries += 1
        raise UnreachableError("the document camera has not answered yet")

    told = list[set[int]]()
    async with AsyncExitStack() as power:
        main = await power.enter_async_context(simulated_camera(tmp_path))
        where = main.url("sub")
        sources = [source(PICTURE, TEACHER, lambda: where), source(DOCUMENT, TABLE, away)]
        async with capturing(
            tmp_path, find=lambda: sources, changed=lambda: told.append(set(capture.troubles))
        ) as (capture, takes):
            await until(lambda: bool(takes.of(PICTURE)) and tries > 2)
            assert told == [{DOCUMENT}], "it is tried again and again, and said once"
            await power.aclose()
            await until(lambda: PICTURE in capture.troubles)
            sources.pop()  # a person has released the document camera
            async with simulated_camera(tmp_path) as again:
                where = again.url("sub")
                await until(lambda: not capture.troubles)
                assert told[-1] == set()
                assert told[-2] == {PICTURE}, "nobody waits for the document camera any more"


@pytest.mark.parametrize("silent", [PICTURE, PICTURE_SMALL])
async def test_a_camera_that_falls_silent_on_an_open_line_is_in_its_ledger_until_it_is_back(
    silent: int, tmp_path: Path
) -> None:
    told: list[DeviceEvent] = []
    camera = driver(told)
    path = {PICTURE: "main", PICTURE_SMALL: "sub"}
    async with simulated_camera(tmp_path) as pictures:
        sources = [
            source(
                track, TEACHER, partial(pictures.url, path[track]), camera.stream_watch(f"{track}")
            )
            for track in path
        ]
        async with capturing(tmp_path, *sources) as (capture, takes):
            await until(lambda: all(takes.of(track) for track in path))
            assert not camera.outages.ledger()
            pictures.silent.add(path[silent])
            await until(lambda: bool(camera.outages.ledger()))
            (lost,) = camera.outages.ledger()
            assert lost.loss is Loss.STREAM
            assert "sends no picture" in lost.reason
            assert lost.until_ms is None
            await until(lambda: silent in capture.troubles)
            before = len(takes.of(silent))
            pictures.silent.clear()
            await until(lambda: len(takes.of(silent)) > before)
            (back,) = camera.outages.ledger()
            assert back.until_ms is not None
            assert back.until_ms >= back.since_ms
            recovered = [each for each in told if isinstance(each, Measurement)]
            assert [each.point for each in recovered] == ["recovery_stream"]
            # Told by the one that lost it alone; and a loss at the lesson's end lasts no longer.
            pictures.silent.add(path[silent])
            await until(lambda: len(camera.outages.ledger()) > 1)
    assert [each.is_watched for each in camera.outages.ledger()] == [True, False]


async def test_a_main_camera_that_restarts_begins_a_take_with_all_that_stands_beside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "table").mkdir()
    async with AsyncExitStack() as power, simulated_camera(tmp_path / "table") as table:
        main = await power.enter_async_context(simulated_camera(tmp_path))
        where = main.url("sub")
        sources = (
            source(PICTURE, TEACHER, lambda: where),
            source(DOCUMENT, TABLE, lambda: table.url("sub")),
        )
        async with capturing(tmp_path, *sources) as (_, takes):
            await until(lambda: bool(takes.of(DOCUMENT)))
            await power.aclose()
            (first,) = takes.ids
            async with simulated_camera(tmp_path) as again:
                where = again.url("sub")
                await until(lambda: takes.of(DOCUMENT)[-1].take != first)
        assert len(takes.ids) == 2
        second = [item for item in takes.of(DOCUMENT) if item.take != first]
        assert second[0].number == 0
        assert second[0].keyframe


async def test_a_shared_screen_is_the_blackboards_picture_unless_a_camera_is(
    tmp_path: Path,
) -> None:
    loop, screen, told = asyncio.get_running_loop(), SharedScreen(), list[bytes]()
    async with simulated_camera(tmp_path) as main:
        teacher = source(PICTURE, TEACHER, lambda: main.url("sub"))
        with screen.sharing(told.append):
            async with capturing(tmp_path / "a", teacher, screen=screen) as (_, takes):
                await until(lambda: bool(takes.of(PICTURE)))
                steady_ms = int(loop.time() * 1000)
                for message in (configuration(), picture(0, keyframe=True), picture(100)):
                    screen.take(message, now_ms(), steady_ms)
                (shared,) = takes.of(BLACKBOARD)
                assert len(takes.ids) == 1
            assert b'"shown":false' in told[-1]
            board = source(BLACKBOARD, TABLE, lambda: main.url("sub"))
            async with capturing(tmp_path / "b", teacher, board, screen=screen) as (_, takes):
                await until(lambda: bool(takes.of(BLACKBOARD)))
                assert b'"shown":false' in told[-1]
    assert shared.keyframe
    last = [item.decode_us for item in takes.of(PICTURE)]
    assert last == sorted(set(last))
