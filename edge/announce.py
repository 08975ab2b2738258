"""The box announces its pages on the school's LAN by multicast DNS (RFC 6762, RFC 6763)."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from typing import Never

import zeroconf
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from drivers.errors import SetupError
from drivers.transports.multicast_dns import LABEL_BYTES_MAX, open_multicast_dns
from edge.config import PagesPort

PAGES = "_https._tcp.local."
TRUST_PAGE = "_http._tcp.local."
REGISTER_S = 20.0
RETRY_FIRST_S = 5.0
RETRY_MAX_S = 300.0
_NUMBER_BYTES_MAX = 4  # "-2" up to "-999", which zeroconf puts behind a name that is taken

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPages:
    """What is announced: whose box it is (``box`` is its 8 hex digits) and its pages' ports.

    ``port`` serves HTTPS, ``plain_port`` the trust page over HTTP, both at the interface's address.
    """

    box: str
    school_name: str
    port: int
    plain_port: int


def local_name(box: str) -> str:
    """Return the name by which the LAN reaches a box; its page certificate carries it too."""
    return f"schoolnode-{box}.local"


def page_names(pages: PagesPort, box: str) -> tuple[str, ...]:
    """Return what a box's page certificate is to carry: the configured names and the local one."""
    return (*(pages.names or pages.addresses), local_name(box))


def is_served_at(addresses: Iterable[str], interface: IPv4Interface) -> bool:
    """Tell whether pages on these addresses are reached at the interface's own address."""
    for address in addresses:
        try:
            served = IPv4Address(address)
        except AddressValueError:
            continue
        if served.is_unspecified or served == interface.ip:
            return True
    return False


async def announce(pages: BoxPages, interface: IPv4Interface) -> Never:
    """Answer for the box's name and pages on ``interface`` until cancelled, then say goodbye.

    A network that has no multicast, or not yet, costs one sentence in the log; it is tried again
    after 5 s at first and at least every 5 minutes.
    """

    def note(attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        level = logging.WARNING if attempt.attempt_number == 1 else logging.DEBUG
        _log.log(level, "the box is not announced on the LAN, and is tried again: %s", error)

    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(SetupError),
        wait=wait_random_exponential(multiplier=RETRY_FIRST_S, max=RETRY_MAX_S),
        before_sleep=note,
    ):
        with attempt:
            async with open_multicast_dns(interface.ip) as link:
                names = await _register(link, pages, interface)
                _log.info("announced as %s", ", ".join(names))
                await asyncio.Future()
    raise AssertionError("it is tried again until it is cancelled")


async def _register(
    link: AsyncZeroconf, pages: BoxPages, interface: IPv4Interface
) -> tuple[str, ...]:
    """Return the names that the box now has; another number follows a name that is taken."""
    label = instance_label(pages.school_name)
    infos = [
        AsyncServiceInfo(
            kind,
            f"{label}.{kind}",
            port=port,
            addresses=[interface.ip.packed],
            properties={"path": path},
            server=f"{local_name(pages.box)}.",
        )
        for kind, port, path in (
            (PAGES, pages.port, "/"),
            (TRUST_PAGE, pages.plain_port, "/trust"),
        )
    ]
    try:
        async with asyncio.timeout(REGISTER_S):
            told = await asyncio.gather(
                *(link.async_register_service(info, allow_name_change=True) for info in infos)
            )
            await asyncio.gather(*told)
    except (TimeoutError, OSError, zeroconf.Error) as error:
        raise SetupError(
            f"mDNS on {interface.ip}: {label!r} cannot be registered ({error!r}); look for a device"
            " that claims every name"
        ) from error
    return (local_name(pages.box), *(info.name for info in infos))


def instance_label(school_name: str) -> str:
    """Return ``SchoolNode <school name>`` as one DNS label, cut between characters to fit.

    Dots go: zeroconf takes every dot for the end of a label.
    """
    kept = "".join(c for c in school_name if c.isprintable() and c != ".")
    label = f"SchoolNode {' '.join(kept.split())}".strip().encode()
    return label[: LABEL_BYTES_MAX - _NUMBER_BYTES_MAX].decode(errors="ignore").strip()
