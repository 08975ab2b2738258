"""A camera's datagrams on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from drivers.codecs.rtsp_session import TrackPacket
from drivers.rtp_ports import RtpPorts
from tests.loopback import own_address

OURS, CAMERA, STRANGER = (own_address(f"66.{last}") for last in (1, 2, 3))


@pytest.fixture
async def ports() -> AsyncIterator[RtpPorts]:
    ports = RtpPorts(CAMERA)
    await ports.open(OURS, 2)
    yield ports
    ports.close()


def send(address: str, port: int, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((address, 0))
        for data in datagrams:
            sender.sendto(data, (OURS, port))


def media(number: int) -> bytes:
    return b"\x80\x60" + number.to_bytes(2, "big") + b"media"


async def heard(ports: RtpPorts, count: int) -> list[TrackPacket]:
    found: list[TrackPacket] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += await ports.read(0.2)
    return found


async def test_each_track_has_an_even_port_and_the_one_above_for_its_reports(
    ports: RtpPorts,
) -> None:
    assert all(port % 2 == 0 for port in ports.ports)
    assert len(set(ports.ports)) == 2
    send(CAMERA, ports.ports[1], media(5))
    send(CAMERA, ports.ports[0] + 1, b"report")
    found = await heard(ports, 2)
    assert {(one.track, one.is_control, one.data) for one in found} == {
        (1, False, media(5)),
        (0, True, b"report"),
    }


async def test_nobody_but_the_camera_is_heard(ports: RtpPorts) -> None:
    send(STRANGER, ports.ports[0], media(1))
    send(STRANGER, ports.ports[0] + 1, b"bye")
    send(CAMERA, ports.ports[0], media(7))
    assert [one.data for one in await heard(ports, 1)] == [media(7)]


async def test_what_overtook_is_put_in_order_and_what_is_lost_holds_nothing_up(
    ports: RtpPorts,
) -> None:
    send(CAMERA, ports.ports[0], *(media(number) for number in (1, 3, 2, 6, 5)))
    found = await heard(ports, 5)
    assert [one.data for one in found] == [media(number) for number in (1, 2, 3, 5, 6)]


async def test_a_report_of_ours_reaches_the_camera(ports: RtpPorts) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera:
        camera.bind((CAMERA, 0))
        camera.setblocking(False)
        ports.report(1, camera.getsockname()[1], b"listening")
        async with asyncio.timeout(5):
            data, source = await loop.sock_recvfrom(camera, 100)
    assert (data, source) == (b"listening", (OURS, ports.ports[1] + 1))
