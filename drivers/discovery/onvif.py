"""Finding ONVIF cameras by WS-Discovery, and asking them, without a password, who they are."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Never
from urllib.parse import unquote

import aiohttp

from drivers.cameras.pinned_http import fetch, pin
from drivers.codecs import ws_discovery
from drivers.codecs.device_text import shown
from drivers.codecs.guarded_xml import (
    Element,
    ForbiddenXmlError,
    parse_leniently,
    parse_strictly,
)
from drivers.codecs.ws_discovery import Hello, ProbeMatches, Target
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.discovery.refusals import Refusals
from drivers.entities import NowMs
from drivers.errors import DriverError, ProtocolError, RefusedError
from drivers.transports.udp import Datagram, multicast_socket, open_udp, sending_socket
from firmware_profiles.model import Profile

PROFILE = "onvif-camera"
GATHER_S = 2.0
PROBES = 3  # one, repeated twice
PROBE_PAUSE_S = 0.5
CAMERAS_MAX = 512
CAMERAS_OF_A_HOST_MAX = 4
ASKED_AT_ONCE_MAX = 16
ANSWER_S = 3.0
ANSWER_BYTES_MAX = 64 * 1024
HELLO_AGAIN_S = 60.0
TEXT_CHARS_MAX = 128
_SCOPE = "onvif://www.onvif.org/"
_SOAP = "application/soap+xml; charset=utf-8"
_UNAUTHORISED = 401
_SERIAL_CHARS_MIN = 4

ByScopes = Callable[[Collection[str]], Profile | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sighting:
    """A camera as WS-Discovery showed it; ``address`` is on the host that spoke."""

    target: Target
    address: str
    evidence: Evidence


async def discover_cameras(
    interface: IPv4Interface,
    now_ms: NowMs,
    rng: random.Random,
    *,
    by_scopes: ByScopes = lambda _: None,
    gather_s: float = GATHER_S,
) -> list[Candidate]:
    """Return the cameras within ``interface.network``, ordered by address.

    ``by_scopes`` chooses each one's profile; where it knows none, it is the standard's.

    Answers from elsewhere, and cameras that point to another host than themselves, are refused
    and logged. No password is sent to anyone. Raises SetupError when the interface's address is
    not ours.
    """
    sightings = await _probe(interface, now_ms, rng, gather_s)
    slots = asyncio.Semaphore(ASKED_AT_ONCE_MAX)
    async with open_http(interface) as http, asyncio.TaskGroup() as tasks:

        async def ask(sighting: _Sighting) -> Candidate:
            async with slots:
                return await _ask(http, sighting, now_ms, by_scopes)

        asked = [tasks.create_task(ask(sighting)) for sighting in sightings]
    return _with_own_identities([task.result() for task in asked], sightings)


async def listen_for_cameras(
    interface: IPv4Interface,
    now_ms: NowMs,
    found: Callable[[Candidate], None],
    *,
    by_scopes: ByScopes = lambda _: None,
) -> Never:
    """Report each camera that says Hello, e.g. because it was just plugged in, until cancelled.

    The same camera is asked at most once in ``HELLO_AGAIN_S``, one camera at a time. Raises as
    ``discover_cameras``.
    """
    loop = asyncio.get_running_loop()
    asked: dict[IPv4Address, float] = {}
    refusals = Refusals("ws-discovery")
    group = multicast_socket(ws_discovery.MULTICAST_GROUP, ws_discovery.PORT, interface.ip)
    async with open_udp(group) as link, open_http(interface) as http:
        while True:
            datagram = await link.receive()
            if asked.get(datagram.source, 0.0) > loop.time():
                continue
            for sighting in _sightings(interface, datagram, now_ms, refusals, only=Hello):
                asked = {host: until for host, until in asked.items() if until > loop.time()}
                if len(asked) < CAMERAS_MAX:
                    asked[datagram.source] = loop.time() + HELLO_AGAIN_S
                    found(await _ask(http, sighting, now_ms, by_scopes))


async def _probe(
    interface: IPv4Interface, now_ms: NowMs, rng: random.Random, gather_s: float
) -> list[_Sighting]:
    message_id = uuid.UUID(int=rng.getrandbits(128), version=4).urn
    probe = ws_discovery.build_probe(message_id)
    sightings: dict[str, _Sighting] = {}
    refusals = Refusals("ws-discovery")
    hosts: Counter[IPv4Address] = Counter()

    async with open_udp(sending_socket(interface.ip)) as link, asyncio.TaskGroup() as tasks:

        async def repeat() -> None:
            for _repetition in range(PROBES):
                link.send(probe, ws_discovery.MULTICAST_GROUP, ws_discovery.PORT)
                await asyncio.sleep(PROBE_PAUSE_S)

        repeating = tasks.create_task(repeat())
        try:
            async with asyncio.timeout(gather_s):
                while len(sightings) < CAMERAS_MAX:
                    datagram = await link.receive()
                    for sighting in _sightings(
                        interface, datagram, now_ms, refusals, only=ProbeMatches
                    ):
                        if hosts[datagram.source] < CAMERAS_OF_A_HOST_MAX:
                            hosts[datagram.source] += sighting.address not in sightings
                            sightings.setdefault(sighting.address, sighting)
        except TimeoutError:
            repeating.cancel()
    return sorted(sightings.values(), key=lambda sighting: sighting.address)


def _sightings(
    interface: IPv4Interface,
    datagram: Datagram,
    now_ms: NowMs,
    refusals: Refusals,
    *,
    only: type[Hello | ProbeMatches],
) -> list[_Sighting]:
    """Return the cameras of one datagram."""
    if datagram.source not in interface.network:
        # Hellos of the neighbours are heard by everyone on the link and mean no harm.
        if only is ProbeMatches:
            refusals.tell(datagram.source, f"not in {interface.network}; refused")
        return []
    try:
        message = ws_discovery.parse(datagram.data)
    except ProtocolError as error:
        refusals.tell(datagram.source, error)
        return []
    match message:
        case ProbeMatches(matches=targets) if only is ProbeMatches:
            lenient = message.lenient
        case Hello(target=target) if only is Hello:
            targets = (target,)
            lenient = message.lenient
        case _:
            return []
    source = datagram.source
    seen = f"{source} answers a probe" if only is ProbeMatches else f"{source} says hello"
    evidence = Evidence(
        method="ws-discovery",
        detail=f"{seen}, sloppily written" if lenient else seen,
        observed_ms=now_ms(),
    )
    sightings = []
    for target in filter(_is_camera, targets):
        try:
            address = _own_address(target, datagram.source)
        except (ProtocolError, RefusedError) as error:
            refusals.tell(datagram.source, error)
        else:
            sightings.append(_Sighting(target=target, address=address, evidence=evidence))
    return sightings


def _is_camera(target: Target) -> bool:
    return ws_discovery.CAMERA_TYPE in target.types or any(
        scope.startswith(_SCOPE) for scope in target.scopes
    )


def _own_address(target: Target, source: IPv4Address) -> str:
    """Return the first address that leads to the sender itself.

    Whoever could name other hosts could make the box knock, and later sign in, anywhere: then
    RefusedError or ProtocolError is raised for the last one.
    """
    reason: ProtocolError | RefusedError = ProtocolError("tells no address; refused")
    for xaddr in target.xaddrs:
        try:
            return pin(xaddr, source, "device service")
        except (ProtocolError, RefusedError) as error:
            reason = error
    raise reason


def open_http(interface: IPv4Interface) -> aiohttp.ClientSession:
    """Return a session that leaves by one interface and minds no proxy."""
    connector = aiohttp.TCPConnector(local_addr=(str(interface.ip), 0))
    return aiohttp.ClientSession(connector=connector, trust_env=False)


async def _ask(
    http: aiohttp.ClientSession, sighting: _Sighting, now_ms: NowMs, by_scopes: ByScopes
) -> Candidate:
    target = sighting.target
    profile = by_scopes(target.scopes)
    facts: dict[str, str] = {}
    needs = Need.NOTHING
    confidence = 0.95
    try:
        answered = await device_information(http, sighting.address)
        if answered is None:
            needs = Need.PASSWORD
            detail = "GetDeviceInformation asks for a password"
        else:
            facts = answered
            told = ", ".join(f"{name}={value}" for name, value in facts.items())
            detail = told or "GetDeviceInformation tells nothing"
    except DriverError as error:
        confidence = 0.6
        detail = str(error)
    evidence = (
        sighting.evidence,
        Evidence(method="endpoint", detail=target.endpoint, observed_ms=now_ms()),
        Evidence(method="onvif", detail=detail[:500], observed_ms=now_ms()),
    )
    serial = facts.get("SerialNumber", "")
    return Candidate(
        identity=serial_identity(serial) or _endpoint_identity(target),
        kind=DeviceKind.CAMERA,
        address=sighting.address,
        name=_name(target, facts),
        profile=PROFILE if profile is None else profile.id,
        evidence=evidence,
        confidence=confidence,
        needs=needs,
    )


async def device_information(http: aiohttp.ClientSession, address: str) -> dict[str, str] | None:
    """Return what a camera tells strangers, or None when it wants a password first.

    Raises DriverError when it is no camera, or does not answer.
    """
    told = await ask_device(http, address, "GetDeviceInformation")
    if told is None:
        return None
    return {child.local: text for child in told.children if (text := _text(child.text))}


async def ask_device(http: aiohttp.ClientSession, address: str, question: str) -> Element | None:
    """Return the answer to a question of the device service; None when it wants a password."""
    answer = await fetch(
        http,
        ("POST", address, _QUESTION % question.encode("ascii")),
        content_type=_SOAP,
        size_max=ANSWER_BYTES_MAX,
        timeout_s=ANSWER_S,
    )
    if answer.status == _UNAUTHORISED:
        return None
    try:
        envelope = parse_strictly(answer.body, size_max=ANSWER_BYTES_MAX)
    except ForbiddenXmlError:
        raise
    except ProtocolError:
        envelope = parse_leniently(answer.body, size_max=ANSWER_BYTES_MAX)
    told = envelope.first(f"{question}Response")
    if told is None:
        fault = envelope.first("Fault")
        words = " ".join(element.text for element in fault.walk()) if fault is not None else ""
        if "auth" in words.lower():
            return None
        raise ProtocolError(f"{address}: answers HTTP {answer.status} without {question}Response")
    return told


def serial_identity(serial: str) -> str | None:
    """Return an identity by serial number, or None for the placeholders some makers ship."""
    if len(serial) < _SERIAL_CHARS_MIN or len(set(serial)) == 1:
        return None
    return f"onvif:serial:{serial}"


def _endpoint_identity(target: Target) -> str:
    return f"onvif:{_text(target.endpoint)}"


def _with_own_identities(
    candidates: list[Candidate], sightings: list[_Sighting]
) -> list[Candidate]:
    """Give cameras that claim the same serial number identities by their endpoints instead."""
    claims = Counter(candidate.identity for candidate in candidates)
    return [
        replace(candidate, identity=_endpoint_identity(sighting.target))
        if claims[candidate.identity] > 1
        else candidate
        for candidate, sighting in zip(candidates, sightings, strict=True)
    ]


def _name(target: Target, facts: dict[str, str]) -> str:
    scopes = {
        kind: _text(unquote(scope.removeprefix(f"{_SCOPE}{kind}/")))
        for kind in ("name", "hardware")
        for scope in target.scopes
        if scope.startswith(f"{_SCOPE}{kind}/")
    }
    made = " ".join(filter(None, (facts.get("Manufacturer"), facts.get("Model"))))
    made = made or scopes.get("hardware", "")
    called = scopes.get("name", "")
    if called and made:
        return f"{called} ({made})"
    return called or made or "ONVIF camera"


def _text(value: str) -> str:
    return shown(value, TEXT_CHARS_MAX)


_QUESTION = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>'
    b'<%s xmlns="http://www.onvif.org/ver10/device/wsdl"/>'
    b"</s:Body></s:Envelope>"
)
