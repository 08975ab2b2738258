"""A subnet that an administrator named is tried address by address, with questions only."""

import asyncio
import random
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from drivers.codecs.digest import Credentials
from drivers.discovery import line_search, panels, subnet_scan
from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.discovery.line_search import SearchReport
from drivers.discovery.subnet_scan import ScanProgress, SubnetScan, hosts_to_scan
from drivers.displays.framed_link import FRAMINGS
from drivers.errors import SetupError
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_replies import CameraStream
from drivers.simulators.profile_device import Listen, ProfileDevice
from drivers.simulators.profile_speakers import Exchange, quoted
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.serial_bench import SOIL, Bench, bundled, now_ms, quickened, running
from tests.loopback import own_address
from tests.system_needs import need

CATALOG = load_catalog()
PROFILES = list(CATALOG.profiles.values())
NETWORK = IPv4Network(f"{own_address('41.0')}/27")
INTERFACE = IPv4Interface(f"{own_address('41.1')}/16")
PANELS = [p for p in PROFILES if p.links[0].type in FRAMINGS and p.links[0].port]
STREAM = CameraStream(uri="rtsp://127.0.0.1/", width=1, height=1, fps=1, kbps=1)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_search, "LISTEN_S", 0.1)
    monkeypatch.setattr(line_search, "ALLOWANCE_S_MAX", 0.03)
    monkeypatch.setattr(line_search, "UNIT_MAX", 12)
    monkeypatch.setattr(panels, "ANSWER_S", 0.1)
    monkeypatch.setattr(panels, "ANSWER_S_MAX", 0.3)


class Scan:
    """One scan, and what it told."""

    def __init__(self, *, kinds: tuple[DeviceKind, ...] = tuple(DeviceKind)) -> None:
        self.found: list[Candidate] = []
        self.steps: list[ScanProgress] = []
        self.kinds = kinds

    async def run(
        self,
        *networks: IPv4Network,
        skip: tuple[str, ...] = (),
        modbus_ports: tuple[int, ...] = (502,),
    ) -> dict[str, Candidate]:
        scan = SubnetScan(
            INTERFACE,
            PROFILES,
            now_ms,
            SearchReport(progress=lambda _: None, found=self.found.append),
            self.steps.append,
            by_scopes=CATALOG.by_scopes,
            kinds=self.kinds,
            skip=skip,
        )
        await scan.run(hosts_to_scan(networks or (NETWORK,), INTERFACE), modbus_ports)
        return {candidate.address: candidate for candidate in self.found}


@asynccontextmanager
async def plugged_in(
    profile: Profile, scheme: str, host: int, port: int, unit: int | None = None
) -> AsyncIterator[list[Exchange]]:
    """Run the device that a profile's vectors make, at ``41.<host>``."""
    heard: list[Exchange] = []
    listen = Listen(
        scheme="modbus" if scheme == "modbus" else "tcp", host=own_address(f"41.{host}"), port=port
    )
    device = ProfileDevice(profile, listen, heard.append, unit=unit)
    ready = asyncio.Event()
    async with running(device.run(ready.set)):
        await ready.wait()
        yield heard


async def test_every_panel_that_listens_is_found_as_itself() -> None:
    async with AsyncExitStack() as stack:
        heard = [
            await stack.enter_async_context(
                plugged_in(profile, "tcp", 2 + number, profile.links[0].port or 0)
            )
            for number, profile in enumerate(PANELS)
        ]
        found = await Scan(kinds=(DeviceKind.BLACKBOARD,)).run()
    assert len(PANELS) == 5
    for number, profile in enumerate(PANELS):
        link, host = profile.links[0], own_address(f"41.{2 + number}")
        candidate = found.pop(f"tcp://{host}:{link.port}?unit={link.unit}")
        assert (candidate.profile, candidate.kind) == (profile.id, DeviceKind.BLACKBOARD)
        assert candidate.identity == f"panel:{host}:{link.port}"
        assert candidate.needs is Need.NOTHING
        assert candidate.evidence[0].method == "panel answer"
    assert found == {}
    told = {exchange.heard for exchanges in heard for exchange in exchanges}
    orders = {quoted(v, v.request) for p in PANELS for v in p.vectors if v.command is not None}
    assert told
    assert not told & orders


async def test_a_modbus_tcp_device_is_found_with_the_models_that_it_might_be() -> None:
    moxa = CATALOG.profiles[ProfileId("io-moxa-e1214")]
    async with plugged_in(moxa, "modbus", 3, 502):
        found = await Scan(kinds=(DeviceKind.FARM_ACTUATOR,)).run()
    (candidate,) = found.values()
    host = own_address("41.3")
    assert candidate.address == f"modbus://{host}:502?unit=1"
    assert candidate.identity == f"modbus:{host}:502:1"
    # No document tells how to know one from another: a person who sees it does.
    assert (candidate.profile, candidate.needs) == (None, Need.CHOICE)
    assert "io-moxa-e1214" in candidate.choices
    assert all(CATALOG.profiles[ProfileId(each)].links for each in candidate.choices)
    assert any("fc" in evidence.detail for evidence in candidate.evidence)


async def test_modbus_tcp_is_asked_for_at_other_ports_where_somebody_names_them() -> None:
    relays = CATALOG.profiles[ProfileId("relay-waveshare-eth-8")]
    host = own_address("41.3")
    async with plugged_in(relays, "modbus", 3, 5020):
        assert await Scan(kinds=(DeviceKind.FARM_ACTUATOR,)).run() == {}
        scan = Scan(kinds=(DeviceKind.FARM_ACTUATOR,))
        found = await scan.run(modbus_ports=(502, 5020))
    (candidate,) = found.values()
    assert candidate.address == f"modbus://{host}:5020?unit=1"
    assert candidate.identity == f"modbus:{host}:5020:1"


