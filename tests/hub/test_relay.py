"""The hub's relay over real sockets: who may, what it keeps, and that the slow harm no others."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hub.lesson import relay, relayed_lesson
from hub.lesson.relay import LessonRelay
from hub.lesson.relayed_lesson import LINKS_MAX
from sync.lessons import fragment_files
from sync.lessons.fragment_exchange import (
    Current,
    Holdings,
    HubMinute,
    Want,
    decode_from_hub,
    encode_message,
    spans_of,
)
from sync.lessons.fragment_log import Kind, LessonId, Record, Stream, TakeId, parse_record
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError
from sync.segments.sealing import DataKey
from tests.edge.lesson_bench import until

LESSON = LessonId("lesson-1")
TAKE = TakeId(b"take-one")
FLAGSHIP, RURAL, STRANGER = 1, 2, 9
PICTURE, SOUND = Stream(Kind.MEDIA, 1), Stream(Kind.MEDIA, 2)


class Pairing:
    """One lesson's parties, which may change while it runs."""

    def __init__(self) -> None:
        self.receivers = {RURAL}

    def may_publish(self, school: int, lesson: str) -> bool:
        return (school, lesson) == (FLAGSHIP, LESSON)

    def may_receive(self, school: int, lesson: str) -> bool:
        return lesson == LESSON and (school in self.receivers or school == FLAGSHIP)


def identify(request: web.Request) -> int:
    if "X-School" not in request.headers:
        raise web.HTTPUnauthorized(text="no certificate")
    return int(request.headers["X-School"])


@dataclass(frozen=True)
class Hub:
    url: str
    relay: LessonRelay
    shelf: LessonShelf
    pairing: Pairing
    client: aiohttp.ClientSession
    parties: list[aiohttp.ClientWebSocketResponse]

    async def publish(self) -> aiohttp.ClientWebSocketResponse:
        return await self._open("publish", FLAGSHIP)

    async def follow(self, query: str = "") -> aiohttp.ClientWebSocketResponse:
        return await self._open(f"follow{query}", RURAL)

    async def _open(self, path: str, school: int) -> aiohttp.ClientWebSocketResponse:
        url = f"{self.url}/lessons/{LESSON}/{path}"
        party = await self.client.ws_connect(url, headers={"X-School": str(school)})
        self.parties.append(party)
        return party


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    shelf = LessonShelf(tmp_path)
    pairing = Pairing()
    relay = LessonRelay(shelf, pairing, identify)
    app = web.Application()
    relay.add_routes(app)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as client:
        running = tasks.create_task(relay.run())
        opened = Hub(url, relay, shelf, pairing, client, [])
        yield opened
        for party in opened.parties:
            await party.close()
        await runner.cleanup()
        running.cancel()
    shelf.close()


def fragments(count: int, first: int = 0, size: int = 100) -> list[Record]:
    sealer = TakeSealer(LESSON, TAKE, DataKey(bytes(32)))
    made = [] if first else [sealer.seal_init(1, "video/mp4", b"init", 0)]
    for number in range(first, first + count):
        times = MediaTimes(
            decode_time=number * 40, duration=40, timescale=1000, capture_ms=number * 40
        )
        made.append(sealer.seal_media(1, number, bytes(size), times, keyframe=number % 10 == 0))
        made.append(sealer.seal_media(2, number, bytes(50), times, keyframe=False))
    return made


async def send(publisher: aiohttp.ClientWebSocketResponse, records: list[Record]) -> None:
    await publisher.send_str(encode_message(Current(take=TAKE.hex())).decode())
    for record in records:
        await publisher.send_bytes(record.wire)


async def holdings(follower: aiohttp.ClientWebSocketResponse) -> Holdings:
    while True:
        received = await follower.receive(timeout=5)
        if received.type is aiohttp.WSMsgType.TEXT:
            told = decode_from_hub(received.data)
            if isinstance(told, Holdings):
                return told


