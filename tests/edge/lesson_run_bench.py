"""What one lesson's run works with: a room without devices, and a box's means."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from drivers.errors import SetupError
from edge.box_store import BoxStore
from edge.lesson.capture.flagship_capture import LessonSource
from edge.lesson.capture.shared_screen import SharedScreen
from edge.lesson.classroom.board import BoardView
from edge.lesson.classroom.class_pages import ClassPages
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.keys.lesson_keys import LessonKeys
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.preparing.checks import Check
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus
from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.hub_link import HubRoute
from sync.lessons.fragment_shelf import LessonShelf
from sync.writer import Writer
from tests.edge.school import Box


@dataclass
class BareRoom:
    """A room without devices, and what it was told."""

    prepared: int = 0
    put_back_times: int = 0
    checks: tuple[Check, ...] = ()
    boards: list[BoardView] = field(default_factory=list)
    shown: list[LessonStatus] = field(default_factory=list)
    items: list[StreamItem] = field(default_factory=list)
    pages: ClassPages = field(default_factory=ClassPages)

    async def prepare(self) -> None:
        self.prepared += 1

    async def prepare_cameras(self) -> None:
        """Nothing comes here."""

    async def look(self, _lesson: ScheduledLesson, /) -> tuple[Check, ...]:
        return self.checks

    async def put_back(self) -> None:
        self.put_back_times += 1

    def sources(self) -> Sequence[LessonSource]:
        raise SetupError("room 101 has no adopted camera; adopt one on the set-up page")

    @property
    def screen(self) -> SharedScreen:
        return SharedScreen()

    def small_camera(self) -> LessonSource:
        raise SetupError("room 101 has no adopted camera; adopt one on the set-up page")

    def publish(self, item: StreamItem) -> None:
        self.items.append(item)

    def show(self, status: LessonStatus) -> None:
        self.shown.append(status)

    def watched(self) -> tuple[int, int]:
        return 0, 0

    def show_board(self, view: BoardView) -> None:
        self.boards.append(view)


def lesson_means(
    box: Box,
    store: BoxStore,
    writer: Writer,
    route: tuple[aiohttp.ClientSession, str],
    seed: int,
    now_ms: Callable[[], int],
) -> LessonMeans:
    """Return the means of an opened box; whoever asks closes their ``shelf``."""
    return LessonMeans(
        identity=store.identity,
        node=store.node,
        writer=writer,
        reader=store.reader,
        acquaintances=store.acquaintances,
        keys=LessonKeys(
            store.node,
            store.reader,
            store.identity.sealing,
            random.Random(seed).randbytes,
            now_ms,
        ),
        materials=Materials(box.folder / "materials"),
        shelf=LessonShelf(box.folder / "lessons"),
        route=HubRoute(*route, random.Random(seed)),
        now_ms=now_ms,
        rng=random.Random(seed),
    )
