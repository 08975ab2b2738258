"""Box against hub over real TLS on loopback, with the attackers in between."""

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

from provisioning.box_keys import new_box_keys
from provisioning.claim import Claimed, claim
from provisioning.durable_file import write_private
from provisioning.enrolment_api import BODY_DEADLINE_S
from provisioning.enrolment_wire import AUTHORITY_PATH, REQUEST_PATH
from provisioning.errors import (
    IdentityDamagedError,
    IdentityMissingError,
    ImpostorError,
    MistypedCodeError,
    ProtocolError,
    ProvisioningError,
    Refusal,
    RefusedError,
    SetupError,
    UnreachableError,
)
from provisioning.hub_call import HubAddress, call_hub
from provisioning.identity import create_hub_identity, key_and_chain, load_identity
from provisioning.join_code import JoinCode
from provisioning.server_names import hub_names
from provisioning.tls import (
    box_client_context,
    hub_box_port_context,
    pages_context,
    unverified_context,
)
from tests.provisioning.district import (
    DAY_MS,
    HOST,
    Clock,
    District,
    listening_socket,
    make_district,
    recording_server,
    running_district,
    serving,
)


@pytest.fixture
async def district(tmp_path: Path) -> AsyncIterator[District]:
    async with running_district(tmp_path / "district") as running:
        yield running


def invite(district: District, school: int = 7) -> JoinCode:
    return district.desk.invite(school=school, school_name="江夏一小")


async def join(district: District, code: JoinCode | str, folder: Path) -> Claimed:
    return await claim(code, folder, lan_names=["127.0.0.1", "localhost"], now_ms=district.clock)


def told_to(code: JoinCode, port: int) -> JoinCode:
    """Return the code as it is when its address leads to somebody else."""
    return JoinCode(
        host=code.host, port=port, root_pin=code.root_pin, box=code.box, secret=code.secret
    )


def forms_of(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret)]


async def test_a_typed_code_makes_an_identity_that_outlives_the_process(
    district: District, tmp_path: Path
) -> None:
    code = invite(district)
    claimed = await join(district, code.typed().lower(), tmp_path / "box")
    identity = load_identity(tmp_path / "box")
    assert identity.binding == claimed.identity.binding
    assert (identity.district, identity.school, identity.box) == ("jiangxia", 7, code.box)
    assert identity.school_name == "江夏一小"
    assert (identity.hub_host, identity.hub_port) == (HOST, district.port)
    assert identity.hub.keys == district.hub.binding.keys
    assert identity.signing.public_key().public_bytes_raw() == identity.binding.keys.signing
    assert identity.sealing.public_key().public_bytes_raw() == identity.binding.keys.sealing
    assert identity.root_pem.read_bytes().count(b"BEGIN CERTIFICATE") == 1
    name = await call_hub(
        HubAddress(host=HOST, port=district.port),
        "/enrol/self",
        box_client_context(identity, district.clock),
    )
    assert name == code.box.encode()


async def test_every_file_of_an_identity_is_private_and_no_half_made_one_is_left(
    district: District, tmp_path: Path
) -> None:
    await join(district, invite(district), tmp_path / "box")
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "box").iterdir()}
    assert set(files.values()) == {0o600}
    assert (tmp_path / "box").stat().st_mode & 0o777 == 0o700
    assert sorted(files) == [
        "authority.pem",
        "box.pem",
        "hub.pem",
        "identity.json",
        "page.pem",
        "root.pem",
        "sealing.key",
        "signing.key",
    ]


async def test_the_lan_page_is_trusted_by_who_has_the_root(
    district: District, tmp_path: Path
) -> None:
    identity = (await join(district, invite(district), tmp_path / "box")).identity

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="page")

    app = web.Application()
    app.router.add_get("/", page)
    listener = listening_socket()
    port = listener.getsockname()[1]
    panel = ssl.create_default_context(cafile=str(identity.root_pem))
    async with serving(app, listener, pages_context(identity.page_pem)):
        assert await call_hub(HubAddress(host=HOST, port=port), "/", panel) == b"page"
        assert await call_hub(HubAddress(host="localhost", port=port), "/", panel) == b"page"


