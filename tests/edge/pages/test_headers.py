"""Every answer keeps itself to itself, and every page fits its budget."""

import gzip
import re

import pytest

from edge.pages.assets import STATIC
from tests.edge.pages.conftest import Client

PAGES = ["/", "/class-card?room=r301", "/class-card", "/classroom?room=r301", "/trust", "/nowhere"]
PAGE_BYTES_MAX = 120 * 1024


@pytest.mark.parametrize("path", [*PAGES, "/api/status", "/static/schoolnode.css", "/api/none"])
async def test_every_answer_has_the_security_headers(client: Client, path: str) -> None:
    headers = (await client.get(path)).headers
    policy = headers["Content-Security-Policy"]
    for rule in (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ):
        assert rule in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_has_inline_code_or_loads_from_outside(staff: Client, path: str) -> None:
    page = await (await staff.get(path)).text()
    assert not re.search(r"<script(?![^>]* src=)", page)
    assert not re.search(r"<[^>]*\s(on[a-z]+|style)=", page)
    assert "<style" not in page
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith(("/", "#", "https://127.0.0.1:8443/trust"))


def test_scripts_and_styles_load_nothing_from_outside() -> None:
    for path in STATIC.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://", text), path.name


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_with_all_it_loads_stays_under_120_kib(staff: Client, path: str) -> None:
    page = await (await staff.get(path)).text()
    total = len(gzip.compress(page.encode()))
    for address in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page)):
        answer = await staff.get(address, headers={"Accept-Encoding": "gzip"})
        total += int(answer.headers["Content-Length"])
    assert total <= PAGE_BYTES_MAX


async def test_pages_are_sent_compressed_and_assets_are_kept_by_content(client: Client) -> None:
    page = await client.get("/", headers={"Accept-Encoding": "gzip"})
    assert page.headers["Content-Encoding"] == "gzip"
    address = re.search(r'href="(/static/schoolnode\.css\?v=[0-9a-f]+)"', await page.text())
    assert address is not None
    asset = await client.get(address[1])
    assert "immutable" in asset.headers["Cache-Control"]
    assert (await client.get("/static/..%2fapp.py")).status == 404
    assert (await client.get("/static/nothing.js")).status == 404


async def test_an_unknown_page_says_where_to_begin(client: Client) -> None:
    answer = await client.get("/nowhere")
    assert answer.status == 404
    assert "This box has no such page" in await answer.text()
