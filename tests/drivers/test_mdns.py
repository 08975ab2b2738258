import asyncio
import gc
import logging
import random
import struct
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Interface

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from zeroconf.asyncio import AsyncServiceInfo

from drivers.discovery import mdns
from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.discovery.mdns import (
    SERVICE_TYPES,
    Announcement,
    leave_out_doubles,
    listen_for_services,
)
from drivers.errors import ProtocolError, RefusedError, SetupError
from drivers.transports.multicast_dns import GROUP, PORT, can_be_asked, open_multicast_dns
from drivers.transports.udp import UdpLink, multicast_socket, open_udp, sending_socket
from tests.system_needs import give_up

SITE = IPv4Interface("127.131.1.1/24")
CAMERA = IPv4Address("127.131.1.20")
NEIGHBOUR = IPv4Address("127.131.2.20")
AXIS, CGI, RTSP = SERVICE_TYPES
_A, _PTR, _TXT, _SRV = 1, 12, 16, 33


def now_ms() -> int:
    return 1_700_000_000_000


# What a camera sends, written by hand from RFC 1035 and RFC 6762, 10: no code of zeroconf's.


def dns_name(*labels: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(name: bytes, kind: int, data: bytes, *, ttl_s: int = 120, flush: bool = True) -> bytes:
    class_in = 0x8001 if flush else 1
    return name + struct.pack("!HHIH", kind, class_in, ttl_s, len(data)) + data


def response(*records: bytes) -> bytes:
    return struct.pack("!6H", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def announcement(
    service: bytes,
    instance: bytes,
    *,
    host: bytes,
    address: IPv4Address,
    port: int,
    txt: Sequence[bytes] = (b"",),
) -> bytes:
    kind = (service, b"_tcp", b"local")
    name, server = dns_name(instance, *kind), dns_name(host, b"local")
    return response(
        record(dns_name(*kind), _PTR, name, flush=False),
        record(name, _SRV, struct.pack("!3H", 0, 0, port) + server),
        record(name, _TXT, b"".join(bytes([len(each)]) + each for each in txt)),
        record(server, _A, address.packed),
    )


HIKVISION = announcement(
    b"_CGI",
    b"HIKVISION DS-2CD2722FWD-IZS - 733050127",
    host=b"DS-2CD2722FWD-IZS20170321BBWR733050127",
    address=CAMERA,
    port=80,
)


def axis(address: IPv4Address) -> bytes:
    return announcement(
        b"_axis-video",
        b"AXIS M1065-LW - ACCC8E123456",
        host=b"axis-accc8e123456",
        address=address,
        port=80,
        txt=(b"macaddress=ACCC8E123456",),
    )


AXIS_STREAM = announcement(
    b"_rtsp",
    b"AXIS M1065-LW - ACCC8E123456",
    host=b"axis-accc8e123456",
    address=CAMERA,
    port=554,
)


def send(data: bytes, source: IPv4Address = CAMERA) -> None:
    with sending_socket(source, PORT) as sender:
        sender.sendto(data, (GROUP, PORT))


@asynccontextmanager
async def listening(site: IPv4Interface = SITE) -> AsyncIterator[asyncio.Queue[Candidate]]:
    """Listen; that it asks shows that it also hears."""
    found: asyncio.Queue[Candidate] = asyncio.Queue()
    async with open_udp(multicast_socket(GROUP, PORT, site.ip)) as wire:
        task = asyncio.get_running_loop().create_task(
            listen_for_services(site, now_ms, found.put_nowait)
        )
        await next_question(wire, site.ip)
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


async def next_question(wire: UdpLink, asker: IPv4Address) -> bytes:
    while True:
        datagram = await wire.receive()
        if datagram.source == asker and not datagram.data[2] & 0x80:
            return datagram.data


async def test_a_camera_that_announces_itself_becomes_a_candidate() -> None:
    async with listening() as found, open_multicast_dns(CAMERA) as camera:
        info = AsyncServiceInfo(
            AXIS.name,
            f"AXIS M1065-LW - ACCC8E123456.{AXIS.name}",
            port=8080,
            addresses=[CAMERA.packed],
            properties={"macaddress": "ACCC8E123456"},
            server="axis-accc8e123456.local.",
        )
        await (await camera.async_register_service(info))
        candidate = await found.get()
    (evidence,) = candidate.evidence
    assert candidate.identity == "mdns:accc8e123456"
    assert candidate.kind is DeviceKind.CAMERA
    assert candidate.address == "http://127.131.1.20:8080"
    assert candidate.name == "AXIS M1065-LW - ACCC8E123456"
    assert candidate.profile is None
    assert candidate.needs is Need.ONVIF
    assert evidence.method == "mdns"
    assert "axis-accc8e123456" in evidence.detail
    assert evidence.observed_ms == now_ms()


async def test_a_camera_that_only_answers_questions_is_found() -> None:
    async with (
        open_udp(multicast_socket(GROUP, PORT, CAMERA)) as heard,
        listening() as found,
    ):
        while b"\x04_CGI" not in await next_question(heard, SITE.ip):
            pass
        send(HIKVISION)
        candidate = await found.get()
    assert candidate.identity == "mdns:name:HIKVISION DS-2CD2722FWD-IZS - 733050127"
    assert candidate.address == "http://127.131.1.20:80"
    assert "DS-2CD2722FWD-IZS20170321BBWR733050127" in candidate.evidence[0].detail


def test_it_runs_on_the_event_loop_of_the_box() -> None:
    async def story() -> Candidate:
        async with listening() as found:
            send(HIKVISION)
            return await found.get()

    assert uvloop.run(story()).kind is DeviceKind.CAMERA


async def test_a_camera_with_two_services_is_one_candidate_with_two_pieces_of_evidence() -> None:
    async with listening() as found:
        send(AXIS_STREAM)
        first = await found.get()
        send(axis(CAMERA))
        second = await found.get()
    assert first.identity == second.identity
    assert first.address == "rtsp://127.131.1.20:554"
    assert second.address == "http://127.131.1.20:80"
    assert [each.detail.split(" announces ")[1].split()[0] for each in second.evidence] == [
        AXIS.name,
        RTSP.name,
    ]
    assert second.confidence > first.confidence


async def test_a_camera_keeps_its_identity_when_its_address_changes() -> None:
    moved = CAMERA + 1
    async with listening() as found:
        send(AXIS_STREAM)
        await found.get()
        send(axis(moved), source=moved)
        candidate = await found.get()
    assert candidate.identity == "mdns:accc8e123456"
    assert candidate.address == f"http://{moved}:80"
    assert len(candidate.evidence) == 1, "the stream was announced for the address it had before"


async def test_what_is_no_news_to_a_person_is_not_reported_again() -> None:
    async with listening() as found:
        send(AXIS_STREAM)
        await found.get()
        for number in range(3):
            send(
                announcement(
                    b"_rtsp",
                    b"AXIS M1065-LW - ACCC8E123456",
                    host=b"axis-accc8e123456",
                    address=CAMERA,
                    port=554,
                    txt=(b"load=%d" % number,),
                )
            )
            await asyncio.sleep(2 * mdns.PAUSE_S)
        send(HIKVISION)
        assert (await found.get()).identity.startswith("mdns:name:HIKVISION")


@pytest.mark.parametrize(
    "elsewhere",
    [NEIGHBOUR, SITE.ip, IPv4Address("127.131.1.255"), IPv4Address("8.8.8.8")],
    ids=["a neighbour", "the box itself", "everyone", "the internet"],
)
async def test_a_service_is_only_taken_from_an_address_of_the_network(
    elsewhere: IPv4Address,
) -> None:
    async with listening() as found:
        send(axis(elsewhere), source=NEIGHBOUR)
        await asyncio.sleep(0)
        send(HIKVISION)
        assert (await found.get()).identity.startswith("mdns:name:HIKVISION")
        assert found.empty()


def poison() -> list[bytes]:
    kind = (b"_rtsp", b"_tcp", b"local")
    longer_when_decoded = dns_name(b"\xff" * 60, *kind)
    elsewhere = dns_name(b"www", b"example", b"com")
    itself = record(dns_name(*kind), _PTR, b"\xc0\x0c", flush=False)
    rng = random.Random(131)
    return [
        response(record(dns_name(*kind), _PTR, longer_when_decoded, flush=False)),
        response(record(dns_name(b"_RTSP", *kind[1:]), _PTR, longer_when_decoded, flush=False)),
        response(record(dns_name(*kind), _PTR, dns_name(b"a..b", *kind), flush=False)),
        response(record(dns_name(*kind), _PTR, elsewhere, flush=False)),
        response(itself),
        announcement(b"_rtsp", b"\x07\x1b[2J", host=b"\n", address=CAMERA, port=0),
        announcement(b"_rtsp", b"   ", host=b"a", address=CAMERA, port=1),
        announcement(b"_axis-video", b"odd", host=b"a", address=CAMERA, port=0, txt=(b"=",)),
        *(AXIS_STREAM[:cut] for cut in range(0, len(AXIS_STREAM), 7)),
        *(rng.randbytes(rng.randrange(1, 300)) for _packet in range(50)),
    ]


async def test_hostile_packets_neither_stop_the_listening_nor_the_asking() -> None:
    async with (
        listening() as found,
        open_udp(multicast_socket(GROUP, PORT, CAMERA)) as heard,
    ):
        for packet in poison():
            send(packet, source=NEIGHBOUR)
        # The next round of questions, a second later, names what it heard as known answers.
        while b"\x04_CGI" not in await next_question(heard, SITE.ip):
            pass
        send(HIKVISION)
        while not (candidate := await found.get()).identity.startswith("mdns:name:HIKVISION"):
            assert candidate.name.isprintable()
            assert candidate.address == "rtsp://127.131.1.20:554"


async def test_a_camera_with_a_name_in_gbk_is_found() -> None:
    name = "讲台摄像机".encode("gbk")
    async with listening() as found:
        send(announcement(b"_rtsp", name, host=b"cam", address=CAMERA, port=554))
        candidate = await found.get()
    assert candidate.address == "rtsp://127.131.1.20:554"


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("Gate._rtsp._tcp.local.", True),
        (f"{'讲' * 21}._rtsp._tcp.local.", True),
        (f"{'讲' * 22}._rtsp._tcp.local.", False),
        ("Gate..2._rtsp._tcp.local.", False),
        (f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}.", True),
        (f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}.", False),
        ("", False),
    ],
)
def test_a_name_can_be_asked_for_when_dns_can_carry_it(name: str, fine: bool) -> None:
    assert can_be_asked(name) is fine


