"""The classroom's page in Chromium: a lesson's end, and a lesson without MediaSource."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

from edge.lesson.classroom.hls_desk import HlsDesk
from edge.lesson.schedule import ScheduledLesson
from edge.pages.app import build_pages
from edge.pages.box_view import Change, LessonState
from sync.lessons.tracks import PICTURE, SOUND
from sync.segments.sealing import DataKey, KeyId
from tests.chromium import running_chromium
from tests.edge.encoded_tracks import Track, encode_picture, encode_sound
from tests.edge.pages.simulated_box import MINUTE_MS, SimulatedBox, as_view
from tests.edge.test_fan_out_in_a_browser import Feed, Room, cut_off, feeding, live, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 40
ROOM = "r301"


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Track]:
    folder = tmp_path_factory.mktemp("media")
    return {
        PICTURE: encode_picture(folder / "picture.mp4", "320x180", SECONDS),
        SOUND: encode_sound(folder / "sound.mp4", SECONDS),
    }


@dataclass
class Class:
    """A room of a box whose lesson runs, and the page that a class looks at."""

    box: SimulatedBox
    room: Room
    server: TestServer

    async def watch(self, browser: Browser, script: str = "") -> Page:
        """Open the page of the lesson that runs, and wait until it plays it."""
        page = await self.open(browser, script)
        await page.locator("#player video").first.wait_for(state="attached")
        self.room.fan_out.show(live())
        return page

    async def open(self, browser: Browser, script: str) -> Page:
        """Open the page of the lesson that runs; ``script`` runs before its own."""
        lesson = self.box.lessons[ROOM]
        self.box.clock_ms = lesson.starts_ms + MINUTE_MS
        self.box.set_lesson(ROOM, state=LessonState.LIVE, evidence_ms=self.box.clock_ms)
        page = await (await browser.new_context(locale="en")).new_page()
        await page.add_init_script(script)
        await page.goto(str(self.server.make_url("/classroom").with_query(room=ROOM)))
        return page

    def move_end(self, ends_ms: int) -> None:
        """Let the box tell that the lesson ends then."""
        self.box.lessons[ROOM] = replace(self.box.lessons[ROOM], ends_ms=ends_ms)
        self.box.tell(Change.LESSON)

    def begin_next(self) -> None:
        """Let the room be another lesson's, as a box does at its bell."""
        now_ms = self.box.clock_ms
        self.box.lessons[ROOM] = replace(
            self.box.lessons[ROOM],
            lesson="music-2",
            title_en="Spring songs",
            starts_ms=now_ms,
            ends_ms=now_ms + 40 * MINUTE_MS,
        )
        self.room.fan_out.clear()
        self.room.fan_out.show(live())
        self.box.tell(Change.LESSON)


async def keys_of_none(_: ScheduledLesson) -> Mapping[KeyId, DataKey]:
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def held(box: SimulatedBox, tmp_path: Path) -> AsyncIterator[Class]:
    room = Room(tmp_path)
    app: web.Application = build_pages(as_view(box))
    room.serve_on(app)
    desk = HlsDesk({ROOM: room.fan_out}.get, room.shelf, dict, keys_of_none, lambda: box.clock_ms)
    app.add_routes(desk.routes())
    server = TestServer(app)
    await server.start_server()
    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(room.fan_out.run())
        yield Class(box, room, server)
        beating.cancel()
    await server.close()
    room.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browser, held: Class) -> AsyncIterator[Browser]:
    """``chromium`` without another test's pages; a test's own close before the server does."""
    assert held.server.started
    yield chromium
    for context in chromium.contexts:
        await context.close()


async def test_a_class_that_learns_late_that_its_lesson_is_longer_is_live_again(
    browser: Browser, held: Class, tracks: dict[int, Track]
) -> None:
    page = await held.watch(browser)
    async with feeding(Feed(held.room, tracks), b"take-one"):
        await until(page, lambda seen: seen.state == "live" and seen.picture_s > 2)
        held.move_end(held.box.clock_ms)
        finishing = await until(page, lambda seen: seen.state == "catching_up")
        held.move_end(held.box.clock_ms + 10 * MINUTE_MS)
        await until(
            page,
            lambda seen: (
                seen.state == "live" and seen.behind_ms == 0 and seen.frames > finishing.frames + 50
            ),
        )
    await expect(page.locator("#stage")).to_be_visible()


