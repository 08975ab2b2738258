"""A hub, a flagship's box and a receiving box as districts run them, with cameras, for lessons.

Every program runs in a process of its own, enrolled, paired and confirmed as in service; all
between schools and hub is mutual TLS and sealed. Lessons are scheduled at the hub, and nobody
touches a classroom. The boxes call the hub over links that can be cut.
"""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.lesson_camera import LARGE, SILENT, WITH_SOUND
from benchmarks.lesson_meter import LessonMeter
from drivers.discovery.candidate import DeviceKind
from edge.control_client import ask_daemon
from edge.demo import person
from edge.demo.link import Link
from edge.demo.plan import (
    BOX_PORT,
    DemoConfig,
    DemoPlan,
    SchoolPlan,
    make_plan,
    write_files,
)
from edge.pages.actions import Adopt, Discover

HUB, FLAGSHIP, RECEIVER, CAMERA = "hub", "flagship", "receiver", "camera"
ROOMS = {WITH_SOUND: "录播室", SILENT: "实验室"}
"""The room of each camera; both schools have one of each name."""
START_S_MAX = 60.0
NETWORKS = 60
RESTART_AFTER_S = 0.5
"""A service manager starts what died again after this."""


@dataclass
class LessonDistrict:
    """What runs; ``pids`` has the process of each that is up."""

    plan: DemoPlan
    folder: Path
    sound_ppm: int
    main: str
    links: dict[str, Link] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def flagship(self) -> SchoolPlan:
        return self.plan.schools[0]

    @property
    def receiver(self) -> SchoolPlan:
        return self.plan.schools[1]

    @property
    def camera_host(self) -> str:
        """The address of the camera with sound; its stream is ``/main`` at ``RTSP_PORT``."""
        return str(self.flagship.network.network_address + WITH_SOUND)

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    @property
    def page(self) -> str:
        """The origin of the receiving box's pages."""
        return f"https://{self.receiver.address}:{self.receiver.pages_port}"

    def trust(self) -> ssl.SSLContext:
        """Return what trusts the receiving box's pages."""
        root = self.receiver.folder / "data" / "identity" / "root.pem"
        return ssl.create_default_context(cafile=str(root))

    async def start(self, name: str) -> None:
        """Start a program; the camera is awaited, others come up by themselves."""
        process = await asyncio.to_thread(self._spawn, name)
        self._running[name] = process
        if name == CAMERA and process.stdout is not None:
            await asyncio.to_thread(process.stdout.readline)

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                self._command(name), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def kill(self, name: str) -> None:
        """End a program at once, and with it the processes it started."""
        with self._running.pop(name) as process:
            process.kill()

    async def restart(self, name: str) -> None:
        """Kill a program and start it again as a service manager does."""
        self.kill(name)
        await asyncio.sleep(RESTART_AFTER_S)
        await self.start(name)

    async def schedule(self, camera: int, starts_in_s: float, lasts_s: float) -> dict[str, Any]:
        """Schedule a lesson from the room of a camera; returns lesson, starts_ms and ends_ms."""
        room = ROOMS[camera]
        schools = [replace(school, room=room) for school in self.plan.schools]
        plan = replace(self.plan, schools=tuple(schools))
        return await person.schedule_lesson(plan, starts_in_s, lasts_s / 60)

    async def stop(self) -> None:
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        for running in self._running.values():
            with running as process:
                try:
                    await asyncio.to_thread(process.wait, 10)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _command(self, name: str) -> Sequence[str]:
        if name == HUB:
            return [*person.HUB, "run", f"--config={self.plan.hub_config}"]
        if name == CAMERA:
            return [
                sys.executable,
                str(Path(__file__).with_name("lesson_camera.py")),
                f"--network={self.flagship.network}",
                f"--ledgers={self.folder}",
                f"--sound-ppm={self.sound_ppm}",
                f"--main={self.main}",
            ]
        school = self.flagship if name == FLAGSHIP else self.receiver
        return [*person.EDGE, "edge", "run", f"--config={school.config}"]


@asynccontextmanager
async def lesson_district(
    folder: Path, sound_ppm: int = 0, main: str = LARGE
) -> AsyncIterator[LessonDistrict]:
    """Set a district up in an empty folder and run it for the time of the block.

    ``main`` is the size of the cameras' main streams, of ``lesson_camera.SHAPES``.
    """
    whole = make_plan(folder, DemoConfig(network=_own_network()))
    schools = tuple(replace(school, simulated=frozenset[str]()) for school in whole.schools[:2])
    plan = replace(whole, schools=schools)
    write_files(plan)
    district = LessonDistrict(plan, folder, sound_ppm, main)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(district.stop)
        await district.start(HUB)
        await _until_served(plan.hub_address)
        for name, school in zip((FLAGSHIP, RECEIVER), schools, strict=True):
            link = Link((school.route, BOX_PORT), (plan.hub_address, BOX_PORT))
            await link.start(stack)
            district.links[name] = link
        await district.start(CAMERA)
        async with asyncio.TaskGroup() as tasks:
            for name, school in zip((FLAGSHIP, RECEIVER), schools, strict=True):
                tasks.create_task(_open_school(district, name, school))
        await _adopt_cameras(district.flagship)
        await person.confirm_partners(plan, district.flagship)
        yield district


@asynccontextmanager
async def watching(district: LessonDistrict, camera: int) -> AsyncIterator[LessonMeter]:
    """Watch, for the time of the block, the receiving class that a camera's lessons come to."""
    meter = LessonMeter()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(meter.watch(district.page, ROOMS[camera], district.trust()))
        yield meter
        task.cancel()


def _own_network() -> int:
    """Return the number of a loopback network that no other district on this machine serves."""
    for step in range(NETWORKS):
        number = 130 + (os.getpid() + step) % NETWORKS
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((f"127.{number}.1.1", BOX_PORT))
            return number
    raise RuntimeError(f"{NETWORKS} districts run on this machine; stop some")


async def _open_school(district: LessonDistrict, name: str, school: SchoolPlan) -> None:
    await person.enrol(district.plan, school)
    await district.start(name)
    await person.wait_for_daemon(school)


async def _adopt_cameras(school: SchoolPlan) -> None:
    data = school.folder / "data"
    wish = msgspec.json.encode(Discover(kinds=(DeviceKind.CAMERA,)))
    await ask_daemon(data, "POST", "/discover", wish)
    async with asyncio.timeout(START_S_MAX):
        found: list[dict[str, str]] = []
        while len(found) < len(ROOMS):
            await asyncio.sleep(0.2)
            found = (await ask_daemon(data, "GET", "/candidates"))["candidates"]
    for candidate in found:
        room = next(
            room
            for host, room in ROOMS.items()
            if str(school.network.network_address + host) in candidate["address"]
        )
        adopt = Adopt(identity=candidate["identity"], name=room, room=room)
        await ask_daemon(data, "POST", "/adopt", msgspec.json.encode(adopt))


async def _until_served(address: str) -> None:
    async with asyncio.timeout(START_S_MAX):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, BOX_PORT)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
