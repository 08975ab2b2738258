"""A device made of a profile alone, read and commanded by the real driver over a real line."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bus import ModbusBus
from drivers.card_reader import CardReader
from drivers.codecs.card_frames import CardFrameDecoder
from drivers.codecs.card_numbers import card_of_hex
from drivers.codecs.modbus import ReadRequest
from drivers.codecs.modbus_rtu import crc16
from drivers.discovery.candidate import Candidate
from drivers.discovery.line_search import SearchReport
from drivers.discovery.serial_bus import search_bus
from drivers.displays.framed_link import FRAMINGS
from drivers.displays.pjlink_link import DisplayAccess, PjlinkLink
from drivers.entities import CardRead, DeviceEvent, DeviceId, Measurement, Outcome, Quality
from drivers.errors import ProtocolError, SetupError
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.modbus_line import RtuLine
from drivers.profile_recorder import record
from drivers.simulators.profile_device import Listen, ProfileDevice, parse_listen
from drivers.simulators.profile_speakers import (
    Exchange,
    ReplaySpeaker,
    RtuSpeaker,
    TcpSpeaker,
    quoted,
)
from drivers.simulators.profile_unit import ProfileUnit
from drivers.transports.port_address import PortAddress, parse_port_address
from drivers.transports.serial_address import SerialAddress, line_settings
from drivers.transports.serial_port import SerialPort
from drivers.vector_proof import find_broken_vectors
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import MODBUS, Profile, ProfileId, Vector
from tests.drivers.serial_bench import now_ms, running, until

PROFILES = load_catalog().profiles
SPOKEN = [p for p in PROFILES.values() if p.links[0].type in MODBUS]
RELAYS = PROFILES[ProfileId("relay-waveshare-rtu-8")]
BOARD = PROFILES[ProfileId("io-eletechsup-n4d3e16")]
MOXA = PROFILES[ProfileId("io-moxa-e1214")]
SOIL = PROFILES[ProfileId("soil-sen0601")]
PROJECTOR = PROFILES[ProfileId("pjlink-projector")]
DEVICE = DeviceId("modbus:line:1")
UNIT = 17


@asynccontextmanager
async def plugged_in(
    profile: Profile, folder: Path, **options: object
) -> AsyncIterator[tuple[PortAddress, list[Exchange]]]:
    """Run a device where its first link is spoken; give its address and what it said."""
    said: list[Exchange] = []
    serial = profile.links[0].type != "modbus_tcp"
    listen = (
        Listen(scheme="serial", path=folder / "line")
        if serial
        else Listen(scheme="modbus", host="127.0.0.1", port=0)
    )
    device = ProfileDevice(profile, listen, said.append, unit=UNIT, **options)  # type: ignore[arg-type]  # each test names real options
    ready = asyncio.Event()
    async with running(device.run(ready.set)):
        await ready.wait()
        baud = next(iter(profile.links[0].baud), 9600)
        text = (
            f"serial:{folder / 'line'}?baud={baud}&unit={UNIT}"
            if serial
            else f"modbus://127.0.0.1:{device.port}?unit={UNIT}"
        )
        yield parse_port_address(text), said


@asynccontextmanager
async def driven(
    profile: Profile, address: PortAddress
) -> AsyncIterator[tuple[ModbusBus, list[DeviceEvent]]]:
    events: list[DeviceEvent] = []
    bus = ModbusBus(
        address=address,
        settings=modbus_settings(profile, address),
        units=[AdoptedUnit(device=DEVICE, unit=UNIT, profile=profile)],
        now_ms=now_ms,
        sink=events.append,
        rng=random.Random(1),
        periods_s={"edge": 0.05, "fast": 0.05, "normal": 0.05, "slow": 0.05},
    )
    async with running(bus.run()):
        yield bus, events


def good(events: list[DeviceEvent]) -> dict[str, float | str | None]:
    return {
        event.point: event.value
        for event in events
        if isinstance(event, Measurement) and event.quality is Quality.GOOD
    }


def held_by(profile: Profile) -> dict[str, float | str | None]:
    """Return what a fresh device shows, asked point by point."""
    unit = ProfileUnit(UNIT, profile)
    shown: dict[str, float | str | None] = {}
    for point in profile.points:
        assert point.function is not None
        assert point.register is not None
        for count in (1, 2, 4):
            request = ReadRequest(
                unit=UNIT, function=point.function, address=point.register, count=count
            )
            shown.update({k: v for k, v in unit.answer(request, 9600)[1].items() if k == point.id})
    return shown


@pytest.mark.parametrize("profile", SPOKEN, ids=lambda p: p.id)
def test_the_driver_reads_every_point_of_every_profile(profile: Profile, tmp_path: Path) -> None:
    # A driver that may command switches outputs off first.
    watched = msgspec.structs.replace(profile, commands=())

    async def story() -> None:
        async with (
            plugged_in(profile, tmp_path) as (address, _),
            driven(watched, address) as (_, e),
        ):
            await until(lambda: good(e).keys() >= {point.id for point in profile.points})
            assert good(e) == held_by(profile)

    asyncio.run(story())


@pytest.mark.parametrize(
    "profile", [p for p in SPOKEN if p.links[0].type == "modbus_rtu"], ids=lambda p: p.id
)
def test_a_search_takes_each_model_for_itself(profile: Profile, tmp_path: Path) -> None:
    async def story() -> list[Candidate]:
        async with plugged_in(profile, tmp_path):
            path = tmp_path / "line"
            settings = line_settings(profile, "modbus_rtu", profile.links[0].baud[0])
            port = SerialPort(path, settings)
            try:
                return await search_bus(
                    SerialAddress(path=path, baud=settings.baud),
                    RtuLine(port, quiet_s=0.01),
                    list(PROFILES.values()),
                    now_ms,
                    SearchReport(progress=lambda _: None, found=lambda _: None),
                    skip=set(range(248)) - {UNIT},
                )
            finally:
                port.close()

    (found,) = asyncio.run(story())
    assert found.profile == profile.id
    assert found.kind == profile.kind


@pytest.mark.parametrize("profile", [RELAYS, BOARD, MOXA], ids=lambda p: p.id)
def test_the_driver_switches_and_sees_it_done(profile: Profile, tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            plugged_in(profile, tmp_path) as (address, _),
            driven(profile, address) as (bus, events),
        ):
            await until(lambda: len(good(events)) == len(profile.points))
            command = next(c for c in profile.commands if c.verify is not None)
            assert command.verify is not None
            for word in ("on", "off"):
                result = await bus.order(DEVICE, command.id, word)
                assert (result.outcome, good(events)[command.verify.point]) == (
                    Outcome.VERIFIED,
                    word,
                )

    asyncio.run(story())


def test_what_is_set_is_what_is_read(tmp_path: Path) -> None:
    held = {"soil_moisture": "12.5", "soil_temperature": "-3.2"}

    async def story() -> None:
        async with (
            plugged_in(SOIL, tmp_path, held=held) as (address, said),
            driven(SOIL, address) as (_, events),
        ):
            await until(lambda: len(good(events)) == len(SOIL.points))
            assert good(events)["soil_moisture"] == 12.5
            assert good(events)["soil_temperature"] == -3.2
            assert {"soil_moisture": 12.5, "soil_temperature": -3.2}.items() <= {
                k: v for exchange in said for k, v in exchange.values.items()
            }.items()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"gloom": "1"}, "has no point 'gloom'; it has soil_moisture"),
        ({"soil_moisture": "wet"}, "soil_moisture cannot read 'wet'; give a number in %"),
        ({"soil_moisture": "9000"}, "soil_moisture: 90000 does not fit uint16"),
    ],
)
def test_what_cannot_be_set_is_refused_with_its_remedy(held: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        ProfileDevice(SOIL, parse_listen("tcp:127.0.0.1:0"), print, held=held)


@pytest.mark.parametrize("text", ["", "serial:", "tcp:502", "tcp:host:x", "udp:a:1", "tcp:a:99999"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="write serial:PATH"):
        parse_listen(text)


@pytest.mark.parametrize("profile", [SOIL, RELAYS, MOXA], ids=lambda p: p.id)
def test_what_is_recorded_proves_itself_and_writes_nothing(
    profile: Profile, tmp_path: Path
) -> None:
    async def story() -> tuple[list[Vector], list[Exchange]]:
        async with plugged_in(profile, tmp_path) as (address, said):
            return await record(profile, address), said

    vectors, said = asyncio.run(story())
    pdus = [e.heard if profile is MOXA else e.heard[1:] for e in said]
    assert {pdu[0] for pdu in pdus} <= {1, 2, 3, 4}
    recorded = msgspec.structs.replace(profile, vectors=tuple(vectors))
    assert list(find_broken_vectors(recorded)) == []


def test_recorded_cards_are_not_the_cards_that_were_shown(tmp_path: Path) -> None:
    reader = PROFILES[ProfileId("rdm6300")]

    async def story() -> list[Vector]:
        async with plugged_in(reader, tmp_path, unasked_s=0.05) as (address, _):
            return await record(reader, address, listen_s=1.0)

    vectors = asyncio.run(story())
    text = " ".join(f"{v.reply} {v.values}" for v in vectors)
    for shown in reader.vectors:
        assert str(shown.values["card"]) not in text
        assert shown.reply not in text
    assert [v.values["card"] for v in vectors] == ["0000000001", "0000000002"]


def test_a_reader_made_of_its_vectors_is_heard_by_the_driver(tmp_path: Path) -> None:
    reader = PROFILES[ProfileId("rdm6300")]
    events: list[DeviceEvent] = []

    async def story() -> None:
        async with plugged_in(reader, tmp_path, unasked_s=0.05):
            driver = CardReader(
                device=DeviceId("card:line"),
                address=SerialAddress(path=tmp_path / "line", baud=9600),
                settings=line_settings(reader, "card_frames", 9600),
                new_decoder=CardFrameDecoder,
                now_ms=now_ms,
                sink=events.append,
                rng=random.Random(1),
            )
            async with running(driver.run()):
                await until(lambda: any(isinstance(event, CardRead) for event in events))

    asyncio.run(story())
    cards = [event.card for event in events if isinstance(event, CardRead)]
    assert cards[0] == card_of_hex(str(reader.vectors[0].values["card"]))


@pytest.mark.parametrize(
    "profile", [p for p in PROFILES.values() if p.links[0].type in FRAMINGS], ids=lambda p: p.id
)
def test_a_simulated_display_says_what_its_profile_quotes(profile: Profile) -> None:
    vector = next(v for v in profile.vectors if v.values.get("power") == "on")

    async def story() -> bytes:
        listen = parse_listen("tcp:127.0.0.1:0")
        device = ProfileDevice(profile, listen, lambda _: None, held={"power": "on"})
        ready = asyncio.Event()
        async with running(device.run(ready.set)):
            await ready.wait()
            reader, writer = await asyncio.open_connection("127.0.0.1", device.port)
            writer.write(bytes.fromhex(vector.request))
            async with asyncio.timeout(5):
                said = await reader.readexactly(len(bytes.fromhex(vector.reply)))
            writer.close()
            return said

    assert asyncio.run(story()) == bytes.fromhex(vector.reply)


def test_a_simulated_pjlink_display_greets_the_driver_and_answers_it() -> None:
    async def story() -> list[str]:
        listen = parse_listen("tcp:127.0.0.1:0")
        device = ProfileDevice(PROJECTOR, listen, lambda _: None)
        ready = asyncio.Event()
        async with running(device.run(ready.set)):
            await ready.wait()
            link = await PjlinkLink.open(DisplayAccess(host="127.0.0.1", port=device.port))
            try:
                return [(await link.ask(question)).text for question in ("%1POWR 1", "%1CLSS ?")]
            finally:
                await link.close()

    assert asyncio.run(story()) == ["%1POWR=OK", "%1CLSS=2"]


def test_a_quoted_question_is_answered_however_it_is_cut() -> None:
    speaker = ReplaySpeaker(PROJECTOR)
    vector = next(v for v in PROJECTOR.vectors if "INPT" in v.request)
    asked = quoted(vector, vector.request, b"\r")
    exchanges = [e for byte in b"noise\r" + asked for e in speaker.receive(bytes((byte,)))]
    assert [e.said for e in exchanges] == [b"%1INPT=31\r"]


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_no_bytes_make_a_simulated_device_raise_anything_but_a_protocol_error(
    pieces: list[bytes],
) -> None:
    speakers = (
        RtuSpeaker([ProfileUnit(UNIT, RELAYS)], 9600),
        TcpSpeaker([ProfileUnit(UNIT, RELAYS)]),
        ReplaySpeaker(SOIL),
    )
    for speaker in speakers:
        for piece in pieces:
            with suppress(ProtocolError):
                speaker.receive(piece)


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]), st.integers(0, 0xFFFF), st.integers(1, 40))
def test_any_request_is_answered_or_refused(function: int, address: int, count: int) -> None:
    unit = ProfileUnit(UNIT, RELAYS)
    body = bytes((UNIT, function)) + address.to_bytes(2, "big")
    many = {15: (count + 7) // 8, 16: 2 * count}.get(function)
    tail = count.to_bytes(2, "big") if function != 5 else b"\xff\x00"
    if many is not None:
        tail += bytes((many,)) + bytes(many)
    (exchange,) = RtuSpeaker([unit], 9600).receive(body + tail + crc16(body + tail))
    assert exchange.said[0] == UNIT
    assert exchange.said[1] in {function, function | 0x80}


def test_a_device_that_keeps_silent_about_what_it_does_not_know_says_nothing() -> None:
    question = bytes((UNIT, 3)) + bytes.fromhex("07D0 0002")
    speaker = RtuSpeaker([ProfileUnit(UNIT, BOARD)], 9600)
    assert speaker.receive(question + crc16(question)) == []
    (exchange,) = RtuSpeaker([ProfileUnit(UNIT, RELAYS)], 9600).receive(question + crc16(question))
    assert exchange.said[1] == 0x83
