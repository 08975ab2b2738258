"""A recording in Chromium: it plays, seeks and has chapters, straight from the box."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from edge.lesson.transfer.recording import TakeRecorder
from edge.pages.app import build_pages
from sync.lessons.fragment_sealing import new_take
from sync.lessons.lesson_events import Caption, Chapter, LessonEvent, Question
from sync.segments.sealing import key_id
from tests.chromium import running_chromium
from tests.edge.footage import KEY, SIGNING, film, shoot
from tests.edge.pages.recorded_lesson import BEGAN_MS, LESSON, hold_lesson, minutes_of, sign
from tests.edge.pages.simulated_box import FLAGSHIP, SCHOOL, SETUP_CODE, SimulatedBox, as_view

TOLD: tuple[tuple[int, LessonEvent], ...] = (
    (0, Chapter(title="导入")),
    (1000, Chapter(title="圆的周长")),
    (
        1200,
        Question(question="q1", text="圆的周长与什么有关?", choices=("半径", "颜色")),
    ),
    (
        1300,
        Caption(
            language="zh-CN",
            from_ms=BEGAN_MS + 1000,
            until_ms=BEGAN_MS + 1900,
            text="今天学习圆的周长",
        ),
    ),
)


def tell(box: SimulatedBox) -> None:
    """Record what the teacher told, in an event take of its own."""
    recorder = TakeRecorder(
        box.shelf.take(LESSON, new_take()), KEY, SIGNING, lambda _: None, lambda _: None
    )
    for at_ms, event in TOLD:
        recorder.tell(event, BEGAN_MS + at_ms)
    recorder.close()


async def test_a_recording_plays_seeks_and_has_chapters_and_captions(
    box: SimulatedBox, tmp_path: Path
) -> None:
    hold_lesson(box)
    film(box.shelf, shoot(), BEGAN_MS, lesson=LESSON)
    box.shelf.close()
    tell(box)
    box.lesson_keys[key_id(KEY)] = KEY
    sign(box, replace(minutes_of(box, FLAGSHIP), rungs={"main": 4}))
    sign(box, replace(minutes_of(box, SCHOOL), missing_s=1))
    box.insert("hand_raise", at_ms=BEGAN_MS + 1500, lesson=LESSON, room="r301", raised=1)
    async with TestServer(build_pages(as_view(box))) as server, running_chromium() as browser:
        page = await browser.new_page(locale="zh-CN", viewport={"width": 1280, "height": 800})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(str(server.make_url("/lessons")))
        await page.fill("input[name=code]", SETUP_CODE)
        await page.click("#sign-in button")
        await expect(page.locator("table")).to_contain_text("圆的周长")
        await page.screenshot(path=tmp_path / "lessons-zh-CN.png", full_page=True)
        await page.get_by_role("link", name="圆的周长").click()
        await plays(page)
        for language in ("zh-CN", "en"):
            await page.goto(str(server.make_url(f"/lessons/{LESSON}?lang={language}")))
            await page.screenshot(path=tmp_path / f"lesson-{language}.png", full_page=True)
        await page.goto(str(server.make_url("/lessons?lang=en")))
        await page.screenshot(path=tmp_path / "lessons-en.png", full_page=True)
        assert complaints == []
    box.shelf.close()


async def plays(page: Page) -> None:
    """Frames advance, a mark leads to its moment, chapters and captions are the player's."""
    await page.evaluate("document.getElementById('recording').muted = true")
    await page.locator(".marks button").nth(1).click()
    while not await page.evaluate(  # noqa: ASYNC110 — a video announces none of it
        "(() => { const video = document.getElementById('recording');"
        " return video.currentTime > 1.3"
        "   && video.getVideoPlaybackQuality().totalVideoFrames > 5; })()"
    ):
        await asyncio.sleep(0.05)
    length = await page.evaluate("document.getElementById('recording').duration")
    assert 1.9 < length < 3.5
    cues: dict[str, list[list[Any]]] = {}
    while not all(cues.get(kind) for kind in ("chapters", "captions")):  # loaded once they are on
        await asyncio.sleep(0.05)
        cues = await page.evaluate(
            "(() => { const found = {};"
            " for (const track of document.getElementById('recording').textTracks) {"
            "   track.mode = 'hidden';"
            "   found[track.kind] = Array.from(track.cues || []).map("
            "     (cue) => [cue.startTime, cue.endTime, cue.text]); }"
            " return found; })()"
        )
    assert [text for _, _, text in cues["chapters"]] == ["导入", "圆的周长"]
    assert cues["captions"] == [[1, 1.9, "今天学习圆的周长"]]
