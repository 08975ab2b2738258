"""What moves a school's simulated devices by itself: people, doors, stations."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drivers.codecs.digest import Credentials
from drivers.codecs.guarded_xml import Element, parse_strictly
from drivers.codecs.isapi import AccessEvent, read_push
from drivers.codecs.modbus import ReadReply, ReadRequest, WriteOneRequest
from drivers.entities import DeviceEvent, DeviceId, StationResult
from drivers.errors import UnreachableError
from drivers.modbus_tcp_line import TcpLine
from drivers.simulators import door_terminal, fitness_stations, passers_by
from drivers.simulators.contact_board import BUTTON, DOOR, ContactBoard
from drivers.simulators.door_terminal import DoorTerminal
from drivers.simulators.fitness_stations import STATIONS, FitnessStations
from drivers.simulators.isapi_terminal import IsapiSimulator
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.onvif_events import EventService
from drivers.simulators.passers_by import PassersBy
from drivers.simulators.profile_unit import ProfileUnit
from drivers.simulators.relay_module import MODULE_PORT, MODULES, RelayModule
from drivers.sports.line_gateway import LineGateway
from drivers.transports.byte_port import LineSettings
from drivers.transports.port_address import TcpAddress
from drivers.transports.tcp_port import TcpPort
from firmware_profiles.model import ProfileId
from tests.drivers.serial_bench import bundled, now_ms, running, until
from tests.drivers.terminal_bench import ZONE
from tests.loopback import own_address

CARDS = ["0A6F007B39", "0A010063E9"]
HOST = own_address("72.60")
STATIONS_PORT = 4001


class Book(Ledger):
    """A ledger, and what it holds."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, now_ms)
        self._path = path

    def told(self, kind: str) -> list[dict[str, object]]:
        return [line for line in read_ledger(self._path) if line["kind"] == kind]


async def test_a_box_hears_every_result_of_the_stations_behind_a_serial_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness_stations, "EVERY_S", 0.02)
    book, events = Book(tmp_path / "stations.jsonl"), list[DeviceEvent]()
    stations = FitnessStations(CARDS, book, random.Random(1))
    driver = LineGateway(
        device=DeviceId("lines:stations"),
        address=TcpAddress(scheme="tcp", host=HOST, port=STATIONS_PORT),
        settings=LineSettings(baud=115_200),
        profile=bundled(ProfileId("sports-lines-json")),
        now_ms=now_ms,
        sink=events.append,
        rng=random.Random(1),
    )
    async with running(stations.serve_tcp(HOST, STATIONS_PORT)):
        async with running(driver.run()):
            await until(lambda: driver.statistics.told >= 20)
        await until(lambda: book.told("result")[-1]["heard"] == 0)
    results = [each for each in events if isinstance(each, StationResult)]
    told = [(line["station"], line["card"], line["value"]) for line in book.told("result")]
    heard = [(each.station, each.wearer, each.result) for each in results]
    first = told.index(heard[0])
    assert told[first : first + len(heard)] == heard
    assert {each.station for each in results} == set(STATIONS)
    assert driver.statistics.broken == driver.statistics.unknown == 0


async def test_a_button_and_a_door_rest_otherwise_and_are_moved_by_themselves(
    tmp_path: Path,
) -> None:
    unit = ProfileUnit(1, bundled(ProfileId("input-waveshare-io-8")))
    book = Book(tmp_path / "contacts.jsonl")
    quick = [replace(each, pause_s=(0.01, 0.03), hold_s=0.01) for each in (BUTTON, DOOR)]
    board = ContactBoard(unit, book, random.Random(1), quick)
    seen = [inputs_of(unit)]
    assert seen == [("open", "closed")]
    async with running(board.run()):
        while len(set(seen)) < 4:
            await asyncio.sleep(0.001)
            seen.append(inputs_of(unit))
        # Each is told once it rests again, which may be after all has been seen.
        await until(
            lambda: {line["point"] for line in book.told("moved")} == {"input_1", "input_2"}
        )


