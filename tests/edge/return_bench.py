"""Three schools in one lesson with a relay in a process of its own: what goes back to the teacher.

The relay's minute lasts two seconds.

Boxes, keys, runs, relay and its access rules are the real ones; sync is left out: rows that it
would carry are copied. Every room has the same simulated camera.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from drivers.cameras.outages import UNWATCHED, StreamWatch
from drivers.codecs.digest import Credentials
from drivers.entities import DeviceId
from drivers.errors import SetupError
from drivers.simulators.ledger import Ledger
from drivers.simulators.rtsp_camera import RtspCamera
from edge.lesson.capture.flagship_capture import LessonSource
from edge.lesson.classroom.board import BoardView
from edge.lesson.flagship_run import FlagshipRun
from edge.lesson.keys import key_ring
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.receiver_run import ReceiverRun
from edge.lesson.schedule import read_lessons
from edge.lesson.way_back import return_path, return_wall
from edge.lesson.way_back.return_path import ReturnPath
from edge.lesson.way_back.return_wall import ClassView, ReturnWall
from provisioning.identity import load_identity
from sync.lessons.fragment_log import LessonId
from sync.lessons.tracks import PICTURE, return_log
from sync.logs.oplog import Row
from sync.store import connect_readonly
from sync.writer import Writer
from tests.edge.lesson_bench import now_ms, until
from tests.edge.lesson_run_bench import BareRoom, lesson_means
from tests.edge.school import MINUTE, Box, certificate_row, new_box, schedule
from tests.loopback import free_port

ADMIN = Credentials(user="admin", password="secret")
LESSON = LessonId("a1")
FLAGSHIP, NEAR, FAR = 17, 18, 19
NAMES: dict[int, Row] = {
    FLAGSHIP: {"name": "实验小学", "name_en": "Experimental School"},
    NEAR: {"name": "湖泗小学", "name_en": "Husi School"},
    FAR: {"name": "山坡教学点", "name_en": "Shanpo Teaching Point"},
}
ROOMS = {
    FLAGSHIP: ("flagship", "101"),
    NEAR: ("receiver", "201"),
    FAR: ("receiver", "301"),
}

HUB = """
import asyncio, sqlite3, sys
from pathlib import Path
from aiohttp import web
from hub.lesson import relay as relaying
from hub.lesson.relay import LessonRelay
from hub.registry import LessonParties
from sync.lessons.fragment_shelf import LessonShelf

def school(request):
    return int(request.headers["X-School"])

relaying.MINUTE_S = 2

async def main(port, root, book):
    reader = sqlite3.connect(book)
    reader.row_factory = sqlite3.Row
    relay = LessonRelay(LessonShelf(Path(root)), LessonParties(reader), school)
    app = web.Application()
    relay.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    print("ready", flush=True)
    await relay.run()

asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""


@dataclass(kw_only=True)
class Room(BareRoom):
    """A room with one camera."""

    url: str
    camera: Credentials
    has_camera: bool = True
    watch: StreamWatch = UNWATCHED

    @property
    def board(self) -> BoardView:
        return self.boards[-1] if self.boards else BoardView()

    def sources(self) -> list[LessonSource]:
        camera = DeviceId("onvif:one")
        return [LessonSource(track=PICTURE, camera=camera, stream=self._stream, watch=self.watch)]

    def small_camera(self) -> LessonSource:
        if not self.has_camera:
            raise SetupError("room 201 has no adopted camera; adopt one on the set-up page")
        (source,) = self.sources()
        return source

    def _stream(self) -> tuple[str, Credentials | None]:
        return self.url, self.camera


@dataclass
class School:
    """One school's box that holds its part of the lesson."""

    box: Box
    room: Room
    means: LessonMeans
    run: FlagshipRun | ReceiverRun
    task: asyncio.Task[None]
    stack: AsyncExitStack

    @property
    def is_returning(self) -> bool:
        return isinstance(self.run, ReceiverRun) and self.run.back is not None

    @property
    def back(self) -> ReturnPath:
        assert isinstance(self.run, ReceiverRun)
        assert self.run.back is not None
        return self.run.back

    @property
    def wall(self) -> ReturnWall:
        assert isinstance(self.run, FlagshipRun)
        assert self.run.wall is not None
        return self.run.wall

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.stack.aclose()


