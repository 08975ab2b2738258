"""A box with hundreds of cameras, eight buses and fifty class cards: its memory and its processor.

``schoolnode edge run`` in a process of its own, with everything that a box has; the devices are
simulated in processes that are not measured, and adopted before it starts. Fifty class cards listen
over HTTPS. Measured when every camera has been described and every bus was read.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.onvif_cameras import ADOPTED, address_of, now_ms, running_cameras
from benchmarks.processes import children_of, cpu_s, tree_memory_mb, tree_rss_mb
from benchmarks.quiet_buses import BAUD, PROBE, UNITS
from benchmarks.real_district import running_hub
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
from benchmarks.running_box import RunningBox, running_box, write_box_config
from drivers.entities import DeviceId
from edge.box_store import open_box
from edge.config import load_config
from edge.control_client import ask_daemon
from edge.notebook import Notebook
from sync.logs.oplog import Row

BUSES = 8
GOAL_MB = 150.0
MOTION_S = 30.0
SETTLE_S = 20.0
_WELL_S_MAX = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Memory at the window's end, CPU seconds over it: of the daemon, of all below it too."""

    daemon_mb: float
    worker_mb: float
    shared_once_mb: float
    cpu: tuple[float, float]


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--cameras", type=int, default=300)
    options.add_argument("--cards", type=int, default=50)
    options.add_argument("--seconds", type=float, default=30.0, help="length of the window")
    given = options.parse_args()
    machine = read_machine()
    with progress("box_memory") as step, tempfile.TemporaryDirectory() as name, ExitStack() as all_:
        folder = Path(name)
        all_.enter_context(running_cameras(given.cameras, MOTION_S))
        all_.enter_context(_running_buses(folder / "lines"))
        step("a box is enrolled")
        box = all_.enter_context(_running_box(folder, given.cameras))
        window = asyncio.run(_measure(box, given.cameras, given.cards, given.seconds, step))
    daemon, everything = (100 * seconds / given.seconds for seconds in window.cpu)
    report = Report(
        benchmark="box_memory",
        machine=machine,
        versions=read_versions("aiohttp", "onvif-zeep-async"),
        figures=[
            measured("box and camera worker", [window.shared_once_mb], "MB", "lower", GOAL_MB),
            measured("summed resident sizes", [window.daemon_mb + window.worker_mb], "MB", "lower"),
            measured("of it the daemon", [window.daemon_mb], "MB", "lower"),
            measured("of it the worker", [window.worker_mb], "MB", "lower"),
            measured("processor of the daemon", [daemon], "%", "lower"),
            measured("processor of daemon and worker", [everything], "%", "lower"),
        ],
        notes=[
            (
                f"{given.cameras} cameras with events, {BUSES} buses of {len(UNITS)} probes with"
                f" three points each, {given.cards} class cards that listen."
            ),
            "Box and worker: what both have of one file is counted once, as a machine pays it.",
            f"Processor over {given.seconds:g} s; one core is 100 %; recording and sealing are in.",
        ],
    )
    publish(report, as_json=given.json)


async def _measure(box: RunningBox, cameras: int, cards: int, seconds: float, step: Step) -> Window:
    devices = cameras + BUSES * len(UNITS)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=0)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        listening = [tasks.create_task(box.listen(http, f"{n}")) for n in range(cards)]
        step(f"{devices} devices answer")
        async with asyncio.timeout(_WELL_S_MAX):
            while await _answering(box.folder) < devices:  # noqa: ASYNC110 — a box announces none
                await asyncio.sleep(1)
        await asyncio.sleep(SETTLE_S)
        step(f"a window of {seconds:.0f} s")
        (worker,) = children_of(box.pid)
        before = cpu_s(box.pid), cpu_s(worker)
        await asyncio.sleep(seconds)
        after = cpu_s(box.pid), cpu_s(worker)
        daemon_s, worker_s = (end - begin for begin, end in zip(before, after, strict=True))
        both_mb, worker_mb = tree_rss_mb(box.pid), tree_rss_mb(worker)
        window = Window(
            daemon_mb=both_mb - worker_mb,
            worker_mb=worker_mb,
            shared_once_mb=tree_memory_mb(box.pid),
            cpu=(daemon_s, daemon_s + worker_s),
        )
        for task in listening:
            task.cancel()
    return window


async def _answering(folder: Path) -> int:
    status = await ask_daemon(folder, "GET", "/status", None)
    return sum(each["state"] == "good" for each in status["devices"])


@contextmanager
def _running_buses(lines: Path) -> Iterator[None]:
    program = str(Path(__file__).with_name("quiet_buses.py"))
    with subprocess.Popen(
        [sys.executable, program, f"--lines={lines}", f"--buses={BUSES}"], stdin=subprocess.PIPE
    ) as process:
        if process.stdin is None:
            raise AssertionError("it is a pipe")
        try:
            yield
        finally:
            process.stdin.close()


@contextmanager
def _running_box(folder: Path, cameras: int) -> Iterator[RunningBox]:
    with running_hub(folder / "hub") as hub:
        path = hub.enrol(1, folder / "box")
    write_box_config(path, "127.101.12.1/24")
    config = load_config(path)
    asyncio.run(_adopt(config.folder, cameras))
    with open_box(config, now_ms) as store:
        store.node.record("device", list(_rows(folder / "lines", cameras)))
    with running_box(path) as box:
        yield box


async def _adopt(folder: Path, cameras: int) -> None:
    """Leave each camera's password where the box keeps them."""
    notebook = Notebook(folder / "notebook.json")
    for number in range(cameras):
        password = f"{ADOPTED.user}:{ADOPTED.password}"
        await notebook.keep_password(DeviceId(f"onvif:camera{number}"), password)


def _rows(lines: Path, cameras: int) -> Iterator[Row]:
    for number in range(cameras):
        yield _row(f"onvif:camera{number}", "camera", "onvif-camera", address_of(number))
    for bus in range(BUSES):
        for unit in UNITS:
            address = f"serial:{lines / str(bus)}?baud={BAUD}&unit={unit}"
            yield _row(f"modbus:{bus}:{unit}", "farm_sensor", PROBE, address)


def _row(device: str, kind: str, profile: str, address: str) -> Row:
    return {
        "device": device,
        "kind": kind,
        "name": device,
        "profile": profile,
        "address": address,
        "room": None,
        "evidence": "",
        "adopted_ms": now_ms(),
        "adopted_by": "benchmark",
    }


if __name__ == "__main__":
    main()
