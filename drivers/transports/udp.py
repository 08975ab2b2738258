"""UDP sockets for discovery: opened by address, never blocking, with a bounded inbox."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from drivers.errors import SetupError

INBOX_MAX = 512
# linux/in.h; Python's socket module does not name it.
IP_MULTICAST_ALL = 49

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    data: bytes
    source: IPv4Address
    port: int


class UdpLink:
    """An open socket; when ``INBOX_MAX`` datagrams wait, further ones are dropped."""

    def __init__(
        self, transport: asyncio.DatagramTransport, inbox: asyncio.Queue[Datagram]
    ) -> None:
        self._transport = transport
        self._inbox = inbox

    async def receive(self) -> Datagram:
        return await self._inbox.get()

    def send(self, data: bytes, host: str, port: int) -> None:
        self._transport.sendto(data, (host, port))


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Datagram] = asyncio.Queue(INBOX_MAX)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.queue.full():
            self.queue.put_nowait(Datagram(data=data, source=IPv4Address(addr[0]), port=addr[1]))

    def error_received(self, exc: Exception) -> None:
        _log.warning("UDP: %s; the datagram is lost", exc)


@asynccontextmanager
async def open_udp(bound: socket.socket) -> AsyncIterator[UdpLink]:
    """Give a bound socket to the event loop, and close it in the end."""
    loop = asyncio.get_running_loop()
    transport, inbox = await loop.create_datagram_endpoint(_Inbox, sock=bound)
    try:
        yield UdpLink(transport, inbox.queue)
    finally:
        transport.close()


def sending_socket(address: IPv4Address, port: int = 0) -> socket.socket:
    """Return a socket bound to one of our addresses, for unicast, multicast and broadcast.

    What it sends leaves by that address's interface with TTL 1. A ``port`` other than 0 may be
    shared with other programs. Raises SetupError when the address is not ours.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address.packed)
        if port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(address), port))
    except OSError as error:
        bound.close()
        raise SetupError(
            f"UDP {address}:{port}: {error.strerror}; choose an address of this box"
        ) from error
    return bound


def multicast_socket(group: str, port: int, address: IPv4Address) -> socket.socket:
    """Return a socket that hears a multicast group on the interface of one of our addresses.

    Other programs may listen to the same group and port. Raises SetupError when they refuse to
    share it, or the address is not ours.
    """
    bound = _shared_socket(group, port)
    try:
        bound.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        membership = IPv4Address(group).packed + address.packed
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    except OSError as error:
        bound.close()
        raise SetupError(
            f"multicast {group} on {address}: {error.strerror}; choose an address of this box"
        ) from error
    return bound


def broadcast_socket(port: int) -> socket.socket:
    """Return a socket that hears broadcasts to a port on every interface; SetupError when taken."""
    return _shared_socket("", port)


def _shared_socket(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise SetupError(
            f"UDP port {port}: {error.strerror}; another program holds it alone, stop it"
        ) from error
    return bound
