from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from playwright.async_api import Browser

from edge.pages.app import build_pages
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox, as_view, furnish

Client = TestClient[Request, Application]


@pytest.fixture
def box(tmp_path: Path) -> SimulatedBox:
    return furnish(SimulatedBox(tmp_path / "box.sqlite"))


@pytest.fixture
async def client(box: SimulatedBox) -> AsyncIterator[Client]:
    """A browser that has not entered the setup code, speaking English."""
    server = TestServer(build_pages(as_view(box)))
    await server.start_server()
    # Loopback counts as secure for cookies in browsers; tell aiohttp's jar the same.
    jar = CookieJar(unsafe=True, treat_as_secure_origin=server.make_url("/").origin())
    headers = {"Accept-Language": "en", "Origin": str(server.make_url("/").origin())}
    async with TestClient(server, cookie_jar=jar, headers=headers) as client:
        yield client


@pytest.fixture
async def staff(client: Client) -> Client:
    """The same browser after the setup code."""
    answer = await client.post("/setup/session", data={"code": SETUP_CODE}, allow_redirects=False)
    assert answer.status == 303
    return client


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browser, server: TestServer) -> AsyncIterator[Browser]:
    """``chromium`` without another test's pages; a test's own close before ``server`` does."""
    assert server.started
    yield chromium
    for context in chromium.contexts:
        await context.close()
