"""Hearing cameras that announce themselves by multicast DNS (RFC 6762, RFC 6763).

It only adds hints: nothing here connects to a device, and a hint has no profile, so that nobody can
adopt it. Cameras that speak ONVIF are found, and asked who they are, by WS-Discovery.
"""

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from typing import Never
from urllib.parse import urlsplit

import zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo

from drivers.codecs.device_text import shown
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError
from drivers.transports.multicast_dns import can_be_asked, open_multicast_dns

CAMERAS_MAX = 128
SERVICES_WAITING_MAX = 256
ADDRESSES_MAX = 16  # of one service
ASKED_AT_ONCE_MAX = 8
ANSWER_MS = 3_000
# However fast someone rewrites records, this is how often each of the askers looks at one.
PAUSE_S = 0.2
NAME_CHARS_MAX = 128
DETAIL_CHARS_MAX = 500

_IDENTITY = "mdns:"
_MAC = re.compile(r"[0-9a-f]{12}")
# "AXIS T8705 - ACCC8E9145C1": makers who write the MAC into the name write it last.
_NAMED_MAC = re.compile(r"[ -]([0-9a-f]{12})", re.IGNORECASE)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceType:
    """A kind of service; ``txt_mac`` is the TXT key of the device's MAC address, if it has one."""

    name: str
    scheme: str
    confidence: float
    txt_mac: bytes | None = None


