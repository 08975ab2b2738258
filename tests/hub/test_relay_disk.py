"""What the hub's relay keeps, what its disk does not take, and what it tells of itself."""

import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hub.lesson import relay, relayed_lesson
from sync.lessons import fragment_files
from sync.lessons.fragment_exchange import Holdings, HubMinute, spans_of
from sync.lessons.fragment_store import FragmentStoreError
from tests.edge.lesson_bench import until
from tests.hub.relay_bench import (
    LESSON,
    PICTURE,
    RURAL,
    TAKE,
    Hub,
    fragments,
    next_told,
    records,
    running_relay,
    send,
    until_closed,
    until_held,
)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_relay(tmp_path) as opened:
        yield opened


async def test_a_disk_that_fails_keeps_nobody_in_who_has_no_part_any_more(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full() -> None:
        raise FragmentStoreError("the disk does not keep the lesson")

    follower = await hub.follow()
    monkeypatch.setattr(hub.shelf, "sync", full)
    hub.pairing.receivers.clear()
    await until_closed(follower)


async def test_a_take_that_cannot_be_opened_stops_no_other_lesson(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / LESSON / TAKE.hex() / "records.log"
    damaged.mkdir(parents=True)
    refused = await hub.follow()
    await until_closed(refused)
    await until(lambda: f"lesson {LESSON}: " in caplog.text)
    damaged.rmdir()
    follower = await hub.follow()
    while not (await next_told(follower, Holdings)).durable:
        pass


async def test_a_publisher_fills_so_much_of_the_disk_and_no_more(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.lesson.relay.LESSON_BYTES_MAX", 1000)
    publisher = await hub.publish()
    await send(publisher, fragments(10))
    await until(lambda: hub.relay._lessons[LESSON].is_full)
    await publisher.send_bytes(fragments(1, first=10)[0].wire)
    await until_closed(publisher)
    assert publisher.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert hub.shelf.take(LESSON, TAKE).index(PICTURE).head == 9


async def test_what_was_opened_for_a_fetch_is_closed_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.lesson.relay._RECLAIM_TICKS", 1)
    made = fragments(1)
    hub.shelf.take(LESSON, TAKE).append(made[0])
    url = f"{hub.url}/lessons/{LESSON}/{TAKE.hex()}/1/init-0"
    for _ in range(2):
        async with hub.client.get(url, headers={"X-School": str(RURAL)}) as answer:
            assert await answer.read() == made[0].wire
        await until(lambda: not hub.shelf.open_lessons())


def fill_disk(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk take nothing more into files of that name."""
    write_all = fragment_files._write_all

    def write(descriptor: int, data: bytes) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, data)

    patch.setattr(fragment_files, "_write_all", write)


async def test_what_a_full_disk_does_not_take_is_relayed_and_asked_for_again_when_there_is_room(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed_lesson, "ROOM_AGAIN_S", 0.1)
    follower, publisher = await hub.follow(), await hub.publish()
    made = fragments(10)
    with monkeypatch.context() as full:
        fill_disk(full, "records.log")
        await send(publisher, made)
        assert len(await records(follower, len(made))) == len(made)
        assert hub.shelf.takes(LESSON) == []
    await until_closed(publisher)
    again = await hub.publish()
    assert (await next_told(again, Holdings)).takes == []  # so it knows what to send
    await send(again, made)
    await until_held(hub, 10)


async def test_each_minute_both_ends_are_told_how_the_hub_and_their_link_did(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MINUTE_S", 2)
    monkeypatch.setattr(relayed_lesson, "LATE_S", 0.0)
    publisher = await hub.publish()
    with monkeypatch.context() as full:
        fill_disk(full, "records.log")
        await send(publisher, fragments(2))
        follower = await hub.follow()
        up = await next_told(publisher, HubMinute)
        down = await next_told(follower, HubMinute)
    assert up.silent_s  # the lesson was live, and then nothing came
    assert up.unstored_s
    assert (down.silent_s, down.reduced_s, down.dropped) == (0, 0, 0)
    time.sleep(0.5)  # noqa: ASYNC251 - the hub's loop is this one, and it is to be late
    assert max([(await next_told(follower, HubMinute)).busy_ms for _ in range(2)]) >= 400


async def test_what_only_is_to_be_kept_is_refused_by_a_full_disk(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = await hub.publish()
    fill_disk(monkeypatch, "records.log")
    await publisher.send_bytes(fragments(1)[0].wire)
    await until_closed(publisher)
    assert publisher.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER


async def test_a_hub_whose_index_is_not_written_goes_on_telling_and_keeps_strangers_out(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, "records.idx")
    follower, publisher = await hub.follow(), await hub.publish()
    await send(publisher, fragments(3))
    while not (told := await next_told(publisher, Holdings)).takes:
        pass
    told = await next_told(publisher, Holdings)
    assert (told.durable, spans_of(told, TAKE, PICTURE)) == (False, [(0, 2)])
    hub.pairing.receivers.clear()
    await until_closed(follower)
