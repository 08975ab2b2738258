"""What one camera's capture costs a box, sealed, signed and stored, in processor and memory.

A camera in a process of its own sends 1280x720 at 25 pictures/s and 2 Mb/s with sound, encoded once
and repeated; the box's own publisher captures it in another process, without a hub that answers.
Counted is what the kernel says of that other process. In turn: AAC over TCP, the same over UDP,
G.711 that is made Opus, and AAC with a small stream and a document camera beside it.
"""

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.lesson_rtsp import Sound, serving_camera
from benchmarks.processes import cpu_s, tree_memory_mb
from benchmarks.report import (
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from drivers.entities import DeviceId
from edge.lesson.capture.flagship_capture import FlagshipCapture, LessonSource
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.publish import LessonPublisher
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import DOCUMENT, PICTURE, PICTURE_SMALL
from sync.segments.sealing import DataKey

LESSON: Final = LessonId("benchmark")
SETTLE_S = 3.0
"""From the first picture until the measurement begins."""
CASES: Final = {
    "aac_over_tcp": (("main", ""),),
    "aac_over_udp": (("main", "?transport=udp"),),
    "g711_to_opus": (("telephone", ""),),
    "three_sources": (("main", ""), ("small", ""), ("main", "")),
}
TRACKS: Final = (PICTURE, PICTURE_SMALL, DOCUMENT)


def main() -> None:
    """Run from the command line."""
    options = _options()
    if options.camera is not None:
        asyncio.run(_serve())
    elif options.capture is not None:
        uvloop.run(_capture(options.capture, options.folder))
    else:
        publish(_measure(options), as_json=options.json)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--camera", action="store_const", const=True, help=argparse.SUPPRESS)
    made.add_argument("--capture", nargs="+", help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return made.parse_args()


def _measure(options: argparse.Namespace) -> Report:
    machine = read_machine()
    shares: dict[str, list[float]] = {case: [] for case in CASES}
    memory: dict[str, list[float]] = {case: [] for case in CASES}
    whole_mb: list[float] = []
    mbits: list[float] = []
    with progress("capture") as step, _child("--camera") as camera:
        assert camera.stdout is not None
        port = int(camera.stdout.readline())
        for run in range(options.runs):
            for case, streams in CASES.items():
                step(f"{case}, run {run + 1} of {options.runs}")
                urls = [f"rtsp://127.0.0.1:{port}/{path}{how}" for path, how in streams]
                share, before_mb, during_mb, rate = _one(urls, options.seconds)
                shares[case].append(share * 100)
                memory[case].append(during_mb - before_mb)
                if case == "aac_over_tcp":
                    whole_mb.append(during_mb)
                    mbits.append(rate)
    goal = {"aac_over_tcp": 3.0}
    figures = [
        measured(f"{case}_cpu", shares[case], "% of a core", "lower", goal.get(case))
        for case in CASES
    ]
    figures += [
        measured("memory_of_a_stream", memory["aac_over_tcp"], "MB", "lower", 45.0),
        measured("memory_of_three_sources", memory["three_sources"], "MB", "lower"),
        measured("memory_of_the_whole_process", whole_mb, "MB", "lower"),
        measured("stored_mbit_s", mbits, "Mb/s", "higher"),
    ]
    return Report(
        benchmark="lesson_capture",
        machine=machine,
        versions=read_versions("cryptography", "uvloop", "opuslib-next"),
        figures=figures,
        notes=[
            "A stream's memory is what the process has more while it captures than before.",
            "Recordings are synced to the disk each second, as at a box; the hub does not answer.",
            "The camera, its encoder and the interpreter's start are not counted.",
        ],
    )


def _one(urls: list[str], seconds: float) -> tuple[float, float, float, float]:
    """Return the share of a core, the memory before and during, and the Mb/s that were stored."""
    with (
        tempfile.TemporaryDirectory(prefix="lesson-capture-") as folder,
        _child("--folder", folder, "--capture", *urls) as box,
    ):
        assert box.stdin is not None
        assert box.stdout is not None
        assert box.stdout.readline() == "ready\n"
        before_mb = tree_memory_mb(box.pid)
        box.stdin.write("go\n")
        box.stdin.flush()
        assert box.stdout.readline() == "first picture\n"
        time.sleep(SETTLE_S)
        begun_s, spent_s, stored = time.monotonic(), cpu_s(box.pid), _stored(Path(folder))
        time.sleep(seconds)
        lasted_s = time.monotonic() - begun_s
        share = (cpu_s(box.pid) - spent_s) / lasted_s
        rate = (_stored(Path(folder)) - stored) * 8 / lasted_s / 1e6
        return share, before_mb, tree_memory_mb(box.pid), rate


def _stored(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = (sys.executable, "-m", "benchmarks.lesson_capture", *arguments)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def _serve() -> None:
    paths = {
        "main": (1280, 720, 2_000_000, Sound.AAC),
        "small": (320, 180, 200_000, Sound.NONE),
        "telephone": (1280, 720, 2_000_000, Sound.PCMA),
    }
    async with serving_camera(paths) as port:
        print(port, flush=True)
        await asyncio.Event().wait()


async def _capture(urls: list[str], folder: Path) -> None:
    shelf = LessonShelf(folder / "lessons")
    rng = random.Random(1)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        publisher = LessonPublisher(
            lesson=LESSON,
            key=DataKey(bytes(32)),
            signing=Ed25519PrivateKey.from_private_bytes(bytes(32)),
            shelf=shelf,
            route=HubRoute(session, "http://127.0.0.1:9", rng),
            now_ms=_now_ms,
            on_status=lambda _: None,
        )
        sources = [
            LessonSource(track=track, camera=DeviceId(url), stream=partial(_without_password, url))
            for track, url in zip(TRACKS, urls, strict=False)
        ]
        capture = FlagshipCapture(LESSON, publisher, lambda: sources, now_ms=_now_ms, rng=rng)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        tasks.create_task(publisher.run())
        tasks.create_task(capture.run())
        async for stored in _growth(folder):
            if stored:
                break
        print("first picture", flush=True)
        await asyncio.Event().wait()


def _without_password(url: str) -> tuple[str, None]:
    return url, None


async def _growth(folder: Path) -> AsyncIterator[int]:
    while True:
        yield _stored(folder)
        await asyncio.sleep(0.05)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
