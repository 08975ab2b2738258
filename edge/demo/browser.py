"""A browser without glass: what the demo's person and its class cards open and send."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from edge.demo.plan import SchoolPlan
from edge.errors import BoxSetupError

LINE_BYTES_MAX = 1024 * 1024


@asynccontextmanager
async def open_pages(school: SchoolPlan) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser of its own at a school's pages, which trusts the district's root."""
    url = f"https://{school.address}:{school.pages_port}"
    root = school.folder / "data" / "identity" / "root.pem"
    context = ssl.create_default_context(cafile=str(root))
    async with aiohttp.ClientSession(
        base_url=url,
        connector=aiohttp.TCPConnector(ssl=context),
        cookie_jar=aiohttp.CookieJar(unsafe=True),  # for a host that is an address
        headers={"Origin": url},
        read_bufsize=LINE_BYTES_MAX,
    ) as pages:
        yield pages


@asynccontextmanager
async def sign_in(school: SchoolPlan, setup_code: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a browser in which the set-up code was entered."""
    async with open_pages(school) as pages:
        await send_form(pages, "/setup/session", code=setup_code)
        yield pages


async def read_page(pages: aiohttp.ClientSession, path: str) -> str:
    async with pages.get(path) as answer:
        return await answer.text()


async def send_form(pages: aiohttp.ClientSession, path: str, **fields: str) -> None:
    """Post a form as a person does; BoxSetupError when the box does not take it."""
    await post_form(pages, path, aiohttp.FormData(fields))


async def post_form(pages: aiohttp.ClientSession, path: str, form: aiohttp.FormData) -> None:
    """As :func:`send_form`, of a form that may bring a file."""
    async with pages.post(path, data=form, allow_redirects=False) as answer:
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's own border
            raise BoxSetupError(f"{path} answers {answer.status}; look at the box's log")
