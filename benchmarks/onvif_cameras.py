"""Simulated ONVIF cameras by the hundred in one process, each on an address of its own.

Every camera sees something move for a moment once in ``--motion-s``. Prints a line when all are
plugged in; ends with its standard input.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Never

from drivers.codecs.digest import Credentials
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_replies import CameraStream

FIRST = IPv4Address("127.0.80.1")
ADOPTED = Credentials(user="admin", password="of a benchmark")  # noqa: S106 — of simulated cameras


def address_of(number: int) -> str:
    return f"http://{FIRST + number}:8000/onvif/device_service"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _camera(number: int, ledger: Ledger) -> SimulatedOnvifCamera:
    host = FIRST + number
    main = CameraStream(uri=f"rtsp://{host}/main", width=1920, height=1080, fps=25, kbps=4000)
    sub = CameraStream(uri=f"rtsp://{host}/sub", width=640, height=360, fps=10, kbps=300)
    return SimulatedOnvifCamera(
        IPv4Interface(f"{host}/16"),
        CameraMedia(main=main, sub=sub, snapshot=lambda: b""),
        ledger,
        now_ms,
        random.Random(number),
        credentials=ADOPTED,
    )


@contextmanager
def running_cameras(count: int, motion_s: float) -> Iterator[None]:
    """Run so many in a process of their own for the time of the block."""
    with subprocess.Popen(
        [sys.executable, __file__, f"--cameras={count}", f"--motion-s={motion_s}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


async def _move(camera: SimulatedOnvifCamera, motion_s: float, rng: random.Random) -> Never:
    await asyncio.sleep(rng.uniform(0, motion_s))
    while True:
        camera.events.set_motion(True)
        await asyncio.sleep(motion_s / 10)
        camera.events.set_motion(False)
        await asyncio.sleep(motion_s * 9 / 10)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, required=True)
    parser.add_argument("--motion-s", type=float, required=True)
    options = parser.parse_args()
    cameras = [
        _camera(number, Ledger(Path("/dev/null"), now_ms)) for number in range(options.cameras)
    ]
    rng = random.Random(1)
    async with asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[Never]] = []
        for camera in cameras:
            running.append(tasks.create_task(camera.run()))
            running.append(tasks.create_task(_move(camera, options.motion_s, rng)))
        await asyncio.sleep(2)
        print("plugged in", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