async def hub_minute(party: aiohttp.ClientWebSocketResponse) -> HubMinute:
    while True:
        received = await party.receive(timeout=5)
        if received.type is aiohttp.WSMsgType.TEXT:
            told = decode_from_hub(received.data)
            if isinstance(told, HubMinute):
                return told


async def records(
    follower: aiohttp.ClientWebSocketResponse, count: int
) -> list[tuple[Stream, int]]:
    found: list[tuple[Stream, int]] = []
    parts = PartJoiner()
    while len(found) < count:
        received = await follower.receive(timeout=5)
        if received.type is aiohttp.WSMsgType.BINARY:
            wire = parts.take(received.data)
            if wire is not None:
                header = parse_record(wire).header
                found.append((header.stream, header.number))
        else:
            assert received.type is aiohttp.WSMsgType.TEXT, received
    return found


async def until_held(hub: Hub, count: int) -> None:
    """Wait until the hub durably holds this many fragments of picture."""
    async with hub.client.get(
        f"{hub.url}/lessons/{LESSON}/index", headers={"X-School": "1"}
    ) as answer:
        held = decode_from_hub(await answer.text())
    assert isinstance(held, Holdings)
    if spans_of(held, TAKE, PICTURE) != [(0, count - 1)]:
        await asyncio.sleep(0.02)
        await until_held(hub, count)


async def test_a_follower_gets_bit_for_bit_what_the_flagship_sent(hub: Hub) -> None:
    publisher, follower = await hub.publish(), await hub.follow()
    sent = fragments(20)
    await send(publisher, sent)
    got: dict[tuple[Stream, int], bytes] = {}
    while len(got) < len(sent):
        received = await follower.receive(timeout=5)
        if received.type is aiohttp.WSMsgType.BINARY:
            header = parse_record(received.data).header
            got[header.stream, header.number] = received.data
    assert got == {(one.header.stream, one.header.number): one.wire for one in sent}
    evidence = hub.relay.evidence(LESSON)
    assert evidence is not None
    assert (evidence.publishing, evidence.followers) == (True, (RURAL,))
    assert evidence.media_age_ms is not None


async def test_who_joins_starts_at_the_newest_keyframe_with_its_sound(hub: Hub) -> None:
    await send(await hub.publish(), fragments(25))
    await until_held(hub, 25)
    joined = await records(await hub.follow(), 11)
    assert joined[0] == (Stream(Kind.INIT, 1), 0)
    assert sorted(joined[1:]) == [(one, n) for one in (PICTURE, SOUND) for n in range(20, 25)]


async def test_who_resumes_gets_what_lies_between_after_the_newest_pictures(hub: Hub) -> None:
    await send(await hub.publish(), fragments(25))
    await until_held(hub, 25)
    follower = await hub.follow(f"?from={TAKE.hex()}:1:14,{TAKE.hex()}:2:17")
    await records(follower, 11)
    between = [(SOUND, n) for n in (18, 19)] + [(PICTURE, n) for n in range(15, 20)]
    assert await records(follower, 7) == between


async def test_what_a_follower_wants_is_sent_as_far_as_it_is_held(hub: Hub) -> None:
    await send(await hub.publish(), fragments(25))
    await until_held(hub, 25)
    follower = await hub.follow()
    await records(follower, 11)
    for want in (
        Want(take=TAKE.hex(), kind=Kind.MEDIA, track=1, first=3, last=5),
        Want(take="ff" * 8, kind=Kind.MEDIA, track=1, first=0, last=5),
        Want(take=TAKE.hex(), kind=Kind.MEDIA, track=2, first=23, last=500),
    ):
        await follower.send_str(encode_message(want).decode())
    assert sorted(await records(follower, 5)) == [
        *((PICTURE, n) for n in (3, 4, 5)),
        *((SOUND, n) for n in (23, 24)),
    ]


