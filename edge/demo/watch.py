"""A classroom without a screen: ``python -m edge.demo.watch --help``.

Speaks what the classroom page's player speaks, decodes every picture and sound, and appends what
it saw to a file, a line a second.
"""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import time
from pathlib import Path

import aiohttp

from edge.demo.lesson_viewer import HeardSound, LessonViewer
from edge.lesson.classroom.classroom_stream import HEADER_BYTES
from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_sealing import split_init
from sync.lessons.tracks import PICTURE, SOUND

_log = logging.getLogger(__name__)

RETRY_S = 0.5
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_KIND_OFFSET = 1
_TRACK_OFFSET = 2
_TAKE = slice(4, 8)


def main() -> None:
    """Watch until stopped."""
    # A shell that starts it in the background would have it ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m edge.demo.watch", description=__doc__)
    parser.add_argument("--url", required=True, help="https://ADDRESS:PORT of the box")
    parser.add_argument("--room", required=True)
    parser.add_argument("--root", type=Path, required=True, help="the district's root, PEM")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_watch(options))
    except KeyboardInterrupt:
        _log.info("stopped")


async def _watch(options: argparse.Namespace) -> None:
    context = ssl.create_default_context(cafile=str(options.root))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        while True:
            try:
                async with session.ws_connect(
                    f"{options.url}/classroom/stream",
                    params={"room": options.room},
                    max_msg_size=MESSAGE_BYTES_MAX,
                ) as socket:
                    await _see(socket, options.report)
            except (aiohttp.ClientError, TimeoutError) as error:
                _log.info("no stream: %s", error)
            await asyncio.sleep(RETRY_S)


async def _see(socket: aiohttp.ClientWebSocketResponse, report: Path) -> None:
    viewer, take = LessonViewer(), b""
    line = _Line(report)
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY:
            line.write_if_due()
            continue
        data: bytes = message.data
        if data[_TRACK_OFFSET] not in {PICTURE, SOUND}:
            continue  # what a page shows beside them, or instead
        content = data[HEADER_BYTES:]
        if data[_KIND_OFFSET] == Kind.INIT:
            if data[_TAKE] != take:
                viewer, take = LessonViewer(), data[_TAKE]
            content = split_init(content)[1]
        elif data[_TAKE] != take:
            continue  # of the take before, as a page passes it over
        decoded = viewer.feed(content, _now_ms())
        seen_ms = _now_ms()
        for each in decoded:
            if isinstance(each, HeardSound):
                line.sounds += 1
                line.tones += each.has_tone
            else:
                line.frames += 1
                if each.clock_ms is not None:
                    line.latencies_ms.append(seen_ms - each.clock_ms)
        line.write_if_due()


class _Line:
    """Collects one second."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._begin()

    def write_if_due(self) -> None:
        if _now_ms() - self._begun_ms < 1000:  # noqa: PLR2004 - a second
            return
        line = {
            "t_ms": self._begun_ms,
            "frames": self.frames,
            "latencies_ms": self.latencies_ms,
            "sounds": self.sounds,
            "tones": self.tones,
        }
        with self._report.open("a") as report:
            report.write(json.dumps(line) + "\n")
        self._begin()

    def _begin(self) -> None:
        self._begun_ms = _now_ms()
        self.frames = self.sounds = self.tones = 0
        self.latencies_ms: list[int] = []


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
