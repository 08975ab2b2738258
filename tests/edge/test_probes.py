"""A camera is looked at before the bell as the lesson will look at it."""

import random
from pathlib import Path

from drivers.codecs.digest import Credentials
from edge.lesson.preparing.preflight import CameraFacts, Fault
from edge.lesson.preparing.probes import look_at_camera
from tests.edge.test_capture import ADMIN, now_ms, simulated_camera
from tests.loopback import free_port


async def look(url: str, credentials: Credentials | None = ADMIN) -> CameraFacts:
    return await look_at_camera(url, credentials, now_ms, random.Random(2))


async def test_a_camera_that_works_is_seen_and_heard(tmp_path: Path) -> None:
    async with simulated_camera(tmp_path) as camera:
        found = await look(camera.url("sub"))
    assert found.fault is None
    assert found.keyframe_ms is not None
    assert found.sounds > 0


async def test_a_camera_that_wants_another_password_is_told_as_that(tmp_path: Path) -> None:
    async with simulated_camera(tmp_path) as camera:
        found = await look(camera.url("sub"), Credentials(user="admin", password="wrong"))
    assert found.fault is Fault.REFUSED
    assert found.words


async def test_a_camera_that_is_away_is_told_with_its_address() -> None:
    port = free_port()
    found = await look(f"rtsp://127.0.0.1:{port}/main")
    assert found.fault is Fault.SILENT
    assert f"127.0.0.1:{port}" in found.words


async def test_an_address_that_is_none_is_for_the_set_up_page() -> None:
    found = await look("http://127.0.0.1/picture")
    assert found.fault is Fault.SETUP
