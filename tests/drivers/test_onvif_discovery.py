import asyncio
import logging
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from drivers.codecs import ws_discovery
from drivers.codecs.digest import Credentials
from drivers.codecs.ws_discovery import Probe, Target
from drivers.discovery import onvif
from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.discovery.onvif import discover_cameras, listen_for_cameras
from drivers.discovery.onvif_scan import ask_camera
from drivers.errors import SetupError
from drivers.simulators import onvif_replies
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_replies import CameraStream
from drivers.transports.udp import multicast_socket, open_udp, sending_socket
from firmware_profiles.catalog import load_catalog

IP_RECVTTL = 12  # linux/in.h; Python's socket module does not name it
SITE = IPv4Interface("127.0.63.1/24")
LOCKED = Credentials(user="admin", password="讲台-geheim")


def now_ms() -> int:
    return 1_700_000_000_000


class Camera:
    """A simulated camera and its ledger."""

    def __init__(
        self, folder: Path, host: str, *, seed: int = 1, credentials: Credentials | None = None
    ) -> None:
        self.path = folder / f"{host}.jsonl"
        stream = CameraStream(uri=f"rtsp://{host}:8554/main", width=64, height=36, fps=5, kbps=64)
        self.device = SimulatedOnvifCamera(
            IPv4Interface(f"{host}/24"),
            CameraMedia(main=stream, sub=stream, snapshot=lambda: b"\xff\xd8\xff"),
            Ledger(self.path, now_ms),
            now_ms,
            random.Random(seed),
            credentials=credentials,
        )

    @asynccontextmanager
    async def plugged_in(self) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(self.device.run())
        await until(lambda: bool(self.lines("plugged_in")) or task.done())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def lines(self, kind: str) -> list[dict[str, object]]:
        return [line for line in read_ledger(self.path) if line["kind"] == kind]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 — a ledger file announces nothing
        await asyncio.sleep(0.01)


@asynccontextmanager
async def hostile_device(
    host: str, xaddrs: tuple[str, ...], scopes: tuple[str, ...] = ()
) -> AsyncIterator[None]:
    """Answer every probe from ``host`` with addresses and scopes of the attacker's choice."""

    async def answer() -> None:
        group = multicast_socket(ws_discovery.MULTICAST_GROUP, ws_discovery.PORT, IPv4Address(host))
        async with (
            open_udp(group) as heard,
            open_udp(sending_socket(IPv4Address(host))) as ours,
        ):
            while True:
                datagram = await heard.receive()
                message = ws_discovery.parse(datagram.data)
                if isinstance(message, Probe):
                    target = Target(
                        endpoint=f"urn:uuid:{host}",
                        types=(ws_discovery.CAMERA_TYPE,),
                        scopes=scopes,
                        xaddrs=xaddrs,
                    )
                    match = ws_discovery.build_probe_matches("urn:1", message.message_id, target)
                    ours.send(match, str(datagram.source), datagram.port)

    task = asyncio.get_running_loop().create_task(answer())
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def http_server(
    host: str, answer: Callable[[web.Request], web.Response]
) -> AsyncIterator[list[str]]:
    """Serve one answer to everything; yield the paths that were asked."""
    asked: list[str] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 8000).start()
    try:
        yield asked
    finally:
        await runner.cleanup()


async def discover(interface: IPv4Interface = SITE, gather_s: float = 1.0) -> list[Candidate]:
    return await discover_cameras(interface, now_ms, random.Random(5), gather_s=gather_s)


async def test_every_camera_of_the_network_is_found_and_none_of_the_next(tmp_path: Path) -> None:
    ours = [Camera(tmp_path, f"127.0.63.{31 + n}", seed=n) for n in range(5)]
    theirs = Camera(tmp_path, "127.0.64.31", seed=9)
    async with AsyncExitStack() as plugs:
        for camera in [*ours, theirs]:
            await plugs.enter_async_context(camera.plugged_in())
        found = await discover()
    assert [c.address for c in found] == [camera.device.address for camera in ours]
    assert {c.identity for c in found} == {
        f"onvif:serial:{camera.device.identity.serial}" for camera in ours
    }
    assert not theirs.lines("probe_answered") + theirs.lines("request")
    first = found[0]
    assert (first.kind, first.profile, first.needs) == (
        DeviceKind.CAMERA,
        "onvif-camera",
        Need.NOTHING,
    )
    assert first.name == "Classroom camera (SchoolNode Simulated camera)"
    assert [evidence.method for evidence in first.evidence] == [
        "ws-discovery",
        "endpoint",
        "onvif",
    ]


