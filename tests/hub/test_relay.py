"""The hub's relay: who may, what it hands on, and that the slow harm no others."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hub.lesson.relayed_lesson import LINKS_MAX
from sync.lessons.fragment_exchange import Current, Holdings, Want, encode_message, spans_of
from sync.lessons.fragment_log import Kind, LessonId, Stream, parse_record
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.segments.sealing import DataKey
from tests.edge.lesson_bench import until
from tests.hub.relay_bench import (
    LESSON,
    PICTURE,
    RURAL,
    SOUND,
    STRANGER,
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


def stuck_follower(hub: Hub) -> socket.socket:
    """Open a follower's link that is never read."""
    stuck = socket.create_connection(("127.0.0.1", int(hub.url.rsplit(":", 1)[1])))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(
        f"GET /lessons/{LESSON}/follow HTTP/1.1\r\nHost: hub\r\nX-School: {RURAL}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    return stuck


def followers(hub: Hub) -> tuple[int, ...]:
    evidence = hub.relay.evidence(LESSON)
    return () if evidence is None else evidence.followers


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


async def test_a_box_whose_line_is_deep_is_kept_while_it_takes_what_is_sent(hub: Hub) -> None:
    # Whatever it would answer waits for seconds behind what the narrow line still holds.
    follower = await hub.follow(answers_pings=False)
    for _ in range(9):
        received = await follower.receive(timeout=5)
        assert received.type is aiohttp.WSMsgType.TEXT, "the hub speaks each second"


async def test_a_box_that_acknowledges_nothing_is_given_up(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.lesson.relay.DEAD_MS", 300)
    publisher, stuck = await hub.publish(), stuck_follower(hub)
    await until(lambda: followers(hub) == (RURAL,))
    number = 0
    while followers(hub):  # the test's own limit of time ends it
        await send(publisher, fragments(1, number, 50_000))
        await asyncio.sleep(0.02)
        number += 1
    stuck.close()


async def test_a_follower_that_does_not_read_delays_nobody_and_is_sent_a_keyframe_later(
    hub: Hub,
) -> None:
    publisher, quick = await hub.publish(), await hub.follow()
    stuck = stuck_follower(hub)
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


async def test_a_follower_cannot_publish(hub: Hub) -> None:
    follower = await hub.follow()
    await follower.send_bytes(fragments(1)[1].wire)
    await until_closed(follower)
    assert follower.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert hub.shelf.takes(LESSON) == []


async def test_who_is_removed_from_the_lesson_is_cut_off(hub: Hub) -> None:
    follower = await hub.follow()
    await next_told(follower, Holdings)
    hub.pairing.receivers.clear()
    await until_closed(follower)


async def test_a_flagship_that_comes_back_takes_the_place_of_its_dead_link(hub: Hub) -> None:
    old = await hub.publish()
    await next_told(old, Holdings)
    new = await hub.publish()
    await send(new, fragments(1))
    await until_closed(old)
    await until_held(hub, 1)
    evidence = hub.relay.evidence(LESSON)
    assert evidence is not None
    assert evidence.publishing


async def test_the_flagship_is_told_what_lies_durably_at_the_hub(hub: Hub) -> None:
    publisher = await hub.publish()
    assert (await next_told(publisher, Holdings)).takes == []
    await send(publisher, fragments(3))
    while not (told := await next_told(publisher, Holdings)).durable or not told.takes:
        pass
    assert spans_of(told, TAKE, PICTURE) == [(0, 2)]
    assert told.current == TAKE.hex()
