"""An ONVIF client that is not ours, on the simulated camera."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.peer_environment import peer_node
from drivers.simulators.onvif_events import MOTION_TOPIC
from drivers.simulators.onvif_motor import PRESETS
from tests.drivers.camera_bench import HOST, Camera, ask_with
from tests.system_needs import need, need_peer


@pytest.mark.timeout(300)  # the environment is built once
async def test_another_client_signs_in_turns_the_simulated_camera_and_hears_its_events(
    tmp_path: Path,
) -> None:
    node = need("node", "nodejs")
    need("npm", "npm")
    home = await asyncio.to_thread(need_peer, peer_node, "npm_onvif")
    camera = Camera(tmp_path)
    assert await ask_with(camera, node, home / "client.js") == {
        "serial": camera.device.identity.serial,
        "stream": f"rtsp://{HOST}:8554/main",
        "presets": list(PRESETS),
        "moving": "MOVING",
        "brightness": 50,
        "topic": MOTION_TOPIC,
    }
    assert not camera.lines("token_refused")
    assert [line["pan"] for line in camera.lines("move")] == [0.5]
    assert len(camera.lines("stop")) == 1
