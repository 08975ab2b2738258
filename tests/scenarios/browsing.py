"""Chromium as a school has it: told once of the district's root, and of nothing else."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.chromium import ARGUMENTS, SOUND_UNTOUCHED, need_chromium
from tests.system_needs import need

NAVIGATION_MS_MAX = 20_000

expect.set_options(timeout=NAVIGATION_MS_MAX)  # a busy machine shows a page after seconds


def require_chromium() -> None:
    """Skip where Chromium or certutil is missing; fail in continuous integration."""
    need_chromium()
    _certutil()


def _certutil() -> str:
    return need("certutil", "libnss3-tools")


@contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """Run Chromium with its own home, whose certificate store it trusts beside its built-in one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=need_chromium(),
            args=[*ARGUMENTS, SOUND_UNTOUCHED],
            env={**os.environ, "HOME": str(home)},
        )
        try:
            yield browser
        finally:
            browser.close()


def trust_root(home: Path, root_pem: Path) -> None:
    """Import a district's root as the page /trust tells people to do."""
    certutil = _certutil()
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    database = f"sql:{store}"
    subprocess.run([certutil, "-d", database, "-N", "--empty-password"], check=True)
    add = ["-A", "-t", "C,,", "-n", "district", "-i", str(root_pem)]
    subprocess.run([certutil, "-d", database, *add], check=True)


@dataclass
class OpenedPage:
    """A page and what it complained of: script errors, and whatever it wrote as an error."""

    page: Page
    complaints: list[str] = field(default_factory=list)


def open_page(browser: Browser, language: str, width: int = 1280, height: int = 800) -> OpenedPage:
    context = browser.new_context(
        locale=language, viewport={"width": width, "height": height}, ignore_https_errors=False
    )
    context.set_default_timeout(NAVIGATION_MS_MAX)
    opened = OpenedPage(context.new_page())
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on(
        "console",
        lambda said: opened.complaints.append(said.text) if said.type == "error" else None,
    )
    return opened


def address(origin: str, path: str, **query: str) -> str:
    return f"{origin}{path}?{urlencode(query)}" if query else f"{origin}{path}"