async def test_somebody_elses_authority_learns_no_secret(
    district: District, tmp_path: Path
) -> None:
    """The impostor has a district of the same name, its own root, and the right address."""
    code = invite(district)
    impostor = make_district(tmp_path / "impostor")
    with closing(impostor.connection):
        context = hub_box_port_context(impostor.hub)
        async with recording_server(context, impostor.desk.authority_pem()) as recorder:
            with pytest.raises(ImpostorError, match="not the one that made this code"):
                await join(district, told_to(code, recorder.port), tmp_path / "box")
    assert AUTHORITY_PATH.encode() in recorder.heard
    assert REQUEST_PATH.encode() not in recorder.heard
    assert not any(form in recorder.heard for form in forms_of(code.secret))
    await join(district, code, tmp_path / "box")


async def test_a_person_in_the_middle_who_relays_the_true_authority_learns_no_secret(
    district: District, tmp_path: Path
) -> None:
    code = invite(district)
    impostor = make_district(tmp_path / "impostor")
    with closing(impostor.connection):
        context = hub_box_port_context(impostor.hub)
        async with recording_server(context, district.desk.authority_pem()) as recorder:
            with pytest.raises(ImpostorError, match="nothing was sent"):
                await join(district, told_to(code, recorder.port), tmp_path / "box")
    assert AUTHORITY_PATH.encode() in recorder.heard
    assert REQUEST_PATH.encode() not in recorder.heard
    assert not any(form in recorder.heard for form in forms_of(code.secret))


async def test_a_school_cannot_pass_its_page_certificate_off_as_the_hub(
    district: District, tmp_path: Path
) -> None:
    """Same root, same issuer, a name that fits the address: only the hub's own name is missing."""
    rogue = (await join(district, invite(district), tmp_path / "rogue")).identity
    code = invite(district, school=8)
    context = pages_context(rogue.page_pem)
    async with recording_server(context, district.desk.authority_pem()) as recorder:
        with pytest.raises(ImpostorError, match="is not its hub"):
            await join(district, told_to(code, recorder.port), tmp_path / "box")
        with pytest.raises(ImpostorError, match="is not its hub"):
            await call_hub(
                HubAddress(host=HOST, port=recorder.port),
                "/enrol/self",
                box_client_context(rogue, district.clock),
            )
    assert not any(form in recorder.heard for form in forms_of(code.secret))
    assert recorder.heard.count(b"HTTP/1.1") == 1


async def test_the_hubs_certificate_is_good_for_the_hubs_names_only(
    district: District, tmp_path: Path
) -> None:
    elsewhere = create_hub_identity(
        tmp_path / "elsewhere",
        district.authority,
        names=["hub.example"],
        now_ms=district.clock(),
    )
    code = invite(district)
    context = hub_box_port_context(elsewhere)
    async with recording_server(context, district.desk.authority_pem()) as recorder:
        with pytest.raises(ImpostorError):
            await join(district, told_to(code, recorder.port), tmp_path / "box")
    assert REQUEST_PATH.encode() not in recorder.heard


async def test_a_race_of_sixty_with_one_code_makes_exactly_one_box(
    district: District, tmp_path: Path
) -> None:
    code = invite(district)
    results = await asyncio.gather(
        *(join(district, code, tmp_path / f"box{n}") for n in range(60)), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, Claimed)]
    lost = [result for result in results if isinstance(result, RefusedError)]
    assert len(won) == 1
    assert [refused.reason for refused in lost] == [Refusal.REUSED] * 59
    rows = district.connection.execute("SELECT count(*), count(certificate) FROM invitation")
    assert rows.fetchone() == (1, 1)


