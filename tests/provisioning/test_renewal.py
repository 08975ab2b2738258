import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from provisioning.box_keys import new_box_keys
from provisioning.claim import claim
from provisioning.enrolment import EnrolmentDesk
from provisioning.enrolment_wire import SELF_PATH
from provisioning.errors import Refusal, RefusedError, SetupError, UnreachableError
from provisioning.hub_call import HubAddress, call_hub
from provisioning.identity import (
    Identity,
    create_hub_identity,
    load_identity,
    read_key_and_chain,
    renewal_due,
)
from provisioning.invitations import SqliteInvitations
from provisioning.renewal import is_renewal_due, renew
from provisioning.tls import box_client_context, hub_box_port_context
from provisioning.trust import der
from tests.provisioning.district import (
    DAY_MS,
    HOST,
    Clock,
    District,
    listening_socket,
    make_district,
    running_district,
    serving,
)


@pytest.fixture
async def district(tmp_path: Path) -> AsyncIterator[District]:
    async with running_district(tmp_path / "district") as running:
        yield running


async def enrolled(district: District, folder: Path) -> Identity:
    code = district.desk.invite(school=7, school_name="a")
    claimed = await claim(code, folder, lan_names=["10.0.0.5"], now_ms=district.clock)
    return claimed.identity


async def ask_name(district: District, identity: Identity) -> str:
    context = box_client_context(identity, district.clock)
    answer = await call_hub(HubAddress(host=HOST, port=district.port), SELF_PATH, context)
    return answer.decode()


def test_a_certificate_is_due_at_a_third_of_its_life() -> None:
    assert not renewal_due(0, 30 * DAY_MS, 10 * DAY_MS - 1)
    assert renewal_due(0, 30 * DAY_MS, 10 * DAY_MS)


async def test_a_box_renews_with_new_tls_keys_and_todays_names(
    district: District, tmp_path: Path
) -> None:
    old = await enrolled(district, tmp_path / "box")
    old_keys = [read_key_and_chain(path)[0] for path in (old.tls_pem, old.page_pem)]
    assert not is_renewal_due(old, district.clock())
    district.clock.ms += 11 * DAY_MS
    assert is_renewal_due(old, district.clock())
    new = await renew(old, lan_names=["10.0.0.99"], now_ms=district.clock)
    assert not is_renewal_due(new, district.clock())
    assert (new.box, new.school, new.binding.keys) == (old.box, old.school, old.binding.keys)
    assert new.binding.serial != old.binding.serial
    new_keys = [read_key_and_chain(path)[0] for path in (new.tls_pem, new.page_pem)]
    numbers = {key.private_numbers().private_value for key in old_keys + new_keys}
    assert len(numbers) == 4
    assert "10.0.0.99" in str(read_key_and_chain(new.page_pem)[1].extensions)
    assert await ask_name(district, new) == old.box
    assert not (tmp_path / "box" / "box.next.pem").exists()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "box").iterdir()} == {0o600}


async def test_a_box_that_slept_through_the_summer_renews_by_its_old_key(
    district: District, tmp_path: Path
) -> None:
    """The hub's own certificate is renewed meanwhile; only the box's has run out."""
    box = await enrolled(district, tmp_path / "box")
    district.clock.ms += 100 * DAY_MS
    hub = create_hub_identity(
        tmp_path / "district" / "hub", district.authority, names=[HOST], now_ms=district.clock()
    )
    district.desk.hub_renewed(hub)
    listener = listening_socket()
    awake = at_port(box, listener)
    async with serving(district.app(), listener, hub_box_port_context(hub)):
        with pytest.raises(RefusedError) as refused:
            await call_hub(
                HubAddress(host=HOST, port=awake.hub_port),
                SELF_PATH,
                box_client_context(awake, district.clock),
            )
        assert refused.value.reason is Refusal.CERTIFICATE_EXPIRED
        district.denied.add(box.box)
        with pytest.raises(RefusedError, match="revoked"):
            await renew(awake, lan_names=[], now_ms=district.clock)
        district.denied.clear()
        renewed = await renew(awake, lan_names=[], now_ms=district.clock)
    assert renewed.binding.not_after_ms > district.clock()
    assert renewed.hub.serial == hub.binding.serial