async def test_a_probe_is_repeated_twice_with_one_message_id_and_no_router_passes_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onvif, "PROBE_PAUSE_S", 0.05)
    camera = Camera(tmp_path, "127.0.63.31")
    with multicast_socket(ws_discovery.MULTICAST_GROUP, ws_discovery.PORT, SITE.ip) as listening:
        listening.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        async with camera.plugged_in():
            assert len(await discover(gather_s=onvif.GATHER_S)) == 1
            await until(lambda: len(camera.lines("probe_answered")) == onvif.PROBES)
        heard = list(waiting_datagrams(listening))
    ours = [(data, ttl) for data, ttl, host in heard if host == str(SITE.ip)]
    assert len(ours) == onvif.PROBES == 3
    assert {ttl for _, ttl in ours} == {1}
    # What is sent again is the same message: by its id whoever hears it twice knows it.
    (data,) = {data for data, _ in ours}
    probe = ws_discovery.parse(data)
    assert isinstance(probe, Probe)
    assert probe.message_id.startswith("urn:uuid:")
    assert probe.types == (ws_discovery.CAMERA_TYPE,)


def waiting_datagrams(listening: socket.socket) -> Iterator[tuple[bytes, int, str]]:
    """Yield each datagram that a socket has got, with its TTL and its sender."""
    while True:
        try:
            data, told, _, (host, _) = listening.recvmsg(65_535, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return
        (ttl,) = (value for level, kind, value in told if kind == socket.IP_TTL)
        yield data, int.from_bytes(ttl, sys.byteorder), host


FLOOD = (
    *(f"onvif://www.onvif.org/name/{number:060d}" for number in range(100)),
    f"onvif://www.onvif.org/hardware/{'x' * ws_discovery.WORD_CHARS_MAX}",
)


async def test_no_more_scopes_are_heard_than_a_camera_needs() -> None:
    chosen_by: list[Collection[str]] = []

    def choose(scopes: Collection[str]) -> None:
        chosen_by.append(scopes)

    address = "http://127.0.63.66:8000/onvif/device_service"
    envelope = onvif_replies.envelope(
        onvif_replies.date_and_time(now_ms())
        + "<tds:GetScopesResponse>"
        + "".join(
            f"<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>{scope}</tt:ScopeItem>"
            "</tds:Scopes>"
            for scope in reversed(FLOOD)
        )
        + "</tds:GetScopesResponse>"
    )
    async with (
        http_server("127.0.63.66", lambda _: web.Response(text=envelope)),
        hostile_device("127.0.63.66", (address,), FLOOD[::-1]),
        onvif.open_http(SITE) as http,
    ):
        (by_probe,) = await discover_cameras(
            SITE, now_ms, random.Random(5), by_scopes=choose, gather_s=1.0
        )
        by_scan = await ask_camera(http, SITE.network[0x42], 8000, now_ms, choose)
    assert by_scan is not None
    assert [list(scopes) for scopes in chosen_by] == [list(FLOOD[-2:-66:-1])] * 2
    assert max(len(candidate.name) for candidate in (by_probe, by_scan)) <= onvif.TEXT_CHARS_MAX


async def test_a_locked_camera_stays_in_the_list_and_no_password_is_tried(tmp_path: Path) -> None:
    camera = Camera(tmp_path, "127.0.63.31", credentials=LOCKED)
    async with camera.plugged_in():
        (candidate,) = await discover()
    assert candidate.needs is Need.PASSWORD
    assert candidate.identity == f"onvif:{camera.device.identity.endpoint}"
    asked = camera.lines("request")
    assert [line["operation"] for line in asked] == ["GetDeviceInformation"]
    assert not any(line["has_token"] or line["has_authorization"] for line in asked)


async def test_an_identity_stays_when_the_address_changes(tmp_path: Path) -> None:
    seen = []
    for host in ("127.0.63.31", "127.0.63.77"):
        async with Camera(tmp_path, host, seed=3).plugged_in():
            seen += await discover()
    assert seen[0].identity == seen[1].identity
    assert seen[0].address != seen[1].address


async def test_cameras_that_share_a_serial_number_are_told_apart(tmp_path: Path) -> None:
    first = Camera(tmp_path, "127.0.63.31", seed=3)
    second = Camera(tmp_path, "127.0.63.32", seed=4)
    object.__setattr__(second.device.identity, "serial", first.device.identity.serial)
    async with first.plugged_in(), second.plugged_in():
        found = await discover()
    assert [c.identity for c in found] == [
        f"onvif:{first.device.identity.endpoint}",
        f"onvif:{second.device.identity.endpoint}",
    ]


@pytest.mark.parametrize(
    "xaddr",
    [
        "http://127.0.63.99:8000/onvif/device_service",
        "http://127.0.63.66@127.0.63.99:8000/onvif/device_service",
        "http://127.0.63.99:8000\\@127.0.63.66/onvif/device_service",
        "http://localhost:8000/onvif/device_service",
        "http://2130722659:8000/",
        "file:///etc/passwd",
        "rtsp://127.0.63.66/",
        "http://127.0.63.66:99999/",
    ],
)
async def test_a_device_that_points_at_another_host_is_refused(
    xaddr: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        http_server("127.0.63.99", lambda _: web.Response(text="router")) as asked,
        hostile_device("127.0.63.66", (xaddr,)),
    ):
        assert await discover() == []
    assert asked == []
    assert "ws-discovery from 127.0.63.66" in caplog.text
    assert "refused" in caplog.text


async def test_an_answer_from_outside_the_network_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hostile_device("127.0.64.66", ("http://127.0.64.66:8000/onvif/device_service",)):
        assert await discover() == []
    assert "ws-discovery from 127.0.64.66: not in 127.0.63.0/24; refused" in caplog.text


async def test_a_redirect_to_another_host_is_not_followed() -> None:
    elsewhere = "http://127.0.63.99:8000/onvif/device_service"
    async with (
        http_server("127.0.63.99", lambda _: web.Response(text="router")) as asked,
        http_server(
            "127.0.63.66", lambda _: web.Response(status=307, headers={"Location": elsewhere})
        ),
        hostile_device("127.0.63.66", ("http://127.0.63.66:8000/onvif/device_service",)),
    ):
        (candidate,) = await discover()
    assert asked == []
    assert "redirects elsewhere" in candidate.evidence[-1].detail
    assert candidate.confidence < 0.9


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "document type"),
        (b"<x>" + b"y" * 70_000 + b"</x>", "more than"),
        (b"\x00\xff" * 100, "not well-formed"),
        (b"<x/>", "without GetDeviceInformationResponse"),
    ],
)
async def test_a_hostile_answer_over_http_costs_only_itself(
    tmp_path: Path, body: bytes, reason: str
) -> None:
    good = Camera(tmp_path, "127.0.63.31")
    async with (
        good.plugged_in(),
        http_server("127.0.63.66", lambda _: web.Response(body=body)),
        hostile_device("127.0.63.66", ("http://127.0.63.66:8000/onvif/device_service",)),
    ):
        ours, hostile = await discover()
    assert ours.confidence > 0.9
    assert reason in hostile.evidence[-1].detail
    assert "root:" not in repr(hostile)


