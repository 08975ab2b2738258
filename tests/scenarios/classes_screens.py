"""A class's page and its teacher's telephone in Chromium, at a real district's boxes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, ViewportSize

from benchmarks.lesson_camera import WITH_SOUND
from benchmarks.lesson_district import ROOMS, LessonDistrict
from benchmarks.screen_clock import SOUND_BYTES, WATCH
from edge.box_store import setup_code

ROOM = ROOMS[WITH_SOUND]
SCREEN = ViewportSize(width=1024, height=600)
TELEPHONE = ViewportSize(width=390, height=844)
SEEN_S_MAX = 120.0
SOON = ("PLAN_AFTER_MS = 10000", "PLAN_AFTER_MS = 1500")
"""A class is told of its plan sooner here: catching up takes four times as long as it waits."""

# Notes what a class is shown whenever that changes: while it plays its light, else the phase.
TOLD = """(() => {
  window.told = [];
  const isShown = (element) => element.offsetParent !== null;
  const text = (name) => Array.from(document.querySelectorAll('[data-fill="' + name + '"]'))
    .filter(isShown).map((element) => element.textContent).find((one) => one) || "";
  setInterval(() => {
    const main = document.getElementById("main");
    if (!main || !main.dataset.phase) { return; }
    const light = Array.from(document.querySelectorAll("[data-lights]")).find(isShown);
    const plans = Array.from(document.querySelectorAll("[data-plan]")).filter(isShown);
    const phase = main.dataset.phase;
    const state = phase === "playing" && light ? light.textContent : phase;
    const now = [state, text("cause"), plans.length > 0];
    if (JSON.stringify(now) !== JSON.stringify(window.told[window.told.length - 1])) {
      window.told.push(now);
    }
  }, 40);
})();"""

LOOK = """() => {
  const slide = document.querySelector(".player-slide.is-large");
  const plan = document.getElementById("plan");
  return {
    told: window.told,
    clocks: window.clockSeen.map(([at, age]) => at - age),
    sound: SOUND_BYTES,
    sound_runs: Array.from(document.querySelectorAll("audio")).map((each) => each.played.length),
    slide: slide && !slide.hidden && slide.offsetWidth ? slide.naturalWidth : 0,
    plan: plan.hidden ? "" : plan.textContent,
    is_called: !document.getElementById("called").hidden,
    countdown: document.getElementById("countdown").textContent,
    wide: (document.querySelector('video[data-role="teacher"]') || {}).videoWidth || 0,
  };
}""".replace("SOUND_BYTES", SOUND_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a class has been shown; ``told`` has (state, cause, whether its plan is shown).

    ``clocks`` are the camera's own times (Unix ms) read back from each frame by a canvas, ``wide``
    how many pixels the teacher's picture is wide.
    """

    told: list[tuple[str, str, bool]]
    clocks: list[int]
    sound: int
    sound_runs: list[int]
    slide: int
    plan: str
    is_called: bool
    countdown: str
    wide: int

    @property
    def states(self) -> list[str]:
        """The states shown, one after the other."""
        states = [state for state, _, _ in self.told]
        return [one for one, before in zip(states, ["", *states], strict=False) if one != before]


class ClassScreen:
    """The page of the receiving class in one language; nobody touches it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def look(self) -> Seen:
        found: dict[str, Any] = await self.page.evaluate(LOOK)
        found["told"] = [tuple(each) for each in found["told"]]
        return Seen(**found)

    async def until(self, true: Callable[[Seen], bool], seconds: float = SEEN_S_MAX) -> Seen:
        """Look until something is so; fails with what was shown."""
        seen = await self.look()
        try:
            async with asyncio.timeout(seconds):
                while not true(seen):
                    await asyncio.sleep(0.1)
                    seen = await self.look()
        except TimeoutError:
            pytest.fail(f"never shown: {seen}")
        return seen

    async def ends_ms(self) -> int:
        """Return when the lesson ends, as the class's box has it."""
        lesson = "fetch('/api/lesson' + location.search).then((answer) => answer.json())"
        told: int = (await self.page.evaluate(lesson))["lesson"]["ends_ms"]
        return told

    async def until_it_ends(self, true: Callable[[int], bool]) -> None:
        """Wait until the lesson, as the class's box has it, ends at a certain moment."""
        async with asyncio.timeout(SEEN_S_MAX):
            while not true(await self.ends_ms()):  # noqa: ASYNC110 - a page
                await asyncio.sleep(0.1)


