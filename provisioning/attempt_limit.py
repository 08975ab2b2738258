"""How many wrong codes one address may try, so that guessing stays noise and memory bounded."""

import ipaddress
from collections import OrderedDict

from provisioning.errors import Refusal, RefusedError

WRONG_CODES_MAX = 10
WINDOW_MS = 60_000
ADDRESSES_MAX = 4096

_IPV6_SITE_BITS = 64


class AttemptLimit:
    """Counts wrong attempts per IPv4 address or IPv6 /64 in windows of one minute.

    Right codes are never counted: a county that powers up at once behind one address gets in.
    """

    def __init__(self) -> None:
        self._windows: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def admit(self, source: str, now_ms: int) -> None:
        """Raise RefusedError (BUSY) when this address has used up its wrong attempts."""
        started_ms, wrong = self._windows.get(_site(source), (now_ms, 0))
        if wrong >= WRONG_CODES_MAX and 0 <= now_ms - started_ms < WINDOW_MS:
            raise RefusedError(Refusal.BUSY)

    def count_wrong(self, source: str, now_ms: int) -> None:
        site = _site(source)
        started_ms, wrong = self._windows.pop(site, (now_ms, 0))
        if not 0 <= now_ms - started_ms < WINDOW_MS:
            started_ms, wrong = now_ms, 0
        self._windows[site] = (started_ms, wrong + 1)
        if len(self._windows) > ADDRESSES_MAX:
            self._windows.popitem(last=False)


def _site(source: str) -> str:
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address.packed, _IPV6_SITE_BITS), strict=False))