async def test_one_host_cannot_fill_the_list() -> None:
    addresses = [f"http://127.0.63.66:{port}/" for port in range(1000, 1016)]
    async with AsyncExitStack() as devices:
        for address in addresses:
            await devices.enter_async_context(hostile_device("127.0.63.66", (address,)))
        assert len(await discover()) == 4


async def test_a_camera_that_is_plugged_in_is_reported_by_its_hello(tmp_path: Path) -> None:
    found: list[Candidate] = []
    listening = asyncio.get_running_loop().create_task(
        listen_for_cameras(SITE, now_ms, found.append)
    )
    await asyncio.sleep(0.05)
    ours = Camera(tmp_path, "127.0.63.31")
    theirs = Camera(tmp_path, "127.0.64.31", seed=2)
    async with theirs.plugged_in(), ours.plugged_in():
        await until(lambda: bool(found))
    listening.cancel()
    await asyncio.wait([listening])
    assert [c.identity for c in found] == [f"onvif:serial:{ours.device.identity.serial}"]
    assert "says hello" in found[0].evidence[0].detail


async def test_an_address_that_is_not_ours_is_a_set_up_error() -> None:
    with pytest.raises(SetupError, match="address of this box"):
        await discover(IPv4Interface("203.0.113.7/24"))


async def test_noise_on_the_multicast_group_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    camera = Camera(tmp_path, "127.0.63.31")
    async with camera.plugged_in():
        with sending_socket(IPv4Address("127.0.63.66")) as noise:
            for junk in (b"", b"\x00" * 500, b"<", ws_discovery.build_probe("urn:uuid:1")[:200]):
                noise.sendto(junk, (ws_discovery.MULTICAST_GROUP, ws_discovery.PORT))
        assert len(await discover()) == 1


def test_discovery_works_on_the_event_loop_of_the_box(tmp_path: Path) -> None:
    async def story() -> list[Candidate]:
        async with Camera(tmp_path, "127.0.63.31").plugged_in():
            return await discover()

    assert len(uvloop.run(story())) == 1


def test_several_programs_share_the_discovery_port() -> None:
    sockets = [
        multicast_socket(ws_discovery.MULTICAST_GROUP, ws_discovery.PORT, SITE.ip) for _ in range(3)
    ]
    with sending_socket(SITE.ip) as sender:
        sender.sendto(b"x", (ws_discovery.MULTICAST_GROUP, ws_discovery.PORT))
    for each in sockets:
        with each:
            each.settimeout(2)
            assert each.recv(10) == b"x"


async def test_a_makers_profile_is_chosen_by_what_the_camera_announces(tmp_path: Path) -> None:
    catalog = load_catalog()
    maker, other = (Camera(tmp_path, f"127.0.63.{31 + n}", seed=n) for n in range(2))
    maker.device.identity = replace(maker.device.identity, name="HIKVISION DS-2CD2143G0-I")
    async with maker.plugged_in(), other.plugged_in():
        found = await discover_cameras(
            SITE, now_ms, random.Random(5), by_scopes=catalog.by_scopes, gather_s=1.0
        )
    assert [candidate.profile for candidate in found] == ["camera-hikvision", "onvif-camera"]
