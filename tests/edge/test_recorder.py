import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.entities import (
    CardRead,
    CommandResult,
    DeviceId,
    Measurement,
    Outcome,
    Presence,
    Quality,
)
from edge import recorder as recorder_module
from edge.box_store import BoxStore
from edge.pages.box_view import Change
from edge.recorder import REPEAT_MS, Recorder
from edge.roster import Roster
from sync.rosters.people import Pupil
from sync.rosters.sealed import RosterPeople
from sync.writer import Writer
from tests.drivers.serial_bench import running, until
from tests.edge.school import Box, new_box

PROBE = DeviceId("modbus:bus0:17")
READER = DeviceId("card:gate")
VALUES = "SELECT value FROM reading ORDER BY row"


@dataclass
class Desk:
    box: Box
    store: BoxStore
    roster: Roster
    recorder: Recorder
    writer: Writer
    changes: list[Change] = field(default_factory=list)

    def refuse_writes(self) -> None:
        self._set_query_only("ON")

    def accept_writes(self) -> None:
        self._set_query_only("OFF")

    def _set_query_only(self, value: str) -> None:
        self.store.node._connection.execute(f"PRAGMA query_only={value}").close()

    def values(self) -> list[object]:
        return [value for (value,) in self.box.rows(VALUES)]

    def taps(self) -> list[tuple[object, ...]]:
        return self.box.rows("SELECT person, card, room FROM card_tap ORDER BY row")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    box = new_box(tmp_path)
    with box.opened() as store, Writer() as writer:
        roster = Roster(store.node, store.vault, store.reader)
        changes: list[Change] = []
        recorder = Recorder(
            store.node,
            writer,
            roster,
            deadbands={(PROBE, "moisture"): 0.5},
            room_of={READER: "101"}.get,
            changed=changes.append,
        )
        yield Desk(box, store, roster, recorder, writer, changes)


def reading(
    value: float | str | None, at_ms: int = 1000, quality: Quality = Quality.GOOD
) -> Measurement:
    return Measurement(
        device=PROBE,
        point="moisture",
        value=value,
        unit="%",
        quality=quality,
        observed_ms=at_ms,
        source="serial:bus0 unit 17",
    )


def tap(card: str, at_ms: int = 1000) -> CardRead:
    return CardRead(device=READER, card=card, observed_ms=at_ms, source="serial:gate")


async def test_a_tap_is_durable_within_moments_and_names_its_pupil(desk: Desk) -> None:
    pupils = (Pupil("张伟", "6F007B3972", "三年级"),)
    desk.roster.take(RosterPeople(pupils, ()), "test")
    ((person,),) = desk.box.rows("SELECT person FROM person")
    async with running(desk.recorder.run()):
        desk.recorder.take(tap("6F007B3972"))
        desk.recorder.take(tap("0100AABBCC"))
        await until(lambda: len(desk.taps()) == 2 and Change.TAPS in desk.changes)
    assert desk.taps() == [(person, None, "101"), (None, "0100AABBCC", "101")]


async def test_a_value_is_recorded_when_it_moves_or_after_a_quarter_of_an_hour(desk: Desk) -> None:
    for value, at_ms in ((20.0, 0), (20.4, 1000), (20.5, 2000), (20.5, 2000 + REPEAT_MS)):
        desk.recorder.take(reading(value, at_ms))
    await desk.recorder.flush()
    assert desk.values() == [20.0, 20.5, 20.5]


async def test_a_clock_that_was_set_back_does_not_silence_a_value(desk: Desk) -> None:
    for at_ms in (100 * REPEAT_MS, 1000, 2000):
        desk.recorder.take(reading(20.0, at_ms))
    await desk.recorder.flush()
    assert desk.values() == [20.0, 20.0]


async def test_each_bad_reading_and_the_return_to_good_are_recorded(desk: Desk) -> None:
    for quality in (Quality.GOOD, Quality.BAD, Quality.BAD, Quality.GOOD):
        desk.recorder.take(reading(None if quality is Quality.BAD else 20.0, quality=quality))
    await desk.recorder.flush()
    assert desk.values() == [20.0, None, None, 20.0]


async def test_nothing_is_lost_or_doubled_while_the_disk_takes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "DISK_RETRY_S", 0.02)
    async with running(desk.recorder.run()):
        desk.refuse_writes()
        desk.recorder.take(reading(20.0))
        desk.recorder.take(tap("AA"))
        await asyncio.sleep(0.8)
        desk.recorder.take(reading(30.0))
        desk.accept_writes()
        await until(lambda: len(desk.values()) == 2)
    assert desk.values() == [20.0, 30.0]
    assert len(desk.taps()) == 1
    assert len([each for each in caplog.records if "the disk takes no rows" in each.message]) == 1


async def test_a_flush_that_is_cancelled_is_written_once(desk: Desk) -> None:
    desk.recorder.take(tap("AA"))
    flushing = asyncio.create_task(desk.recorder.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait([flushing])
    await desk.recorder.flush()
    await desk.writer.call(lambda: None)
    assert len(desk.taps()) == 1


async def test_a_row_that_no_table_holds_is_left_out_alone(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    long = "x" * 40_000
    desk.recorder.take(reading(20.0))
    desk.recorder.take(
        Presence(device=DeviceId(long), online=True, observed_ms=1, reason="answers")
    )
    desk.recorder.take(tap("AA"))
    await desk.recorder.flush()
    assert desk.values() == [20.0]
    assert len(desk.taps()) == 1
    assert "shorten it" in caplog.text


async def test_when_too_much_waits_readings_go_first_and_taps_stay(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "EVENTS_MAX", 3)
    desk.recorder.take(reading(1.0))
    desk.recorder.take(tap("AA"))
    desk.recorder.take(reading(2.0))
    desk.recorder.take(tap("BB"))
    desk.recorder.take(tap("CC"))
    await desk.recorder.flush()
    assert [card for _, card, _ in desk.taps()] == ["AA", "BB", "CC"]
    assert desk.values() == []
    assert desk.recorder.dropped == 2


async def test_words_presence_and_commands_have_their_own_rows(desk: Desk) -> None:
    desk.recorder.take(reading("hdmi"))
    desk.recorder.take(Presence(device=PROBE, online=False, observed_ms=5, reason="unplugged"))
    desk.recorder.take(
        CommandResult(device=PROBE, command="power", outcome=Outcome.VERIFIED, observed_ms=6)
    )
    await desk.recorder.flush()
    assert desk.box.rows("SELECT value FROM device_state") == [("hdmi",)]
    assert desk.box.rows("SELECT event, detail FROM device_event ORDER BY row") == [
        ("offline", "unplugged"),
        ("command power: verified", None),
    ]


async def test_what_is_known_of_a_released_device_is_forgotten(desk: Desk) -> None:
    desk.recorder.take(reading(20.0))
    desk.recorder.take(Presence(device=PROBE, online=True, observed_ms=5, reason="answers"))
    await desk.recorder.flush()
    desk.recorder.forget(PROBE)
    assert not desk.recorder.latest
    assert not desk.recorder.presence
    assert not desk.recorder.last_heard_ms
    desk.recorder.take(reading(20.0))
    await desk.recorder.flush()
    assert desk.values() == [20.0, 20.0]


async def test_a_disk_that_fails_is_told_to_who_flushes(desk: Desk) -> None:
    desk.refuse_writes()
    desk.recorder.take(tap("AA"))
    with pytest.raises(sqlite3.OperationalError):
        await desk.recorder.flush()
    desk.accept_writes()
    await desk.recorder.flush()
    assert len(desk.taps()) == 1
