"""Events from the flagship's box to a receiving one, through a relay that cannot read them."""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from edge.lesson.transfer.recording import recorded_takes
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import (
    CallOn,
    Chapter,
    LessonEvent,
    Slide,
    TimedEvent,
    event_order,
)
from tests.edge.lesson_bench import (
    LESSON,
    Camera,
    HubProcess,
    fingerprints,
    flagship,
    picture_numbers,
    school,
    until,
)

TOLD: list[LessonEvent] = [
    Slide(digest="cd" * 32, position=1, title="认识分数"),
    CallOn(school=2),
    Chapter(title="练习"),
]


def heard(events: list[TimedEvent]) -> list[LessonEvent]:
    """Return events in the order in which they were told; what is caught up comes later."""
    return [timed.event for timed in sorted(events, key=event_order)]


async def test_events_arrive_without_a_camera_and_are_kept_at_each_node(tmp_path: Path) -> None:
    async with (
        HubProcess(tmp_path / "hub") as hub,
        flagship(hub.port, tmp_path / "a") as publisher,
        school(hub.port, tmp_path / "b") as rural,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publisher.run())
        receiving = tasks.create_task(rural.receiver.run())
        for event in TOLD:
            publisher.tell(event)
        await until(lambda: len(rural.events) == len(TOLD))
        assert heard(rural.events) == TOLD
        await Camera(random.Random(1)).film(publisher.open_take(), 0.5)
        publisher.tell(CallOn(school=0))
        publisher.finish()
        rural.receiver.finish()
        await receiving
    assert heard(rural.events) == [*TOLD, CallOn(school=0)]
    assert picture_numbers(rural.items) == list(range(12))
    assert fingerprints(tmp_path / "a") == fingerprints(tmp_path / "b")
    assert fingerprints(tmp_path / "a") == fingerprints(tmp_path / "hub")


async def test_a_class_that_comes_late_hears_what_was_told_before(tmp_path: Path) -> None:
    async with (
        HubProcess(tmp_path / "hub") as hub,
        flagship(hub.port, tmp_path / "a") as publisher,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as tasks,
    ):
        publishing = tasks.create_task(publisher.run())
        film = tasks.create_task(Camera(random.Random(1)).film(publisher.open_take(), 2))
        for event in TOLD:
            publisher.tell(event)
        await until(lambda: publisher.status.connected and not publisher.status.missing)
        rural = await stack.enter_async_context(school(hub.port, tmp_path / "b"))
        receiving = tasks.create_task(rural.receiver.run())
        await until(lambda: len(rural.events) == len(TOLD))
        assert heard(rural.events) == TOLD
        for task in (receiving, film, publishing):
            task.cancel()


async def test_events_without_picture_are_no_recording_of_seconds(tmp_path: Path) -> None:
    async with flagship(1, tmp_path) as publisher:
        publisher.tell(TOLD[0])
        publisher.finish()
    shelf = LessonShelf(tmp_path)
    [take] = recorded_takes(shelf, LESSON)
    shelf.close()
    assert take.seconds == {}
    assert take.complete


async def test_a_box_that_starts_again_hears_the_stored_events(tmp_path: Path) -> None:
    async with (
        HubProcess(tmp_path / "hub") as hub,
        flagship(hub.port, tmp_path / "a") as publisher,
        school(hub.port, tmp_path / "b") as rural,
        asyncio.TaskGroup() as tasks,
    ):
        running = [
            tasks.create_task(publisher.run()),
            tasks.create_task(rural.receiver.run()),
        ]
        for event in TOLD:
            publisher.tell(event)
        await until(lambda: len(rural.events) == len(TOLD))
        for task in running:
            task.cancel()
    async with school(hub.port, tmp_path / "b") as again, asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(again.receiver.run())
        await until(lambda: len(again.events) == len(TOLD))
        assert heard(again.events) == TOLD
        receiving.cancel()
