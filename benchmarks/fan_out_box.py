"""The measured senders in Python, a process each: a box's own fan-out, and plain ``send_bytes``.

Prints "ready" when it serves. What is sent is made once a tick: 2 Mb/s of picture and sound, the
moment of sending in each (``decode_us``, microseconds of the monotonic clock).
"""

import argparse
import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop
from aiohttp import web

from edge.lesson.classroom.classroom_stream import StreamItem, encode_item
from edge.lesson.classroom.fan_out import FanOut
from sync.lessons.fragment_log import Kind, TakeId

PICTURE, SOUND = 1, 2
PICTURE_MS, SOUND_MS = 40, 43
PICTURE_BYTES, SOUND_BYTES = 9_360, 688
"""With which a second has 250,000 bytes: 2 Mb/s."""
GROUP = 50
HEADER_BYTES = 28
STAMP_AT = 20
TAKE = TakeId(b"measured")
PATH = "/classroom/stream"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def media() -> Iterator[tuple[float, int, int]]:
    """Yield (seconds since the start, track, number) for ever, in order."""
    picture = sound = 0
    while True:
        if picture * PICTURE_MS <= sound * SOUND_MS:
            yield picture * PICTURE_MS / 1000, PICTURE, picture
            picture += 1
        else:
            yield sound * SOUND_MS / 1000, SOUND, sound
            sound += 1


def item(track: int, number: int) -> StreamItem:
    size = PICTURE_BYTES if track == PICTURE else SOUND_BYTES
    return StreamItem(
        take=TAKE,
        kind=Kind.MEDIA,
        track=track,
        number=number,
        keyframe=track == SOUND or number % GROUP == 0,
        capture_ms=now_ms(),
        decode_us=time.monotonic_ns() // 1000,
        data=bytes(size - HEADER_BYTES),
    )


async def pace(publish: Callable[[StreamItem], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for due_s, track, number in media():
        wait_s = began_s + due_s - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        await publish(item(track, number))


async def ours(app: web.Application) -> Callable[[StreamItem], Awaitable[None]]:
    fan_out = FanOut(now_ms)
    app.router.add_get(PATH, fan_out.serve)

    async def publish(each: StreamItem) -> None:
        fan_out.publish(each)

    return publish


async def plain(app: web.Application) -> Callable[[StreamItem], Awaitable[None]]:
    """Await ``send_bytes`` for one viewer after the other, as aiohttp's examples do."""
    sockets: set[web.WebSocketResponse] = set()

    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        sockets.add(socket)
        async for _ in socket:
            pass
        sockets.discard(socket)
        return socket

    async def publish(each: StreamItem) -> None:
        data = encode_item(each)
        for socket in list(sockets):
            await socket.send_bytes(data)

    app.router.add_get(PATH, serve)
    return publish


async def run(address: str, port: int, kind: str, pem: Path | None) -> None:
    app = web.Application()
    publish = await {"ours": ours, "plain": plain}[kind](app)
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(pem)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port, ssl_context=context, backlog=1024).start()
    print("ready", flush=True)
    await pace(publish)


def main() -> None:
    """Serve until killed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("kind", choices=("ours", "plain"))
    options.add_argument("address")
    options.add_argument("port", type=int)
    options.add_argument("--pem", type=Path, help="key and certificate: serve by TLS")
    given = options.parse_args()
    uvloop.run(run(given.address, given.port, given.kind, given.pem))


if __name__ == "__main__":
    main()
