"""The pages in a real browser: both languages, live without reloading, honest when cut off."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from hub.pages.app import build_pages
from tests.chromium import running_chromium
from tests.hub.pages.paper_hub import ADMIN_CODE, MINUTE, PaperHub, fill


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with running_chromium() as browser:
        page = await browser.new_page(viewport={"width": 1366, "height": 800})
        page.set_default_timeout(15_000)
        yield page


@pytest.fixture
async def server(hub: PaperHub) -> AsyncIterator[TestServer]:
    server = TestServer(build_pages(hub, Random(1)))
    await server.start_server()
    yield server
    await server.close()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh-CN", ("所有学校均已连接", "水彩画", "已排课", "连接已断开")),
        ("en", ("All schools are connected", "Watercolour", "scheduled", "No connection")),
    ],
)
async def test_a_person_logs_in_schedules_a_lesson_and_sees_the_district_change(
    hub: PaperHub,
    page: Page,
    server: TestServer,
    tmp_path: Path,
    language: str,
    words: tuple[str, str, str, str],
) -> None:
    connected, title, scheduled, lost = words
    fill(hub)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))
    origin = str(server.make_url("/"))

    await page.goto(f"{origin}?lang={language}")
    await page.fill("input[name=code]", ADMIN_CODE)
    await page.press("input[name=code]", "Enter")
    await expect(page.locator("h1")).to_have_text(connected)
    await expect(page.locator(".hex.good")).to_have_count(3)
    await page.screenshot(path=tmp_path / f"district-{language}.png")

    await page.goto(f"{origin}lessons/new")
    for name, value in (
        ("title_zh", "水彩画"),
        ("title_en", "Watercolour"),
        ("day", "2026-11-21"),
        ("starts", "14:00"),
        ("ends", "14:40"),
        ("flagship_school", "1"),
        ("flagship_class_group", "3-2"),
        ("flagship_room", "301"),
    ):
        await page.fill(f"input[name={name}]", value)
    await page.click("button[data-more]")
    added = page.locator(".receiver").last
    await expect(page.locator(".receiver")).to_have_count(4)
    for name, value in (("school", "2"), ("class_group", "3"), ("room", "A")):
        await added.locator(f"input[name=receiver_{name}]").fill(value)
    await page.click("button.primary")
    await expect(page.locator("h1")).to_have_text(title)
    await expect(page.locator(".ends .light")).to_have_text([scheduled, scheduled])

    await page.goto(f"{origin}lessons")
    await expect(page.locator(".wire.flagship, .wire.receiver")).to_have_count(2)
    await page.screenshot(path=tmp_path / f"lessons-{language}.png")

    await page.goto(f"{origin}?screen=1")
    await expect(page.locator(".hex.bad")).to_have_count(0)
    await page.evaluate("window.neverReloaded = true")
    hub.hear(3, 30 * MINUTE)
    hub.announce("school:3")
    await expect(page.locator(".hex.bad")).to_have_count(1, timeout=30_000)
    overflow = "document.documentElement.scrollHeight > innerHeight"
    assert not await page.evaluate(overflow)
    assert troubles == []

    await server.close()
    await expect(page.locator(".lost")).to_contain_text(lost, timeout=30_000)
    await expect(page.locator(".lost")).to_be_visible(timeout=30_000)
    assert await page.evaluate("window.neverReloaded")
    assert {url for url in asked if not url.startswith(origin)} == set()