async def test_a_lost_answer_burns_nothing(district: District, tmp_path: Path) -> None:
    """The hub commits, and the line is cut before the answer; twice."""
    cuts = 2

    @web.middleware
    async def cutting(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal cuts
        response = await handler(request)
        if request.path == REQUEST_PATH and cuts:
            cuts -= 1
            assert request.transport is not None
            request.transport.abort()
        return response

    app = district.app()
    app.middlewares.append(cutting)
    listener = listening_socket()
    code = told_to(invite(district), listener.getsockname()[1])
    async with serving(app, listener, hub_box_port_context(district.hub)):
        for _ in range(2):
            with pytest.raises(UnreachableError, match="a join code stays good"):
                await join(district, code, tmp_path / "box")
            with pytest.raises(IdentityMissingError):
                load_identity(tmp_path / "box")
        identity = (await join(district, code, tmp_path / "box")).identity
    stored = district.connection.execute("SELECT certificate FROM invitation").fetchone()[0]
    assert district.gate.admit(stored) == identity.binding


async def test_a_box_killed_while_it_stores_its_identity_claims_again(
    district: District, tmp_path: Path
) -> None:
    code = invite(district)
    pending = tmp_path / "box" / f"pending-{code.box}.json"
    with pytest.raises(UnreachableError):
        await join(district, told_to(code, 1), tmp_path / "box")
    keys = pending.read_bytes()
    first = (await join(district, code, tmp_path / "box")).identity
    # As a kill before the last file leaves it: keys of the claim, no identity.json.
    (tmp_path / "box" / "identity.json").unlink()
    (tmp_path / "box" / ".identity.json.new").write_bytes(b'{"form')
    write_private(pending, keys)
    again = (await join(district, code, tmp_path / "box")).identity
    assert again.binding == first.binding
    assert not pending.exists()


async def test_claiming_twice_with_one_code_is_claiming_once(
    district: District, tmp_path: Path
) -> None:
    code = invite(district)
    first = await join(district, code, tmp_path / "box")
    again = await join(district, code, tmp_path / "box")
    assert again.identity.binding == first.identity.binding
    assert again.clock_offset_ms is None
    with pytest.raises(SetupError, match="already box"):
        await join(district, invite(district), tmp_path / "box")


async def test_a_box_in_1970_enrols_and_learns_the_time(district: District, tmp_path: Path) -> None:
    claimed = await claim(invite(district), tmp_path / "box", lan_names=[], now_ms=lambda: 12_000)
    assert claimed.clock_offset_ms == district.clock() - 12_000
    name = await call_hub(
        HubAddress(host=HOST, port=district.port),
        "/enrol/self",
        box_client_context(claimed.identity, lambda: 13_000),
    )
    assert name == claimed.identity.box.encode()


async def test_an_expired_hub_is_refused_by_a_box_with_the_right_time_and_gets_no_secret(
    district: District, tmp_path: Path
) -> None:
    """Its stolen key may live on; forgiving a late start must not forgive the end."""
    code = invite(district)
    with pytest.raises(ImpostorError, match="expired on"):
        await claim(
            code,
            tmp_path / "box",
            lan_names=[],
            now_ms=lambda: district.clock() + 31 * DAY_MS,
        )
    row = district.connection.execute("SELECT key_sha256 FROM invitation").fetchone()
    assert row == (None,)


async def test_an_old_hub_certificate_is_not_believed_because_the_clock_was_set_back(
    district: District, tmp_path: Path
) -> None:
    """A box is never younger than its own certificate, whatever its clock says."""
    identity = (await join(district, invite(district), tmp_path / "box")).identity
    keys = new_box_keys()
    old = district.authority.issue_hub(
        names=hub_names([HOST]),
        tls_key=keys.tls.public_key(),
        keys=keys.bound(),
        now_ms=district.clock() - 40 * DAY_MS,
    )
    stolen = tmp_path / "stolen.pem"
    stolen.write_bytes(key_and_chain(keys.tls, old, district.authority.trust.servers))
    async with recording_server(pages_context(stolen), b"") as recorder:
        with pytest.raises(ImpostorError, match="expired on"):
            await call_hub(
                HubAddress(host=HOST, port=recorder.port),
                "/enrol/self",
                box_client_context(identity, lambda: 0),
            )


async def test_each_refusal_reaches_the_person_in_words(district: District, tmp_path: Path) -> None:
    code = invite(district)
    wrong = JoinCode(
        host=HOST,
        port=code.port,
        root_pin=code.root_pin,
        box=code.box,
        secret=bytes(15),
    )
    with pytest.raises(RefusedError, match="does not know this join code"):
        await join(district, wrong, tmp_path / "wrong")
    with pytest.raises(RefusedError, match="asks for more"):
        await claim(code, tmp_path / "much", lan_names=["bank.example"], now_ms=district.clock)
    with pytest.raises(MistypedCodeError, match="check does not fit"):
        await join(district, code.text()[:-1] + ("0" if code.text()[-1] != "0" else "1"), tmp_path)
    await join(district, code, tmp_path / "box")
    with pytest.raises(RefusedError, match="already used by another box"):
        await join(district, code, tmp_path / "other")
    late = invite(district)
    district.clock.ms += 8 * DAY_MS
    with pytest.raises(RefusedError, match="has expired"):
        await join(district, late, tmp_path / "late")


async def test_secrets_and_keys_stay_out_of_logs_errors_and_addresses(
    district: District, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    code = invite(district)
    said: list[str] = []
    await join(district, code, tmp_path / "box")
    for folder in ("other", "third"):
        with pytest.raises(RefusedError) as refused:
            await join(district, code, tmp_path / folder)
        said += [str(refused.value), repr(refused.value)]
    with pytest.raises(UnreachableError) as unreachable:
        await join(district, told_to(code, 1), tmp_path / "fourth")
    said += [str(unreachable.value), repr(unreachable.value.__cause__)]
    text = caplog.text + "\n".join(said) + "\n".join(repr(r.__dict__) for r in caplog.records)
    assert REQUEST_PATH in text  # the access log is there, and names the path
    identity = load_identity(tmp_path / "box")
    secrets = forms_of(code.secret) + forms_of(identity.signing.private_bytes_raw())
    for form in secrets[1:3] + secrets[4:]:
        assert form.decode() not in text
    assert code.text()[-28:] not in text
    assert repr(code.secret) not in text
    assert "PRIVATE" not in repr(identity)


async def test_a_hub_that_is_not_there_is_unreachable_in_bounded_time(tmp_path: Path) -> None:
    silent = listening_socket()
    silent.listen()
    port = silent.getsockname()[1]
    code = JoinCode(host=HOST, port=port, root_pin=bytes(32), box="00000001", secret=bytes(15))
    with closing(silent), pytest.raises(UnreachableError):
        await claim(code, tmp_path / "box", lan_names=[], now_ms=Clock(), deadline_s=0.3)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        await claim(code, tmp_path / "box", lan_names=[], now_ms=Clock())


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (web.Response(body=b"{}"), ProtocolError),
        (web.Response(body=b"\xff", status=403), ProtocolError),
        (web.Response(body=b'{"reason":"because"}', status=403), ProtocolError),
        (web.Response(status=500), UnreachableError),
    ],
)
async def test_a_hub_that_talks_nonsense_gets_one_clear_error(
    district: District, tmp_path: Path, reply: web.Response, error: type[ProvisioningError]
) -> None:
    async def authority(_request: web.Request) -> web.Response:
        return web.Response(body=district.desk.authority_pem())

    async def nonsense(_request: web.Request) -> web.Response:
        return reply

    app = web.Application()
    app.router.add_get(AUTHORITY_PATH, authority)
    app.router.add_post(REQUEST_PATH, nonsense)
    listener = listening_socket()
    code = told_to(invite(district), listener.getsockname()[1])
    async with serving(app, listener, hub_box_port_context(district.hub)):
        with pytest.raises(error):
            await join(district, code, tmp_path / "box")


