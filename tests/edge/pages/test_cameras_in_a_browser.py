"""The cameras' page in Chromium: live pictures, and a pad for mouse, touch and keyboard."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from edge.pages.app import build_pages
from tests.chromium import running_chromium
from tests.drivers.camera_bench import HOST, until
from tests.edge.pages.camera_room import RTSP_PORT, CameraRoom, camera_room
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox, as_view

FRAMES = "document.querySelector('.camera video').getVideoPlaybackQuality().totalVideoFrames"
SOME_FRAMES = 5


@pytest.fixture
async def room(box: SimulatedBox, tmp_path: Path) -> AsyncIterator[CameraRoom]:
    async with camera_room(box, tmp_path) as room:
        yield room


@pytest.mark.parametrize(
    ("language", "live", "to_the_right"),
    [("zh-CN", "实时画面", "右"), ("en", "live picture", "right")],
)
async def test_a_camera_is_seen_live_and_turned_by_mouse_and_keyboard(
    room: CameraRoom, tmp_path: Path, language: str, live: str, to_the_right: str
) -> None:
    server = TestServer(build_pages(as_view(room.box)))
    await server.start_server()
    async with room.pictures.serving(HOST, RTSP_PORT), running_chromium() as browser:
        context = await browser.new_context(
            locale=language, viewport={"width": 1280, "height": 800}
        )
        page = await context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(str(server.make_url("/")))
        await page.fill("input[name=code]", SETUP_CODE)
        await page.click("#sign-in button")
        await page.wait_for_load_state()
        await page.goto(str(server.make_url("/cameras")))
        await expect(page.locator("[data-live]")).to_have_text(live, timeout=20_000)
        while await page.evaluate(FRAMES) < SOME_FRAMES:  # noqa: ASYNC110 — a video announces none
            await asyncio.sleep(0.05)
        await page.screenshot(path=tmp_path / f"cameras-{language}.png", full_page=True)
        await hold_the_button(page, room, to_the_right)
        await hold_a_key(page, room)
        await context.set_offline(offline=True)
        assert complaints == []
    await server.close()
    assert not room.control.lines("move_timed_out")


async def hold_the_button(page: Page, room: CameraRoom, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).hover()
    await page.mouse.down()
    await until(lambda: len(room.control.lines("move")) >= 2)  # it is held, so it is repeated
    assert not room.control.lines("stop")
    await page.mouse.up()
    await until(lambda: len(room.control.lines("stop")) == 1)
    assert {line["pan"] for line in room.control.lines("move")} == {0.6}


async def hold_a_key(page: Page, room: CameraRoom) -> None:
    """Hold an arrow, then leave the picture with the key still down: that lets go."""
    before = len(room.control.lines("move"))
    await page.locator(".view").focus()
    await page.keyboard.down("ArrowUp")
    await until(lambda: len(room.control.lines("move")) > before)
    await page.locator("summary").first.focus()
    await until(lambda: len(room.control.lines("stop")) == 2)
    await page.keyboard.up("ArrowUp")
    assert {line["tilt"] for line in room.control.lines("move")[before:]} == {0.6}
