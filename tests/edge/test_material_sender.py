"""Slides from the flagship's disk to a receiving school, through a relay that reads none."""

import asyncio
import random
from functools import partial
from pathlib import Path

from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.material_sender import keep_sending
from edge.lesson.transfer.publish import LessonPublisher
from sync.lessons.fragment_log import FILES
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.materials import Chunk
from tests.edge.lesson_bench import LESSON, HubProcess, fingerprints, flagship, school, until

PNG = b"\x89PNG\r\n\x1a\n"


def slide(seed: int, size: int = 70_000) -> bytes:
    return PNG + random.Random(seed).randbytes(size)


async def test_slides_added_before_and_during_a_lesson_come_whole_and_are_kept_signed(
    tmp_path: Path,
) -> None:
    ours, theirs = Materials(tmp_path / "ours"), Materials(tmp_path / "theirs")
    ours.add(LESSON, 1, "before", slide(1))
    came: list[Chunk] = []
    async with (
        HubProcess(tmp_path / "hub") as hub,
        flagship(hub.port, tmp_path / "a") as publisher,
        school(hub.port, tmp_path / "b", on_chunk=came.append) as rural,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publisher.run())
        receiving = tasks.create_task(rural.receiver.run())
        sending = tasks.create_task(keep_sending(publisher, ours, LESSON))
        await until(lambda: len(came) == 3)
        ours.add(LESSON, 2, "during", slide(2))
        await until(lambda: len(came) == 6)
        sending.cancel()
        publisher.finish()
        rural.receiver.finish()
        await receiving
    assert sum(theirs.grow(LESSON, chunk) for chunk in came) == 2
    assert theirs.digests(LESSON) == ours.digests(LESSON)
    assert fingerprints(tmp_path / "a") == fingerprints(tmp_path / "b")
    assert fingerprints(tmp_path / "a") == fingerprints(tmp_path / "hub")


async def test_a_flagship_that_starts_again_sends_a_slide_once(tmp_path: Path) -> None:
    ours = Materials(tmp_path / "ours")
    for position in (1, 2):
        ours.add(LESSON, position, "a", slide(position))
        async with flagship(1, tmp_path / "a") as publisher, asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(keep_sending(publisher, ours, LESSON))
            await until(partial(_all_sent, publisher, ours))
            sending.cancel()
            publisher.finish()
    shelf = LessonShelf(tmp_path / "a")
    assert [store.index(FILES).present.count for store in shelf.takes(LESSON)] == [3, 3]
    shelf.close()


def _all_sent(publisher: LessonPublisher, materials: Materials) -> bool:
    return publisher.sent_files() == set(materials.digests(LESSON))


async def test_a_school_that_starts_again_hears_the_chunks_it_had(tmp_path: Path) -> None:
    came: list[Chunk] = []
    async with (
        HubProcess(tmp_path / "hub") as hub,
        flagship(hub.port, tmp_path / "a") as publisher,
        school(hub.port, tmp_path / "b", on_chunk=came.append) as rural,
        asyncio.TaskGroup() as tasks,
    ):
        running = [tasks.create_task(publisher.run()), tasks.create_task(rural.receiver.run())]
        publisher.send_file(slide(3))
        await until(lambda: len(came) == 3)
        for task in running:
            task.cancel()
    again: list[Chunk] = []
    async with school(hub.port, tmp_path / "b", on_chunk=again.append) as rural:
        receiving = asyncio.create_task(rural.receiver.run())
        await until(lambda: len(again) == 3)
        receiving.cancel()
    assert again == came
