"""What the kernel has just learnt of a neighbour by connecting to it."""

import re
from ipaddress import IPv4Address
from pathlib import Path

ARP_TABLE = Path("/proc/net/arp")
_LINE = re.compile(
    r"^(\S+)\s+0x\S+\s+(0x[0-9a-f]+)\s+((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\s", re.MULTILINE
)
_COMPLETE = "0x2"
_INCOMPLETE = "0x0"


def mac_by_arp(host: IPv4Address) -> str | None:
    """Return a neighbour's MAC address; None on loopback and beyond routers."""
    flags, mac = _entry(host)
    return mac if flags == _COMPLETE else None


def is_silent_neighbour(host: IPv4Address) -> bool:
    """Tell whether the kernel asked for a neighbour just now and nobody answered."""
    return _entry(host)[0] == _INCOMPLETE


def _entry(host: IPv4Address) -> tuple[str, str]:
    try:
        table = ARP_TABLE.read_text(encoding="ascii")
    except OSError:
        return "", ""
    entries = {address: (flags, mac) for address, flags, mac in _LINE.findall(table)}
    return entries.get(str(host), ("", ""))