async def test_a_hole_filled_later_is_kept_and_not_played_as_live(hub: Hub) -> None:
    publisher, follower = await hub.publish(), await hub.follow()
    made = fragments(30)
    await send(publisher, made[:21] + made[41:])
    first = await records(follower, len(made[:21] + made[41:]))
    await send(publisher, made[21:41])
    await until_held(hub, 30)
    late = TakeSealer(LESSON, TAKE, DataKey(bytes(32))).seal_media(
        1, 30, b"live", MediaTimes(decode_time=0, duration=1, timescale=1, capture_ms=0),
        keyframe=True,
    )  # fmt: skip
    await send(publisher, [late])
    assert await records(follower, 1) == [(PICTURE, 30)]
    assert (PICTURE, 15) not in first


async def test_the_large_picture_that_follows_as_catch_up_is_kept_and_not_played_as_live(
    hub: Hub,
) -> None:
    publisher, follower = await hub.publish(), await hub.follow()
    told = Current(take=TAKE.hex(), rung=Rung.SMALL)
    await publisher.send_str(encode_message(told).decode())
    for record in fragments(5):
        await publisher.send_bytes(record.wire)
    await until_held(hub, 5)
    assert await records(follower, 6) == [
        (Stream(Kind.INIT, 1), 0),
        *((SOUND, number) for number in range(5)),
    ]
    evidence = hub.relay.evidence(LESSON)
    assert evidence is not None
    assert (evidence.rung, evidence.rungs) == (Rung.SMALL, ((RURAL, Rung.MAIN),))


async def test_a_follower_that_does_not_read_delays_nobody_and_is_sent_a_keyframe_later(
    hub: Hub,
) -> None:
    publisher, quick = await hub.publish(), await hub.follow()
    stuck = socket.create_connection(("127.0.0.1", int(hub.url.rsplit(":", 1)[1])))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(
        f"GET /lessons/{LESSON}/follow HTTP/1.1\r\nHost: hub\r\nX-School: {RURAL}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await asyncio.sleep(0.2)
    slowest_s = 0.0
    clock = asyncio.get_running_loop().time
    for number in range(60):
        began_s = clock()
        batch = [one for one in fragments(1, number, 50_000) if one.header.kind is Kind.MEDIA]
        await send(publisher, batch)
        await records(quick, 2)
        slowest_s = max(slowest_s, clock() - began_s)
        await asyncio.sleep(0.02)
    assert slowest_s < 1
    evidence = hub.relay.evidence(LESSON)
    assert evidence is not None
    assert evidence.dropped > 10, evidence
    stuck.close()
    await publisher.close()


@pytest.mark.parametrize(
    ("school", "path", "status"),
    [
        (None, "follow", 401),
        (STRANGER, "follow", 403),
        (RURAL, "publish", 403),
        (STRANGER, "index", 403),
        (STRANGER, f"{TAKE.hex()}/1/0", 403),
        (RURAL, "follow?from=nonsense", 400),
        (RURAL, "follow?from=" + "0" * 16 + ":1:99999999", 400),
        (RURAL, f"{TAKE.hex()}/1/-1", 400),
        (RURAL, "../../../etc/1/1", 404),
        (RURAL, "nonsense/1/0", 400),
        (RURAL, f"{TAKE.hex()}/1/77", 404),
    ],
)
async def test_strangers_and_nonsense_are_refused(
    hub: Hub, school: int | None, path: str, status: int
) -> None:
    headers = {} if school is None else {"X-School": str(school)}
    async with hub.client.get(f"{hub.url}/lessons/{LESSON}/{path}", headers=headers) as answer:
        assert answer.status == status


async def test_a_fragment_is_an_immutable_object(hub: Hub) -> None:
    made = fragments(1)
    await send(await hub.publish(), made)
    await until_held(hub, 1)
    for path, wire in (
        (f"{TAKE.hex()}/1/0", made[1].wire),
        (f"{TAKE.hex()}/1/init-0", made[0].wire),
    ):
        url = f"{hub.url}/lessons/{LESSON}/{path}"
        async with hub.client.get(url, headers={"X-School": str(RURAL)}) as answer:
            assert await answer.read() == wire
            assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"not a record", fragments(1)[1].wire[:-1], fragments(1)[1].wire + b"x"],
)
async def test_a_publisher_that_sends_nonsense_is_cut_off(hub: Hub, nonsense: bytes) -> None:
    publisher = await hub.publish()
    await publisher.send_bytes(nonsense)
    await until_closed(publisher)
    assert publisher.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_publisher_cannot_write_into_another_lesson(hub: Hub) -> None:
    publisher = await hub.publish()
    times = MediaTimes(decode_time=0, duration=1, timescale=1, capture_ms=0)
    sealer = TakeSealer(LessonId("other"), TAKE, DataKey(bytes(32)))
    await publisher.send_bytes(sealer.seal_media(1, 0, b"x", times, keyframe=True).wire)
    await until_closed(publisher)
    assert publisher.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert hub.shelf.takes(LessonId("other")) == []


