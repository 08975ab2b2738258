"""The JSON interface: the same facts and the same doors as the pages."""

import asyncio
import re

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer

from edge.pages.app import BODY_BYTES_MAX, build_pages
from edge.pages.box_view import Change
from edge.pages.streams import STREAMS_MAX
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import JPEG, NOW_MS, SETUP_CODE, SimulatedBox, as_view

PROJECTOR = "pjlink:00:11:22"


async def test_a_program_opens_a_session_and_drives_a_device(
    client: Client, box: SimulatedBox
) -> None:
    opened = await client.post("/api/session", json={"code": SETUP_CODE})
    assert opened.status == 200
    answer = await client.post(
        "/api/command", json={"device": PROJECTOR, "command": "power", "argument": "on"}
    )
    assert (await answer.json())["outcome"] == "verified"
    assert box.told == [("command", PROJECTOR, "power", "on", "setup code from 127.0.0.1")]


@pytest.mark.parametrize("path", ["discover", "adopt", "dismiss", "command"])
async def test_without_a_session_nothing_is_done(
    client: Client, box: SimulatedBox, path: str
) -> None:
    answer = await client.post(f"/api/{path}", json={})
    assert answer.status == 403
    assert "session" in (await answer.json())["error"]
    assert box.told == []


@pytest.mark.parametrize("path", ["candidates", "log", "snapshot/onvif:cam-9"])
async def test_without_a_session_nothing_private_is_read(client: Client, path: str) -> None:
    assert (await client.get(f"/api/{path}")).status == 403


async def test_status_keeps_addresses_for_those_with_the_code(
    client: Client, staff: Client
) -> None:
    await client.delete("/api/session")
    status = await (await client.get("/api/status")).json()
    assert status["sync"]["lanes"][0]["lane"] == "attendance"
    assert all("address" not in device for device in status["devices"])
    await staff.post("/api/session", json={"code": SETUP_CODE})
    status = await (await staff.get("/api/status")).json()
    assert all(device["address"] for device in status["devices"])


async def test_values_carry_time_quality_and_source(client: Client) -> None:
    values = (await (await client.get("/api/values")).json())["values"]
    assert values[0] == {
        "device": "modbus:bus0:17",
        "point": "soil_moisture",
        "value": 31.4,
        "unit": "%",
        "quality": "good",
        "observed_ms": NOW_MS - 2_000,
        "source": "serial:bus0 unit 17 fc3 0x0000",
        "reason": "",
    }
    assert values[2]["value"] is None
    assert values[2]["reason"] == "CRC error"