async def test_the_line_behind_a_serial_server_is_searched_as_one_of_this_machine() -> None:
    soil = CATALOG.profiles[ProfileId("soil-sen0601")]
    lg = CATALOG.profiles[ProfileId("lg-signage")]
    async with plugged_in(soil, "tcp", 3, 4001, unit=9), plugged_in(lg, "tcp", 4, 4196):
        found = await Scan().run(IPv4Network(f"{own_address('41.0')}/29"))
    sensor = found[f"tcp://{own_address('41.3')}:4001?unit=9"]
    assert (sensor.profile, sensor.kind) == ("soil-sen0601", DeviceKind.FARM_SENSOR)
    assert sensor.identity == f"modbus:{own_address('41.3')}:4001:9"
    panel = found[f"tcp://{own_address('41.4')}:4196?unit=1"]
    assert panel.profile == "lg-signage"
    assert len(found) == 2


async def test_a_line_behind_ser2net_is_searched_like_one_of_this_machine(tmp_path: Path) -> None:
    ser2net = need("ser2net", "ser2net")
    bench = Bench(tmp_path, [quickened(bundled(SOIL))], unit_max=12)
    host = own_address("41.10")
    settings = tmp_path / "ser2net.yaml"
    settings.write_text(
        "connection: &bus\n"
        f"  accepter: tcp,{host},4001\n"
        f"  connector: serialdev,{bench.path},{bench.baud}n81,local\n"
    )
    async with running(bench.simulator.run()):
        server = await asyncio.create_subprocess_exec(
            ser2net, "-n", "-c", str(settings), stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            while not await accepts(host, 4001):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
            found = await Scan(kinds=(DeviceKind.FARM_SENSOR,)).run(IPv4Network(f"{host}/32"))
        finally:
            server.terminate()
            await server.wait()
    (unit,) = bench.adopted()
    (sensor,) = found.values()
    assert sensor.address == f"tcp://{host}:4001?unit={unit.unit}"
    assert sensor.profile == SOIL


async def accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("locked", [False, True])
async def test_a_camera_that_answers_no_search_is_found_locked_or_not(
    tmp_path: Path, locked: bool
) -> None:
    ledger = tmp_path / "camera.jsonl"
    camera = SimulatedOnvifCamera(
        IPv4Interface(f"{own_address('41.5')}/32"),
        CameraMedia(main=STREAM, sub=STREAM, snapshot=lambda: b""),
        Ledger(ledger, now_ms),
        now_ms,
        random.Random(3),
        credentials=Credentials(user="admin", password="secret") if locked else None,
    )
    async with running(camera.run()):
        await asyncio.sleep(0.1)
        found = await Scan(kinds=(DeviceKind.CAMERA,)).run()
    candidate = found[camera.address]
    assert candidate.needs is (Need.PASSWORD if locked else Need.NOTHING)
    assert (candidate.identity == f"onvif:serial:{camera.identity.serial}") is not locked
    told = read_ledger(ledger)
    assert "admin" not in str(told)


async def test_a_web_server_that_wants_a_password_for_everything_is_no_camera() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, own_address("41.6"), 8080):
        assert await Scan(kinds=(DeviceKind.CAMERA,)).run() == {}


async def test_a_place_that_is_spoken_for_is_not_touched() -> None:
    mdc = CATALOG.profiles[ProfileId("samsung-mdc")]
    async with plugged_in(mdc, "tcp", 7, 1515) as heard:
        place = f"{own_address('41.7')}:1515"
        assert await Scan(kinds=(DeviceKind.BLACKBOARD,)).run(skip=(place,)) == {}
    assert heard == []


async def test_noise_and_silence_at_open_ports_are_nobody() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(random.Random(1).randbytes(3000))
        await writer.drain()
        writer.close()

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with AsyncExitStack() as stack:
        for port in (80, 502, 1515, 4001, 4352, 4660, 7142, 8000, 9761):
            for host, serve in ((8, babble), (9, stay)):
                server = await asyncio.start_server(serve, own_address(f"41.{host}"), port)
                await stack.enter_async_context(server)
        scan = Scan(kinds=(DeviceKind.BLACKBOARD,))
        assert await scan.run(IPv4Network(f"{own_address('41.8')}/31")) == {}
    assert scan.steps[-1] == ScanProgress(done=2, hosts=2, found=0)


async def test_no_more_connections_than_promised_are_open_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = most = 0
    real = subnet_scan.SubnetScan._is_open

    async def counted(scan: SubnetScan, host: IPv4Address, port: int) -> bool | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await real(scan, host, port)
        finally:
            at_once -= 1

    monkeypatch.setattr(subnet_scan.SubnetScan, "_is_open", counted)
    monkeypatch.setattr(subnet_scan, "IN_FLIGHT_MAX", 5)
    scan = Scan(kinds=(DeviceKind.CAMERA,))
    await scan.run()
    assert most == 5
    assert [step.done for step in scan.steps] == list(range(1, 30))


@pytest.mark.parametrize("network", ["8.8.8.0/28", "10.0.0.0/8", "172.16.0.0/20"])
def test_a_scan_of_others_networks_or_of_too_many_addresses_is_refused(network: str) -> None:
    with pytest.raises(SetupError, match="name"):
        hosts_to_scan([IPv4Network(network)], INTERFACE)


def test_the_box_itself_is_not_tried() -> None:
    hosts = hosts_to_scan([IPv4Network(f"{own_address('41.0')}/30")], INTERFACE)
    assert hosts == [IPv4Address(own_address("41.2"))]
