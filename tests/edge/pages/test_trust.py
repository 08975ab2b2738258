"""How a device comes to trust the box, over HTTPS and over the plain page."""

import hashlib
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.daemon import TRUST_LIMITS
from edge.pages.trust import build_trust_app
from provisioning.caller_log import Sparing
from provisioning.door import Crowd
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SimulatedBox, as_view


@pytest.fixture
async def plain(box: SimulatedBox) -> AsyncIterator[Client]:
    async with TestClient(
        TestServer(build_trust_app(as_view(box))), headers={"Accept-Language": "en"}
    ) as client:
        yield client


async def test_the_download_is_the_districts_root_and_the_fingerprint_is_its_own(
    plain: Client, box: SimulatedBox
) -> None:
    der = await (await plain.get("/trust/root.crt")).read()
    expected = x509.load_pem_x509_certificate(box.root_certificate)
    assert x509.load_der_x509_certificate(der) == expected
    assert await (await plain.get("/trust/root.pem")).read() == box.root_certificate
    page = await (await plain.get("/trust")).text()
    shown = re.search(r'<p class="fingerprint">([^<]+)</p>', page)
    assert shown is not None
    digest = hashlib.sha256(expected.public_bytes(Encoding.DER)).hexdigest().upper()
    assert shown[1].replace(" ", "") == digest


@pytest.mark.parametrize("platform", ["Android", "Windows", "Linux", "iPad"])
async def test_each_platform_has_its_steps(client: Client, platform: str) -> None:
    page = await (await client.get("/trust")).text()
    assert platform in page


async def test_everything_else_is_sent_to_https(plain: Client) -> None:
    for path in ("/", "/class-card?room=r301", "/api/status"):
        answer = await plain.get(path, allow_redirects=False)
        assert answer.status == 307
        assert answer.headers["Location"] == f"https://127.0.0.1:8443{path}"


async def test_nothing_can_be_changed_over_plain_http(plain: Client, box: SimulatedBox) -> None:
    answer = await plain.post("/setup/session", data={"code": "1"}, allow_redirects=False)
    assert answer.status == 405
    assert box.told == []


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "x@evil", "'; script-src *"])
async def test_a_host_header_that_is_no_host_is_refused(plain: Client, host: str) -> None:
    answer = await plain.get("/trust", headers={"Host": host}, allow_redirects=False)
    assert answer.status == 400
    assert "Location" not in answer.headers


async def test_the_check_may_be_asked_from_the_plain_page_and_from_nowhere_else(
    client: Client, plain: Client
) -> None:
    page = await plain.get("/trust")
    assert "connect-src 'self' https://127.0.0.1:8443" in page.headers["Content-Security-Policy"]
    check = await client.get("/trust/check")
    assert check.headers["Access-Control-Allow-Origin"] == "*"
    other = await client.get("/api/status")
    assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.parametrize("routers", [1, 45])
def test_a_class_that_opens_the_box_at_once_gets_in(routers: int) -> None:
    """A browser opens a pair of connections, and keeps them."""
    crowd = Crowd(TRUST_LIMITS, Sparing(lambda: 0.0))
    for child in range(45):
        address = f"10.0.0.{child % routers}"
        assert crowd.enter(address)
        assert crowd.enter(address)
