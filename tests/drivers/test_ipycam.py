"""An ONVIF camera that is not ours, found and adopted beside the simulated one."""

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from typing import NoReturn

import pytest

from drivers.cameras.messages import CameraAccess
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import DeviceKind, Need
from drivers.discovery.onvif import discover_cameras
from drivers.errors import RefusedError
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_replies import CameraStream

LOCK = Path(__file__).parents[2] / "benchmarks" / "peers" / "ipycam" / "requirements.lock"
# ipycam answers from the address the kernel prefers for loopback.
SITE = IPv4Interface("127.0.0.1/24")
SIMULATED_HOST = "127.0.0.131"
ADOPTED = Credentials(user="admin", password="geheim")


def now_ms() -> int:
    return 1_700_000_000_000


def give_up(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def ipycam_python() -> Path:
    """Return the interpreter of ipycam's own environment, built once for each lock."""
    if shutil.which("ffmpeg") is None:
        give_up("ffmpeg is missing; run: apt install ffmpeg")
    cache = Path.home() / ".cache" / "schoolnode-peers"
    home = cache / f"ipycam-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
        install = ["install", "--quiet", "--require-hashes", "-r", str(LOCK)]
        try:
            subprocess.run([sys.executable, "-m", "venv", building], check=True)
            subprocess.run([building / "bin" / "pip", *install], check=True)
            building.rename(home)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(building)
            # Another run may have been quicker.
            if not home.exists():
                give_up(f"ipycam cannot be installed: {error}")
    return home / "bin" / "python"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running_ipycam(
    python: Path, folder: Path, credentials: Credentials | None
) -> AsyncIterator[int]:
    """Run ipycam without a picture source; yield its ONVIF port."""
    port = free_port()
    config = {
        "name": "Peer",
        "local_ip": str(SITE.ip),
        "onvif_port": port,
        "rtsp_port": free_port(),
        "main_width": 320,
        "main_height": 180,
        "main_fps": 2,
        "main_bitrate": "200K",
        "sub_width": 160,
        "sub_height": 90,
        "sub_fps": 2,
        "sub_bitrate": "100K",
        "hw_accel": "cpu",
        "username": credentials.user if credentials else "",
        "password": credentials.password if credentials else "",
    }
    (folder / "ipycam.json").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        "ipycam",
        "--config",
        "ipycam.json",
        "--source",
        "video",
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not await is_open(port):
            assert process.returncode is None, "ipycam ended"
            await asyncio.sleep(0.1)
        yield port
    finally:
        # ipycam's ffmpeg belongs to its process group.
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def is_open(port: int) -> bool:
    try:
        _reader, writer = await asyncio.open_connection(str(SITE.ip), port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.mark.timeout(600)
@pytest.mark.parametrize("credentials", [None, ADOPTED])
async def test_another_camera_is_discovered_and_adopted_beside_ours(
    ipycam_python: Path, tmp_path: Path, credentials: Credentials | None
) -> None:
    stream = CameraStream(
        uri=f"rtsp://{SIMULATED_HOST}:8554/main", width=64, height=36, fps=5, kbps=64
    )
    simulated = SimulatedOnvifCamera(
        IPv4Interface(f"{SIMULATED_HOST}/24"),
        CameraMedia(main=stream, sub=stream, snapshot=lambda: b""),
        Ledger(tmp_path / "ledger.jsonl", now_ms),
        now_ms,
        random.Random(1),
    )
    worker = CameraWorker(random.Random(2))
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(simulated.run()), loop.create_task(worker.run())]
    async with running_ipycam(ipycam_python, tmp_path, credentials) as port:
        found = await discover_cameras(SITE, now_ms, random.Random(3))
        address = f"http://{SITE.ip}:{port}/onvif/device_service"
        by_address = {candidate.address: candidate for candidate in found}
        assert simulated.address in by_address
        candidate = by_address[address]
        assert candidate.kind is DeviceKind.CAMERA
        assert candidate.needs is (Need.PASSWORD if credentials else Need.NOTHING)

        access = CameraAccess(address=address, credentials=credentials)
        described = await worker.describe(access)
        assert (described.manufacturer, described.serial) == ("PythonCam", "PY-000001")
        assert described.main.encoding == "H264"
        assert (described.main.width, described.main.height) == (320, 180)
        assert described.main.uri.startswith(f"rtsp://{SITE.ip}:")
        assert described.sub is not None
        assert (described.sub.width, described.sub.height) == (160, 90)
        assert described.snapshot_uri is not None
        if credentials is None:
            picture = await worker.fetch_snapshot(access, described.snapshot_uri)
            assert picture.startswith(b"\xff\xd8\xff")
        else:
            with pytest.raises(RefusedError, match="in clear"):
                await worker.fetch_snapshot(access, described.snapshot_uri)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
