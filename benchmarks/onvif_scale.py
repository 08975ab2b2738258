"""Hundreds of ONVIF cameras on one box: processor and memory, with their events by PullPoint.

The box's own drivers and its camera worker, against simulated cameras in a process that is not
measured. Every camera is signed in to, described, its presets and picture settings read, then
watched by PullPoint; each sees something move twice a minute.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Interface

from benchmarks.onvif_cameras import ADOPTED, address_of, now_ms, running_cameras
from benchmarks.processes import cpu_s, tree_rss_mb
from benchmarks.report import (
    Report,
    Step,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from drivers.cameras.messages import CameraAccess
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.worker import CameraWorker
from drivers.discovery.onvif import discover_cameras
from drivers.entities import DeviceEvent, DeviceId, InputEdge, Measurement
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId

SITE = IPv4Interface("127.0.79.1/16")
"""Where the box stands, in the cameras' network."""
MOTION_S = 30.0
DESCRIBED_S_MAX = 300.0
_KB = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``cpu`` are seconds over the window: of the drivers, of the worker.

    ``found`` cameras answered a search, the last of them after ``heard_s``.
    """

    found: int
    heard_s: float
    described_s: float
    first_mb: float
    all_mb: float
    cpu: tuple[float, float]
    edges: int
    idle: int


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--cameras", type=int, default=300)
    options.add_argument("--seconds", type=float, default=60.0, help="length of the window")
    given = options.parse_args()
    if given.seconds < MOTION_S:
        options.error(
            f"--seconds: at least {MOTION_S:.0f}, so that every camera has something to tell"
        )
    machine = read_machine()
    with progress("onvif_scale") as step, running_cameras(given.cameras, MOTION_S):
        run = asyncio.run(_measure(given.cameras, given.seconds, step))
    drivers, worker = (100 * seconds / given.seconds for seconds in run.cpu)
    grown_kb = (run.all_mb - run.first_mb) * _KB / max(given.cameras - 1, 1)
    expected = given.cameras * given.seconds / MOTION_S
    report = Report(
        benchmark="onvif_scale",
        machine=machine,
        versions=read_versions("onvif-zeep-async", "zeep", "aiohttp"),
        figures=[
            measured("cameras that a search found", [run.found], "", "higher", given.cameras),
            measured("the last of them heard after", [run.heard_s], "s", "lower", 2),
            measured(f"{given.cameras} cameras: processor", [drivers + worker], "%", "lower", 10),
            measured("of it the worker", [worker], "%", "lower"),
            measured("a further camera, in the worker", [grown_kb], "KB", "lower", 100),
            measured("worker with one camera", [run.first_mb], "MB", "lower"),
            measured(f"worker with {given.cameras}", [run.all_mb], "MB", "lower"),
            measured("all described after", [run.described_s], "s", "lower"),
            measured("motions told of those made", [run.edges / expected], "", "higher"),
            measured("cameras without an answer in the window", [run.idle], "", "lower", 0),
        ],
        notes=[
            "Processor: one core is 100 %; the window begins when every camera is described.",
            f"Each camera moves every {MOTION_S:.0f} s; the window's edges cut a few motions off.",
            "Not tried here: real cameras, links with loss, ARM; recorder and store are not in it.",
        ],
    )
    publish(report, as_json=given.json)


async def _measure(count: int, seconds: float, step: Step) -> Run:
    told = Counter[str]()
    heard: set[DeviceId] = set()

    def sink(event: DeviceEvent) -> None:
        if isinstance(event, InputEdge):
            told["edges"] += 1
        elif isinstance(event, Measurement) and event.point == "reachable":
            heard.add(event.device)

    step("a search")
    begun_ms = now_ms()
    found = await discover_cameras(SITE, now_ms, random.Random(0))
    heard_s = (max((each.evidence[0].observed_ms for each in found), default=0) - begun_ms) / 1000
    events = load_catalog().profiles[ProfileId("onvif-camera")].events
    worker = CameraWorker(random.Random(1))
    cameras = [
        OnvifCamera(
            DeviceId(f"camera{number}"),
            CameraAccess(address=address_of(number), credentials=ADOPTED),
            worker,
            now_ms,
            sink,
            random.Random(number),
            events=events,
        )
        for number in range(count)
    ]
    loop = asyncio.get_running_loop()
    running = [loop.create_task(worker.run()), loop.create_task(cameras[0].run())]
    try:
        await _until(lambda: bool(cameras[0].control.imaging))
        await asyncio.sleep(2)
        if worker.pid is None:
            raise AssertionError("a worker that answered runs")
        first_mb = tree_rss_mb(worker.pid)
        step(f"{count} cameras are described")
        begun_s = time.monotonic()
        running += [loop.create_task(camera.run()) for camera in cameras[1:]]
        await _until(lambda: all(camera.control.imaging for camera in cameras))
        described_s = time.monotonic() - begun_s
        await asyncio.sleep(5)
        step(f"a window of {seconds:.0f} s")
        told.clear()
        heard.clear()
        before = cpu_s(os.getpid()), cpu_s(worker.pid)
        await asyncio.sleep(seconds)
        after = cpu_s(os.getpid()), cpu_s(worker.pid)
        return Run(
            found=len(found),
            heard_s=heard_s,
            described_s=described_s,
            first_mb=first_mb,
            all_mb=tree_rss_mb(worker.pid),
            cpu=(after[0] - before[0], after[1] - before[1]),
            edges=told["edges"],
            idle=count - len(heard),
        )
    finally:
        for task in reversed(running):
            task.cancel()
        await asyncio.wait(running)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DESCRIBED_S_MAX):
        while not condition():  # noqa: ASYNC110 — descriptions announce nothing
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    main()
