"""Addresses of this machine that are no loopback addresses, as a school's LAN gives them."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

from tests.loopback import PROCESS
from tests.system_needs import give_up

_SIOCGIFADDR = 0x8915  # netdevice(7)
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
# Each process that runs tests beside others adds and takes away its own.
_ADDED = tuple(IPv4Address(f"10.231.{81 + PROCESS % 100}.{host}") for host in (1, 2))


@contextmanager
def two_lan_addresses() -> Iterator[tuple[IPv4Address, IPv4Address]]:
    """Yield two private addresses: the machine's own, and added ones where it has too few."""
    own = [each for each in _addresses() if any(each in network for network in _PRIVATE)]
    wanted = [each for each in _ADDED if each not in own][: max(0, 2 - len(own))]
    if wanted and (os.geteuid() != 0 or shutil.which("ip") is None):
        reason = "needs two private addresses, or root and iproute2 to add them"
        give_up(reason)
    for address in wanted:
        subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
    try:
        first, second = (own + wanted)[:2]
        yield first, second
    finally:
        for address in wanted:
            subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


def _addresses() -> list[IPv4Address]:
    """Return the first IPv4 address of each interface that has one."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(IPv4Address(answer[20:24]))
    return found
