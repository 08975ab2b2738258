"""A screen shared in Chromium, as far as the fragments of a take."""

import asyncio
import io
import re
from itertools import pairwise
from pathlib import Path

import av
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

from edge.lesson.capture.capture_events import CaptureEvent, MediaFragment, MediaGap
from edge.lesson.capture.timeline import TakeTimeline
from edge.pages.app import build_pages
from tests.chromium import running_chromium
from tests.edge.lesson_bench import until
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox, as_view

ROOM = "r301"
PAGE = f"/blackboard/share?room={ROOM}"
THIS_TAB = """
  const devices = navigator.mediaDevices, ask = devices.getDisplayMedia.bind(devices);
  devices.getDisplayMedia = wish => ask(Object.assign({preferCurrentTab: true}, wish));
"""
"""No screen is there to choose in a test: the page shares itself."""


async def test_sharing_is_shut_to_who_has_no_code(client: Client) -> None:
    shown = await client.get(PAGE)
    text = await shown.text()
    assert shown.status == 200
    assert "Sharing is for the teacher." in text
    assert "screen_share" not in text
    refused = await client.get(f"/blackboard/share/stream?room={ROOM}")
    assert refused.status == 403
    assert "enter the lesson" in await refused.text()


async def test_another_sites_page_shares_nothing(staff: Client) -> None:
    headers = {"Origin": "https://elsewhere.example", "Upgrade": "websocket"}
    refused = await staff.get(f"/blackboard/share/stream?room={ROOM}", headers=headers)
    assert refused.status == 403


async def test_what_is_no_picture_is_refused_by_name(staff: Client, box: SimulatedBox) -> None:
    async with staff.ws_connect(f"/blackboard/share/stream?room={ROOM}") as socket:
        first = await socket.receive_bytes(timeout=5)
        assert first == b'{"shown":false,"keyframe":false}'
        await socket.send_bytes(b"\x07nonsense")
        assert b"not a shared screen's message" in await socket.receive_bytes(timeout=5)
    async with staff.ws_connect(f"/blackboard/share/stream?room={ROOM}") as socket:
        assert await socket.receive_bytes(timeout=5)  # the first let go of the room
    assert box.shared_screens.of(ROOM)


async def test_who_may_no_longer_share_is_refused_in_the_middle(staff: Client) -> None:
    async with staff.ws_connect(f"/blackboard/share/stream?room={ROOM}") as socket:
        assert await socket.receive_bytes(timeout=5)
        await staff.delete("/api/session")
        await socket.send_bytes(b"\x01\x01" + bytes(8) + b"picture")
        assert b"enter the lesson" in await socket.receive_bytes(timeout=5)


async def test_a_page_shared_in_chromium_becomes_a_moving_picture_of_the_take(
    box: SimulatedBox, tmp_path: Path
) -> None:
    server = TestServer(build_pages(as_view(box)))
    await server.start_server()
    events: list[CaptureEvent] = []
    complaints: list[str] = []

    async def opened(browser: Browser, language: str) -> Page:
        context = await browser.new_context(
            locale=language, viewport={"width": 1280, "height": 720}
        )
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.add_init_script(THIS_TAB)
        await page.goto(str(server.make_url("/")))
        await page.fill("input[name=code]", SETUP_CODE)
        await page.click("#sign-in button")
        await page.wait_for_load_state()
        await page.goto(str(server.make_url(PAGE)))
        await page.click("#share-begin")
        return page

    async with running_chromium("--auto-accept-this-tab-capture") as browser:
        page = await opened(browser, "zh-CN")
        state = page.locator("#share")
        await expect(state).to_have_attribute("data-state", "waiting")
        timeline = TakeTimeline(began_ms=int(asyncio.get_running_loop().time() * 1000))
        with box.shared_screens.of(ROOM).showing(timeline, events.append):
            await expect(state).to_have_attribute("data-state", "shown")
            await until(lambda: len(events) > 10)
            await page.screenshot(path=tmp_path / "share-zh.png", full_page=True)
            other = await opened(browser, "en")
            light = other.locator("#share-state")
            await expect(light).to_have_text(re.compile("another page shares its screen"))
            await other.screenshot(path=tmp_path / "share-en.png", full_page=True)
            await page.click("#share-end")
            await expect(state).to_have_attribute("data-state", "idle")
    await server.close()
    assert complaints == []
    data = b"".join(event.data for event in events if not isinstance(event, MediaGap))
    with av.open(io.BytesIO(data), "r") as film:
        frames = list(film.decode(video=0))
    assert len(frames) >= 10
    assert (frames[0].width, frames[0].height) == (1280, 720)
    fragments = [event for event in events if isinstance(event, MediaFragment)]
    assert fragments[0].keyframe
    # A page that stands still is sent again; where the machine stood still a keyframe begins anew.
    for a, b in pairwise(fragments):
        end = a.decode_time + a.duration
        assert end == b.decode_time or (end < b.decode_time and b.keyframe)
