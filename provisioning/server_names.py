"""Which names a server certificate may carry: the hub's by its administrator, a box's by rule."""

import ipaddress
import re
from collections.abc import Collection, Sequence

from cryptography import x509

from provisioning.certificates import district_host
from provisioning.errors import Refusal, RefusedError, SetupError

LAN_NAMES_MAX = 16

_LABELS = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NAME_CHARACTERS_MAX = 253
# RFC 1918, RFC 4193, RFC 3927, RFC 4291 and loopback. `ipaddress.is_private` is wider: it takes in
# documentation, benchmarking and reserved ranges, which no school's LAN uses.
_LAN_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "127.0.0.0/8",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
        ),
    )
)


def hub_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Return the hub's names as its administrator gave them; raise SetupError for a bad one."""
    found = [_general_name(name) for name in names]
    for name, parsed in zip(names, found, strict=True):
        if parsed is None:
            raise SetupError(f"{name[:80]!r} is no host name or address; name the hub's own")
    if not found:
        raise SetupError("the hub has no name; name at least one host or address it is reached by")
    return [parsed for parsed in found if parsed is not None]


def lan_page_names(
    names: Sequence[str], *, district: str, school: int, hub: Collection[str]
) -> list[x509.GeneralName]:
    """Return what a box's LAN page certificate may be called.

    Allowed: private, link-local and loopback addresses, ``localhost``, names under ``.local``, and
    the school's own name, which is always added. Anything else, and any name of the hub (``hub``)
    that could reach another machine, raises RefusedError.
    """
    if len(names) > LAN_NAMES_MAX:
        raise RefusedError(Refusal.TOO_MUCH, f"{len(names)} names, at most {LAN_NAMES_MAX}")
    own = f"school-{school}.{district_host(district)}"
    reserved = {_general_name(name) for name in hub}
    allowed: list[x509.GeneralName] = [x509.DNSName(own)]
    for name in names:
        parsed = _general_name(name.lower())
        if parsed in allowed:
            continue
        if parsed is None or not _stays_in_school(parsed, reserved):
            raise RefusedError(Refusal.TOO_MUCH, f"a LAN page may not be called {name[:80]!r}")
        allowed.append(parsed)
    return allowed


def _stays_in_school(
    name: x509.DNSName | x509.IPAddress, reserved: Collection[x509.GeneralName | None]
) -> bool:
    if isinstance(name, x509.DNSName):
        if name.value == "localhost":
            return True
        return name.value.endswith(".local") and name not in reserved
    address = name.value
    if not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return False
    if address.is_loopback:
        return True
    return name not in reserved and any(address in network for network in _LAN_NETWORKS)


def _general_name(name: str) -> x509.DNSName | x509.IPAddress | None:
    """Return the name as X.509 writes it, None for text that is neither address nor host name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if len(name) <= _NAME_CHARACTERS_MAX and _LABELS.fullmatch(name):
        return x509.DNSName(name)
    return None