async def test_an_endless_answer_is_cut_off(district: District, tmp_path: Path) -> None:
    async def authority(request: web.Request) -> web.StreamResponse:
        endless = web.StreamResponse()
        await endless.prepare(request)
        while True:
            await endless.write(bytes(4096))

    app = web.Application()
    app.router.add_get(AUTHORITY_PATH, authority)
    listener = listening_socket()
    code = told_to(invite(district), listener.getsockname()[1])
    async with serving(app, listener, hub_box_port_context(district.hub)):
        with pytest.raises(ProtocolError, match="answer is over 16384 bytes"):
            await join(district, code, tmp_path / "box")


async def test_a_redirect_carries_the_secret_nowhere(district: District, tmp_path: Path) -> None:
    context = hub_box_port_context(district.hub)
    async with recording_server(context, b"") as recorder:

        async def authority(_request: web.Request) -> web.Response:
            return web.Response(body=district.desk.authority_pem())

        async def away(_request: web.Request) -> web.Response:
            there = f"https://{HOST}:{recorder.port}/"
            return web.Response(status=307, headers={"Location": there})

        app = web.Application()
        app.router.add_get(AUTHORITY_PATH, authority)
        app.router.add_post(REQUEST_PATH, away)
        listener = listening_socket()
        code = told_to(invite(district), listener.getsockname()[1])
        async with serving(app, listener, context):
            with pytest.raises(UnreachableError, match="status 307"):
                await join(district, code, tmp_path / "box")
    assert recorder.connections == 0