async def test_a_flood_of_cameras_is_cut_off_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def camera(number: int, port: int = 554) -> bytes:
        host = b"cam%d" % number
        return announcement(b"_rtsp", host, host=host, address=CAMERA + number, port=port)

    monkeypatch.setattr(mdns, "CAMERAS_MAX", 3)
    async with listening() as found:
        known = set()
        for number in range(3):
            send(camera(number))
            known.add((await found.get()).identity)
        for number in range(3, 9):
            send(camera(number))
        send(camera(1, port=8554))
        candidate = await found.get()
    assert known == {f"mdns:name:cam{number}" for number in range(3)}
    assert (candidate.identity, candidate.address) == ("mdns:name:cam1", "rtsp://127.131.1.21:8554")
    warnings = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "further ones are passed over" in warnings[0]


async def test_an_address_of_another_machine_is_a_mistake_in_the_set_up() -> None:
    with pytest.raises(SetupError, match="choose an address of this box"):
        await listen_for_services(IPv4Interface("192.0.2.1/24"), now_ms, lambda _found: None)


_IN_A_NETWORK_OF_ITS_OWN = """
import asyncio, socket, sys
from ipaddress import IPv4Address
from zeroconf.asyncio import AsyncServiceBrowser
from drivers.transports.multicast_dns import GROUP, PORT, open_multicast_dns
from drivers.transports.udp import multicast_socket, sending_socket

HERE, ELSEWHERE = IPv4Address("10.1.0.1"), IPv4Address("10.2.0.1")
packets = [bytes.fromhex(each) for each in sys.argv[1:]]

async def story():
    heard = asyncio.Queue()
    def note(zeroconf, service_type, name, state_change):
        heard.put_nowait(name)
    async with open_multicast_dns(HERE) as link:
        with multicast_socket(GROUP, PORT, ELSEWHERE):
            async with AsyncServiceBrowser(link.zeroconf, "_rtsp._tcp.local.", handlers=[note]):
                for address, packet in zip((ELSEWHERE, HERE), packets, strict=True):
                    with sending_socket(address, PORT) as sender:
                        sender.sendto(packet, (GROUP, PORT))
                print(await heard.get())

asyncio.run(story())
"""


