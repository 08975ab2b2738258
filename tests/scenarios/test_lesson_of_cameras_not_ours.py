"""A camera's lesson to a rural class: captured, sealed, relayed, opened, and played by Chromium.

The cameras are ipycam (no sound), GStreamer's RTSP server with sound, and our simulator, whose
clock is read back from the page's canvas. The hub is a process of its own.
"""

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page

from benchmarks.screen_clock import SOUND_BYTES, WATCH
from drivers.cameras.messages import CameraAccess
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.entities import DeviceId
from edge.lesson.capture.flagship_capture import FlagshipCapture, LessonSource
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.receive import LessonReceiver, Listener
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import key_id
from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.drivers.ipycam_peer import running_ipycam
from tests.drivers.serial_bench import running
from tests.edge.lesson_bench import (
    KEY,
    LESSON,
    PICTURE,
    SIGNING,
    HubProcess,
    flagship,
    now_ms,
)
from tests.edge.test_capture import ADMIN, gstreamer_camera, simulated_camera
from tests.edge.test_fan_out_in_a_browser import PAGE, STATIC
from tests.edge.test_mp4_export import decode_all, export, packets, probe
from tests.system_needs import need

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

PLAYING_S_MAX = 30.0
MEDIA = """() => ({
  shown: window.clockPassed, clocks: window.clockSeen, sound: %s,
  picture_s: document.querySelector("video").currentTime,
  sound_s: document.querySelector("audio").currentTime,
})"""


@dataclass(frozen=True, slots=True)
class Played:
    """What a page has shown and sounded so far; ``clocks`` pairs each moment with a frame's age."""

    shown: int
    clocks: list[tuple[int, int]]
    sound: int
    picture_s: float
    sound_s: float


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium(SOUND_UNTOUCHED) as running_one:
        yield running_one


async def test_our_cameras_clock_is_read_from_the_canvas_and_its_tone_is_decoded(
    browser: Browser, tmp_path: Path
) -> None:
    async with (
        simulated_camera(tmp_path) as camera,
        classroom(browser, tmp_path, camera.url("main"), ADMIN) as page,
    ):
        first = await until(page, lambda now: len(now.clocks) > 5 and now.sound > 0)
        later = await until(
            page,
            lambda now: now.picture_s > first.picture_s + 2 and now.sound > first.sound + 10_000,
        )
    clocks = [at_ms - age_ms for at_ms, age_ms in later.clocks]
    assert clocks == sorted(clocks)
    assert clocks[-1] - clocks[0] > 2000
    assert abs(later.picture_s - later.sound_s) < 1


async def test_gstreamers_camera_is_seen_and_heard(browser: Browser, tmp_path: Path) -> None:
    async with (
        gstreamer_camera("secret") as url,
        classroom(browser, tmp_path, url, Credentials(user="admin", password="secret")) as page,
    ):
        first = await until(page, lambda now: now.shown > 5 and now.sound > 0)
        later = await until(
            page,
            lambda now: (
                now.shown > first.shown + 25
                and now.picture_s > first.picture_s + 2
                and now.sound > first.sound + 10_000
                and now.sound_s > first.sound_s + 2
            ),
        )
    assert later.clocks == []
    await asyncio.to_thread(check_recording, tmp_path, later.picture_s - first.picture_s)


def check_recording(folder: Path, seconds: float) -> None:
    """What the school has of that lesson is a film to FFmpeg, without a word of complaint."""
    shelf = LessonShelf(folder / "school")
    path = folder / "lesson.mp4"
    path.write_bytes(export(shelf)[0])
    shelf.close()
    told = probe(path, "-show_streams")
    assert [one["codec_type"] for one in told["streams"]] == ["video", "audio"]
    assert told["streams"][0]["codec_name"] == "h264"
    for kind in "va":
        shown = packets(path, kind)
        assert shown[-1][0] - shown[0][0] >= seconds - 0.5, kind
    decode_all(path)


async def test_ipycams_picture_advances_without_any_sound(browser: Browser, tmp_path: Path) -> None:
    with running_ipycam(tmp_path, None, str(film(tmp_path))) as address:
        worker = CameraWorker(random.Random(2))
        async with running(worker.run()):
            described = await worker.describe(CameraAccess(address=address, credentials=None))
        async with classroom(browser, tmp_path, described.main.uri, None) as page:
            first = await until(page, lambda now: now.shown > 0)
            later = await until(
                page,
                lambda now: now.shown > first.shown + 3 and now.picture_s > first.picture_s + 2,
            )
    assert later.sound == 0


def film(folder: Path) -> Path:
    """Make a film of some seconds for a camera that shows films."""
    path = folder / "film.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc=size=320x180:rate=10", "-t", "8")
    encoded = ("-c:v", "mpeg4", "-q:v", "5", str(path))
    subprocess.run([need("ffmpeg", "ffmpeg"), "-loglevel", "error", *picture, *encoded], check=True)
    return path


@asynccontextmanager
async def classroom(
    browser: Browser, folder: Path, url: str, credentials: Credentials | None
) -> AsyncIterator[Page]:
    """Carry a camera's stream to a rural classroom's page for the time of the block."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(HubProcess(folder / "hub"))
        publisher = await stack.enter_async_context(flagship(hub.port, folder / "flagship"))
        fan_out = FanOut(now_ms)
        receiver = await stack.enter_async_context(receiving(hub.port, folder / "school", fan_out))
        source = LessonSource(
            track=PICTURE, camera=DeviceId("camera"), stream=lambda: (url, credentials)
        )
        capture = FlagshipCapture(
            LESSON, publisher, lambda: [source], now_ms=now_ms, rng=random.Random(3)
        )
        address = await stack.enter_async_context(pages(fan_out))
        await stack.enter_async_context(
            running(publisher.run(), receiver.run(), capture.run(), fan_out.run())
        )
        context = await browser.new_context()
        stack.push_async_callback(context.close)
        page = await context.new_page()
        await page.add_init_script(WATCH)
        await page.goto(address)
        yield page


@asynccontextmanager
async def receiving(port: int, folder: Path, fan_out: FanOut) -> AsyncIterator[LessonReceiver]:
    shelf = LessonShelf(folder)
    async with aiohttp.ClientSession(headers={"X-School": "2"}) as session:
        yield LessonReceiver(
            lesson=LESSON,
            keys={key_id(KEY): KEY},
            flagship=SIGNING.public_key(),
            shelf=shelf,
            route=HubRoute(session, f"http://127.0.0.1:{port}", random.Random(2)),
            now_ms=now_ms,
            listener=Listener(on_item=fan_out.publish, on_status=fan_out.show),
        )
    shelf.close()


@asynccontextmanager
async def pages(fan_out: FanOut) -> AsyncIterator[str]:
    async def show(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    app.router.add_get("/classroom/stream", fan_out.serve)
    app.router.add_static("/static", STATIC)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def until(page: Page, true: Callable[[Played], bool]) -> Played:
    """Look at the page until something is so; fails with what was seen last."""
    played = Played(**await page.evaluate(MEDIA % SOUND_BYTES))
    try:
        async with asyncio.timeout(PLAYING_S_MAX):
            while not true(played):
                await asyncio.sleep(0.2)
                played = Played(**await page.evaluate(MEDIA % SOUND_BYTES))
    except TimeoutError:
        clocks, shown = len(played.clocks), played.shown
        pytest.fail(f"never; {shown} frames shown, {clocks} clocks read, {played.sound} bytes")
    return played
