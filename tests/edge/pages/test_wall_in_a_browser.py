"""The wall in Chromium over the whole way: cameras, boxes, a relay, and the teacher's clicks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from edge.pages.app import build_pages
from edge.pages.box_view import Change, LessonRole, LessonState
from sync.lessons.lesson_events import Answer, Hand, Help
from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.edge.lesson_bench import now_ms, until
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox, as_view
from tests.edge.return_bench import FAR, FLAGSHIP, NEAR, School, quicken, town

ROOM = "r301"
FRAMES = """school => {
  const video = document.querySelector(`[data-school="${school}"] video`);
  return video ? video.getVideoPlaybackQuality().totalVideoFrames : 0;
}"""
SOUND = """school => {
  const audio = document.querySelector(`[data-school="${school}"] audio`);
  return audio ? audio.webkitAudioDecodedByteCount : 0;
}"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@pytest.fixture
async def schools(
    box: SimulatedBox, tmp_path: Path
) -> AsyncIterator[tuple[School, School, School]]:
    async with town(tmp_path) as opened:
        opened.changed = lambda: box.tell(Change.LESSON)
        teacher, near, far = [await opened.begin(one) for one in (FLAGSHIP, NEAR, FAR)]
        await opened.share_keys(teacher, near, far)
        await until(lambda: near.is_returning and far.is_returning)
        for pupil in (near, far):
            await opened.share_keys(pupil, teacher)
        await until(lambda: near.back._is_shared and far.back._is_shared)
        await until(lambda: len(teacher.wall.view().classes) == 2)
        yield teacher, near, far


async def test_a_teacher_sees_hands_calls_a_class_on_and_asks_all(
    box: SimulatedBox, schools: tuple[School, School, School], tmp_path: Path
) -> None:
    teacher, near, far = schools
    box.clock_ms = now_ms()
    box.giving[ROOM] = teacher.run  # type: ignore[assignment]  # the flagship's
    box.lessons[ROOM] = replace(box.lessons[ROOM], role=LessonRole.FLAGSHIP, state=LessonState.LIVE)
    server = TestServer(build_pages(as_view(box)))
    await server.start_server()
    async with running_chromium(SOUND_UNTOUCHED) as browser:
        context = await browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 720})
        page = await context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(str(server.make_url("/")))
        await page.fill("input[name=code]", SETUP_CODE)
        await page.click("#sign-in button")
        await page.wait_for_load_state()
        await page.goto(str(server.make_url(f"/lesson/wall?room={ROOM}")))
        for school in (NEAR, FAR):
            await grows(page, FRAMES, school)
        await far.back.say(Hand(raised=True))
        await near.back.say(Help(wanted=True))
        await expect(page.locator("#hands button")).to_have_count(1)
        await expect(page.locator("#help")).to_be_visible()
        await page.screenshot(path=tmp_path / "wall-hands-zh.png", full_page=True)

        await page.click("#hands button")
        await grows(page, SOUND, FAR)
        assert await page.evaluate(SOUND, NEAR) == 0
        await expect(page.locator(f'[data-school="{FAR}"]')).to_have_class("class-tile called")
        await page.click('[data-ask="A B C D"]')
        await until(lambda: near.room.board.question is not None)
        asked = near.room.board.question
        assert asked is not None
        await near.back.say(Answer(question=asked.question, choice=2))
        await expect(page.locator("#bars b")).to_have_text(["0", "0", "1", "0"])
        await page.screenshot(path=tmp_path / "wall-called-zh.png", full_page=True)
        await page.goto(str(server.make_url(f"/lesson/wall?room={ROOM}&lang=en")))
        await grows(page, FRAMES, FAR)
        await expect(page.locator("#help")).to_contain_text("Help is wanted")
        await page.screenshot(path=tmp_path / "wall-called-en.png", full_page=True)
        await page.click("#close")
        await until(lambda: near.room.board.question is not None and _closed(near))
        assert complaints == []
    await server.close()


def _closed(school: School) -> bool:
    asked = school.room.board.question
    return asked is not None and asked.counts == (0, 0, 1, 0)


async def grows(page: Page, figure: str, school: int) -> None:
    """Wait until a figure of a class's tile rises."""
    async with asyncio.timeout(20):
        while not await page.evaluate(figure, school):  # noqa: ASYNC110 — a video announces none
            await asyncio.sleep(0.05)
