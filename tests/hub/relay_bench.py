"""The hub's relay over real sockets, with one lesson's parties, who send and who listen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
from aiohttp import web

from hub.lesson.relay import LessonRelay
from sync.lessons.fragment_exchange import (
    Current,
    Holdings,
    HubMinute,
    decode_from_hub,
    encode_message,
    spans_of,
)
from sync.lessons.fragment_log import Kind, LessonId, Record, Stream, TakeId, parse_record
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import DataKey

LESSON = LessonId("lesson-1")
TAKE = TakeId(b"take-one")
FLAGSHIP, RURAL, STRANGER = 1, 2, 9
PICTURE, SOUND = Stream(Kind.MEDIA, 1), Stream(Kind.MEDIA, 2)

Told = TypeVar("Told", Holdings, HubMinute)


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

    async def follow(
        self, query: str = "", *, answers_pings: bool = True
    ) -> aiohttp.ClientWebSocketResponse:
        return await self._open(f"follow{query}", RURAL, answers_pings=answers_pings)

    async def _open(
        self, path: str, school: int, *, answers_pings: bool = True
    ) -> aiohttp.ClientWebSocketResponse:
        url = f"{self.url}/lessons/{LESSON}/{path}"
        headers = {"X-School": str(school)}
        party = await self.client.ws_connect(url, headers=headers, autoping=answers_pings)
        self.parties.append(party)
        return party


@asynccontextmanager
async def running_relay(folder: Path) -> AsyncIterator[Hub]:
    """Run a relay over a shelf in ``folder``, with one lesson's parties."""
    shelf = LessonShelf(folder)
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


async def next_told(party: aiohttp.ClientWebSocketResponse, kind: type[Told]) -> Told:
    """Return the next message of that kind from the hub."""
    while True:
        received = await party.receive(timeout=5)
        if received.type is aiohttp.WSMsgType.TEXT:
            told = decode_from_hub(received.data)
            if isinstance(told, kind):
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


async def until_closed(party: aiohttp.ClientWebSocketResponse) -> None:
    while not party.closed:
        await party.receive(timeout=5)
