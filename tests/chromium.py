"""Chromium for the tests of pages, driven by Playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.system_needs import need

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
SOUND_UNTOUCHED = "--autoplay-policy=no-user-gesture-required"
"""What a panel in a classroom is started with: sound without a touch."""


def need_chromium() -> str:
    """Return where Debian's Chromium is; Playwright's own is never fetched."""
    return need("chromium", "chromium")


@asynccontextmanager
async def running_chromium(*more: str) -> AsyncIterator[Browser]:
    """Run it with ``ARGUMENTS`` and some more for the time of the block."""
    path = need_chromium()
    async with async_playwright() as playwright:
        # A machine that runs many tests may be slow to start it.
        browser = await playwright.chromium.launch(
            executable_path=path, args=[*ARGUMENTS, *more], timeout=40_000
        )
        yield browser
        await browser.close()
