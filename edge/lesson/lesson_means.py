"""What the lessons of a box share, and what a lesson needs of its room."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from edge.acquaintances import Acquaintances
from edge.lesson.capture.flagship_capture import LessonSource
from edge.lesson.capture.shared_screen import SharedScreen
from edge.lesson.classroom.board import BoardView
from edge.lesson.classroom.class_pages import ClassPages
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.keys.lesson_keys import LessonKeys, read_keys
from edge.lesson.preparing.checks import Check
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus
from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.hub_link import HubRoute
from provisioning.identity import Identity
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.node import Node
from sync.segments.sealing import DataKey, KeyId
from sync.writer import Writer


class Classroom(Protocol):
    """What a lesson needs of the room it is in."""

    async def prepare(self) -> None:
        """Switch the blackboard on and to the right source, and aim the camera; may be repeated."""

    async def prepare_cameras(self) -> None:
        """Aim and set cameras that came since :meth:`prepare`."""

    async def look(self, lesson: ScheduledLesson, /) -> tuple[Check, ...]:
        """Look at all that the lesson, as it is scheduled now, needs here, and judge it."""

    async def put_back(self) -> None:
        """Leave blackboard and camera as they were before :meth:`prepare`."""

    def sources(self) -> Sequence[LessonSource]:
        """Return what the flagship shows of the room, its camera first; raises DriverError."""

    @property
    def screen(self) -> SharedScreen:
        """What a browser shares as the blackboard's picture."""

    @property
    def pages(self) -> ClassPages:
        """What the room's classroom pages say of themselves."""

    def small_camera(self) -> LessonSource:
        """Return the small stream by which a class is shown to its teacher; raises DriverError."""

    def publish(self, item: StreamItem) -> None:
        """Hand a fragment to the room's pages."""

    def show(self, status: LessonStatus) -> None:
        """Tell the room's pages how the lesson goes."""

    def watched(self) -> tuple[int, int]:
        """Return how many pages watch, and for how many fragments their links were too slow."""

    def show_board(self, view: BoardView) -> None:
        """Tell the room's pages what holds beside picture and sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonMeans:
    """What all lessons of a box share. ``reader`` is read on the store's thread."""

    identity: Identity
    node: Node
    writer: Writer
    reader: sqlite3.Connection
    acquaintances: Acquaintances
    keys: LessonKeys
    materials: Materials
    shelf: LessonShelf
    route: HubRoute
    now_ms: Callable[[], int]
    rng: Random
    may_fill: Callable[[], bool] = lambda: True
    """Whether the line may carry what is fetched after a lesson: a metered one only at night."""

    async def read_keys(self, log: LessonId, school: int) -> dict[KeyId, DataKey]:
        """Return the keys of ``school``'s log that were granted to this box."""
        return await self.writer.call(read_keys, self.reader, log, school, self.identity.sealing)
