"""A flagship, a hub in its own process, receivers and a line to cut, for the lesson's tests."""

import asyncio
import hashlib
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.status import LessonStatus
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.receive import LessonReceiver, Listener
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import Kind, LessonId, Stream
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import TimedEvent
from sync.lessons.materials import Chunk
from sync.segments.sealing import DataKey, key_id
from tests.loopback import free_port

LESSON = LessonId("lesson-1")
KEY = DataKey(bytes(range(32)))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
FPS = 25
GROUP = 10
PICTURE, SOUND = 1, 2

HUB = """
import asyncio, sys
from pathlib import Path
from aiohttp import web
from hub.lesson.relay import LessonRelay
from sync.lessons.fragment_shelf import LessonShelf

class Everyone:
    def may_publish(self, school, lesson): return school == 1
    def may_receive(self, school, lesson): return True

def school(request):
    return int(request.headers["X-School"])

async def main(port, root):
    relay = LessonRelay(LessonShelf(Path(root)), Everyone(), school)
    app = web.Application()
    relay.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    print("ready", flush=True)
    await relay.run()

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


def now_ms() -> int:
    return int(time.time() * 1000)


class HubProcess:
    """The relay in a process of its own, to be killed for real."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        self._root = root
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        command = (sys.executable, "-c", HUB, str(self.port), str(self._root))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        self._process = process
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


class Camera:
    """Gives a recorder synthetic picture and sound in real time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._is_told = False

    def stop(self) -> None:
        """End what is filmed now before its time."""
        self._is_told = True

    async def film(self, recorder: TakeRecorder, seconds: float) -> None:
        recorder.add_init(PICTURE, 'video/mp4; codecs="avc1.42E01E"', b"picture-init", now_ms())
        recorder.add_init(SOUND, 'audio/mp4; codecs="mp4a.40.2"', b"sound-init", now_ms())
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(int(seconds * FPS)):
            if self._is_told:
                return
            await asyncio.sleep(max(0.0, began_s + number / FPS - loop.time()))
            size = 4000 if number % GROUP == 0 else 800
            recorder.add(
                MediaFragment(
                    track=PICTURE,
                    number=number,
                    keyframe=number % GROUP == 0,
                    decode_time=number * 3600,
                    duration=3600,
                    timescale=90000,
                    capture_ms=now_ms(),
                    data=self._rng.randbytes(size),
                )
            )
            recorder.add(
                MediaFragment(
                    track=SOUND,
                    number=number,
                    keyframe=True,
                    decode_time=number * 1920,
                    duration=1920,
                    timescale=48000,
                    capture_ms=now_ms(),
                    data=self._rng.randbytes(200),
                )
            )


@dataclass
class School:
    receiver: LessonReceiver
    shelf: LessonShelf
    items: list[StreamItem] = field(default_factory=list)
    told: list[LessonStatus] = field(default_factory=list)
    events: list[TimedEvent] = field(default_factory=list)


@asynccontextmanager
async def flagship(port: int, root: Path) -> AsyncIterator[LessonPublisher]:
    shelf = LessonShelf(root)
    async with aiohttp.ClientSession(headers={"X-School": "1"}) as session:
        yield LessonPublisher(
            lesson=LESSON,
            key=KEY,
            signing=SIGNING,
            shelf=shelf,
            route=HubRoute(session, f"http://127.0.0.1:{port}", random.Random(1)),
            now_ms=now_ms,
            on_status=lambda _: None,
        )
    shelf.close()


@asynccontextmanager
async def school(
    port: int,
    root: Path,
    key: DataKey = KEY,
    may_fill: Callable[[], bool] = lambda: True,
    on_chunk: Callable[[Chunk], None] = lambda _: None,
) -> AsyncIterator[School]:
    shelf = LessonShelf(root)
    items: list[StreamItem] = []
    told: list[LessonStatus] = []
    events: list[TimedEvent] = []
    async with aiohttp.ClientSession(headers={"X-School": "2"}) as session:
        receiver = LessonReceiver(
            lesson=LESSON,
            keys={key_id(key): key},
            flagship=SIGNING.public_key(),
            shelf=shelf,
            route=HubRoute(session, f"http://127.0.0.1:{port}", random.Random(2)),
            now_ms=now_ms,
            listener=Listener(
                on_item=items.append,
                on_status=told.append,
                on_event=events.append,
                on_chunk=on_chunk,
            ),
            may_fill=may_fill,
        )
        yield School(receiver, shelf, items, told, events)
    shelf.close()


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if true():
                return
            await asyncio.sleep(0.02)


def fingerprints(root: Path) -> dict[tuple[str, Stream], str]:
    """SHA-256 over the records of each track and take, in order."""
    shelf = LessonShelf(root)
    found: dict[tuple[str, Stream], str] = {}
    for take in shelf.takes(LESSON):
        for stream in take.streams:
            sha = hashlib.sha256()
            for record in take.records(stream):
                sha.update(record.wire)
            found[take.take.hex(), stream] = sha.hexdigest()
    shelf.close()
    return found


def picture_numbers(items: list[StreamItem]) -> list[int]:
    return [one.number for one in items if one.kind is Kind.MEDIA and one.track == PICTURE]


SCHOOL = """
import asyncio, random, sys
from pathlib import Path
from tests.edge import lesson_bench as bench

async def receive(port, root):
    async with bench.school(port, root) as rural:
        await rural.receiver.run()

async def publish(port, root):
    async with bench.flagship(port, root) as publisher, asyncio.TaskGroup() as tasks:
        tasks.create_task(publisher.run())
        await bench.Camera(random.Random(5)).film(publisher.open_take(), 60)

role = {"receive": receive, "publish": publish}[sys.argv[1]]
asyncio.run(role(int(sys.argv[2]), Path(sys.argv[3])))
"""


async def start_receiver(port: int, root: Path) -> asyncio.subprocess.Process:
    """Start a receiving school in a process of its own, to be killed for real."""
    return await _start("receive", port, root)


async def start_flagship(port: int, root: Path) -> asyncio.subprocess.Process:
    """Start a flagship that films for a minute in a process of its own."""
    return await _start("publish", port, root)


async def _start(role: str, port: int, root: Path) -> asyncio.subprocess.Process:
    command = (sys.executable, "-c", SCHOOL, role, str(port), str(root))
    return await asyncio.create_subprocess_exec(*command)
