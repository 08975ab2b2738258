"""A box's lessons at work without a hub that answers; the clock stands until a test moves it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.entities import DeviceEvent, DeviceId, Measurement
from edge.box_store import BoxStore
from edge.devices.fleet import Fleet
from edge.lesson import lesson_run, orchestration
from edge.lesson.capture import flagship_capture
from edge.lesson.keys import granting, key_ring
from edge.lesson.orchestration import Lessons
from edge.lesson.preparing.checks import Item
from edge.lesson.preparing.former_boards import FormerBoards
from edge.lesson.preparing.probes import Surroundings
from edge.lesson.room import RoomMeans
from edge.notebook import Notebook
from edge.pages.box_view import LessonState, LessonView
from firmware_profiles.catalog import load_catalog
from provisioning.tls import box_client_context
from sync.writer import Writer
from tests.drivers.serial_bench import running
from tests.edge.school import Box


@dataclass
class LessonDesk:
    box: Box
    store: BoxStore
    writer: Writer
    fleet: Fleet
    lessons: Lessons
    events: list[DeviceEvent] = field(default_factory=list)
    latest: dict[tuple[DeviceId, str], float | str | None] = field(default_factory=dict)

    def view(self, room: str) -> LessonView:
        shown = self.lessons.lesson_now(room)
        assert shown is not None
        return shown

    def state(self, room: str) -> LessonState | None:
        shown = self.lessons.lesson_now(room)
        return None if shown is None else shown.state

    def failing(self) -> set[Item]:
        return {found.check.item for found in self.lessons.lesson_checks()}

    def held(self) -> set[str]:
        return {name for name, held in self.lessons._held.items() if not held.task.done()}


@asynccontextmanager
async def lesson_desk(box: Box, folder: Path) -> AsyncIterator[LessonDesk]:
    """Run a box's lessons for the time of the block."""
    events: list[DeviceEvent] = []
    clock = box.district.clock
    notebook = Notebook(folder / "notebook.json")
    latest: dict[tuple[DeviceId, str], float | str | None] = {}

    def take(event: DeviceEvent) -> None:
        events.append(event)
        if isinstance(event, Measurement):
            latest[event.device, event.point] = event.value

    fleet = Fleet(load_catalog(), notebook, clock, take, random.Random(1))
    with box.opened() as store, Writer() as writer:
        lessons = Lessons(
            store,
            writer,
            box_client_context(store.identity, clock),
            RoomMeans(
                fleet=fleet,
                value_of=lambda device, point: latest.get((device, point)),
                former=FormerBoards(folder / "lesson-boards.json"),
                source="31",
            ),
            Surroundings(screens=tuple, is_clock_known=lambda: True),
            now_ms=clock,
            rng=random.Random(1),
            changed=lambda: None,
        )
        async with running(fleet.run(), lessons.run()):
            yield LessonDesk(box, store, writer, fleet, lessons, events, latest)


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that is looked at now and then be looked at often."""
    for module, names in (
        (orchestration, ("LOOK_EVERY_S", "READ_EVERY_S")),
        (granting, ("GRANT_EVERY_S",)),
        (lesson_run, ("LOOK_AGAIN_S",)),
        (flagship_capture, ("CAPTURE_RETRY_S",)),
        (key_ring, ("KEYS_EVERY_S", "KEYS_AGAIN_S")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 0.05)
