"""Every answer of the simulated camera, read strictly by the WSDL that ONVIF publishes."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import onvif
import pytest
from onvif.definition import SERVICES
from onvif.transport import AsyncSafeTransport
from zeep import Client, Settings
from zeep.helpers import serialize_object

from benchmarks.peer_environment import PEERS, peer_python
from drivers.cameras.lean_wsdl import OPERATIONS as OPERATIONS_KEPT
from drivers.cameras.lean_wsdl import write_lean
from drivers.simulators import onvif_replies
from drivers.simulators.onvif_events import MOTION_TOPIC
from tests.drivers.camera_bench import Camera
from tests.system_needs import need_peer

WSDL = Path(onvif.__file__).parent / "wsdl"
EMPTY = {
    "ContinuousMove",
    "GotoHomePosition",
    "GotoPreset",
    "RemovePreset",
    "SetImagingSettings",
    "SetSynchronizationPoint",
    "SetVideoEncoderConfiguration",
    "Stop",
    "Unsubscribe",
}
"""Operations whose answer says nothing but that it was done."""
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
    "GotoPreset": "<PresetToken>preset-1</PresetToken>",
    "RemovePreset": "<PresetToken>preset-1</PresetToken>",
    "PullMessages": "<Timeout>PT1S</Timeout><MessageLimit>5</MessageLimit>",
}


@pytest.fixture
async def answers(tmp_path: Path) -> list[tuple[str, str, bytes]]:
    """Every answer with the service and the operation it belongs to."""
    camera, told = Camera(tmp_path, credentials=None), list[tuple[str, str, bytes]]()
    async with camera.plugged_in(), aiohttp.ClientSession() as http:
        subscribed = (await ask(http, camera, "events", "CreatePullPointSubscription")).decode()
        found = re.search(r"<wsa:ReferenceParameters>(.*)</wsa:ReferenceParameters>", subscribed)
        assert found is not None
        camera.device.events.set_motion(True)
        for service, operations in OPERATIONS.items():
            header = found[1] if service in {"pullpoint", "subscription"} else ""
            for operation in operations.split():
                body = await ask(http, camera, service, operation, header)
                told.append((service, operation, body))
    return told


async def test_the_simulated_camera_answers_by_the_wsdl_read_strictly(
    answers: list[tuple[str, str, bytes]],
) -> None:
    for service, operation, body in answers:
        answer = read_strictly(service, operation, body)
        assert answer is not None or operation in EMPTY, operation
        assert not list(missing(answer)), operation
        if operation == "PullMessages":
            topics = {str(note.Topic._value_1) for note in answer.NotificationMessage}
            assert topics == {MOTION_TOPIC}


@pytest.mark.timeout(300)  # the environment is built once
async def test_every_answer_is_valid_by_onvifs_own_schemas(
    answers: list[tuple[str, str, bytes]],
) -> None:
    python = need_peer(peer_python, "xmlschema")
    (nodes,) = (body for _, operation, body in answers if operation == "GetNodes")
    broken = nodes.replace(b"<tt:HomeSupported>true</tt:HomeSupported>", b"")
    told = [*answers, ("ptz", "broken GetNodes", broken)]
    listed = [(SERVICES[service]["wsdl"], what, body.decode()) for service, what, body in told]
    done = await asyncio.to_thread(
        subprocess.run,
        [python, PEERS / "xmlschema" / "validate.py"],
        input=json.dumps({"wsdl": str(WSDL), "answers": listed}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (only,) = done.stdout.splitlines()
    assert only.startswith("ptz.wsdl broken GetNodes: ")


async def test_the_part_of_the_wsdl_that_is_kept_reads_every_answer_as_the_whole_does(
    answers: list[tuple[str, str, bytes]], tmp_path: Path
) -> None:
    write_lean(tmp_path)
    read = set[str]()
    for service, operation, body in answers:
        if operation in OPERATIONS_KEPT.get(service, ()):
            by_whole, by_part = (
                serialize_object(read_strictly(service, operation, body, folder))  # type: ignore[no-untyped-call]  # zeep's
                for folder in (WSDL, tmp_path / service)
            )
            assert by_part == by_whole, operation
            read.add(operation)
    assert read == frozenset().union(*OPERATIONS_KEPT.values())


async def ask(
    http: aiohttp.ClientSession, camera: Camera, service: str, operation: str, header: str = ""
) -> bytes:
    namespace = SERVICES[service]["ns"]
    if operation in {"Renew", "Unsubscribe"}:
        namespace = onvif_replies.NOTIFICATION
    envelope = (
        f'<s:Envelope xmlns:s="{onvif_replies.SOAP}"><s:Header>{header}</s:Header><s:Body>'
        f'<{operation} xmlns="{namespace}">{INSIDE.get(operation, "")}</{operation}>'
        "</s:Body></s:Envelope>"
    )
    async with http.post(f"{camera.device.base}/onvif/{service}", data=envelope) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


def read_strictly(service: str, operation: str, body: bytes, folder: Path = WSDL) -> Any:  # noqa: ANN401 — zeep's own types
    definition = SERVICES[service]
    settings = Settings(strict=True, forbid_dtd=True)
    client = Client(  # type: ignore[no-untyped-call]  # zeep's
        str(folder / definition["wsdl"]), transport=AsyncSafeTransport(), settings=settings
    )
    bound: Any = client.wsdl.bindings[f"{{{definition['ns']}}}{definition['binding']}"]

    class Response:
        status_code = 200
        headers = {"Content-Type": "application/soap+xml"}  # noqa: RUF012 — read only
        content = body
        encoding = "utf-8"

    return bound.process_reply(client, bound.get(operation), Response())


def missing(value: object) -> Iterator[str]:
    """Yield the elements that the schema demands and zeep did not find."""
    for each in value if isinstance(value, list) else [value]:
        kind: Any = getattr(each, "_xsd_type", None)
        if kind is not None:
            for name, element in kind.elements:
                found = getattr(each, name, None)
                if found is None and element.min_occurs:
                    yield f"{kind.name}.{name}"
                yield from missing(found)
