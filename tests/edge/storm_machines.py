"""The machines of a lesson in a storm: each has a folder that stays and a program that may die.

Programs are the product's own (publisher, relay, receiver) over real sockets. A kill leaves the
folder as it was at that instant; a power cut also takes any part of what was not synced.
"""

import asyncio
import errno
import hashlib
import os
import random
import shutil
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.status import LessonStatus, waiting
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.receive import LessonReceiver, Listener
from edge.lesson.transfer.recording import RecordedTake, TakeRecorder
from edge.supervision import keep_running
from hub.lesson.relay import LessonRelay
from sync.lessons import fragment_files
from sync.lessons.fragment_index import decode_entries
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError
from sync.segments.sealing import key_id
from tests.edge.lesson_bench import KEY, LESSON, PICTURE, SIGNING, SOUND
from tests.edge.storm_line import Line

FLAGSHIP = 1
KEYFRAME_EVERY = 4
CLOCK_MS = 1_790_000_000_000
"""What every clock shows when a storm begins, unless it was set wrong."""
_PREFIX_BYTES = 8  # of a record in records.log: its length and CRC


class Everyone:
    """A district in which the flagship publishes and everybody else receives."""

    def may_publish(self, school: int, lesson: str) -> bool:
        return school == FLAGSHIP and lesson == LESSON

    def may_receive(self, school: int, lesson: str) -> bool:
        return school > 0 and lesson == LESSON


@dataclass(frozen=True, slots=True)
class Handed:
    """What the camera gave to a flagship that was running: when (s) and on which track."""

    at_s: float
    track: int


@dataclass(slots=True)
class Book:
    """What is true of the storm, kept by the world outside of the machines.

    ``handed`` has the SHA-256 of each fragment that the camera handed over.
    """

    handed: dict[bytes, Handed] = field(default_factory=dict)
    away: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def note(self, what: str, from_s: float, until_s: float) -> None:
        self.away.setdefault(what, []).append((from_s, until_s))

    def touches(self, what: str, from_s: float, until_s: float) -> bool:
        return any(a < until_s and from_s < b for a, b in self.away.get(what, ()))


class Machine:
    """One box or the hub."""

    def __init__(self, folder: Path, chance: random.Random, line: Line) -> None:
        self.folder = folder
        self.line = line
        self.disk_is_full = False
        self.clock_ahead_ms = 0
        self.starts = 0
        self._chance = chance
        self._task: asyncio.Task[None] | None = None
        folder.mkdir()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def is_up(self) -> bool:
        return self._task is not None

    def now_ms(self) -> int:
        passed_ms = asyncio.get_running_loop().time() * 1000
        return CLOCK_MS + self.clock_ahead_ms + int(passed_ms)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        if self._task is None:
            self.starts += 1
            self._task = tasks.create_task(self._live())

    async def kill(self) -> None:
        """End it as SIGKILL does: what its program does while it ends never happened."""
        if self._task is None:
            return
        left = self.folder.with_name(f"{self.name}.left")
        shutil.copytree(self.folder, left)
        self.line.sever()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        shutil.rmtree(self.folder)
        left.rename(self.folder)

    async def cut_power(self) -> None:
        await self.kill()
        for take in self.folder.glob("*/*"):
            self._forget(take / "records.log", take / "records.idx")

    async def stop(self) -> None:
        """End it in order."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def over(self) -> None:
        """Wait until its program has done all it had to do."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def _forget(self, log: Path, index: Path) -> None:
        """Take what no fsync covers: any part of the log's end, and any part of the index."""
        entries = [each for each in decode_entries(index.read_bytes()) if not each.void]
        durable = max((each.offset + each.length + _PREFIX_BYTES for each in entries), default=0)
        os.truncate(log, self._chance.randint(durable, max(durable, log.stat().st_size)))
        os.truncate(
            index, self._chance.randint(index.stat().st_size * 9 // 10, index.stat().st_size)
        )

    async def _live(self) -> None:
        shelf = LessonShelf(self.folder)
        try:
            await keep_running(self.name, lambda: self._work(shelf))
        finally:
            shelf.close()

    @abstractmethod
    def _work(self, shelf: LessonShelf) -> Coroutine[None, None, None]:
        """Run the machine's program."""


class Hub(Machine):
    """The district's relay; its line is only there to be broken when it dies."""

    def __init__(
        self, folder: Path, chance: random.Random, line: Line, address: tuple[str, int]
    ) -> None:
        super().__init__(folder, chance, line)
        self._address = address

    async def _work(self, shelf: LessonShelf) -> None:
        relay = LessonRelay(shelf, Everyone(), _school_of)
        app = web.Application()
        relay.add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, *self._address, reuse_address=True).start()
            await relay.run()
        finally:
            await runner.cleanup()


