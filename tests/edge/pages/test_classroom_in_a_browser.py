"""The classroom's page in Chromium through a lesson's end: made longer, and the next lesson."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

from edge.pages.app import build_pages
from edge.pages.box_view import Change, LessonState
from sync.lessons.tracks import PICTURE, SOUND
from tests.edge.encoded_tracks import Track, encode_picture, encode_sound
from tests.edge.pages.simulated_box import MINUTE_MS, SimulatedBox, as_view
from tests.edge.test_fan_out_in_a_browser import Feed, Room, cut_off, feeding, live, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 20
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

    async def watch(self, browser: Browser) -> Page:
        lesson = self.box.lessons[ROOM]
        self.box.clock_ms = lesson.starts_ms + MINUTE_MS
        self.box.set_lesson(ROOM, state=LessonState.LIVE, evidence_ms=self.box.clock_ms)
        page = await (await browser.new_context(locale="en")).new_page()
        await page.goto(str(self.server.make_url("/classroom").with_query(room=ROOM)))
        await page.locator("#player video").first.wait_for(state="attached")
        self.room.fan_out.show(live())
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


@pytest_asyncio.fixture(loop_scope="module")
async def held(box: SimulatedBox, tmp_path: Path) -> AsyncIterator[Class]:
    room = Room(tmp_path)
    app: web.Application = build_pages(as_view(box))
    room.serve_on(app)
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
