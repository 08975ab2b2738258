"""UDP ports on which a camera's media arrives, a pair a track: RTP on the even one, RTCP above."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from drivers.codecs.rtp_order import PacketOrder
from drivers.codecs.rtsp_session import TrackPacket
from drivers.errors import SetupError

PACKETS_MAX = 8192
"""Waiting to be read; beyond it datagrams are dropped, as the kernel would."""
RECEIVE_BUFFER_BYTES = 1024 * 1024
_PAIR_TRIES = 64


class RtpPorts:
    """Open between :meth:`open` and :meth:`close`; hears one camera only."""

    def __init__(self, camera: str) -> None:
        """``camera`` is its address as its datagrams show it."""
        self._camera = camera
        self._transports: list[asyncio.DatagramTransport] = []
        self._orders: list[PacketOrder] = []
        self._waiting: list[TrackPacket] = []
        self._arrived = asyncio.Event()
        self.ports: list[int] = []
        """The RTP port of each track."""

    async def open(self, address: str, tracks: int) -> None:
        """Take a pair of ports at our address for each track; raises SetupError."""
        loop = asyncio.get_running_loop()
        for track in range(tracks):
            media, control = _bind_pair(address)
            self._orders.append(PacketOrder())
            self.ports.append(media.getsockname()[1])
            for bound in (media, control):
                hear = partial(self._hear, track, is_control=bound is control)
                transport, _ = await loop.create_datagram_endpoint(partial(_Port, hear), sock=bound)
                self._transports.append(transport)

    def close(self) -> None:
        for transport in self._transports:
            transport.close()

    def report(self, track: int, port: int, report: bytes) -> None:
        """Send a receiver report to a track's RTCP port at the camera."""
        self._transports[2 * track + 1].sendto(report, (self._camera, port))

    async def read(self, longest_s: float) -> list[TrackPacket]:
        """Wait for packets, at most ``longest_s``; return those in order, perhaps none."""
        loop = asyncio.get_running_loop()
        dues_s = [order.due_s for order in self._orders if order.due_s is not None]
        until_s = min((loop.time() + longest_s, *dues_s))
        if not self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until_s):
                    await self._arrived.wait()
        self._arrived.clear()
        heard, self._waiting = self._waiting, []
        now_s, ready = loop.time(), list[TrackPacket]()
        for packet in heard:
            if packet.is_control:
                ready.append(packet)
            else:
                order = self._orders[packet.track]
                ready += _media(packet.track, order.take(packet.data, now_s))
        for track, order in enumerate(self._orders):
            ready += _media(track, order.release(now_s))
        return ready

    def _hear(self, track: int, data: bytes, host: str, *, is_control: bool) -> None:
        if host == self._camera and len(self._waiting) < PACKETS_MAX:
            self._waiting.append(TrackPacket(track, is_control, data))
            self._arrived.set()


class _Port(asyncio.DatagramProtocol):
    def __init__(self, hear: Callable[[bytes, str], None]) -> None:
        self._hear = hear

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._hear(data, addr[0])


def _media(track: int, packets: list[bytes]) -> list[TrackPacket]:
    return [TrackPacket(track, False, data) for data in packets]


def _bind_pair(address: str) -> tuple[socket.socket, socket.socket]:
    """Bind an even port and the next one (RFC 3550 §11)."""
    for _ in range(_PAIR_TRIES):
        media = _bound(address, 0)
        port = media.getsockname()[1]
        if port % 2 == 0:
            try:
                return media, _bound(address, port + 1)
            except OSError:
                media.close()
                continue
        media.close()
    raise SetupError(f"{address} has no pair of free UDP ports; restart the box")


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
