"""A simulated ONVIF camera on loopback with its ledger, and a worker, for tests."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Interface
from pathlib import Path

from drivers.cameras.messages import CameraAccess
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_dialects import Dialect, Prefixes
from drivers.simulators.onvif_habits import USUAL, CameraHabits
from drivers.simulators.onvif_replies import CameraStream
from tests.loopback import own_address

HOST = own_address("65.31")
OTHER_HOST = own_address("65.99")
ADOPTED = Credentials(user="admin", password="planted-secret-4711")
DIALECTS = {
    "numbered": Dialect(prefixes=Prefixes.NUMBERED),
    "without prefixes": Dialect(prefixes=Prefixes.NONE),
    "reversed": Dialect(is_reversed=True),
    "extended": Dialect(has_extensions=True),
    "no presets": Dialect(empty=frozenset({"GetPresets", "PullMessages"})),
    "all of it": Dialect(prefixes=Prefixes.NONE, is_reversed=True, has_extensions=True),
}
"""Ways to write the same answer; ``no presets`` leaves out what a camera may."""
JPEG = b"\xff\xd8\xff\xe0 a picture"


class Camera:
    """A simulated camera on ``HOST``; its clock runs with the machine's plus ``ahead_ms``."""

    def __init__(
        self,
        folder: Path,
        *,
        credentials: Credentials | None = ADOPTED,
        stream_host: str = HOST,
        ahead_ms: int = 0,
        seed: int = 1,
        has_ptz: bool = True,
        encoding: str = "H264",
        habits: CameraHabits = USUAL,
    ) -> None:
        self.path = folder / f"camera{seed}.jsonl"
        stream = CameraStream(
            uri=f"rtsp://{stream_host}:8554/main", width=1280, height=720, fps=25, kbps=2000
        )
        stream = replace(stream, encoding=encoding)
        sub = replace(stream, uri=f"rtsp://{stream_host}:8554/sub", width=320, height=180, fps=10)
        self.device = SimulatedOnvifCamera(
            IPv4Interface(f"{HOST}/24"),
            CameraMedia(main=stream, sub=sub, snapshot=lambda: JPEG, has_ptz=has_ptz),
            Ledger(self.path, wall_ms),
            wall_ms,
            random.Random(seed),
            credentials=credentials,
            habits=habits,
        )
        self.device.clock_offset_ms = ahead_ms
        self.access = CameraAccess(address=self.device.address, credentials=credentials)

    @asynccontextmanager
    async def plugged_in(self) -> AsyncIterator[None]:
        before = len(self.lines("plugged_in"))
        task = asyncio.get_running_loop().create_task(self.device.run())
        await until(lambda: len(self.lines("plugged_in")) > before or task.done())
        if task.done():
            task.result()  # its address is not free
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def lines(self, kind: str) -> list[dict[str, object]]:
        return [line for line in read_ledger(self.path) if line["kind"] == kind]


async def ask_with(camera: Camera, *program: str | Path) -> object:
    """Run a client that is not ours at a camera; return the JSON that it printed.

    It is given host, port and user as arguments and the password on its standard input.
    """
    async with camera.plugged_in():
        client = await asyncio.create_subprocess_exec(
            *program,
            HOST,
            "8000",
            ADOPTED.user,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await client.communicate(ADOPTED.password.encode())
    assert client.returncode == 0
    answer: object = json.loads(printed)
    return answer


def wall_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 — ledgers and processes announce nothing
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running_worker() -> AsyncIterator[CameraWorker]:
    worker = CameraWorker(random.Random(6))
    task = asyncio.get_running_loop().create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.wait([task])