@dataclass
class Town:
    """A hub and schools; a school's box is begun, and begun again, by :meth:`begin`."""

    folder: Path
    boxes: dict[int, Box]
    hub_port: int
    camera: RtspCamera
    stack: AsyncExitStack
    changed: Callable[[], None] = lambda: None

    async def begin(
        self, school: int, *, has_camera: bool = True, hub_port: int | None = None
    ) -> School:
        """Open a school's box and hold its part of the lesson.

        ``hub_port``: by which it reaches the hub, when by a line of its own.
        """
        box = self.boxes[school]
        stack = AsyncExitStack()
        store = stack.enter_context(box.opened())
        writer = stack.enter_context(Writer())
        http = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"X-School": str(school)})
        )
        route = http, f"http://127.0.0.1:{hub_port or self.hub_port}"
        means = lesson_means(box, store, writer, route, school, now_ms)
        (lesson,) = read_lessons(store.reader, school, box.now_ms)
        room = Room(url=self.camera.url("sub"), camera=ADMIN, has_camera=has_camera)
        kind = FlagshipRun if school == FLAGSHIP else ReceiverRun
        run = kind(lesson, means, room, self._note_change)
        task = asyncio.get_running_loop().create_task(run.run())
        stack.callback(means.shelf.close)
        opened = School(box, room, means, run, task, stack)
        self.stack.push_async_callback(opened.kill)
        return opened

    def _note_change(self) -> None:
        self.changed()

    async def share_keys(self, giver: School, *takers: School) -> None:
        """Grant what a school gives in the lesson to others' boxes, and carry the rows there."""
        school = giver.means.identity.school
        log = LESSON if school == FLAGSHIP else return_log(LESSON, school)
        keys = [taker.means.identity.sealing.public_key() for taker in takers]
        await giver.means.writer.call(giver.means.keys.grant, log, keys)
        for taker in takers:
            for row in read_grants(giver.box, school):
                taker.box.plant("lesson_key_grant", row)

    async def follow(self, school: int, log: LessonId) -> int:
        """Return how the hub answers a school that wants to follow a log."""
        async with aiohttp.ClientSession(headers={"X-School": str(school)}) as http:
            url = f"http://127.0.0.1:{self.hub_port}/lessons/{log}/index"
            async with http.get(url) as answer:
                return answer.status


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    """Schedule a lesson that goes on, with nobody at it yet."""
    first = new_box(folder, FLAGSHIP)
    boxes = {FLAGSHIP: first}
    for school in (NEAR, FAR):
        boxes[school] = new_box(folder, school, first.district)
    identities = {school: load_identity(box.folder / "identity") for school, box in boxes.items()}
    now = now_ms()
    for box in boxes.values():
        with box.opened():
            pass
        schedule(box, LESSON, now - MINUTE, now + 40 * MINUTE, ROOMS)
        for school, identity in identities.items():
            box.plant("box_certificate", certificate_row(identity))
            box.plant("school", {"school": school, **NAMES[school]})
    book = Ledger(folder / "camera.jsonl", now_ms)
    camera = RtspCamera(book, ADMIN, now_ms=now_ms, chance=random.Random(1))
    port = free_port()
    command = (sys.executable, "-c", HUB, str(port), str(folder / "hub-lessons"))
    hub = await asyncio.create_subprocess_exec(
        *command, str(first.folder / "box.db"), stdout=asyncio.subprocess.PIPE
    )
    assert hub.stdout is not None
    try:
        assert await hub.stdout.readline() == b"ready\n"
        async with camera.serving("127.0.0.1"), AsyncExitStack() as stack:
            yield Town(folder, boxes, port, camera, stack)
    finally:
        hub.kill()
        await hub.wait()
        book.close()


def read_grants(box: Box, school: int) -> list[Row]:
    columns = ("school", "lesson", "lesson_key", "recipient", "suite", "wrapped")
    with closing(connect_readonly(box.folder / "box.db")) as reader:
        rows = reader.execute("SELECT * FROM lesson_key_grant WHERE school = ?", (school,))
        return [{name: row[name] for name in columns} for row in rows]


def class_of(wall: ReturnWall, school: int) -> ClassView:
    (found,) = [one for one in wall.view().classes if one.school == school]
    return found


async def until_class(wall: ReturnWall, school: int, true: Callable[[ClassView], bool]) -> None:
    """Wait until the wall shows a class, and so."""
    await until(lambda: any(one.school == school and true(one) for one in wall.view().classes))


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything on the way back that is looked at now and then be looked at often."""
    monkeypatch.setattr(return_path, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(return_path, "GRANTED_S_MAX", 0.5)
    monkeypatch.setattr(return_path, "CAMERA_AGAIN_S", 0.1)
    monkeypatch.setattr(return_wall, "LOOK_EVERY_S", 0.05)
    for name in ("KEYS_EVERY_S", "KEYS_AGAIN_S"):
        monkeypatch.setattr(key_ring, name, 0.05)
