import asyncio
import base64
import hashlib
import logging
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from drivers.cameras.messages import CameraAccess
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.pinned_http import host_of, pin
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.entities import (
    DeviceEvent,
    DeviceId,
    Measurement,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import ProtocolError, RefusedError, UnreachableError
from drivers.simulators import onvif_replies
from drivers.simulators.onvif_motor import PRESETS
from tests.drivers.camera_bench import (
    ADOPTED,
    HOST,
    JPEG,
    OTHER_HOST,
    Camera,
    running_worker,
    until,
    wall_ms,
)

NOW_MS = 1_700_000_000_000


@pytest.fixture
async def worker() -> AsyncIterator[CameraWorker]:
    async with running_worker() as worker:
        yield worker


async def test_an_adopted_camera_tells_what_it_is_and_where_its_streams_are(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
    identity = camera.device.identity
    assert described.serial == identity.serial
    assert described.mac == identity.mac
    assert (described.manufacturer, described.model) == ("SchoolNode", "Simulated camera")
    assert described.main.uri == f"rtsp://{HOST}:8554/main"
    assert (described.main.width, described.main.height, described.main.fps) == (1280, 720, 25)
    assert described.main.encoding == "H264"
    assert described.sub is not None
    assert described.sub.uri == f"rtsp://{HOST}:8554/sub"
    assert described.notes == ()
    assert not camera.lines("token_refused")


async def test_a_camera_without_a_password_gets_no_token(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path, credentials=None)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        assert described.snapshot_uri is not None
        assert await worker.fetch_snapshot(camera.access, described.snapshot_uri) == JPEG
    assert not any(line["has_token"] for line in camera.lines("request"))


@pytest.mark.parametrize("hours", [-30 * 24, 7])
async def test_a_camera_whose_clock_is_wrong_is_still_signed_in_to(
    tmp_path: Path, worker: CameraWorker, hours: int
) -> None:
    camera = Camera(tmp_path, ahead_ms=hours * 3_600_000)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        assert abs(described.clock_offset_ms - hours * 3_600_000) <= 1_500
    assert not camera.lines("token_refused")


async def test_a_picture_is_fetched_by_digest_only_after_a_challenge(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        assert described.snapshot_uri is not None
        assert await worker.fetch_snapshot(camera.access, described.snapshot_uri) == JPEG
    assert [line["has_authorization"] for line in camera.lines("snapshot_request")] == [False, True]


async def test_presets_are_listed_and_reached(tmp_path: Path, worker: CameraWorker) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        presets = await worker.list_presets(camera.access, "main")
        assert tuple(preset.name for preset in presets) == PRESETS
        await worker.go_to_preset(camera.access, "main", presets[1].token)
        with pytest.raises(RefusedError, match="no such preset"):
            await worker.go_to_preset(camera.access, "main", "preset-9")
    assert [line["token"] for line in camera.lines("preset")] == ["preset-2"]


async def test_a_wrong_password_is_refused_in_words_that_do_not_repeat_it(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    wrong = Credentials(user="admin", password="wrong-secret-0815")
    async with camera.plugged_in():
        with pytest.raises(RefusedError, match="user name or password refused") as refused:
            await worker.describe(replace(camera.access, credentials=wrong))
    assert "0815" not in str(refused.value)


async def test_a_camera_that_is_not_there_is_unreachable(worker: CameraWorker) -> None:
    access = CameraAccess(address=f"http://{HOST}:8000/onvif/device_service")
    with pytest.raises(UnreachableError, match="check the camera's power"):
        await worker.describe(access)


async def test_another_camera_at_the_adopted_address_is_refused(
    tmp_path: Path, worker: CameraWorker
) -> None:
    adopted = Camera(tmp_path, seed=1)
    stranger = Camera(tmp_path, seed=2)
    access = replace(adopted.access, serial=adopted.device.identity.serial)
    async with adopted.plugged_in():
        await worker.describe(access)
    async with stranger.plugged_in():
        with pytest.raises(RefusedError, match="another camera has its address"):
            await worker.describe(access)


async def test_a_stream_on_another_host_is_refused(tmp_path: Path, worker: CameraWorker) -> None:
    camera = Camera(tmp_path, stream_host=OTHER_HOST)
    async with camera.plugged_in():
        with pytest.raises(RefusedError, match=f"stream address leads to {OTHER_HOST}"):
            await worker.describe(camera.access)


@asynccontextmanager
async def http_server(
    host: str, answer: Callable[[web.Request], web.StreamResponse]
) -> AsyncIterator[list[web.Request]]:
    asked: list[web.Request] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 8000).start()
    try:
        yield asked
    finally:
        await runner.cleanup()


async def test_services_on_another_host_never_hear_of_the_password(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    camera.device.base = f"http://{OTHER_HOST}:8000"
    async with http_server(OTHER_HOST, lambda _: web.Response()) as asked, camera.plugged_in():
        with pytest.raises(RefusedError, match="offers no media service"):
            await worker.describe(camera.access)
    assert asked == []


async def test_a_picture_on_another_host_is_refused(tmp_path: Path, worker: CameraWorker) -> None:
    camera = Camera(tmp_path)
    async with (
        http_server(OTHER_HOST, lambda _: web.Response(body=JPEG)) as asked,
        camera.plugged_in(),
    ):
        with pytest.raises(RefusedError, match="snapshot address leads to"):
            await worker.fetch_snapshot(camera.access, f"http://{OTHER_HOST}:8000/snapshot.jpg")
    assert asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirecting_camera_does_not_take_the_password_elsewhere(
    worker: CameraWorker, status: int
) -> None:
    elsewhere = {"Location": f"http://{OTHER_HOST}:8000/onvif/device_service"}
    access = CameraAccess(address=f"http://{HOST}:8000/onvif/device_service", credentials=ADOPTED)
    async with (
        http_server(OTHER_HOST, lambda _: web.Response()) as asked,
        http_server(HOST, lambda _: web.Response(status=status, headers=elsewhere)),
    ):
        with pytest.raises(RefusedError, match="redirects elsewhere"):
            await worker.describe(access)
        with pytest.raises(RefusedError, match="redirects elsewhere"):
            await worker.fetch_snapshot(access, f"http://{HOST}:8000/a.jpg")
    assert asked == []


BASIC = {"WWW-Authenticate": 'Basic realm="camera"'}


async def test_a_camera_that_wants_the_password_in_clear_does_not_get_it(
    worker: CameraWorker,
) -> None:
    access = CameraAccess(address=f"http://{HOST}:8000/onvif/device_service", credentials=ADOPTED)
    async with http_server(HOST, lambda _: web.Response(status=401, headers=BASIC)) as asked:
        with pytest.raises(RefusedError, match="in clear"):
            await worker.fetch_snapshot(access, f"http://{HOST}:8000/a.jpg")
    assert all("Authorization" not in request.headers for request in asked)


BILLION_LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><l>&c;</l>'
)
EXTERNAL_ENTITY = b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>'
DEEP = b"<a>" * 500 + b"</a>" * 500
NO_TIME = onvif_replies.envelope("<tds:GetSystemDateAndTimeResponse/>").encode()
YEAR_99999 = (
    onvif_replies.envelope(onvif_replies.date_and_time(NOW_MS)).replace("2023", "99999").encode()
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BILLION_LAUGHS, "document type"),
        (EXTERNAL_ENTITY, "document type"),
        (DEEP, "nested deeper"),
        (NO_TIME, "against the WSDL"),
        (YEAR_99999, "no valid time"),
        (b"", "no element"),
        (b"not XML", "no element"),
        (b"<x/>", "against the WSDL"),
        (b"\x00\xff" * 1000, "not well-formed"),
        (b"<a>" + b"x" * 600_000 + b"</a>", "more than"),
    ],
)
async def test_a_hostile_answer_costs_neither_the_worker_nor_other_cameras(
    tmp_path: Path, worker: CameraWorker, body: bytes, reason: str
) -> None:
    good = Camera(tmp_path)
    access = CameraAccess(address=f"http://{OTHER_HOST}:8000/x", credentials=ADOPTED)
    async with good.plugged_in(), http_server(OTHER_HOST, lambda _: web.Response(body=body)):
        await worker.describe(good.access)
        before = worker.pid
        with pytest.raises(ProtocolError, match=reason):
            await worker.describe(access)
        await worker.describe(good.access)
    assert worker.pid == before


async def test_a_camera_that_never_stops_answering_is_cut_off(worker: CameraWorker) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
        try:
            while True:
                writer.write(b"<a>" * 10_000)
                await writer.drain()
        except OSError:
            writer.close()

    async with await asyncio.start_server(serve, HOST, 8000):
        with pytest.raises(ProtocolError, match="more than"):
            await worker.describe(CameraAccess(address=f"http://{HOST}:8000/x"))


async def test_no_worker_runs_before_the_first_question() -> None:
    worker = CameraWorker(random.Random(1))
    task = asyncio.get_running_loop().create_task(worker.run())
    await asyncio.sleep(0.2)
    assert worker.pid is None
    task.cancel()
    await asyncio.wait([task])


async def test_a_killed_worker_is_restarted_and_leaves_no_files(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(files))
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        await worker.describe(camera.access)
        (left,) = files.iterdir()
        first = worker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: worker.pid not in {first, None})
        assert not left.exists()
        assert (await worker.describe(camera.access)).serial == camera.device.identity.serial