async def test_a_class_that_is_behind_leaves_its_lesson_for_the_next_one(
    browser: Browser, held: Class, tracks: dict[int, Track]
) -> None:
    page = await held.watch(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    async with feeding(Feed(held.room, tracks), b"take-one"):
        await until(page, lambda seen: seen.state == "live" and seen.picture_s > 2)
        await cut_off(page, held.room)
    held.move_end(held.box.clock_ms)
    await until(page, lambda seen: seen.state == "catching_up")
    title = page.locator("#view [data-fill=title]")
    await expect(title).to_have_text("Paper-cut windows")
    held.room.is_cut = False
    held.begin_next()
    await expect(title).to_have_text("Spring songs")
    async with feeding(Feed(held.room, tracks), b"TAKE-two"):
        begun = await until(page, lambda seen: seen.state == "live" and seen.picture_s > 0.5)
        await until(page, lambda seen: seen.frames > begun.frames + 25 and seen.sound_s > 1)
    assert any("lesson=art-1" in each for each in asked)


SOONER = """
  const every = window.setInterval;
  window.setInterval = (work, ms) => every(work, ms === 10000 ? 4100 : ms);
"""
"""Pages tell of themselves each ten seconds; a box hears each four."""


async def until_told(box: SimulatedBox, sound: bool) -> None:
    """Wait until a page tells whether it may be heard; fails after 30 s."""
    for _ in range(300):
        if box.screens and box.screens[-1][1].sound is sound:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"never told; last were {box.screens[-3:]}")


async def test_a_page_tells_before_the_bell_whether_its_browser_lets_it_be_heard(
    browser: Browser, held: Class
) -> None:
    held.box.set_lesson(ROOM, state=LessonState.PREPARING, evidence_ms=None)
    held.box.clock_ms = held.box.lessons[ROOM].starts_ms - MINUTE_MS
    address = str(held.server.make_url("/classroom").with_query(room=ROOM))
    async with running_chromium() as strict:
        page = await strict.new_page()
        await page.add_init_script(SOONER)
        await page.goto(address)
        await until_told(held.box, sound=False)
        await page.locator("body").click()
        await until_told(held.box, sound=True)
        await page.close()
    held.box.screens.clear()
    page = await browser.new_page()
    await page.add_init_script(SOONER)
    await page.goto(address)
    await until_told(held.box, sound=True)


async def test_a_page_that_is_held_back_tells_so_until_somebody_turns_its_sound_on(
    held: Class, tracks: dict[int, Track]
) -> None:
    async with running_chromium() as strict:
        page = await held.open(strict, SOONER)
        async with asyncio.timeout(30):  # to ask the page itself would count as a touch of it
            while not held.room.fan_out.viewers:  # noqa: ASYNC110 - another task's pages
                await asyncio.sleep(0.05)
        held.room.fan_out.show(live())
        async with feeding(Feed(held.room, tracks), b"take-one"):
            await until_told(held.box, sound=False)
            await page.get_by_text("Turn the sound on").click()
            await until(page, lambda seen: not seen.needs_tap and seen.sound_s > 1)
            await until_told(held.box, sound=True)
        await page.context.close()


@dataclass(frozen=True)
class Native:
    """What an element that plays by itself has decoded."""

    frames: int
    sound_bytes: int
    at_s: float


async def until_native(page: Page, true: Callable[[Native], bool]) -> Native:
    """Observe the page's picture until something is seen; fails after 30 s."""
    seen = None
    for _ in range(150):
        seen = Native(
            **await page.locator("#player video").first.evaluate(
                """video => ({
                  frames: video.getVideoPlaybackQuality().totalVideoFrames,
                  sound_bytes: video.webkitAudioDecodedByteCount, at_s: video.currentTime,
                })"""
            )
        )
        if true(seen):
            return seen
        await asyncio.sleep(0.2)
    pytest.fail(f"never seen; last was {seen}")


async def test_without_media_source_a_class_sees_and_hears_its_lesson_over_hls(
    browser: Browser, held: Class, tracks: dict[int, Track]
) -> None:
    page = await held.watch(browser, "delete window.MediaSource;")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    async with feeding(Feed(held.room, tracks), b"take-one"):
        # Before the first segment is whole the element gives up, and the page begins it again.
        first = await until_native(
            page, lambda seen: seen.frames > 25 and seen.sound_bytes > 5000 and seen.at_s > 1
        )
        await until_native(
            page,
            lambda seen: (
                seen.frames > first.frames + 50
                and seen.sound_bytes > first.sound_bytes + 10_000
                and seen.at_s > first.at_s + 2
            ),
        )
    assert await page.evaluate("schoolnodePlayer.state") == "live"
    assert not await page.evaluate("schoolnodePlayer.needsTap")
    for track in (PICTURE, SOUND):
        assert any(f"/classroom/hls/{ROOM}/{track}/" in each for each in asked)