@pytest.mark.parametrize("model", MODULES)
async def test_a_module_on_the_network_notes_what_its_relays_show(
    tmp_path: Path, model: str
) -> None:
    book = Book(tmp_path / "module.jsonl")
    module = RelayModule(bundled(ProfileId(model)), HOST, MODULE_PORT, book)
    relay_3 = WriteOneRequest(unit=1, function=5, address=2, value=0xFF00)
    read = ReadRequest(unit=1, function=1, address=0, count=6)
    async with running(module.run()):
        port = await dial(HOST, MODULE_PORT)
        line = TcpLine(port)
        before = await line.ask(read, 5.0)
        await line.ask(relay_3, 5.0)
        after = await line.ask(read, 5.0)
        port.close()
    assert isinstance(before, ReadReply)
    assert isinstance(after, ReadReply)
    assert not any(before.values)
    assert after.values == (0, 0, 1, 0, 0, 0)
    assert [line["model"] for line in book.told("label")] == [model]
    assert [(line["point"], line["word"]) for line in book.told("relay")] == [("relay_3", "on")]


async def dial(host: str, port: int) -> TcpPort:
    """Return a connection to what has just been plugged in."""
    while True:
        try:
            return await TcpPort.connect(host, port, LineSettings(baud=9600))
        except UnreachableError:
            await asyncio.sleep(0.01)


def inputs_of(unit: ProfileUnit) -> tuple[object, object]:
    """Return what the button and the door read."""
    points = [unit.profile.point(name) for name in ("input_1", "input_2")]
    function, first = points[0].function, points[0].register
    assert function is not None
    assert first is not None
    request = ReadRequest(unit=unit.unit, function=function, address=first, count=2)
    _, values = unit.answer(request, 9600)
    return values["input_1"], values["input_2"]


async def test_who_walks_past_a_camera_is_told_by_its_pull_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passers_by, "PAUSE_S", (0.01, 0.02))
    monkeypatch.setattr(passers_by, "LASTS_S", (0.01, 0.02))
    book = Book(tmp_path / "motion.jsonl")
    service = EventService("http://camera", Ledger(tmp_path / "camera.jsonl", now_ms), now_ms)
    subscribed = await service.answer(asked("<CreatePullPointSubscription/>"), asked("<Envelope/>"))
    assert "SubscriptionReference" in subscribed
    envelope = asked("<Envelope><SubscriptionId>1</SubscriptionId></Envelope>")
    pull = asked(
        "<PullMessages><Timeout>PT5S</Timeout><MessageLimit>20</MessageLimit></PullMessages>"
    )
    told = ""
    async with running(PassersBy(service, book, random.Random(1)).run()):
        while "true" not in told or "false" not in told:
            told += await service.answer(pull, envelope)
        await until(lambda: len(book.told("motion")) >= 3)
    assert [line["moves"] for line in book.told("motion")][:3] == [False, True, False]


def asked(text: str) -> Element:
    return parse_strictly(text.encode(), size_max=4096)


async def test_a_door_terminal_tells_each_swipe_until_the_box_has_taken_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_terminal, "PAUSE_S", (0.01, 0.02))
    monkeypatch.setattr(door_terminal, "RETRY_S", 0.01)
    taken: list[str] = []
    refusals = 3

    async def take(request: web.Request) -> web.Response:
        nonlocal refusals
        event = read_push(request.headers["Content-Type"], await request.read())
        if refusals:
            refusals -= 1
            return web.Response(status=403)
        assert isinstance(event, AccessEvent)
        taken.append(event.card)
        return web.Response()

    app = web.Application()
    app.router.add_post("/isapi", take)
    async with TestServer(app) as box:
        terminal = IsapiSimulator(
            "44:47:cc:01:02:03", HOST, Credentials(user="admin", password="x"), now_ms, ZONE
        )
        terminal.listener = str(box.make_url("/isapi"))
        book = Book(tmp_path / "door.jsonl")
        async with running(DoorTerminal(terminal, CARDS, book, random.Random(1)).run()):
            await until(lambda: len(book.told("punched")) >= 5)
    cards = [line["card"] for line in book.told("punch")]
    assert refusals == 0
    assert taken == cards[: len(taken)]
    assert [line["card"] for line in book.told("punched")] == taken[: len(book.told("punched"))]