async def open_page(browser: Browser, language: str, size: ViewportSize) -> Page:
    context = await browser.new_context(
        locale=language, viewport=size, ignore_https_errors=True, service_workers="block"
    )
    return await context.new_page()


async def open_class(browser: Browser, district: LessonDistrict, language: str) -> ClassScreen:
    """Open the receiving class's page once its box knows of the room."""
    page = await open_page(browser, language, SCREEN)
    for each in (WATCH, TOLD):
        await page.add_init_script(each)
    await page.route("**/classroom.js*", _sooner)
    await _open(page, f"{district.page}/classroom?room={ROOM}")
    return ClassScreen(page)


async def open_remote(browser: Browser, district: LessonDistrict, language: str) -> Page:
    """Open the teacher's remote on a telephone, by the code that the flagship's screen shows."""
    school = district.flagship
    origin = f"https://{school.address}:{school.pages_port}"
    screen = await open_page(browser, language, SCREEN)
    await screen.goto(f"{origin}/lessons")
    await screen.fill("input[name=code]", setup_code(school.folder / "data"))
    await screen.click("#sign-in button")
    await screen.locator("#sign-in").wait_for(state="detached")
    await _open(screen, f"{origin}/classroom?room={ROOM}")
    code = screen.locator(".screen:visible [data-fill=code]")
    while not (shown := await code.all_inner_texts()) or not shown[0]:  # noqa: ASYNC110 - a page's
        await asyncio.sleep(0.1)
    telephone = await open_page(browser, language, TELEPHONE)
    await telephone.goto(f"{origin}/lesson/remote?room={ROOM}")
    await telephone.fill("input[name=code]", shown[0])
    await telephone.click("button.primary")
    await screen.context.close()
    return telephone


async def in_language(telephone: Page, language: str) -> None:
    await telephone.goto(f"{telephone.url.partition('&')[0]}&lang={language}")


async def act(telephone: Page, act: str, field: str, value: str | int) -> None:
    """Press the remote's button of an act with a hidden field's value, and see it answered."""
    form = telephone.locator(
        f'form[action*="/remote/{act}"]:has(input[name={field}][value="{value}"])'
    )
    async with telephone.expect_response(lambda answer: f"/remote/{act}" in answer.url) as answered:
        await form.locator("button").click()
    assert (await answered.value).status < HTTPStatus.BAD_REQUEST


async def fits(page: Page) -> bool:
    """Tell whether nothing of a page is wider than its screen."""
    wide: bool = await page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return wide


async def add_slide(browser: Browser, telephone: Page, folder: Path) -> None:
    """Draw a slide, add it with the telephone and show it."""
    drawing = await open_page(browser, "zh-CN", ViewportSize(width=960, height=540))
    await drawing.set_content("<h1 style='font-size:96px'>圆的周长</h1><p>C = 2πr</p>")
    picture = folder / "slide.png"
    await drawing.screenshot(path=picture)
    await drawing.context.close()
    await telephone.locator("#remote-upload summary").click()
    await telephone.set_input_files("input[name=photo]", picture)
    await telephone.click("#remote-upload button")
    await telephone.locator("#remote-slides button.primary:not([disabled])").click()


async def _open(page: Page, address: str) -> None:
    async with asyncio.timeout(SEEN_S_MAX):
        while (answer := await page.goto(address)) is None or not answer.ok:  # noqa: ASYNC110 - a box's
            await asyncio.sleep(0.2)


async def _sooner(route: Route) -> None:
    answer = await route.fetch()
    text = await answer.text()
    assert SOON[0] in text
    await route.fulfill(response=answer, body=text.replace(*SOON))
