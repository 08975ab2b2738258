from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestServer

from hub.pages.app import build_pages
from tests.hub.pages.browser import Browser
from tests.hub.pages.paper_hub import PaperHub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[PaperHub]:
    paper = PaperHub(tmp_path / "hub.sqlite")
    yield paper
    paper.close()


@pytest.fixture
async def stranger(hub: PaperHub) -> AsyncIterator[Browser]:
    """A browser that has not logged in."""
    async with TestServer(build_pages(hub, Random(1), lambda: hub.wall_ms / 1000)) as server:
        origin = str(server.make_url("/")).rstrip("/")
        jar = CookieJar(unsafe=True, treat_as_secure_origin=[origin])
        async with Browser(origin, jar) as browser:
            yield browser


@pytest.fixture
async def browser(stranger: Browser) -> Browser:
    """A browser of the administrator's."""
    await stranger.log_in()
    return stranger
