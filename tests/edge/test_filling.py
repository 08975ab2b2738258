"""A lesson that is over, on a line paid by the byte: sound at once, picture at night."""

import asyncio
import random
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from edge.config import BoxConfig, Metered, Network, UplinkSettings
from edge.lesson.transfer import filling
from edge.lesson.transfer.filling import fill
from edge.metering import DAY_MS, night_only
from sync.lessons.fragment_log import Kind, Stream
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_minutes import recording_digest
from tests.edge.lesson_bench import (
    LESSON,
    PICTURE,
    SOUND,
    Camera,
    HubProcess,
    fingerprints,
    flagship,
    school,
    until,
)

HOUR_MS = 3600 * 1000


async def unheard() -> None:
    """Stands where nobody listens."""


async def record_lesson(hub: HubProcess, root: Path) -> None:
    """Have a flagship give the hub a whole lesson of half a second."""
    async with flagship(hub.port, root) as publisher, asyncio.TaskGroup() as tasks:
        tasks.create_task(publisher.run())
        await Camera(random.Random(5)).film(publisher.open_take(), 0.6)
        publisher.finish()


async def test_a_school_that_was_cut_off_for_days_still_gets_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    over_s, slow = 60.0, asyncio.Event()

    async def note() -> None:
        slow.set()

    async with HubProcess(tmp_path / "hub") as hub:
        await record_lesson(hub, tmp_path / "flagship")
        await hub.kill()
        async with (
            school(hub.port, tmp_path / "school") as rural,
            asyncio.TaskGroup() as tasks,
        ):
            rural.receiver.finish()
            following = tasks.create_task(rural.receiver.run())
            filled = tasks.create_task(
                fill(rural.receiver, following, lambda: True, lambda: over_s, note)
            )
            await asyncio.sleep(1.0)
            assert not following.done()
            assert not slow.is_set()
            over_s = 3 * 24 * 3600.0
            await slow.wait()
            await until(following.cancelled)
            await hub.start()
            await filled
            assert rural.receiver.recorded()[0].complete
    assert fingerprints(tmp_path / "school") == fingerprints(tmp_path / "flagship")


async def test_a_lesson_is_given_up_after_two_weeks_but_not_because_a_clock_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    monkeypatch.setattr(filling, "SURE_S", 1.5)
    month_s, over_s = 30 * 24 * 3600.0, 60.0
    async with school(1, tmp_path / "school") as rural, asyncio.TaskGroup() as tasks:
        rural.receiver.finish()
        following = tasks.create_task(rural.receiver.run())
        filled = tasks.create_task(
            fill(rural.receiver, following, lambda: True, lambda: over_s, unheard)
        )
        over_s = month_s
        await asyncio.sleep(0.7)
        over_s = 60.0
        await asyncio.sleep(1.5)
        assert not filled.done()
        over_s = month_s
        async with asyncio.timeout(10):
            await filled


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(filling, "REST_S", 0.5)
    monkeypatch.setattr(filling, "IDLE_S_MAX", 1.0)


async def test_picture_waits_for_the_night_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "LOOK_EVERY_S", 0.1)
    night = False
    async with HubProcess(tmp_path / "hub") as hub:
        await record_lesson(hub, tmp_path / "flagship")
        async with (
            school(hub.port, tmp_path / "school", may_fill=lambda: night) as rural,
            asyncio.TaskGroup() as tasks,
        ):
            rural.receiver.finish()
            following = tasks.create_task(rural.receiver.run())
            filled = tasks.create_task(
                fill(rural.receiver, following, lambda: night, lambda: 0.0, unheard)
            )

            def has(track: int) -> int:
                stream = Stream(Kind.MEDIA, track)
                return sum(take.index(stream).present.count for take in rural.shelf.takes(LESSON))

            await until(following.cancelled)
            assert has(SOUND) == 15
            assert has(PICTURE) < 15  # a receiver that joins is sent the newest group of pictures
            night = True
            await filled
            assert has(PICTURE) == 15
    assert fingerprints(tmp_path / "school") == fingerprints(tmp_path / "flagship")
    digests = set()
    for side in ("school", "flagship"):
        shelf = LessonShelf(tmp_path / side)
        digests.add(recording_digest(shelf.takes(LESSON)))
        shelf.close()
    assert len(digests) == 1


def test_only_a_line_paid_by_the_byte_has_a_night(tmp_path: Path) -> None:
    now_ms = 0
    plain = BoxConfig(folder=tmp_path, network=Network(interface=IPv4Interface("10.0.0.2/24")))
    assert night_only(plain, lambda: now_ms)()
    metered = Metered(bytes_a_day=1_000_000, night="23:00-06:00")
    paid = BoxConfig(folder=tmp_path, network=plain.network, uplink=UplinkSettings(metered=metered))
    may_fill = night_only(paid, lambda: now_ms)
    found = []
    for hour in range(24):
        now_ms = 20_000 * DAY_MS + (hour - 8) * HOUR_MS  # the school's clock is 8 h ahead
        found.append(may_fill())
    assert [hour for hour, may in enumerate(found) if may] == [0, 1, 2, 3, 4, 5, 23]
