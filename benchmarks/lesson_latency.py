"""Glass to glass: from a camera's clock to the canvas of a classroom page in Chromium.

Three hops, every program in a process of its own (``lesson_district.py``): a simulated RTSP camera
(720p25, 2 Mb/s, clock picture, AAC), the flagship's box, the hub, the receiving box over mutual TLS
and sealed, and the box's own classroom page over HTTPS. In the same run, from the same camera:
nginx-rtmp with HLS, and Janus with WebRTC.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import quote

from playwright.async_api import Browser

from benchmarks.lesson_camera import RTSP_PORT, SILENT, WITH_SOUND
from benchmarks.lesson_district import ROOMS, lesson_district
from benchmarks.lesson_meter import now_ms
from benchmarks.lesson_peers import janus, nginx_rtmp
from benchmarks.peer_environment import PeerMissingError
from benchmarks.report import (
    Figure,
    Report,
    Step,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from benchmarks.screen_clock import Watch, running_browser, watch_page

STARTS_IN_S = 5.0
SET_UP_S_MAX = 30.0
A_WATCH_TAKES_S = 8.0
"""Opening a page, its first frame and settling, beside the seconds that are watched."""
GOAL_MEDIAN_MS, GOAL_P95_MS, GOAL_JOIN_MS = 250.0, 350.0, 600.0
GOAL_PICTURE_ONLY_MS = 100.0
GOAL_LIPS_MS = 40.0
WITH, WITHOUT = "picture and sound", "picture only"
HLS, WEBRTC = "nginx-rtmp HLS", "Janus WebRTC, picture only"

PEERS: Mapping[str, Callable[[Path, str], AbstractAsyncContextManager[str]]] = {
    HLS: nginx_rtmp,
    WEBRTC: janus,
}


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--seconds", type=float, default=10.0, help="watched in each run")
    given = options.parse_args()
    machine = read_machine()
    with progress("lesson_latency") as step, tempfile.TemporaryDirectory() as folder:
        found, missing = asyncio.run(_measure(Path(folder), given.runs, given.seconds, step))
    report = Report(
        benchmark="lesson_latency",
        machine=machine,
        versions=read_versions("aiohttp", "av", "playwright", "uvloop"),
        figures=list(_figures(found)),
        notes=[
            (
                f"{given.runs} pages a way, {given.seconds:g} s each; a frame's age is read from"
                " its bar-code by the page's canvas when the frame is presented. Join: from"
                " navigation to the first frame; page, WebSocket, stored group of pictures."
            ),
            (
                "Camera (x264), three Python programs and Chromium's software decoder and painter"
                " share two cores: what that costs is in every figure, the peers' too."
            ),
            (
                "Lips: a presented frame's place in the lesson less that of the sound at that"
                " moment, as the browser's two elements tell them; a frame stays for 40 ms."
            ),
            *missing,
            "Not tried here: a real camera's own delay, a real panel's display.",
        ],
    )
    publish(report, as_json=given.json)


async def _measure(
    folder: Path, runs: int, seconds: float, step: Step
) -> tuple[Mapping[str, Sequence[Watch]], Sequence[str]]:
    step("setting the district up")
    found: dict[str, Sequence[Watch]] = {}
    missing: list[str] = []
    lasts_s = SET_UP_S_MAX + runs * (seconds + A_WATCH_TAKES_S)
    async with lesson_district(folder / "district") as district, running_browser() as browser:
        for name, camera in ((WITH, WITH_SOUND), (WITHOUT, SILENT)):
            lesson = await district.schedule(camera, STARTS_IN_S, lasts_s)
            address = f"{district.page}/classroom?room={quote(ROOMS[camera])}"
            await asyncio.sleep(STARTS_IN_S)
            found[name] = await _watch(browser, address, runs, seconds, name, step)
            # Two encoders at once would be measured otherwise.
            await asyncio.sleep(max(0.0, (lesson["ends_ms"] - now_ms()) / 1000))
        stream = f"rtsp://{district.camera_host}:{RTSP_PORT}/main"
        for number, (name, peer) in enumerate(PEERS.items()):
            try:
                async with peer(folder / f"peer-{number}", stream) as address:
                    found[name] = await _watch(browser, address, runs, seconds, name, step)
            except PeerMissingError as error:
                missing.append(f"{name} was not measured: {error}.")
    return found, missing


async def _watch(
    browser: Browser, address: str, runs: int, seconds: float, name: str, step: Step
) -> Sequence[Watch]:
    step(f"{name}: waiting for the first picture")
    await watch_page(browser, address, 1.0)  # the program is warm, as a browser in service is
    watches = []
    for number in range(runs):
        watches.append(await watch_page(browser, address, seconds))
        one = watches[-1]
        step(
            f"{name}, {number + 1} of {runs}: {one.median_ms:.0f} ms, p95 {one.p95_ms:.0f},"
            f" first {one.first_ms:.0f}, {one.frames_a_second:.0f}/s"
        )
    return watches


def _figures(found: Mapping[str, Sequence[Watch]]) -> Iterator[Figure]:
    goals = {WITH: (GOAL_MEDIAN_MS, GOAL_P95_MS), WITHOUT: (GOAL_PICTURE_ONLY_MS, None)}
    for name, watches in found.items():
        goal, goal_p95 = goals.get(name, (None, None))
        middle = [each.median_ms for each in watches]
        yield measured(f"{name}, median", middle, "ms", "lower", goal)
        yield measured(f"{name}, p95", [each.p95_ms for each in watches], "ms", "lower", goal_p95)
        join = [each.first_ms for each in watches]
        goal = GOAL_JOIN_MS if name in goals else None
        yield measured(f"{name}, join to first frame", join, "ms", "lower", goal)
        rate = [each.frames_a_second for each in watches]
        yield measured(f"{name}, frames a second", rate, "1/s", "higher")
        if name in goals:
            stalls = [float(each.stalls) for each in watches]
            yield measured(f"{name}, stalls of the player", stalls, "", "lower")
    lips = [each.lips_ms for each in found[WITH]]
    middle = [abs(median(each)) for each in lips]
    yield measured("lips, off either way, median", middle, "ms", "lower", GOAL_LIPS_MS)
    off = [quantiles(map(abs, each), n=20, method="inclusive")[18] for each in lips]
    yield measured("lips, off either way, p95", off, "ms", "lower")
    sound = [float(each.sound_bytes) for each in found[WITH]]
    yield measured(f"{WITH}, sound decoded by the page", sound, "bytes", "higher")


if __name__ == "__main__":
    main()
