"""An ONVIF camera that is not ours, found and adopted beside the simulated one."""

import asyncio
import random
from ipaddress import IPv4Interface
from pathlib import Path

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
from tests.drivers.ipycam_peer import SITE, running_ipycam

SIMULATED_HOST = "127.0.0.131"
ADOPTED = Credentials(user="admin", password="geheim")


def now_ms() -> int:
    return 1_700_000_000_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("credentials", [None, ADOPTED])
async def test_another_camera_is_discovered_and_adopted_beside_ours(
    tmp_path: Path, credentials: Credentials | None
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
    with running_ipycam(tmp_path, credentials) as address:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(simulated.run()), loop.create_task(worker.run())]
        found = await discover_cameras(SITE, now_ms, random.Random(3))
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