def at_port(identity: Identity, listener: socket.socket) -> Identity:
    """Move the hub's port in the stored identity, as a test's hub that starts anew has to."""
    record = identity.folder / "identity.json"
    port = listener.getsockname()[1]
    record.write_bytes(
        record.read_bytes().replace(f":{identity.hub_port}}}".encode(), f":{port}}}".encode())
    )
    moved = load_identity(identity.folder)
    assert moved.hub_port == port
    return moved


def test_the_grace_ends_after_180_days(tmp_path: Path) -> None:
    district = make_district(tmp_path)
    with closing(district.connection):
        certificate = old_box(district)
        district.clock.ms += 29 * DAY_MS
        district.gate.admit(certificate)
        district.clock.ms += 180 * DAY_MS
        district.gate.admit_to_renew(certificate)
        for admit in (district.gate.admit, district.gate.admit_to_renew):
            district.clock.ms += DAY_MS
            with pytest.raises(RefusedError, match="has expired"):
                admit(certificate)


def old_box(district: District) -> bytes:
    keys = new_box_keys()
    return der(
        district.authority.issue_box(
            school=7,
            box="3fa94c1e",
            tls_key=keys.tls.public_key(),
            keys=keys.bound(),
            now_ms=district.clock(),
        )
    )


async def test_a_revoked_box_does_not_renew(district: District, tmp_path: Path) -> None:
    box = await enrolled(district, tmp_path / "box")
    district.denied.add(box.box)
    with pytest.raises(RefusedError) as refused:
        await renew(box, lan_names=[], now_ms=district.clock)
    assert refused.value.reason is Refusal.REVOKED


async def test_the_old_certificate_stays_until_the_new_one_has_shaken_hands(
    district: District, tmp_path: Path
) -> None:
    box = await enrolled(district, tmp_path / "box")
    broken = True

    @web.middleware
    async def failing(request: web.Request, handler: Handler) -> web.StreamResponse:
        if broken and request.path == SELF_PATH:
            return web.Response(status=503)
        return await handler(request)

    app = district.app()
    app.middlewares.append(failing)
    listener = listening_socket()
    moved = at_port(box, listener)
    files = {path.name: path.read_bytes() for path in box.folder.iterdir()}
    async with serving(app, listener, hub_box_port_context(district.hub)):
        with pytest.raises(UnreachableError, match="status 503"):
            await renew(moved, lan_names=[], now_ms=district.clock)
        assert {name: (box.folder / name).read_bytes() for name in files} == files
        broken = False
        renewed = await renew(moved, lan_names=[], now_ms=district.clock)
    assert renewed.binding.serial != box.binding.serial


def test_the_hub_renews_itself_and_keeps_its_signing_and_sealing_keys(tmp_path: Path) -> None:
    district = make_district(tmp_path)
    district.connection.close()
    folder, authority, start_ms = tmp_path / "hub", district.authority, district.clock()

    def reopened(after_days: int, *names: str) -> tuple[int, bytes]:
        hub = create_hub_identity(
            folder, authority, names=names, now_ms=start_ms + after_days * DAY_MS
        )
        assert hub.binding.keys == district.hub.binding.keys
        return hub.binding.serial, hub.tls_pem.read_bytes()

    first = reopened(0, HOST)
    assert first[0] == district.hub.binding.serial
    assert reopened(9, HOST) == first
    renewed = reopened(10, HOST)
    assert renewed[0] != first[0]
    assert reopened(10, HOST, "hub.example")[0] != renewed[0]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_join_codes_name_the_hub_as_its_certificate_does(tmp_path: Path) -> None:
    district = make_district(tmp_path)
    with closing(district.connection), pytest.raises(SetupError, match="use one of"):
        EnrolmentDesk(
            authority=district.authority,
            hub=district.hub,
            invitations=SqliteInvitations(district.connection),
            host="hub.example",
            port=8443,
            now_ms=Clock(),
        )