async def test_only_the_chosen_interface_is_heard() -> None:
    address = IPv4Address("10.1.0.20")
    packets = [
        announcement(b"_rtsp", instance, host=b"cam", address=address, port=554)
        for instance in (b"elsewhere", b"here")
    ]
    interfaces = "ip link set lo up" + "".join(
        f" && ip tuntap add {name} mode tun && ip addr add {own}/24 dev {name}"
        f" && ip link set {name} up"
        for name, own in (("lan0", "10.1.0.1"), ("wan0", "10.2.0.1"))
    )
    program = await asyncio.create_subprocess_exec(
        "unshare",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        f'{interfaces} || exit 77; exec "$@"',
        "sh",
        sys.executable,
        "-c",
        _IN_A_NETWORK_OF_ITS_OWN,
        *(packet.hex() for packet in packets),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    if program.returncode in {1, 77} and b"Traceback" not in err:
        give_up(f"no network namespaces here: {err.decode().strip()}")
    assert out.decode().splitlines() == ["here._rtsp._tcp.local."], err.decode()


TEXT = st.text(max_size=300)
ADDRESS = st.ip_addresses(v=4) | st.ip_addresses(network=str(SITE.network))


@given(
    st.builds(
        Announcement,
        service=st.sampled_from(SERVICE_TYPES),
        name=TEXT | st.builds("{}.{}".format, TEXT, st.sampled_from([AXIS.name, RTSP.name])),
        server=TEXT | st.builds("{}.local.".format, TEXT),
        port=st.integers(0, 65_535),
        addresses=st.lists(ADDRESS, max_size=4).map(tuple),
        txt=st.dictionaries(
            st.just(b"macaddress") | st.binary(max_size=20),
            st.none() | st.binary(max_size=255),
            max_size=3,
        ),
    )
)
def test_an_announcement_is_refused_or_becomes_a_short_readable_hint_in_the_network(
    announcement: Announcement,
) -> None:
    try:
        sighting = mdns._sighting(announcement, SITE, now_ms())
    except (ProtocolError, RefusedError):
        return
    candidate = mdns._Cameras().take(sighting)
    assert candidate is not None
    assert sighting.host in SITE.network
    assert sighting.host in announcement.addresses
    assert 0 < len(candidate.name) <= mdns.NAME_CHARS_MAX
    assert len(candidate.identity) <= mdns.NAME_CHARS_MAX + len("mdns:name:")
    assert len(candidate.evidence[0].detail) <= mdns.DETAIL_CHARS_MAX
    assert (candidate.identity + candidate.name + candidate.evidence[0].detail).isprintable()
    assert candidate.needs is Need.ONVIF


@pytest.mark.parametrize(
    ("told", "identity"),
    [
        (b"00408C123456", "mdns:00408c123456"),
        (b"00:40:8c:12:34:56", "mdns:00408c123456"),
        (b"000000000000", "mdns:name:Gate"),
        (b"\xff\xff", "mdns:name:Gate"),
        (None, "mdns:name:Gate"),
    ],
)
def test_the_mac_address_is_taken_however_it_is_written(told: bytes | None, identity: str) -> None:
    sighting = mdns._sighting(
        Announcement(
            service=AXIS,
            name=f"Gate.{AXIS.name.upper()}",
            server="gate.local.",
            port=80,
            addresses=(IPv4Address("169.254.1.1"), CAMERA),
            txt={b"macaddress": told},
        ),
        SITE,
        now_ms(),
    )
    assert sighting.identity == identity
    assert sighting.host == CAMERA


def hint(address: str, identity: str = "mdns:name:Gate") -> Candidate:
    return Candidate(
        identity=identity,
        kind=DeviceKind.CAMERA,
        address=address,
        name="Gate",
        profile=None,
        evidence=(),
        confidence=0.5,
        needs=Need.ONVIF,
    )


def test_a_hint_steps_back_for_what_is_found_or_adopted_on_the_same_host() -> None:
    found = hint("http://10.0.0.5:8000/onvif/device_service", "onvif:serial:1234")
    bus = hint("serial:/dev/ttyUSB0?baud=9600&unit=17", "usb0:17")
    doubles = [hint("rtsp://10.0.0.5:554"), hint("http://10.0.0.6:80")]
    other = hint("http://10.0.0.7:80")
    adopted = ["http://10.0.0.6:80/onvif/device_service", "serial:/dev/ttyUSB1?baud=9600"]
    assert leave_out_doubles([*doubles, other, found, bus], adopted) == [other, found, bus]


async def test_who_stops_while_it_opens_leaves_no_socket_behind() -> None:
    """Unclosed sockets are warnings, and warnings are errors here."""
    for _ in range(5):
        opening = asyncio.ensure_future(_opened_for_ever())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        gc.collect()


async def _opened_for_ever() -> None:
    async with open_multicast_dns(CAMERA):
        await asyncio.Future()
