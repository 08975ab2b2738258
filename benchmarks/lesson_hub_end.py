"""The hub's end of lesson_poor_link.py: a flagship that films, and what hands its lesson on.

``--way adapting`` is the product: publisher, relay, per-viewer queue. ``--way plain`` is what it is
held against: each record is sent as it comes, to whoever follows, over the same TLS.
"""

import argparse
import asyncio
import contextlib
import random
import socket
import ssl
import sys
import time
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.lesson_media import load_media, timetable
from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.capture.fmp4 import fragment
from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.material_sender import keep_sending
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.recording import TakeRecorder
from hub.lesson.relay import LessonRelay
from sync.lessons.fragment_log import Kind, LessonId, Record
from sync.lessons.fragment_sealing import new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import Slide
from sync.lessons.tracks import PICTURE_SMALL, SOUND
from sync.segments.sealing import DataKey

LESSON = LessonId("poor-link")
KEY = DataKey(bytes(range(32)))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
PORT, INNER_PORT = 8443, 8081
SLIDE_EVERY_S = 10
_CONGESTION_EVERY_S = 0.2


class _Everyone:
    def may_publish(self, school: int, lesson: str) -> bool:
        return (school, lesson) == (1, LESSON)

    def may_receive(self, school: int, lesson: str) -> bool:
        return (school, lesson) == (2, LESSON)


def _school(request: web.Request) -> int:
    return int(request.headers["X-School"])


class _PlainFollowers:
    """Sends every record to every follower in turn, as it came."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes]] = set()

    def offer(self, record: Record) -> None:
        # One picture, since this way knows nothing of a smaller one.
        if record.header.kind is not Kind.MEDIA or record.header.track != PICTURE_SMALL:
            for queue in self._queues:
                queue.put_nowait(record.wire)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        connection = web.WebSocketResponse(compress=False)
        await connection.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while True:
                await connection.send_bytes(await queue.get())
        except ConnectionError:
            return connection
        finally:
            self._queues.discard(queue)


async def _film(recorder: TakeRecorder, media: Path) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for due in timetable(load_media(media)):
        await asyncio.sleep(max(0.0, began_s + due.at_s - loop.time()))
        recorder.add(
            MediaFragment(
                track=due.track,
                number=due.number,
                keyframe=due.samples[0].keyframe,
                decode_time=due.decode_time,
                duration=due.duration,
                timescale=due.timescale,
                # Sound is as old as its first sample, as the appliance has it.
                capture_ms=int(time.time() * 1000)
                - (due.duration * 1000 // due.timescale if due.track == SOUND else 0),
                data=fragment(due.track, due.number, due.decode_time, due.samples),
            )
        )


async def _tell_slides(publisher: LessonPublisher, materials: Materials) -> None:
    position = 0
    while True:
        await asyncio.sleep(SLIDE_EVERY_S)
        digests = materials.digests(LESSON)
        if digests:
            digest = digests[position % len(digests)]
            position += 1
            publisher.tell(Slide(digest=digest.hex(), position=position))


async def _keep_congestion(runner: web.AppRunner, name: str) -> None:
    """Have every connection under this congestion control; exits where the kernel has it not."""
    told = False
    while True:
        await asyncio.sleep(_CONGESTION_EVERY_S)
        for handler in runner.server.connections if runner.server else ():
            if handler.transport is None:
                continue
            connection: socket.socket = handler.transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            read_back = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            if not told:
                print(f"congestion {read_back.rstrip(bytes(1)).decode()}", file=sys.stderr)
                told = True


async def main() -> None:
    """Film and hand on until killed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--media", type=Path, required=True)
    options.add_argument("--certificate", type=Path, required=True)
    options.add_argument("--way", choices=("adapting", "plain"), required=True)
    options.add_argument("--congestion", required=True)
    given = options.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(given.certificate)
    app = web.Application()
    relay = LessonRelay(LessonShelf(given.folder / "hub"), _Everyone(), _school)
    plain = _PlainFollowers()
    if given.way == "plain":
        app.router.add_get("/lessons/{lesson}/follow", plain.follow)
    else:
        relay.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, None, PORT, ssl_context=context).start()
    await web.TCPSite(runner, "127.0.0.1", INNER_PORT).start()
    shelf = LessonShelf(given.folder / "flagship")
    materials = Materials(given.folder / "materials")
    async with aiohttp.ClientSession(headers={"X-School": "1"}) as session:
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_keep_congestion(runner, given.congestion))
                if given.way == "plain":
                    store = shelf.take(LESSON, new_take())
                    recorder = TakeRecorder(store, KEY, SIGNING, plain.offer, lambda _: None)
                else:
                    publisher = LessonPublisher(
                        lesson=LESSON,
                        key=KEY,
                        signing=SIGNING,
                        shelf=shelf,
                        route=HubRoute(session, f"http://127.0.0.1:{INNER_PORT}", random.Random(1)),
                        now_ms=lambda: int(time.time() * 1000),
                        on_status=lambda _: None,
                    )
                    tasks.create_task(relay.run())
                    tasks.create_task(publisher.run())
                    tasks.create_task(keep_sending(publisher, materials, LESSON))
                    tasks.create_task(_tell_slides(publisher, materials))
                    recorder = publisher.open_take()
                recorder.add_init(SOUND, 'audio/mp4; codecs="mp4a.40.2"', b"init", 0)
                tasks.create_task(_film(recorder, given.media))
                print("ready", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
