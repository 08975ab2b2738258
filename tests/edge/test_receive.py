"""A lesson from the flagship through the hub to receivers: cuts, kills, forgeries, slow links."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.lesson.status import Cause, Phase
from sync.lessons.fragment_log import Kind
from sync.segments.sealing import DataKey
from tests.edge.lesson_bench import (
    PICTURE,
    SOUND,
    Camera,
    HubProcess,
    fingerprints,
    flagship,
    picture_numbers,
    school,
    start_flagship,
    start_receiver,
    until,
)
from tests.edge.storm_line import Line
from tests.loopback import free_port


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubProcess]:
    async with HubProcess(tmp_path / "hub") as process:
        yield process


async def test_a_lesson_arrives_live_and_every_recording_is_bit_equal(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(hub.port, tmp_path / "school") as rural,
    ):
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            tasks.create_task(rural.receiver.run())
            await Camera(random.Random(3)).film(publisher.open_take(), 2)
            assert rural.told[-1].phase is Phase.LIVE
            publisher.finish()
            rural.receiver.finish()
        assert rural.receiver.status.phase is Phase.DONE
        assert publisher.status.phase is Phase.DONE
        assert rural.receiver.gaps() == []
        [take] = rural.receiver.recorded()
        assert take.complete
        assert take.seconds == {PICTURE: 2.0, SOUND: 2.0}
        assert picture_numbers(rural.items) == list(range(50))
    await hub.kill()
    await hub.start()
    expected = fingerprints(tmp_path / "flagship")
    assert len(expected) == 5
    assert fingerprints(tmp_path / "school") == expected


async def test_a_hub_killed_mid_lesson_is_rejoined_and_misses_nothing(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(hub.port, tmp_path / "school") as rural,
    ):
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            tasks.create_task(rural.receiver.run())
            camera = Camera(random.Random(3))
            filming = tasks.create_task(camera.film(publisher.open_take(), 40))
            await until(lambda: len(rural.items) > 30)
            await hub.kill()
            await asyncio.sleep(1)
            before = len(rural.items)
            await hub.start()
            await until(lambda: len(rural.items) > before + 20, 10)
            camera.stop()  # not before: a slow machine's hub may be long in coming back
            await filming
            publisher.finish()
            rural.receiver.finish()
        [take] = rural.receiver.recorded()
        assert take.complete
    await hub.kill()
    expected = fingerprints(tmp_path / "flagship")
    assert fingerprints(tmp_path / "school") == expected
    assert fingerprints(tmp_path / "hub") == expected


async def test_what_a_cut_of_five_seconds_left_out_is_filled_while_live_goes_on(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        Line(("127.0.0.1", free_port()), ("127.0.0.1", hub.port)) as line,
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(line.port, tmp_path / "school") as rural,
    ):
        async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
            tasks.create_task(publisher.run())
            tasks.create_task(rural.receiver.run())
            filming = tasks.create_task(Camera(random.Random(3)).film(publisher.open_take(), 14))
            await until(lambda: len(rural.items) > 40)
            await line.cut()
            await asyncio.sleep(5)
            assert rural.receiver.status.phase is Phase.DEGRADED
            assert rural.receiver.status.cause is Cause.HUB_UNREACHABLE
            cut_off = len(rural.items)
            await line.mend()
            await until(lambda: len(rural.items) > cut_off, 5)
            joined = rural.items[cut_off:]
            await until(lambda: not rural.receiver.gaps(), 5)
            assert not filming.done()
            await filming
            publisher.finish()
            rural.receiver.finish()
        first_picture = next(one for one in joined if one.track == PICTURE)
        assert first_picture.keyframe
        numbers = picture_numbers(rural.items)
        assert numbers == sorted(set(numbers))
    await hub.kill()
    assert fingerprints(tmp_path / "school") == fingerprints(tmp_path / "flagship")


async def test_a_receiver_killed_mid_lesson_rejoins_at_once_and_then_fills_its_recording(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        asyncio.timeout(40),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publisher.run())
        filming = tasks.create_task(Camera(random.Random(3)).film(publisher.open_take(), 5.5))
        await asyncio.sleep(1)
        killed = await start_receiver(hub.port, tmp_path / "school")
        await asyncio.sleep(1.5)
        killed.kill()
        await killed.wait()
        await asyncio.sleep(1)
        async with school(hub.port, tmp_path / "school") as rural:
            following = tasks.create_task(rural.receiver.run())
            await until(lambda: rural.receiver.status.phase is not Phase.WAITING, 3)
            assert rural.items[0].kind is Kind.INIT
            await filming
            publisher.finish()
            rural.receiver.finish()
            await following
    await hub.kill()
    assert fingerprints(tmp_path / "school") == fingerprints(tmp_path / "flagship")


async def test_a_flagship_killed_mid_lesson_goes_on_in_a_new_take_and_signs_the_old_one(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with school(hub.port, tmp_path / "school") as rural:
        async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(rural.receiver.run())
            killed = await start_flagship(hub.port, tmp_path / "flagship")
            await until(lambda: len(rural.items) > 60)
            killed.kill()
            await killed.wait()
            before = len(rural.items)
            async with flagship(hub.port, tmp_path / "flagship") as publisher:
                publishing = tasks.create_task(publisher.run())
                await Camera(random.Random(4)).film(publisher.open_take(), 2)
                assert len(rural.items) > before + 60
                publisher.finish()
                rural.receiver.finish()
                await asyncio.gather(publishing, following)
        takes = rural.receiver.recorded()
        assert [take.complete for take in takes] == [True, True]
        assert rural.items[-1].take == takes[1].take
    await hub.kill()
    expected = fingerprints(tmp_path / "flagship")
    assert fingerprints(tmp_path / "school") == expected


async def test_who_joins_late_plays_at_once_and_still_gets_the_whole_recording(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        asyncio.timeout(40),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(publisher.run())
        filming = tasks.create_task(Camera(random.Random(3)).film(publisher.open_take(), 3.6))
        await asyncio.sleep(1.5)
        async with school(hub.port, tmp_path / "school") as rural:
            following = tasks.create_task(rural.receiver.run())
            await until(lambda: bool(picture_numbers(rural.items)))
            first = picture_numbers(rural.items)[0]
            assert first % 10 == 0
            assert first >= 20
            await filming
            publisher.finish()
            rural.receiver.finish()
            await following
            assert picture_numbers(rural.items) == list(range(first, 90))
    await hub.kill()
    assert fingerprints(tmp_path / "school") == fingerprints(tmp_path / "flagship")


async def test_a_receiver_with_another_key_plays_nothing_and_says_why(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        flagship(hub.port, tmp_path / "flagship") as publisher,
        school(hub.port, tmp_path / "school", DataKey(bytes(32))) as rural,
    ):
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(publisher.run())
            following = tasks.create_task(rural.receiver.run())
            await Camera(random.Random(3)).film(publisher.open_take(), 1.5)
            publishing.cancel()
            following.cancel()
        assert rural.items == []
        assert rural.receiver.status.cause is Cause.NO_KEY
        assert rural.receiver.status.phase is Phase.WAITING