async def test_a_question_is_answered_with_an_error_when_the_worker_dies_over_it(
    worker: CameraWorker,
) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        writer.close()

    async with await asyncio.start_server(serve, HOST, 8000):
        with pytest.raises(UnreachableError, match="died while asking"):
            await worker.read_clock(CameraAccess(address=f"http://{HOST}:8000/x"))


async def test_a_worker_that_cannot_start_is_told_and_tried_again() -> None:
    worker = CameraWorker(random.Random(1), command=(sys.executable, "-c", "raise SystemExit(3)"))
    run = asyncio.get_running_loop().create_task(worker.run())
    for _ in range(2):
        with pytest.raises(UnreachableError, match="camera worker"):
            await worker.read_clock(CameraAccess(address=f"http://{HOST}:1/x"))
    assert not run.done()
    run.cancel()
    await asyncio.wait([run])


async def test_a_worker_without_room_for_its_files_is_told(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UnreachableError, match="free space for temporary files"):
        await worker.read_clock(CameraAccess(address=f"http://{HOST}:1/x"))


async def test_a_worker_that_hangs_does_not_outlive_its_daemon() -> None:
    worker = CameraWorker(random.Random(1), (sys.executable, "-c", "import time; time.sleep(99)"))
    loop = asyncio.get_running_loop()
    run = loop.create_task(worker.run())
    asked = loop.create_task(worker.read_clock(CameraAccess(address=f"http://{HOST}:1/x")))
    await until(lambda: worker.pid is not None)
    pid = worker.pid
    run.cancel()
    await asyncio.wait([run, asked])
    assert isinstance(asked.exception(), UnreachableError)
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


