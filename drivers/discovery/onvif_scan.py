"""Asking one host whether it is an ONVIF camera: for those that answer no multicast search."""

from ipaddress import IPv4Address

import aiohttp

from drivers.codecs.ws_discovery import WORD_CHARS_MAX, WORDS_MAX
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.discovery.onvif import (
    PROFILE,
    ByScopes,
    ask_device,
    device_information,
    serial_identity,
)
from drivers.entities import NowMs
from drivers.errors import DriverError

SERVICE_PATH = "/onvif/device_service"


async def ask_camera(
    http: aiohttp.ClientSession,
    host: IPv4Address,
    port: int,
    now_ms: NowMs,
    by_scopes: ByScopes = lambda _: None,
) -> Candidate | None:
    """Return the camera whose device service answers there, None when none does.

    Proof is the clock, which a camera tells everybody (ONVIF Core, access class PRE_AUTH): a web
    server that wants a password for whatever it is asked is no camera. No password is sent.
    """
    address = f"http://{host}:{port}{SERVICE_PATH}"
    try:
        clock = await ask_device(http, address, "GetSystemDateAndTime")
    except DriverError:
        return None
    if clock is None:
        return None
    facts, needs = await _facts(http, address)
    profile = by_scopes(await _scopes(http, address))
    told = ", ".join(f"{name}={value}" for name, value in facts.items())
    detail = told or (
        "asks for a password" if needs is Need.PASSWORD else "tells nothing of itself"
    )
    made = " ".join(filter(None, (facts.get("Manufacturer"), facts.get("Model"))))
    return Candidate(
        identity=serial_identity(facts.get("SerialNumber", "")) or f"onvif:address:{host}:{port}",
        kind=DeviceKind.CAMERA,
        address=address,
        name=made or f"ONVIF camera at {host}",
        profile=PROFILE if profile is None else profile.id,
        evidence=(Evidence(method="onvif", detail=detail[:500], observed_ms=now_ms()),),
        confidence=0.9,
        needs=needs,
    )


async def _facts(http: aiohttp.ClientSession, address: str) -> tuple[dict[str, str], Need]:
    try:
        facts = await device_information(http, address)
    except DriverError:
        return {}, Need.NOTHING
    return ({}, Need.PASSWORD) if facts is None else (facts, Need.NOTHING)


async def _scopes(http: aiohttp.ClientSession, address: str) -> list[str]:
    """Return what a camera says of itself; most tell only who has a password."""
    try:
        told = await ask_device(http, address, "GetScopes")
    except DriverError:
        return []
    items = [] if told is None else [each for each in told.walk() if each.local == "ScopeItem"]
    scopes = (item.text.strip() for item in items)
    return [scope for scope in scopes if len(scope) <= WORD_CHARS_MAX][:WORDS_MAX]
