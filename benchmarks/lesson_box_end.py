"""The school's end of lesson_poor_link.py: follows the lesson and writes down what came and when.

A line on standard output for each fragment that its room would play, each event and each slide
that became whole: JSON, times in Unix milliseconds of the one machine both ends run on.
"""

import argparse
import random
import ssl
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from benchmarks.lesson_hub_end import KEY, LESSON, PORT, SIGNING
from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.receive import LessonReceiver, Listener
from sync.lessons.fragment_log import Header, Kind, parse_record
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import Slide, TimedEvent
from sync.lessons.materials import Chunk
from sync.segments.sealing import key_id


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """A fragment was handed to the room (``track``), a slide was told of or became whole.

    ``told_ms`` is when it was captured, told or (a slide's file) 0.
    """

    told_ms: int
    came_ms: int
    track: int = 0
    number: int = 0
    slide: str = ""
    digest: str = ""


class _Writer:
    """Collects lines and writes them between fragments."""

    def write(self, came: Came) -> None:
        sys.stdout.write(msgspec.json.encode(came).decode() + "\n")

    def media(self, header: Header, _opened: bytes) -> None:
        if header.kind is Kind.MEDIA:
            self.write(
                Came(
                    told_ms=header.capture_ms,
                    came_ms=_now_ms(),
                    track=header.track,
                    number=header.number,
                )
            )

    def event(self, timed: TimedEvent) -> None:
        if isinstance(timed.event, Slide):
            slide = timed.event.digest
            self.write(Came(told_ms=timed.at_ms, came_ms=_now_ms(), slide=slide))


def _now_ms() -> int:
    return int(time.time() * 1000)


async def main() -> None:
    """Follow until killed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--hub", required=True)
    options.add_argument("--certificate", type=Path, required=True)
    options.add_argument("--way", choices=("adapting", "plain"), required=True)
    given = options.parse_args()
    context = ssl.create_default_context(cafile=str(given.certificate))
    context.check_hostname = False
    writer = _Writer()
    materials = Materials(given.folder / "materials")

    def grow(chunk: Chunk) -> None:
        if materials.grow(LESSON, chunk):
            writer.write(Came(told_ms=0, came_ms=_now_ms(), digest=chunk.digest.hex()))

    connector = aiohttp.TCPConnector(ssl=context)
    url = f"https://{given.hub}:{PORT}"
    async with aiohttp.ClientSession(headers={"X-School": "2"}, connector=connector) as session:
        if given.way == "plain":
            await _follow_plainly(session, url, writer)
        receiver = LessonReceiver(
            lesson=LESSON,
            keys={key_id(KEY): KEY},
            flagship=SIGNING.public_key(),
            shelf=LessonShelf(given.folder / "shelf"),
            route=HubRoute(session, url, random.Random(2)),
            now_ms=_now_ms,
            listener=Listener(
                on_status=lambda _: sys.stdout.flush(),
                on_media=writer.media,
                on_event=writer.event,
                on_chunk=grow,
            ),
        )
        await receiver.run()


async def _follow_plainly(session: aiohttp.ClientSession, url: str, writer: _Writer) -> None:
    async with session.ws_connect(f"{url}/lessons/{LESSON}/follow", max_msg_size=0) as connection:
        async for received in connection:
            if received.type is aiohttp.WSMsgType.BINARY:
                header = parse_record(received.data).header
                writer.media(header, b"")
                sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
