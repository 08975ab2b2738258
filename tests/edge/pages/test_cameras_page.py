"""The cameras' page over a real simulated camera: pictures, pad, positions and the ledger."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from drivers.cameras.outages import Loss
from edge.lesson.classroom.classroom_stream import HEADER_BYTES
from tests.drivers.camera_bench import HOST, until
from tests.edge.pages.camera_room import DEVICE, RTSP_PORT, CameraRoom, camera_room
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SimulatedBox

Viewer = ClientWebSocketResponse[bool]
PAD = f"/cameras/pad?device={DEVICE}"
STREAM = f"/cameras/stream?device={DEVICE}"


@pytest.fixture
async def room(box: SimulatedBox, tmp_path: Path) -> AsyncIterator[CameraRoom]:
    async with camera_room(box, tmp_path) as room:
        yield room


async def test_who_has_not_entered_the_code_sees_no_camera_and_turns_none(
    room: CameraRoom, client: Client
) -> None:
    page = await (await client.get("/cameras")).text()
    assert "Pictures want the setup code." in page
    assert "301" not in page
    for path in (PAD, STREAM):
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect(path)
    answer = await client.post("/cameras/keep", data={"device": DEVICE, "name": "x"})
    assert answer.status == 403
    assert not room.control.lines("move")


async def test_a_camera_turns_while_a_page_says_so_and_stops_when_it_is_silent(
    room: CameraRoom, staff: Client
) -> None:
    async with staff.ws_connect(PAD) as pad:
        await pad.send_json({"pan": 0.5})
        await pad.send_json({"pan": 0.5})
        await until(lambda: bool(room.control.lines("stop")))
    moves = [(line["pan"], line["tilt"]) for line in room.control.lines("move")]
    assert moves == [(0.5, 0.0)]
    assert not room.control.lines("move_timed_out")


async def test_a_camera_stops_when_the_page_that_turned_it_is_gone(
    room: CameraRoom, staff: Client
) -> None:
    async with staff.ws_connect(PAD) as pad:
        await pad.send_json({"tilt": 0.5, "zoom": -0.25})
        await until(lambda: bool(room.control.lines("move")))
    await until(lambda: bool(room.control.lines("stop")))
    assert not room.control.lines("move_timed_out")


async def test_a_pad_that_talks_nonsense_is_hung_up_on(room: CameraRoom, staff: Client) -> None:
    for nonsense in ("", "{", '{"pan": 2}', '{"roll": 1}', '{"pan": "left"}', "x" * 300):
        async with staff.ws_connect(PAD) as pad:
            await pad.send_str(nonsense)
            told = await pad.receive()
            assert told.type is WSMsgType.CLOSE
    assert not room.control.lines("move")


async def test_positions_are_kept_gone_to_and_removed_from_the_page(
    room: CameraRoom, staff: Client
) -> None:
    page = await (await staff.get("/cameras")).text()
    assert "讲台" in page
    await staff.post("/cameras/command", data={"device": DEVICE, "command": "home"})
    for path in ("keep", "remove"):
        room.box.told.clear()
        answer = await staff.post(f"/cameras/{path}", data={"device": DEVICE, "name": "窗户"})
        assert answer.status == 200
        assert room.box.told[0][:4] == ("command", DEVICE, f"{path}_preset", "窗户")


async def test_a_live_picture_is_sent_while_somebody_looks_and_a_stall_is_noted(
    room: CameraRoom, staff: Client
) -> None:
    async with room.pictures.serving(HOST, RTSP_PORT), staff.ws_connect(STREAM) as viewer:
        kinds = [(await next_picture(viewer))[1] for _ in range(2)]
    assert kinds == [1, 0]
    assert not room.driver.outages.ledger()
    async with staff.ws_connect(STREAM) as viewer:
        await until(lambda: bool(room.driver.outages.ledger()))
        async with room.pictures.serving(HOST, RTSP_PORT):
            assert len(await next_picture(viewer)) > HEADER_BYTES
            await until(lambda: room.driver.outages.ledger()[-1].until_ms is not None)
            (outage,) = room.driver.outages.ledger()
    assert outage.loss is Loss.STREAM
    assert "recovery_stream" in {value.point for value in room.box.values}
    assert "no picture" in await (await staff.get("/cameras")).text()


async def test_a_live_picture_that_stops_on_an_open_line_is_noted_until_it_comes_again(
    room: CameraRoom, staff: Client
) -> None:
    pictures, ledger = room.pictures, room.driver.outages.ledger
    async with pictures.serving(HOST, RTSP_PORT):
        async with staff.ws_connect(STREAM) as viewer:
            await next_picture(viewer)
            pictures.silent.add("sub")
            await until(lambda: bool(ledger()))
            assert ledger()[0].until_ms is None
            assert "still so" in await (await staff.get("/cameras")).text()
            pictures.silent.clear()
            await until(lambda: ledger()[0].until_ms is not None)
            assert len(ledger()) == 1
            assert "recovery_stream" in {value.point for value in room.box.values}
            assert "back after" in await (await staff.get("/cameras")).text()
            pictures.silent.add("sub")
            await until(lambda: len(ledger()) > 1)
        await until(lambda: not ledger()[-1].is_watched)
    assert "nobody has looked since" in await (await staff.get("/cameras")).text()


async def next_picture(viewer: Viewer) -> bytes:
    """Return the next binary message; text tells the state."""
    while True:
        message = await viewer.receive()
        assert message.type in {WSMsgType.TEXT, WSMsgType.BINARY}
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
