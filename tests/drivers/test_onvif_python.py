"""An ONVIF client that is not ours, with ONVIF's own WSDL, on the second media service."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.peer_environment import PEERS, peer_python
from drivers.simulators.onvif_motor import CONFIGURATION
from tests.drivers.camera_bench import HOST, Camera, ask_with
from tests.system_needs import need_peer


@pytest.mark.timeout(300)  # the environment is built once
async def test_another_client_reads_and_sets_pictures_by_the_second_media_service(
    tmp_path: Path,
) -> None:
    python = await asyncio.to_thread(need_peer, peer_python, "onvif_python")
    camera = Camera(tmp_path)
    answer = await ask_with(camera, python, PEERS / "onvif_python" / "client.py")
    stream = f"rtsp://{HOST}:8554/main"
    assert answer == {
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
