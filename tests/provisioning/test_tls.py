"""Who gets through the hub's box port, tried over real connections and at the gate itself."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from provisioning.authority import Authority
from provisioning.box_keys import BoxKeys, new_box_keys
from provisioning.certificates import box_uri
from provisioning.claim import claim
from provisioning.enrolment_wire import SELF_PATH
from provisioning.errors import IdentityDamagedError, Refusal, RefusedError, UnreachableError
from provisioning.hub_call import HubAddress, call_hub
from provisioning.identity import Identity, key_and_chain, read_key_and_chain
from provisioning.server_names import hub_names
from provisioning.tls import (
    box_client_context,
    hub_client_context,
    pages_context,
    peer_certificate,
    unverified_context,
)
from provisioning.trust import der
from tests.provisioning.district import DAY_MS, HOST, District, make_district, running_district


@pytest.fixture
async def district(tmp_path: Path) -> AsyncIterator[District]:
    async with running_district(tmp_path / "district") as running:
        yield running


@pytest.fixture
async def box(district: District, tmp_path: Path) -> Identity:
    code = district.desk.invite(school=7, school_name="a")
    claimed = await claim(code, tmp_path / "box", lan_names=[HOST], now_ms=district.clock)
    return claimed.identity


async def ask_name(district: District, context: ssl.SSLContext) -> str:
    answer = await call_hub(HubAddress(host=HOST, port=district.port), SELF_PATH, context)
    return answer.decode()


async def refusal(district: District, context: ssl.SSLContext) -> Refusal:
    with pytest.raises(RefusedError) as refused:
        await ask_name(district, context)
    return refused.value.reason


def showing(
    district: District,
    folder: Path,
    keys: BoxKeys,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
) -> ssl.SSLContext:
    """Return a client context that believes in the true hub and shows this certificate."""
    path = folder / "shown.pem"
    path.write_bytes(key_and_chain(keys.tls, certificate, issuer))
    context = hub_client_context(district.authority.trust, district.clock)
    context.load_cert_chain(path)
    return context


def certified(authority: Authority, keys: BoxKeys, now_ms: int) -> x509.Certificate:
    return authority.issue_box(
        school=7, box="3fa94c1e", tls_key=keys.tls.public_key(), keys=keys.bound(), now_ms=now_ms
    )


def gate_refusal(district: District, certificate: bytes | None) -> Refusal:
    with pytest.raises(RefusedError) as refused:
        district.gate.admit(certificate)
    return refused.value.reason


async def test_an_enrolled_box_is_known_by_its_certificate(
    district: District, box: Identity
) -> None:
    assert await ask_name(district, box_client_context(box, district.clock)) == box.box


async def test_without_a_certificate_there_is_enrolment_and_nothing_else(
    district: District,
) -> None:
    context = hub_client_context(district.authority.trust, district.clock)
    assert await refusal(district, context) is Refusal.NO_CERTIFICATE


async def test_a_rogue_box_of_another_district_is_turned_away(
    district: District, tmp_path: Path
) -> None:
    twin = make_district(tmp_path / "twin")
    keys = new_box_keys()
    certificate = certified(twin.authority, keys, district.clock())
    twin.connection.close()
    shown = showing(district, tmp_path, keys, certificate, twin.authority.trust.boxes)
    with pytest.raises(UnreachableError):
        await ask_name(district, shown)
    assert gate_refusal(district, der(certificate)) is Refusal.NOT_A_BOX


async def test_a_server_certificate_is_no_box(district: District, tmp_path: Path) -> None:
    keys, authority = new_box_keys(), district.authority
    page = authority.issue_page(
        school=7,
        names=hub_names([HOST]),
        tls_key=keys.tls.public_key(),
        now_ms=district.clock(),
    )
    forged_name = authority.issue_page(
        school=7,
        names=[x509.UniformResourceIdentifier(box_uri("jiangxia", 7, "3fa94c1e"))],
        tls_key=keys.tls.public_key(),
        now_ms=district.clock(),
    )
    for certificate in (page, forged_name):
        shown = showing(district, tmp_path, keys, certificate, authority.trust.servers)
        with pytest.raises(UnreachableError):
            await ask_name(district, shown)
        assert gate_refusal(district, der(certificate)) is Refusal.NOT_A_BOX


async def test_an_expired_box_is_turned_away_in_words(district: District, tmp_path: Path) -> None:
    keys = new_box_keys()
    old = certified(district.authority, keys, district.clock() - 31 * DAY_MS)
    shown = showing(district, tmp_path, keys, old, district.authority.trust.boxes)
    assert await refusal(district, shown) is Refusal.CERTIFICATE_EXPIRED
    young = certified(district.authority, keys, district.clock() - 29 * DAY_MS)
    shown = showing(district, tmp_path, keys, young, district.authority.trust.boxes)
    assert await ask_name(district, shown) == "3fa94c1e"


async def test_a_box_that_expires_on_an_open_connection_is_turned_away(
    district: District, box: Identity
) -> None:
    assert district.gate.admit(der(read_key_and_chain(box.tls_pem)[1])) == box.binding
    district.clock.ms += 30 * DAY_MS
    with pytest.raises(RefusedError, match="has expired"):
        district.gate.check(box.binding)


async def test_a_revoked_box_is_turned_away_at_its_next_request_on_an_open_connection(
    district: District, box: Identity
) -> None:
    reader, writer = await asyncio.open_connection(
        HOST, district.port, ssl=box_client_context(box, district.clock), server_hostname=HOST
    )

    async def ask() -> bytes:
        writer.write(f"GET {SELF_PATH} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return head

    assert b" 200 " in await ask()
    district.denied.add(box.box)
    assert b" 403 " in await ask()
    with pytest.raises(RefusedError, match="revoked"):
        district.gate.check(box.binding)
    writer.close()


def test_certificates_that_are_none_are_no_box(tmp_path: Path) -> None:
    district = make_district(tmp_path)
    district.connection.close()
    assert gate_refusal(district, None) is Refusal.NO_CERTIFICATE
    for rubbish in (b"", b"\x30\x00", b"x" * 5000, der(district.authority.trust.boxes)):
        assert gate_refusal(district, rubbish) is Refusal.NOT_A_BOX


def test_no_socket_no_certificate() -> None:
    assert peer_certificate(None) is None
    assert peer_certificate(asyncio.Transport()) is None


async def test_the_port_speaks_nothing_older_than_tls_1_3(district: District) -> None:
    def visit(newest: ssl.TLSVersion) -> str | None:
        context = unverified_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = newest
        with (
            socket.create_connection((HOST, district.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as tls,
        ):
            return tls.version()

    assert await asyncio.to_thread(visit, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.to_thread(visit, ssl.TLSVersion.TLSv1_2)


async def test_no_session_can_be_resumed_past_a_revocation(
    district: District, box: Identity
) -> None:
    """A blocking socket shows what asyncio hides: whether the server gave out a ticket."""
    context = box_client_context(box, district.clock)

    def visit() -> tuple[str | None, bool]:
        with (
            socket.create_connection((HOST, district.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as tls,
        ):
            tls.sendall(
                f"GET {SELF_PATH} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
            )
            while tls.recv(4096):
                pass
            return tls.version(), tls.session is not None and tls.session.has_ticket

    assert await asyncio.to_thread(visit) == ("TLSv1.3", False)


async def test_a_blocking_socket_makes_the_same_checks_of_the_hub(
    district: District, box: Identity
) -> None:
    expired = hub_client_context(district.authority.trust, lambda: district.clock() + 31 * DAY_MS)

    def visit() -> None:
        with (
            socket.create_connection((HOST, district.port), timeout=10) as plain,
            expired.wrap_socket(plain, server_hostname=HOST),
        ):
            pass

    with pytest.raises(ssl.SSLCertVerificationError, match="expired on"):
        await asyncio.to_thread(visit)
    assert box.box


def test_a_file_without_key_and_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityDamagedError, match=r"missing\.pem"):
        pages_context(tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(IdentityDamagedError, match=r"empty\.pem"):
        pages_context(tmp_path / "empty.pem")


async def test_a_box_never_shows_a_key_that_is_not_its_certificates(
    box: Identity, district: District, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed.pem"
    other = key_and_chain(
        new_box_keys().tls, district.authority.trust.boxes, district.authority.trust.root
    )
    own = box.tls_pem.read_bytes()
    mixed.write_bytes(
        other[: other.index(b"-----BEGIN CERT")] + own[own.index(b"-----BEGIN CERT") :]
    )
    with pytest.raises(IdentityDamagedError):
        box_client_context(replace(box, tls_pem=mixed), district.clock)