async def test_the_desk_reads_no_endless_and_no_unmeasured_body(district: District) -> None:
    async def answer_to(head: str) -> bytes:
        reader, writer = await asyncio.open_connection(
            HOST, district.port, ssl=unverified_context(), server_hostname=HOST
        )
        with closing(writer):
            writer.write(f"POST {REQUEST_PATH} HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n".encode())
            await writer.drain()
            # Sooner than the deadline for a slow body: the length alone decides.
            async with asyncio.timeout(BODY_DEADLINE_S / 2):
                return await reader.readline()

    assert b" 400 " in await answer_to("Content-Length: 99999999")
    assert b" 400 " in await answer_to("Transfer-Encoding: chunked")


async def test_an_identity_that_does_not_fit_together_is_named(
    district: District, tmp_path: Path
) -> None:
    folder = tmp_path / "box"
    with pytest.raises(IdentityMissingError, match="run schoolnode claim CODE"):
        load_identity(folder)
    await join(district, invite(district), folder)
    other = tmp_path / "other"
    await join(district, invite(district), other)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("signing.key", "sealing.key", "box.pem"):
        (folder / name).write_bytes((other / name).read_bytes())
        with pytest.raises(IdentityDamagedError, match="binds other keys"):
            load_identity(folder)
        (folder / name).write_bytes(whole[name])
    for name, content in whole.items():
        if name not in {"root.pem", "identity.json"}:
            (folder / name).write_bytes(content[: len(content) // 2])
            with pytest.raises(IdentityDamagedError):
                load_identity(folder)
            (folder / name).unlink()
            with pytest.raises(IdentityDamagedError, match=name):
                load_identity(folder)
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)
    (folder / "signing.key").chmod(0o640)
    with pytest.raises(IdentityDamagedError, match="chmod 600"):
        load_identity(folder)
    (folder / "identity.json").write_bytes(b'{"format":2}')
    with pytest.raises(IdentityDamagedError):
        load_identity(folder)


def test_uvloop_makes_the_same_checks(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_district(tmp_path / "district") as district:
            rogue = (await join(district, invite(district), tmp_path / "rogue")).identity
            code = invite(district)
            context = pages_context(rogue.page_pem)
            async with recording_server(context, district.desk.authority_pem()) as recorder:
                with pytest.raises(ImpostorError, match="is not its hub"):
                    await join(district, told_to(code, recorder.port), tmp_path / "box")
            assert REQUEST_PATH.encode() not in recorder.heard
            await join(district, code, tmp_path / "box")

    uvloop.run(story())