SERVICE_TYPES = (
    # Axis cameras, with "macaddress=00408C123456": home-assistant/core,
    # homeassistant/components/axis/manifest.json, and VAPIX "mDNS-SD API" (developer.axis.com).
    ServiceType(
        name="_axis-video._tcp.local.", scheme="http", confidence=0.8, txt_mac=b"macaddress"
    ),
    # Hikvision cameras, e.g. "HIKVISION DS-2CD2722FWD-IZS - 733050127", whose host is called by
    # the whole serial number: 128keaton/hikvision-mdns, README.md.
    ServiceType(name="_CGI._tcp.local.", scheme="http", confidence=0.6),
    # IANA service name registry, "rtsp"; heard e.g. from an AXIS 211M. Sound systems of the
    # RAVENNA kind announce it too, hence the doubt.
    ServiceType(name="_rtsp._tcp.local.", scheme="rtsp", confidence=0.4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What the PTR, SRV, TXT and A records of one service say, unchecked.

    ``name`` is the whole one, e.g. ``Gate._rtsp._tcp.local.``, ``server`` that of its host.
    """

    service: ServiceType
    name: str
    server: str
    port: int
    addresses: tuple[IPv4Address, ...]
    txt: Mapping[bytes, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sighting:
    service: ServiceType
    identity: str
    host: IPv4Address
    port: int
    name: str
    evidence: Evidence


async def listen_for_services(
    interface: IPv4Interface, now_ms: NowMs, found: Callable[[Candidate], None]
) -> Never:
    """Report each camera within ``interface.network`` as its announcements come or change.

    Never returns; a camera that goes away is not reported. Raises SetupError when the interface's
    address is not ours, its interface has no multicast, or UDP 5353 is held by another program.
    """
    waiting = _Waiting()
    cameras = _Cameras()

    async def ask(link: zeroconf.Zeroconf) -> Never:
        while True:
            announcement = await _resolve(link, *await waiting.take())
            if announcement is not None:
                try:
                    sighting = _sighting(announcement, interface, now_ms())
                except (ProtocolError, RefusedError) as error:
                    # Not worth a person's time: neighbours on the same wire are no mistake.
                    _log.debug("mDNS: %s", error)
                else:
                    candidate = cameras.take(sighting)
                    if candidate is not None:
                        found(candidate)
            await asyncio.sleep(PAUSE_S)

    async with open_multicast_dns(interface.ip) as opened, asyncio.TaskGroup() as tasks:
        # Always multicast questions: the answer to a unicast one goes to one socket of the port,
        # which may be that of another program of this machine (RFC 6762, 15.1).
        browser = AsyncServiceBrowser(
            opened.zeroconf,
            [service.name for service in SERVICE_TYPES],
            handlers=[waiting.put],
            question_type=zeroconf.DNSQuestionType.QM,
        )
        async with browser:
            for _asker in range(ASKED_AT_ONCE_MAX):
                tasks.create_task(ask(opened.zeroconf))
            await asyncio.Future()
    raise AssertionError("the askers run until they are cancelled")


def leave_out_doubles(
    candidates: Iterable[Candidate], adopted_addresses: Iterable[str]
) -> list[Candidate]:
    """Return the candidates without mDNS hints for hosts that are known in a better way.

    Better is any other candidate, and any adopted device, of the same host.
    """
    listed = list(candidates)
    better = {_host(each.address) for each in listed if not each.identity.startswith(_IDENTITY)}
    better |= {_host(address) for address in adopted_addresses}
    return [
        each
        for each in listed
        if not each.identity.startswith(_IDENTITY) or _host(each.address) not in better
    ]


class _Waiting:
    """Services to be looked at, each once; when it is full, further ones are passed over."""

    def __init__(self) -> None:
        self._services: dict[str, ServiceType] = {}
        self._some = asyncio.Event()

    def put(
        self,
        zeroconf: zeroconf.Zeroconf,  # noqa: ARG002 — the browser passes all four by name
        service_type: str,
        name: str,
        state_change: zeroconf.ServiceStateChange,
    ) -> None:
        """Note a service that came or changed: the browser's handler."""
        service = next((each for each in SERVICE_TYPES if each.name == service_type), None)
        if service is None or state_change.name == "Removed":
            return
        if name in self._services or len(self._services) < SERVICES_WAITING_MAX:
            self._services[name] = service
            self._some.set()

    async def take(self) -> tuple[str, ServiceType]:
        """Return the service that has waited longest."""
        while not self._services:
            self._some.clear()
            await self._some.wait()
        name = next(iter(self._services))
        return name, self._services.pop(name)


class _Cameras:
    """What is known of each camera, from all the services that it announces."""

    def __init__(self) -> None:
        self._sightings: dict[str, dict[ServiceType, _Sighting]] = {}
        self._reported: dict[str, Candidate] = {}
        self._told_full = False

    def take(self, sighting: _Sighting) -> Candidate | None:
        """Return the camera as it is known now, or None when that is no news."""
        known = self._sightings.get(sighting.identity, {})
        if not known and len(self._sightings) >= CAMERAS_MAX:
            if not self._told_full:
                self._told_full = True
                _log.warning(
                    "more than %d cameras announce themselves by mDNS; further ones are passed"
                    " over, search for cameras instead",
                    CAMERAS_MAX,
                )
            return None
        # A camera that has moved is no longer where its older announcements say.
        known = {each: old for each, old in known.items() if old.host == sighting.host}
        known[sighting.service] = sighting
        self._sightings[sighting.identity] = known
        candidate = _candidate(known)
        if _facts(candidate) == _facts(self._reported.get(sighting.identity)):
            return None
        self._reported[sighting.identity] = candidate
        return candidate


async def _resolve(link: zeroconf.Zeroconf, name: str, service: ServiceType) -> Announcement | None:
    """Return what the network says of a service; None when it does not, or writes no good name."""
    try:
        info = AsyncServiceInfo(service.name, name)
        answered = info.load_from_cache(link) or (
            can_be_asked(name)
            and await info.async_request(link, ANSWER_MS, zeroconf.DNSQuestionType.QM)
        )
    except zeroconf.Error as error:
        _log.debug("mDNS: %r is no name: %s", name[:NAME_CHARS_MAX], error)
        return None
    if not answered or info.port is None:
        return None
    addresses = itertools.islice(
        info.ip_addresses_by_version(zeroconf.IPVersion.V4Only), ADDRESSES_MAX
    )
    return Announcement(
        service=service,
        name=name,
        server=info.server or "",
        port=info.port,
        addresses=tuple(IPv4Address(int(address)) for address in addresses),
        txt=info.properties,
    )


def _sighting(announcement: Announcement, interface: IPv4Interface, observed_ms: int) -> _Sighting:
    """Check an announcement; raises ProtocolError, or RefusedError for one from elsewhere."""
    service = announcement.service
    name = shown(_without_suffix(announcement.name, f".{service.name}"), NAME_CHARS_MAX)
    server = shown(_without_suffix(announcement.server, ".local."), NAME_CHARS_MAX)
    host = _own_host(announcement.addresses, interface)
    if not name or not server:
        raise ProtocolError(f"{host}: a service without a name; refused")
    if not 0 < announcement.port < 1 << 16:
        raise ProtocolError(f"{host}: {name} is on port {announcement.port}; refused")
    mac = _mac(announcement, name)
    detail = f"{name} announces {service.name} on {host}:{announcement.port} as {server}"
    if mac:
        detail = f"{detail}, MAC {mac}"
    return _Sighting(
        service=service,
        identity=f"{_IDENTITY}{mac}" if mac else f"{_IDENTITY}name:{name}",
        host=host,
        port=announcement.port,
        name=name,
        evidence=Evidence(method="mdns", detail=detail[:DETAIL_CHARS_MAX], observed_ms=observed_ms),
    )


def _own_host(addresses: tuple[IPv4Address, ...], interface: IPv4Interface) -> IPv4Address:
    """Return the service's address in our network; RefusedError when it has none.

    Several are usual: cameras keep a link-local one beside the one they were given.
    """
    network = interface.network
    never = {interface.ip, network.network_address, network.broadcast_address}
    for address in addresses:
        if address in network and address not in never:
            return address
    raise RefusedError(f"{', '.join(map(str, addresses))}: not in {network}; refused")


def _mac(announcement: Announcement, name: str) -> str | None:
    """Return the MAC address a device tells, as 12 small hexadecimal digits."""
    key = announcement.service.txt_mac
    told = announcement.txt.get(key) if key is not None else None
    mac = told.decode("ascii", "replace").lower() if told is not None else ""
    mac = mac.replace(":", "").replace("-", "")
    if not _MAC.fullmatch(mac):
        # The last 13 characters: a separator and the MAC.
        named = _NAMED_MAC.fullmatch(name[-13:])
        mac = named.group(1).lower() if named else ""
    return mac if len(set(mac)) > 1 else None


def _candidate(known: Mapping[ServiceType, _Sighting]) -> Candidate:
    sightings = [known[service] for service in SERVICE_TYPES if service in known]
    surest = sightings[0]
    return Candidate(
        identity=surest.identity,
        kind=DeviceKind.CAMERA,
        address=f"{surest.service.scheme}://{surest.host}:{surest.port}",
        name=surest.name,
        profile=None,
        evidence=tuple(sighting.evidence for sighting in sightings),
        confidence=surest.service.confidence,
        needs=Need.ONVIF,
    )


def _facts(candidate: Candidate | None) -> tuple[str, ...]:
    """Return what makes a report news: everything but the time."""
    if candidate is None:
        return ()
    return (candidate.address, candidate.name, *(each.detail for each in candidate.evidence))


def _host(address: str) -> IPv4Address | str:
    """Return the host of a network address, the address itself of any other."""
    try:
        return IPv4Address(urlsplit(address).hostname or "")
    except (AddressValueError, ValueError):
        return address


def _without_suffix(name: str, suffix: str) -> str:
    """Return a DNS name without its end, in which case does not matter (RFC 6762, 16)."""
    if not name.lower().endswith(suffix.lower()):
        raise ProtocolError(f"{name[:NAME_CHARS_MAX]!r} does not end in {suffix}; refused")
    return name[: -len(suffix)]
