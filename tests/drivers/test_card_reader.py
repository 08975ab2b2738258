import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.card_reader import PRESENTATION_GAP_S, CardReader, Presentations
from drivers.codecs.card_frames import (
    CardFrame,
    CardFrameDecoder,
    FrameEvent,
    encode_card_frame,
)
from drivers.codecs.card_numbers import card_of_hex
from drivers.codecs.wiegand import WiegandLineDecoder
from drivers.entities import CardRead, DeviceEvent, DeviceId, Presence
from drivers.simulators.card_reader import WIEGAND_34, CardReaderSimulator
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.pty_link import PtyLink
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_address import SerialAddress
from drivers.transports.serial_port import SerialPort
from tests.drivers.serial_bench import now_ms, running, until

CARDS = ["6F007B3972", "010063E9AE", "0100AABBCC"]
PRINTED = ["0008075634", "0006547886", "0011189196"]


def reader(path: Path, events: list[DeviceEvent]) -> CardReader:
    return CardReader(
        device=DeviceId("card:door0"),
        address=SerialAddress(path=path, baud=9600),
        settings=LineSettings(baud=9600),
        new_decoder=CardFrameDecoder,
        now_ms=now_ms,
        sink=events.append,
        rng=random.Random(1),
    )


def cards(events: list[DeviceEvent]) -> list[str]:
    return [event.card for event in events if isinstance(event, CardRead)]


async def test_a_held_card_is_read_once(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "door0")
    events: list[DeviceEvent] = []
    driver = reader(link.path, events)
    async with running(driver.run()):
        await until(lambda: link.is_open)
        for _ in range(6):
            link.write(encode_card_frame(CARDS[0]))
            await asyncio.sleep(0.065)
        link.write(encode_card_frame(CARDS[1]))
        link.write(encode_card_frame(CARDS[0]))
        await until(lambda: driver.statistics.frames == 8)
    assert cards(events) == PRINTED[:2]
    assert isinstance(events[0], Presence)
    assert events[0].online


async def test_a_broken_frame_is_counted_and_never_a_card(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "door0")
    events: list[DeviceEvent] = []
    driver = reader(link.path, events)
    frame = bytearray(encode_card_frame(CARDS[0]))
    frame[5] ^= 1
    async with running(driver.run()):
        await until(lambda: link.is_open)
        link.write(bytes(frame))
        await until(lambda: driver.statistics.broken == 1)
    assert cards(events) == []


async def test_a_reader_that_is_unplugged_says_so_and_reads_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    link = PtyLink(tmp_path / "door0")
    events: list[DeviceEvent] = []
    async with running(reader(link.path, events).run()):
        await until(lambda: link.is_open)
        link.unplug()
        await until(lambda: len(events) == 2)
        link.plug()
        await until(lambda: link.is_open, within_s=3)
        link.write(encode_card_frame(CARDS[0]))
        await until(lambda: cards(events) == PRINTED[:1])
    online = [event.online for event in events if isinstance(event, Presence)]
    assert online == [True, False, True]


async def test_every_tap_of_the_simulated_reader_is_read_once(tmp_path: Path) -> None:
    ledger_path = tmp_path / "door0.jsonl"
    simulator = CardReaderSimulator(
        path=tmp_path / "door0",
        cards=[f"01{number:08X}" for number in range(20)],
        ledger=Ledger(ledger_path, now_ms),
        now_ms=now_ms,
        rng=random.Random(4),
        pause_s=(0.01, 0.1),
        broken_frames=0.3,
    )
    events: list[DeviceEvent] = []
    driver = reader(simulator.link.path, events)
    async with running(simulator.run()):
        async with running(driver.run()):
            await until(lambda: driver.statistics.reads >= 10)
        await asyncio.sleep(1.5)
    ledger = read_ledger(ledger_path)
    read = Counter(cards(events))
    begun = [line for line in ledger if line["kind"] == "tap_begun"]
    assert Counter(card_of_hex(str(line["card"])) for line in begun) >= read
    heard = [line for line in ledger if line["kind"] == "tap" and line["heard"]]
    assert Counter(card_of_hex(str(line["card"])) for line in heard) <= read
    assert len(heard) >= 4
    assert any(not line["heard"] for line in ledger if line["kind"] == "tap")
    assert driver.statistics.broken > 0


async def test_a_simulated_wiegand_reader_tells_each_card_once(tmp_path: Path) -> None:
    ledger_path = tmp_path / "gate.jsonl"
    simulator = CardReaderSimulator(
        path=tmp_path / "gate",
        cards=[f"0A{number:08X}" for number in range(20)],
        ledger=Ledger(ledger_path, now_ms),
        now_ms=now_ms,
        rng=random.Random(4),
        pause_s=(0.01, 0.02),
        frames=WIEGAND_34,
    )
    said: list[FrameEvent] = []
    port, decoder = SerialPort(simulator.link.path, LineSettings(baud=9600)), WiegandLineDecoder()
    async with running(simulator.run()):
        while len(said) < 4:
            said += decoder.feed(await port.read(1.0))
    port.close()
    begun = [line for line in read_ledger(ledger_path) if line["kind"] == "tap_begun"]
    cards_told = [card_of_hex(str(line["card"])) for line in begun]
    heard = [card_of_hex(each.card) for each in said if isinstance(each, CardFrame)]
    assert len(heard) == len(said)
    assert heard == cards_told[: len(heard)]


def test_a_simulated_reader_without_cards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one card"):
        CardReaderSimulator(
            path=tmp_path / "door0",
            cards=[],
            ledger=Ledger(tmp_path / "ledger", now_ms),
            now_ms=now_ms,
            rng=random.Random(1),
        )


@given(st.lists(st.tuples(st.sampled_from(CARDS), st.floats(0.0, 3.0))))
def test_a_presentation_begins_after_a_quiet_second_of_that_card(
    frames: list[tuple[str, float]],
) -> None:
    presentations = Presentations()
    seen: dict[str, float] = {}
    now = 100.0
    for card, pause_s in frames:
        now += pause_s
        expected = card not in seen or now - seen[card] >= PRESENTATION_GAP_S
        assert presentations.is_new(card, now) is expected
        seen[card] = now


def test_memory_of_cards_is_bounded() -> None:
    presentations = Presentations()
    for number in range(10_000):
        presentations.is_new(f"{number:010X}", float(number))
    assert len(presentations._seen_at) <= 256