async def test_a_school_follows_on_few_links_and_the_oldest_gives_way(hub: Hub) -> None:
    def is_bounded() -> bool:
        evidence = hub.relay.evidence(LESSON)
        return evidence is not None and evidence.followers == (RURAL,) * LINKS_MAX

    await asyncio.gather(*(hub.follow() for _ in range(LINKS_MAX + 3)))
    await until(is_bounded)
    newest = await hub.follow()
    await until(is_bounded)
    await send(await hub.publish(), fragments(1))
    await records(newest, 3)


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
    while not (await holdings(follower)).durable:
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


async def test_a_follower_cannot_publish(hub: Hub) -> None:
    follower = await hub.follow()
    await follower.send_bytes(fragments(1)[1].wire)
    await until_closed(follower)
    assert follower.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert hub.shelf.takes(LESSON) == []


async def test_who_is_removed_from_the_lesson_is_cut_off(hub: Hub) -> None:
    follower = await hub.follow()
    await holdings(follower)
    hub.pairing.receivers.clear()
    await until_closed(follower)


async def test_a_flagship_that_comes_back_takes_the_place_of_its_dead_link(hub: Hub) -> None:
    old = await hub.publish()
    await holdings(old)
    new = await hub.publish()
    await send(new, fragments(1))
    await until_closed(old)
    await until_held(hub, 1)
    evidence = hub.relay.evidence(LESSON)
    assert evidence is not None
    assert evidence.publishing


async def test_the_flagship_is_told_what_lies_durably_at_the_hub(hub: Hub) -> None:
    publisher = await hub.publish()
    assert (await holdings(publisher)).takes == []
    await send(publisher, fragments(3))
    while not (told := await holdings(publisher)).durable or not told.takes:
        pass
    assert spans_of(told, TAKE, PICTURE) == [(0, 2)]
    assert told.current == TAKE.hex()


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
    assert (await holdings(again)).takes == []  # so it knows what to send
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
        up = await hub_minute(publisher)
        down = await hub_minute(follower)
    assert up.silent_s  # the lesson was live, and then nothing came
    assert up.unstored_s
    assert (down.silent_s, down.reduced_s, down.dropped) == (0, 0, 0)
    time.sleep(0.5)  # noqa: ASYNC251 - the hub's loop is this one, and it is to be late
    assert max([(await hub_minute(follower)).busy_ms for _ in range(2)]) >= 400


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
    while not (told := await holdings(publisher)).takes:
        pass
    told = await holdings(publisher)
    assert (told.durable, spans_of(told, TAKE, PICTURE)) == (False, [(0, 2)])
    hub.pairing.receivers.clear()
    await until_closed(follower)


async def until_closed(party: aiohttp.ClientWebSocketResponse) -> None:
    while not party.closed:
        await party.receive(timeout=5)
