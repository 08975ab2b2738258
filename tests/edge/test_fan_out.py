"""The school's own stream: who joins, who is slow, who may not."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.classroom.classroom_stream import HEADER_BYTES, StreamItem, encode_item
from edge.lesson.classroom.fan_out import GROUP_BYTES_MAX, GROUP_PARCELS_MAX, FanOut
from edge.lesson.status import Cause, LessonStatus, Phase, waiting
from sync.lessons.fragment_log import NUMBER_MAX, TIME_MAX, Kind, TakeId

PICTURE, SOUND = 1, 2
TAKE = TakeId(b"take-one")


def item(
    number: int,
    track: int = PICTURE,
    *,
    kind: Kind = Kind.MEDIA,
    take: TakeId = TAKE,
    size: int = 9,
) -> StreamItem:
    return StreamItem(
        take=take,
        kind=kind,
        track=track,
        number=number,
        keyframe=track == SOUND or number % 10 == 0,
        capture_ms=number * 40,
        decode_us=number * 40_000,
        data=(b"\x09video/mp4" if kind is Kind.INIT else b"") + bytes(size),
    )


@dataclass(frozen=True)
class Room:
    fan_out: FanOut
    port: int
    client: aiohttp.ClientSession
    pages: list[aiohttp.ClientWebSocketResponse]

    async def join(self, origin: str | None = None) -> aiohttp.ClientWebSocketResponse:
        url = f"http://127.0.0.1:{self.port}/classroom/stream"
        page = await self.client.ws_connect(url, origin=origin)
        self.pages.append(page)
        return page


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    fan_out = FanOut(lambda: 1234)
    app = web.Application()
    app.router.add_get("/classroom/stream", fan_out.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as client:
        beating = tasks.create_task(fan_out.run())
        room = Room(fan_out, runner.addresses[0][1], client, [])
        yield room
        for page in room.pages:
            await page.close()
        await runner.cleanup()
        beating.cancel()


async def items(page: aiohttp.ClientWebSocketResponse, count: int) -> list[tuple[int, int, int]]:
    """Return (kind, track, number) of the next binary messages."""
    found: list[tuple[int, int, int]] = []
    while len(found) < count:
        received = await page.receive(timeout=5)
        if received.type is aiohttp.WSMsgType.BINARY:
            _, kind, track, _, _, number = struct.unpack_from(">BBBBII", received.data)
            found.append((kind, track, number))
        else:
            assert received.type is aiohttp.WSMsgType.TEXT, received
    return found


@given(
    st.builds(
        StreamItem,
        take=st.binary(min_size=8, max_size=8).map(TakeId),
        kind=st.sampled_from([Kind.MEDIA, Kind.INIT]),
        track=st.integers(1, 15),
        number=st.integers(0, NUMBER_MAX),
        keyframe=st.booleans(),
        capture_ms=st.integers(0, TIME_MAX),
        decode_us=st.integers(0, TIME_MAX),
        data=st.binary(max_size=50),
    )
)
def test_a_message_has_the_documented_header(given_item: StreamItem) -> None:
    encoded = encode_item(given_item)
    assert struct.unpack_from(">BBBBIIQQ", encoded) == (
        1,
        given_item.kind,
        given_item.track,
        int(given_item.keyframe),
        int.from_bytes(given_item.take[:4], "big"),
        given_item.number,
        given_item.capture_ms,
        given_item.decode_us,
    )
    assert encoded[HEADER_BYTES:] == given_item.data


async def test_who_joins_gets_inits_the_newest_pictures_and_their_sound(room: Room) -> None:
    room.fan_out.publish(item(0, kind=Kind.INIT))
    room.fan_out.publish(item(0, SOUND, kind=Kind.INIT))
    for number in range(13):
        room.fan_out.publish(item(number))
        room.fan_out.publish(item(number, SOUND))
    got = await items(await room.join(), 8)
    assert got[:2] == [(1, PICTURE, 0), (1, SOUND, 0)]
    assert sorted(got[2:]) == [(0, track, n) for track in (PICTURE, SOUND) for n in (10, 11, 12)]


async def test_a_new_take_leaves_nothing_of_the_old_one_for_who_joins(room: Room) -> None:
    room.fan_out.publish(item(0, kind=Kind.INIT))
    room.fan_out.publish(item(0))
    newer = TakeId(b"take-two")
    room.fan_out.publish(item(0, kind=Kind.INIT, take=newer))
    page = await room.join()
    room.fan_out.publish(item(0, take=newer))
    assert await items(page, 2) == [(1, PICTURE, 0), (0, PICTURE, 0)]


async def test_a_cleared_room_shows_nothing_of_the_last_lesson(room: Room) -> None:
    room.fan_out.publish(item(0, kind=Kind.INIT))
    room.fan_out.publish(item(0))
    room.fan_out.clear()
    page = await room.join()
    await page.receive(timeout=5)
    with pytest.raises(TimeoutError):
        await page.receive(timeout=0.2)


async def test_the_state_is_told_at_once_on_change_and_each_second(room: Room) -> None:
    page = await room.join()
    first = json.loads((await page.receive(timeout=5)).data)
    assert (first["type"], first["state"], first["now_ms"]) == ("state", "waiting", 1234)
    room.fan_out.show(
        LessonStatus(
            phase=Phase.DEGRADED,
            cause=Cause.NO_PICTURE,
            at_ms=1,
            connected=True,
            sound_age_ms=40,
            picture_age_ms=5000,
            missing=2,
        )
    )
    told = json.loads((await page.receive(timeout=5)).data)
    assert (told["state"], told["cause"], told["gaps"]) == ("degraded", "no_picture", 2)
    assert (told["sound_age_ms"], told["picture_age_ms"]) == (40, 5000)
    assert json.loads((await page.receive(timeout=5)).data) == told


async def test_a_page_that_plays_hls_hears_of_the_lesson_and_gets_no_media(room: Room) -> None:
    url = f"http://127.0.0.1:{room.port}/classroom/stream?media=0"
    page = await room.client.ws_connect(url)
    room.pages.append(page)
    await page.receive(timeout=5)
    room.fan_out.publish(item(0, kind=Kind.INIT))
    room.fan_out.publish(item(0))
    told = await page.receive(timeout=5)
    assert json.loads(told.data)["type"] == "state"
    assert room.fan_out.viewers == 0


def stuck_page(port: int) -> socket.socket:
    """Return the connection of a page that joins and reads nothing."""
    stuck = socket.create_connection(("127.0.0.1", port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(
        b"GET /classroom/stream HTTP/1.1\r\nHost: box\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    return stuck


async def both_watch(fan_out: FanOut) -> None:
    for _ in range(500):
        if fan_out.viewers == 2:
            return
        await asyncio.sleep(0.01)


async def test_a_page_that_does_not_read_loses_picture_and_delays_nobody(room: Room) -> None:
    stuck = stuck_page(room.port)
    page = await room.join()
    await both_watch(room.fan_out)
    for number in range(60):
        room.fan_out.publish(item(number, size=100_000))
        room.fan_out.publish(item(number, SOUND))
        got = await items(page, 2)
        assert {(PICTURE, number), (SOUND, number)} == {(track, n) for _, track, n in got}
        await asyncio.sleep(0.02)
    assert room.fan_out.dropped > 10
    stuck.close()


async def test_a_page_that_acknowledges_nothing_is_given_up(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.lesson.classroom.fan_out.DEAD_MS", 300)
    stuck = stuck_page(room.port)
    page = await room.join()
    await both_watch(room.fan_out)
    number = 0
    while room.fan_out.viewers == 2:  # the test's own limit of time ends it
        room.fan_out.publish(item(number, size=100_000))
        await items(page, 1)
        await asyncio.sleep(0.02)
        number += 1
    assert not page.closed
    stuck.close()


async def test_a_page_of_another_origin_gets_nothing(room: Room) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await room.join("https://elsewhere.example")
    assert refused.value.status == 403
    page = await room.join(f"http://127.0.0.1:{room.port}")
    assert not page.closed


def test_waiting_is_not_called_live() -> None:
    assert waiting(5).phase is Phase.WAITING


async def test_who_joins_is_sent_a_bounded_beginning_whatever_times_are_told(room: Room) -> None:
    room.fan_out.publish(item(0, SOUND, kind=Kind.INIT))
    for number in range(GROUP_PARCELS_MAX + 100):
        room.fan_out.publish(replace(item(number, SOUND), capture_ms=0))
    room.fan_out.publish(item(0, kind=Kind.INIT))
    room.fan_out.publish(item(0))
    for number in range(1, 6):
        room.fan_out.publish(item(number, size=GROUP_BYTES_MAX // 4))
    kept = room.fan_out._newest.parcels()
    assert len(kept) == 2 + GROUP_PARCELS_MAX
    assert sum(len(parcel.data) for parcel in kept) < GROUP_BYTES_MAX