async def test_adopting_and_searching_by_program(staff: Client, box: SimulatedBox) -> None:
    found = await (await staff.get("/api/candidates")).json()
    identity = found["candidates"][1]["identity"]
    body = {"identity": identity, "name": "probe"}
    assert (await (await staff.post("/api/adopt", json=body)).json())["device"] == identity
    await staff.post("/api/discover", json={"kinds": ["camera"]})
    assert box.told[-1] == ("discover", "camera")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"device": 3, "command": "power"}',
        b'{"device": "a", "command": "power", "sudo": true}',
        b'{"device": "a", "command": ""}',
        b"\xff\xfe",
    ],
)
async def test_a_malformed_request_is_refused_with_its_reason(
    staff: Client, box: SimulatedBox, body: bytes
) -> None:
    answer = await staff.post(
        "/api/command", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400
    assert (await answer.json())["error"]
    assert box.told == []


async def test_a_form_cannot_pass_for_json(staff: Client, box: SimulatedBox) -> None:
    answer = await staff.post("/api/dismiss", data={"identity": box.found[0].identity})
    assert answer.status == 415
    assert box.told == []


async def test_a_huge_body_is_refused_unread(staff: Client) -> None:
    answer = await staff.post(
        "/api/adopt",
        data=b" " * (BODY_BYTES_MAX + 1),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 413


async def test_the_log_is_read_on_from_a_number(staff: Client) -> None:
    lines = (await (await staff.get("/api/log?after=1")).json())["lines"]
    assert [line["number"] for line in lines] == [2]
    assert (await staff.get("/api/log?after=x")).status == 400


async def test_a_snapshot_is_a_picture_or_an_error(staff: Client, box: SimulatedBox) -> None:
    answer = await staff.get("/api/snapshot/onvif:cam-9")
    assert answer.content_type == "image/jpeg"
    assert await answer.read() == JPEG
    box.picture = b"<svg onload=alert(1)>"
    assert (await staff.get("/api/snapshot/onvif:cam-9")).status == 502
    assert (await staff.get("/api/snapshot/unknown")).status == 404


async def test_a_rooms_lesson_comes_with_its_hour(client: Client) -> None:
    body = await (await client.get("/api/lesson?room=r301")).json()
    assert body["starts"] == "09:50"
    assert body["lesson"]["state"] == "scheduled"
    nothing = await (await client.get("/api/lesson?room=r302")).json()
    assert nothing["lesson"] is None


async def test_changes_reach_an_open_page(client: Client, box: SimulatedBox) -> None:
    answer = await client.get("/api/events")
    assert answer.content_type == "text/event-stream"
    assert await answer.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
    await box.listening.wait()
    box.tell(Change.TAPS)
    assert await answer.content.readuntil(b"\n\n") == b"data: taps\n\n"
    answer.close()


async def test_what_changed_between_a_page_and_its_stream_is_told_first(
    client: Client, box: SimulatedBox
) -> None:
    box.tell(Change.SAFETY)
    page = await (await client.get("/")).text()
    made = re.search(r'data-changes="([0-9]+)"', page)
    assert made is not None
    box.tell(Change.DEVICES)
    answer = await client.get(f"/api/events?since={made[1]}")
    await answer.content.readuntil(b"\n\n")
    assert await answer.content.readuntil(b"\n\n") == b"data: devices\n\n"
    answer.close()


@pytest.mark.parametrize(("since", "first"), [("900", b"safety"), ("", b"taps"), ("x", b"taps")])
async def test_a_page_of_the_box_before_its_restart_is_told_everything(
    client: Client, box: SimulatedBox, since: str, first: bytes
) -> None:
    box.tell(Change.SAFETY)
    answer = await client.get(f"/api/events?since={since}")
    await answer.content.readuntil(b"\n\n")
    await box.listening.wait()
    box.tell(Change.TAPS)
    assert await answer.content.readuntil(b"\n\n") == b"data: " + first + b"\n\n"
    answer.close()


async def test_a_flood_of_changes_is_told_once(client: Client, box: SimulatedBox) -> None:
    answer = await client.get("/api/events")
    await answer.content.readuntil(b"\n\n")
    await box.listening.wait()
    for _ in range(50):
        box.tell(Change.VALUES)
    box.tell(Change.SYNC)
    told = b""
    while b"sync" not in told:
        told += await answer.content.readuntil(b"\n\n")
    assert told.count(b"values") < 50
    answer.close()


async def test_listeners_are_bounded_and_a_stop_does_not_wait_for_them(
    box: SimulatedBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert STREAMS_MAX >= 128
    monkeypatch.setattr("edge.pages.streams.STREAMS_MAX", 2)
    server = TestServer(build_pages(as_view(box)))
    async with TestClient(server, cookie_jar=CookieJar(unsafe=True)) as client:
        streams = [await client.get("/api/events") for _ in range(2)]
        for stream in streams:
            await stream.content.readuntil(b"\n\n")
        refused = await client.get("/api/events")
        assert refused.status == 503
        assert refused.headers["Retry-After"]
        async with asyncio.timeout(10):
            await server.close()
        for stream in streams:
            assert await stream.content.read() in {b"", b"\n"}


async def test_health_needs_a_readable_store(client: Client, box: SimulatedBox) -> None:
    answer = await client.get("/healthz")
    assert answer.status == 200
    assert (await answer.json())["ok"] is True
    box.path.unlink()
    assert (await client.get("/healthz")).status == 503


async def test_an_unknown_interface_answers_in_json(client: Client) -> None:
    answer = await client.get("/api/nothing")
    assert answer.status == 404
    assert (await answer.json())["error"]


async def test_another_sites_page_cannot_open_a_websocket(client: Client) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "https://evil.example"}
    assert (await client.get("/api/now", headers=headers)).status == 403
