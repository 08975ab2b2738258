"""What a box pays for cameras: the libraries for them are loaded by the worker, and only for one.

The daemon runs as its own process here, from start to a stop in order, and says what it imported.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.config import load_config
from edge.control_client import ask_daemon
from edge.errors import BoxSetupError
from tests.drivers.camera_bench import ADOPTED, HOST, Camera
from tests.edge.school import enrol
from tests.loopback import free_port
from tests.provisioning.district import make_district

pytestmark = pytest.mark.timeout(180)  # whole programs are loaded, beside other tests

FOR_CAMERAS = {"zeep", "onvif", "lxml", "requests", "httpx", "drivers.cameras.onvif_services"}
"""``drivers.cameras.onvif_services`` is our module that imports zeep."""
DAEMON = """
import json, sys
import edge.__main__
edge.__main__.main()
print(json.dumps([name for name, module in sys.modules.items() if module]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon that runs; ``imported`` ends it, so it is asked last."""

    process: asyncio.subprocess.Process
    folder: Path
    log: Path

    async def answers(self) -> bool:
        assert self.process.returncode is None, self.log.read_text()
        try:
            await self.ask("GET", "/status")
        except BoxSetupError:
            return False
        return True

    async def finds_one(self) -> bool:
        return bool(await self._listed("/candidates", "candidates"))

    async def adopt_the_one(self, password: str) -> None:
        (found,) = await self._listed("/candidates", "candidates")
        wish = {"identity": found["identity"], "name": "甲", "password": password}
        await self.ask("POST", "/adopt", wish)

    async def drives_it(self) -> bool:
        return [each["state"] for each in await self._listed("/status", "devices")] == ["good"]

    async def ask(self, method: str, path: str, wish: object = None) -> dict[str, object]:
        body = None if wish is None else json.dumps(wish).encode()
        answer: dict[str, object] = await ask_daemon(self.folder, method, path, body)
        return answer

    async def _listed(self, path: str, name: str) -> list[dict[str, object]]:
        listed = (await self.ask("GET", path))[name]
        assert isinstance(listed, list)
        return listed

    async def imported(self) -> set[str]:
        self.process.send_signal(signal.SIGTERM)
        output, _ = await self.process.communicate()
        assert self.process.returncode == 0
        return set(json.loads(output))

    def workers(self) -> list[int]:
        """Return the process ids of the daemon's children."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(pid) for each in threads for pid in (each / "children").read_text().split()]


def mapped(pid: int | None) -> str:
    """Return which files' machine code a process has."""
    return Path(f"/proc/{pid}/maps").read_text()


@asynccontextmanager
async def running_daemon(folder: Path) -> AsyncIterator[Daemon]:
    enrol(make_district(folder / "hub", port=9), folder / "data", 17)
    path = folder / "box.toml"
    path.write_text(
        f"""folder = "data"
[network]
interface = "{HOST}/24"
[pages]
addresses = ["{HOST}"]
port = {free_port(HOST)}
plain_port = {free_port(HOST)}
[serial]
usb = false
"""
    )
    config = load_config(path)
    argv = ("edge", "run", f"--config={path}")
    with (folder / "box.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DAEMON, *argv), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        daemon = Daemon(process=process, folder=config.folder, log=folder / "box.log")
        await until(daemon.answers)
        yield daemon
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that must come; the test's own timeout is the limit."""
    while not await is_so():  # noqa: ASYNC110 — it is asked of another process
        await asyncio.sleep(0.1)


def of_cameras(modules: set[str]) -> set[str]:
    return {name for name in FOR_CAMERAS if name in modules}


async def test_a_box_without_cameras_never_imports_their_libraries(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        await daemon.ask("POST", "/discover", {"kinds": ["camera"]})
        assert daemon.workers() == []
        imported = await daemon.imported()
    assert {"edge.daemon", "drivers.cameras.worker"} <= imported
    assert of_cameras(imported) == set()


async def test_with_a_camera_adopted_its_libraries_are_in_the_worker_alone(tmp_path: Path) -> None:
    async with Camera(tmp_path).plugged_in(), running_daemon(tmp_path) as daemon:
        await daemon.ask("POST", "/discover", {"kinds": ["camera"]})
        await until(daemon.finds_one)
        assert daemon.workers() == []  # found by our own codec, without a worker
        await daemon.adopt_the_one(f"{ADOPTED.user}:{ADOPTED.password}")
        await until(daemon.drives_it)
        (worker,) = daemon.workers()
        # zeep stands on lxml, whose machine code is mapped where it is imported.
        assert "/lxml/etree" in mapped(worker)
        assert "/lxml/" not in mapped(daemon.process.pid)
        imported = await daemon.imported()
    assert of_cameras(imported) == set()
