"""An ONVIF client that is not ours, with ONVIF's own WSDL, on the second media service."""

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.peer_environment import PEERS, peer_python
from drivers.simulators.onvif_motor import CONFIGURATION
from tests.drivers.camera_bench import ADOPTED, HOST, Camera
from tests.system_needs import need_peer


@pytest.mark.timeout(300)  # the environment is built once
async def test_another_client_reads_and_sets_pictures_by_the_second_media_service(
    tmp_path: Path,
) -> None:
    python = await asyncio.to_thread(need_peer, peer_python, "onvif_python")
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        client = await asyncio.create_subprocess_exec(
            python,
            PEERS / "onvif_python" / "client.py",
            HOST,
            "8000",
            ADOPTED.user,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await client.communicate(ADOPTED.password.encode())
    assert client.returncode == 0
    stream = f"rtsp://{HOST}:8554/main"
    assert json.loads(output) == {
        "profiles": {"main": "H264", "sub": "H264"},
        "bare": [None, None],
        "ptz": CONFIGURATION,
        "streams": {"RTSP": stream, "RtspUnicast": stream},
        "snapshot": f"http://{HOST}:8000/onvif/snapshot.jpg",
        "offered": ["H264", "H265"],
        "now": "H265",
    }
    (line,) = camera.lines("encoder_set")
    assert (line["profile"], line["encoding"]) == ("sub", "H265")
    assert not camera.lines("token_refused")