async def test_the_worker_ends_with_its_daemon(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "drivers.cameras",
        str(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.close()
    output, _ = await child.communicate()
    assert (child.returncode, output) == (0, b"")


async def test_passwords_are_in_no_argument_environment_or_log(
    tmp_path: Path,
    worker: CameraWorker,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        assert described.snapshot_uri is not None
        await worker.fetch_snapshot(camera.access, described.snapshot_uri)
        process = Path(f"/proc/{worker.pid}")
        visible = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    captured = capfd.readouterr()
    everything = (
        visible.decode(errors="replace")
        + caplog.text
        + captured.out
        + captured.err
        + repr(camera.access)
        + repr(described)
        + camera.path.read_text()
    )
    assert "drivers.cameras" in everything
    assert ADOPTED.password not in everything


async def test_a_token_that_was_seen_before_is_refused_by_the_simulated_camera(
    tmp_path: Path,
) -> None:
    camera = Camera(tmp_path)
    nonce = b"0123456789abcdef"
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + created.encode() + ADOPTED.password.encode()).digest()  # noqa: S324 — WSS says so
    wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
    utility = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
    kind = (
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"
        "#PasswordDigest"
    )
    envelope = (
        f'<s:Envelope xmlns:s="{onvif_replies.SOAP}"><s:Header>'
        f'<Security xmlns="{wsse}"><UsernameToken><Username>{ADOPTED.user}</Username>'
        f'<Password Type="{kind}">{base64.b64encode(digest).decode()}</Password>'
        f"<Nonce>{base64.b64encode(nonce).decode()}</Nonce>"
        f'<Created xmlns="{utility}">{created}</Created></UsernameToken></Security></s:Header>'
        '<s:Body><GetDeviceInformation xmlns="http://www.onvif.org/ver10/device/wsdl"/></s:Body>'
        "</s:Envelope>"
    )
    async with camera.plugged_in(), aiohttp.ClientSession() as http:
        statuses = []
        for _ in range(2):
            async with http.post(camera.device.address, data=envelope) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 400]
    assert [line["reason"] for line in camera.lines("token_refused")] == ["nonce used before"]


async def test_a_camera_that_comes_and_goes_is_told_with_its_evidence(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path, ahead_ms=3_600_000)
    events: list[DeviceEvent] = []
    watched = OnvifCamera(
        DeviceId("camera"),
        camera.access,
        worker,
        wall_ms,
        events.append,
        random.Random(3),
        status_s=0.05,
    )

    def presences() -> list[bool]:
        return [event.online for event in events if isinstance(event, Presence)]

    def measured(point: str) -> list[Measurement]:
        return [e for e in events if isinstance(e, Measurement) and e.point == point]

    with pytest.raises(UnreachableError, match="has not answered yet"):
        await watched.snapshot()
    task = asyncio.get_running_loop().create_task(watched.run())
    async with camera.plugged_in():
        await until(lambda: len(measured("clock_offset")) >= 2)
        assert await watched.snapshot() == JPEG
        reached = await watched.control.go_to_preset(watched.control.presets[0].token)
        assert reached.outcome is Outcome.ACKNOWLEDGED
        assert (await watched.control.go_to_preset("nowhere")).outcome is Outcome.FAILED
    await until(lambda: presences()[-1:] == [False])
    async with camera.plugged_in():
        await until(lambda: presences()[-1:] == [True])
    task.cancel()
    await asyncio.wait([task])
    assert presences()[:3] == [True, False, True]
    offset = measured("clock_offset")[0]
    assert offset.unit == "s"
    assert isinstance(offset.value, float)
    assert abs(offset.value - 3600) < 1.5
    assert offset.quality is Quality.UNCERTAIN
    assert measured("stream_main")[0].value == f"rtsp://{HOST}:8554/main"
    assert measured("stream_sub")[0].value == f"rtsp://{HOST}:8554/sub"
    assert {m.value for m in measured("reachable")} == {"yes", "no"}
    assert measured("reachable")[0].source == f"onvif {camera.device.address}"


@pytest.mark.parametrize(
    ("url", "pinned"),
    [
        (f"http://{HOST}/a", f"http://{HOST}/a"),
        (f"http://user:word@{HOST}:80/a?b=c#d", f"http://{HOST}:80/a?b=c"),
    ],
    ids=["host", "user"],  # the same in every process, whose HOST differs
)
def test_a_pinned_address_is_rebuilt_without_user_and_password(url: str, pinned: str) -> None:
    assert pin(url, IPv4Address(HOST), "address") == pinned


@given(st.text(max_size=80) | st.from_regex(r"(http|rtsp)://[0-9.@:\[\]/\\]{0,30}"))
def test_a_pinned_address_never_leads_elsewhere_however_it_is_written(url: str) -> None:
    try:
        pinned = pin(url, IPv4Address(HOST), "address")
    except (ProtocolError, RefusedError):
        return
    assert host_of(pinned) == IPv4Address(HOST)
    assert pinned.startswith(f"http://{HOST}")
    assert pinned[len(f"http://{HOST}") :][:1] in {"", ":", "/", "?"}
