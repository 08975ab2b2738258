"""A hub that lies, and a pupil school that holds the lesson's key: what a receiver must refuse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.status import Phase
from sync.lessons.fragment_exchange import (
    Holdings,
    StreamHoldings,
    TakeHoldings,
    Want,
    decode_from_box,
    encode_message,
)
from sync.lessons.fragment_log import SIGNATURES, Kind, LessonId, Record, Stream, TakeId
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer, digest, groups_of, sign_group
from sync.lessons.fragment_shelf import TAKES_MAX
from sync.segments.sealing import DataKey
from tests.edge.lesson_bench import KEY, LESSON, PICTURE, SIGNING, SOUND, School, school, until

TAKE = TakeId(b"take-one")
STREAM = Stream(Kind.MEDIA, PICTURE)


class LyingHub:
    """Says and sends what the test tells it to, and notes what it is asked for."""

    def __init__(self) -> None:
        self.wants: list[Want] = []
        self._sockets: list[web.WebSocketResponse] = []

    async def follow(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        async for received in socket:
            if received.type is WSMsgType.TEXT:
                told = decode_from_box(received.data)
                assert isinstance(told, Want)
                self.wants.append(told)
        return socket

    async def say(self, spans: list[tuple[int, int]]) -> None:
        streams = [StreamHoldings(kind=Kind.MEDIA, track=PICTURE, have=spans)]
        take = TakeHoldings(take=TAKE.hex(), started_ms=1, final=False, streams=streams)
        told = Holdings(durable=True, current=TAKE.hex(), media_age_ms=1, takes=[take])
        await self._sockets[-1].send_str(encode_message(told).decode())

    async def send(self, *wires: bytes) -> None:
        for wire in wires:
            await self._sockets[-1].send_bytes(wire)

    @property
    def connections(self) -> int:
        return len(self._sockets)


@asynccontextmanager
async def lied_to(root: Path) -> AsyncIterator[tuple[LyingHub, School]]:
    hub = LyingHub()
    app = web.Application()
    app.router.add_get(f"/lessons/{LESSON}/follow", hub.follow)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with school(runner.addresses[0][1], root) as rural, asyncio.TaskGroup() as tasks:
        following = tasks.create_task(rural.receiver.run())
        await until(lambda: hub.connections == 1)
        await hub.say([])
        yield hub, rural
        following.cancel()
    await runner.cleanup()


def fragment(
    number: int,
    data: bytes = b"genuine",
    *,
    key: DataKey = KEY,
    lesson: LessonId = LESSON,
    take: TakeId = TAKE,
    track: int = PICTURE,
) -> Record:
    times = MediaTimes(decode_time=number, duration=1, timescale=25, capture_ms=number)
    return TakeSealer(lesson, take, key).seal_media(
        track, number, data, times, keyframe=track == PICTURE and number % 10 == 0
    )


def signature(records: list[Record], private: Ed25519PrivateKey = SIGNING) -> bytes:
    names = [(one.header.stream, one.header.number, digest(one)) for one in records]
    [group] = groups_of(names, final=False)
    return sign_group(LESSON, TAKE, 0, group, 0, private).wire


def played(rural: School) -> list[bytes]:
    return [one.data for one in rural.items]


async def test_altered_and_foreign_fragments_are_neither_played_nor_stored(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        altered = bytearray(fragment(1).wire)
        altered[-1] ^= 1
        keyframe_claimed = bytearray(fragment(1).wire)
        keyframe_claimed[5] ^= 1
        other_key = DataKey(bytes(32))
        await hub.send(
            fragment(0).wire,
            bytes(altered),
            bytes(keyframe_claimed),
            fragment(1, key=other_key).wire,
            fragment(1, lesson=LessonId("another")).wire,
            fragment(1).wire[:-5],
            b"",
            b"nonsense",
            fragment(1, b"genuine too").wire,
        )
        await until(lambda: len(rural.items) == 2)
        assert played(rural) == [b"genuine", b"genuine too"]
        assert rural.receiver.status.phase is not Phase.DONE
        store = rural.shelf.find(LESSON, TAKE)
        assert store is not None
        assert store.index(STREAM).present.spans() == [(0, 1)]
        await until(lambda: rural.receiver.status.refused >= 6)


async def test_forged_takes_leave_nothing_behind_and_have_none_give_way(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        await hub.send(fragment(0).wire)
        await until(lambda: len(rural.items) == 1)
        for number in range(2 * TAKES_MAX):
            forged = TakeId(number.to_bytes(8, "big"))
            await hub.send(fragment(0, key=DataKey(bytes(32)), take=forged).wire)
        await hub.send(fragment(1).wire)
        await until(lambda: len(rural.items) == 2)
        assert [folder.name for folder in (tmp_path / LESSON).iterdir()] == [TAKE.hex()]


async def test_a_replayed_fragment_is_played_once(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        first, second = fragment(0).wire, fragment(1).wire
        await hub.send(first, second, first, second, first, fragment(2, b"last").wire)
        await until(lambda: len(rural.items) == 3)
        assert played(rural) == [b"genuine", b"genuine", b"last"]


async def test_a_fragment_of_an_older_take_is_never_played_into_this_one(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        old = TakeId(b"take-old")
        await hub.send(fragment(0).wire, fragment(1, b"old", take=old).wire, fragment(1).wire)
        await until(lambda: len(rural.items) == 2)
        assert played(rural) == [b"genuine", b"genuine"]
        assert {one.take for one in rural.items} == {TAKE}


async def test_after_a_hole_picture_waits_for_a_keyframe_and_sound_does_not(
    tmp_path: Path,
) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        await hub.send(
            fragment(0).wire,
            fragment(2, b"no use without 1").wire,
            fragment(7, b"sound", track=SOUND).wire,
            fragment(10, b"keyframe").wire,
            fragment(11, b"next").wire,
        )
        await until(lambda: len(rural.items) == 4)
        assert played(rural) == [b"genuine", b"sound", b"keyframe", b"next"]
        store = rural.shelf.find(LESSON, TAKE)
        assert store is not None
        assert store.index(STREAM).present.spans() == [(0, 0), (2, 2), (10, 11)]


async def test_a_signature_not_by_the_flagship_proves_nothing(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        genuine = fragment(0)
        forged = signature([genuine], Ed25519PrivateKey.generate())
        await hub.send(genuine.wire, forged, fragment(1).wire)
        await until(lambda: len(rural.items) == 2)
        store = rural.shelf.find(LESSON, TAKE)
        assert store is not None
        assert not store.has(SIGNATURES, 0)
        assert not store.is_proven(STREAM, 0)
        [take] = rural.receiver.recorded()
        assert not take.complete


async def test_a_forgery_by_another_holder_of_the_key_is_taken_back_and_fetched_anew(
    tmp_path: Path,
) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        genuine = [fragment(0), fragment(1), fragment(2)]
        forged = fragment(1, b"forged by a receiver that holds the lesson's key")
        await hub.send(genuine[0].wire, forged.wire, genuine[2].wire)
        await until(lambda: len(rural.items) == 3)
        await hub.send(signature(genuine))
        store = rural.shelf.find(LESSON, TAKE)
        assert store is not None
        await until(lambda: not store.has(STREAM, 1))
        assert [(gap.first, gap.last) for gap in rural.receiver.gaps()] == [(1, 1)]
        await hub.say([(0, 2)])
        await until(lambda: len(hub.wants) == 1)
        assert (hub.wants[0].first, hub.wants[0].last) == (1, 1)
        await hub.send(forged.wire)
        await hub.say([(0, 2)])
        await asyncio.sleep(0.1)
        assert not store.has(STREAM, 1)
        await hub.send(genuine[1].wire)
        await until(lambda: store.is_proven(STREAM, 1))
        assert rural.receiver.gaps() == []


async def test_a_stored_recording_is_not_overwritten_by_a_hub_that_lost_its_own(
    tmp_path: Path,
) -> None:
    async with lied_to(tmp_path) as (hub, rural):
        await hub.send(fragment(0).wire)
        await until(lambda: len(rural.items) == 1)
        await hub.send(fragment(0, b"another").wire, fragment(1).wire)
        await until(lambda: len(rural.items) == 2)
        store = rural.shelf.find(LESSON, TAKE)
        assert store is not None
        assert store.read(STREAM, 0) == fragment(0).wire


async def test_a_hub_that_falls_silent_is_taken_for_cut_and_joined_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.lesson.transfer.hub_link.SILENCE_S_MAX", 0.2)
    async with lied_to(tmp_path) as (hub, rural):
        await hub.send(fragment(0).wire)
        await until(lambda: hub.connections >= 3)
        assert played(rural) == [b"genuine"]
