"""Multicast DNS (RFC 6762) by zeroconf, kept to the interface of one of our addresses."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import zeroconf
from zeroconf._dns import DNSPointer
from zeroconf.asyncio import AsyncZeroconf

from drivers.errors import SetupError
from drivers.transports.udp import IP_MULTICAST_ALL, multicast_socket, sending_socket

GROUP = "224.0.0.251"
PORT = 5353
LABEL_BYTES_MAX = 63  # RFC 1035, 2.3.4
NAME_BYTES_MAX = 255


@asynccontextmanager
async def open_multicast_dns(address: IPv4Address) -> AsyncIterator[AsyncZeroconf]:
    """Speak and hear mDNS on the interface of ``address``; in the end services say goodbye.

    Other programs on this machine may do the same. Raises SetupError when the address is not ours,
    its interface has no multicast, or another program holds the port alone.
    """
    # zeroconf goes on without an interface that it cannot use; these two say why it cannot.
    sending_socket(address, PORT).close()
    multicast_socket(GROUP, PORT, address).close()
    try:
        opened = AsyncZeroconf(interfaces=[str(address)])
    except OSError as error:
        raise SetupError(
            f"mDNS on {address}: {error.strerror}; stop the program that holds UDP {PORT} alone"
        ) from error
    try:
        await _start(opened.zeroconf, address)
        yield opened
    finally:
        await opened.async_close()


async def _start(opened: zeroconf.Zeroconf, address: IPv4Address) -> None:
    try:
        # Who gives up waiting would otherwise cancel the future that closing waits for: zeroconf
        # 0.154 then leaves its sockets open.
        await asyncio.shield(opened.async_wait_for_start())
    except zeroconf.NotRunningException as error:
        raise SetupError(f"mDNS on {address}: does not start; see the log") from error
    if not opened.engine.senders:
        raise SetupError(f"mDNS on {address}: cannot send; choose an address of this box")
    opened.async_add_listener(_Forgetting(opened), None)
    for reader in opened.engine.readers:
        # Otherwise Linux hands over what any other program joined on any other interface.
        reader.sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)


def can_be_asked(name: str) -> bool:
    """Tell whether a name that was heard can be written again.

    Not every one can: bytes that are not UTF-8 (names in GBK, say) grow when they are decoded, and
    zeroconf takes a dot within a label for its end.
    """
    sizes = [len(label.encode()) for label in name.removesuffix(".").split(".")]
    return all(0 < size <= LABEL_BYTES_MAX for size in sizes) and (
        sum(sizes) + len(sizes) < NAME_BYTES_MAX
    )


class _Forgetting(zeroconf.RecordUpdateListener):
    """Forgets services whose names cannot be written.

    zeroconf 0.154 lists every service it knows in its next question; one that it cannot write
    stops its asking for good, or spoils the question for everyone.
    """

    def __init__(self, opened: zeroconf.Zeroconf) -> None:
        self._opened = opened
        self._heard: list[DNSPointer] = []

    def async_update_records(
        self,
        zc: zeroconf.Zeroconf,  # noqa: ARG002 — the signature is zeroconf's
        now: float,  # noqa: ARG002 — the same
        records: list[zeroconf.RecordUpdate],
    ) -> None:
        """Note the bad ones; they are not in the cache yet."""
        self._heard += [
            record
            for record in (update.new for update in records)
            if isinstance(record, DNSPointer) and not can_be_asked(record.alias)
        ]

    def async_update_records_complete(self) -> None:
        """Forget them before anything else runs."""
        cache = self._opened.cache
        for record in self._heard:
            cached = cache.async_get_unique(record)
            if cached is not None:
                cache.async_remove_records([cached])
        self._heard.clear()
