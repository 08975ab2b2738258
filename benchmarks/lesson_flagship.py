"""Flagships that publish sealed lessons of 2 Mb/s to a hub, as the daemon's uplink would at best.

Takes the hub's address and CONFIG=LESSON for each; prints "ready" when all are on air, and after a
line on standard input ``{"mbit_a_lesson": …}``. Each record's decode time is the moment it was
sealed: microseconds of the monotonic clock.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from benchmarks.fan_out_box import GROUP, PICTURE, PICTURE_BYTES, SOUND, SOUND_BYTES, media
from edge.config import load_config
from provisioning.identity import load_identity
from provisioning.tls import box_client_context
from sync.lessons.fragment_exchange import Current, encode_message
from sync.lessons.fragment_log import LessonId, Record, Stream
from sync.lessons.fragment_sealing import (
    MediaTimes,
    TakeSealer,
    digest,
    groups_of,
    new_take,
    sign_group,
)
from sync.segments.sealing import new_data_key

TIMESCALE = 1_000_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Flagship:
    """One lesson's take, sealed and signed as it goes."""

    def __init__(self, config: Path, lesson: str) -> None:
        self.lesson = LessonId(lesson)
        self.identity = load_identity(load_config(config).folder / "identity")
        self.take = new_take()
        self.sent_bytes = 0
        self._sealer = TakeSealer(self.lesson, self.take, new_data_key(os.urandom))
        self._unsigned: list[tuple[Stream, int, bytes]] = []
        self._signatures = 0
        self._media = random.Random(1).randbytes(PICTURE_BYTES)

    def begin(self) -> list[Record]:
        names = {PICTURE: 'video/mp4; codecs="avc1.42E01F"', SOUND: 'audio/mp4; codecs="mp4a.40.2"'}
        return [self._sealer.seal_init(track, name, b"x", 0) for track, name in names.items()]

    def records(self, track: int, number: int) -> list[Record]:
        """Seal the next fragment, and before a keyframe sign what came before it."""
        keyframe = track == PICTURE and number % GROUP == 0
        made = self._sign() if keyframe else []
        size = PICTURE_BYTES if track == PICTURE else SOUND_BYTES
        times = MediaTimes(
            decode_time=time.monotonic_ns() // 1000,
            duration=TIMESCALE // (25 if track == PICTURE else 10),
            timescale=TIMESCALE,
            capture_ms=now_ms(),
        )
        body = self._media[:size]
        record = self._sealer.seal_media(track, number, body, times, keyframe=keyframe)
        self._unsigned.append((record.header.stream, number, digest(record)))
        return [*made, record]

    def _sign(self) -> list[Record]:
        unsigned, self._unsigned = self._unsigned, []
        made: list[Record] = []
        for group in groups_of(unsigned, final=False):
            number, signing = self._signatures, self.identity.signing
            made.append(sign_group(self.lesson, self.take, number, group, now_ms(), signing))
            self._signatures += 1
        return made


async def publish(url: str, flagship: Flagship, on_air: asyncio.Event) -> None:
    context = box_client_context(flagship.identity, now_ms)
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"{url}/lessons/{flagship.lesson}/publish") as socket,
        asyncio.TaskGroup() as tasks,
    ):
        hearing = tasks.create_task(_hear(socket))
        await socket.send_str(encode_message(Current(take=flagship.take.hex())).decode())
        for record in flagship.begin():
            await socket.send_bytes(record.wire)
        on_air.set()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for due_s, track, number in media():
            await asyncio.sleep(began_s + due_s - loop.time())
            for record in flagship.records(track, number):
                await socket.send_bytes(record.wire)
                flagship.sent_bytes += len(record.wire)
        hearing.cancel()


async def _hear(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass
    raise RuntimeError("the hub hung up on a flagship")


async def run(url: str, flagships: list[Flagship]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        publishing = []
        for flagship in flagships:
            on_air = asyncio.Event()
            publishing.append(tasks.create_task(publish(url, flagship, on_air)))
            await on_air.wait()
        began_s, before = loop.time(), sum(each.sent_bytes for each in flagships)
        print("ready", flush=True)
        await reader.readline()
        sent = sum(each.sent_bytes for each in flagships) - before
        rate = sent * 8 / 1e6 / (loop.time() - began_s) / len(flagships)
        print(msgspec.json.encode({"mbit_a_lesson": rate}).decode(), flush=True)
        for task in publishing:
            task.cancel()


def main() -> None:
    """Publish until told to stop."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url")
    options.add_argument("lessons", nargs="+", help="CONFIG=LESSON")
    given = options.parse_args()
    pairs = [each.partition("=") for each in given.lessons]
    uvloop.run(run(given.url, [Flagship(Path(config), name) for config, _, name in pairs]))


if __name__ == "__main__":
    main()