class Flagship(Machine):
    """The box that gives the lesson, filming whenever it and its camera are there."""

    def __init__(
        self, folder: Path, chance: random.Random, line: Line, book: Book, over: Callable[[], bool]
    ) -> None:
        super().__init__(folder, chance, line)
        self._book = book
        self._over = over
        self._publisher: LessonPublisher | None = None
        self._recorder: TakeRecorder | None = None
        self._number = 0
        self.status = waiting(0)

    def film(self, second: int) -> None:
        """Take in a second of the camera: a picture and the sound that goes with it."""
        publisher = self._publisher
        if publisher is None:
            return
        try:
            recorder = self._recorder or self._begin(publisher)
        except FragmentStoreError:
            return  # the capture tries again
        for track, timescale in ((PICTURE, 90_000), (SOUND, 48_000)):
            data = self._chance.randbytes(60) + second.to_bytes(4, "big")
            self._book.handed[hashlib.sha256(data).digest()] = Handed(float(second), track)
            recorder.add(
                MediaFragment(
                    track=track,
                    number=self._number,
                    keyframe=track == SOUND or self._number % KEYFRAME_EVERY == 0,
                    decode_time=self._number * timescale,
                    duration=timescale,
                    timescale=timescale,
                    capture_ms=self.now_ms(),
                    data=data,
                )
            )
        self._number += 1

    def lose_camera(self) -> None:
        if self._publisher is not None:
            self._publisher.close_take()
        self._recorder = None

    def finish(self) -> None:
        self._recorder = None
        if self._publisher is not None:
            self._publisher.finish()

    def _begin(self, publisher: LessonPublisher) -> TakeRecorder:
        recorder = publisher.open_take()
        self._recorder, self._number = recorder, 0
        recorder.add_init(PICTURE, 'video/mp4; codecs="avc1.42E01E"', b"picture", self.now_ms())
        recorder.add_init(SOUND, 'audio/mp4; codecs="mp4a.40.2"', b"sound", self.now_ms())
        return recorder

    async def _work(self, shelf: LessonShelf) -> None:
        async with aiohttp.ClientSession(headers={"X-School": str(FLAGSHIP)}) as session:
            publisher = LessonPublisher(
                lesson=LESSON,
                key=KEY,
                signing=SIGNING,
                shelf=shelf,
                route=HubRoute(session, self.line.url, self._chance),
                now_ms=self.now_ms,
                on_status=self._hear,
            )
            self._publisher = publisher
            if self._over():
                publisher.finish()
            try:
                await publisher.run()
            finally:
                self._publisher = self._recorder = None

    def _hear(self, status: LessonStatus) -> None:
        self.status = status


class School(Machine):
    """A box that receives the lesson."""

    def __init__(
        self, folder: Path, chance: random.Random, line: Line, number: int, over: Callable[[], bool]
    ) -> None:
        super().__init__(folder, chance, line)
        self._number = number
        self._over = over
        self._receiver: LessonReceiver | None = None
        self.status = waiting(0)

    def finish(self) -> None:
        if self._receiver is not None:
            self._receiver.finish()

    def recorded(self) -> list[RecordedTake]:
        """Return what its running program has of the lesson."""
        assert self._receiver is not None
        return self._receiver.recorded()

    async def _work(self, shelf: LessonShelf) -> None:
        async with aiohttp.ClientSession(headers={"X-School": str(self._number)}) as session:
            receiver = LessonReceiver(
                lesson=LESSON,
                keys={key_id(KEY): KEY},
                flagship=SIGNING.public_key(),
                shelf=shelf,
                route=HubRoute(session, self.line.url, self._chance),
                now_ms=self.now_ms,
                listener=Listener(on_status=self._hear),
            )
            self._receiver = receiver
            if self._over():
                receiver.finish()
            try:
                await receiver.run()
            finally:
                self._receiver = None

    def _hear(self, status: LessonStatus) -> None:
        self.status = status


def fill_disks(patch: pytest.MonkeyPatch, machines: list[Machine]) -> None:
    """Let writes into the folder of a machine whose disk is full end half-way, with ENOSPC."""
    write_all = fragment_files._write_all

    def write(descriptor: int, data: bytes) -> None:
        full = [each.folder for each in machines if each.disk_is_full]
        if full:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if any(path.is_relative_to(each) for each in full):
                os.write(descriptor, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, data)

    patch.setattr(fragment_files, "_write_all", write)


def _school_of(request: web.Request) -> int:
    return int(request.headers["X-School"])
