"""The attendance entries of a real store: judged again, corrected, and made up for."""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from edge.attendance.register import Register, day_of, span_of
from edge.attendance.rules import MINUTE_MS, Rules
from edge.box_store import BoxStore
from sync.logs.oplog import Row
from sync.store import connect_readonly
from sync.writer import Writer
from tests.edge.school import Box, new_box

ZONE = timezone(timedelta(hours=8))
DAY = "2026-11-23"
MIDNIGHT, _ = span_of(DAY, ZONE)


def at(hour: int, minute: int = 0) -> int:
    return MIDNIGHT + (hour * 60 + minute) * MINUTE_MS


@dataclass
class Office:
    box: Box
    store: BoxStore
    register: Register
    rooms: list[set[str]]
    now_ms: int

    def note(self, table: str, **row: str | int | None) -> None:
        self.store.node.record(table, [row])

    async def entries(self, hour: int, minute: int = 0) -> dict[tuple[str, int], str]:
        """Judge at an hour of the day and return what is noted."""
        self.now_ms = at(hour, minute)
        await self.register.look()
        rows = self.box.rows("SELECT slot, person, status FROM attendance_entry WHERE deleted = 0")
        return {(str(slot), int(str(person))): str(status) for slot, person, status in rows}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    box = new_box(tmp_path)
    with box.opened() as store, Writer() as writer:
        rooms: list[set[str]] = []

        def changed(named: Collection[str]) -> None:
            rooms.append(set(named))

        made = Office(
            box,
            store,
            Register(
                store.node,
                store.reader,
                writer,
                lambda: connect_readonly(store.path),
                zone=ZONE,
                rules=Rules(),
                now_ms=lambda: made.now_ms,
                changed=changed,
            ),
            rooms,
            at(6),
        )
        people: list[Row] = [{"person": each, "kind": "pupil"} for each in (1, 2, 3)]
        store.node.record("person", [*people, {"person": 9, "kind": "staff"}])
        for person in (1, 2, 9):
            made.note("enrolment", person=person, class_group="g3c1", since_ms=0)
        made.note("enrolment", person=3, class_group="g3c2", since_ms=0)
        for slot, hour in (("a", 8), ("b", 9)):
            lesson(made, slot, hour)
        yield made


def lesson(office: Office, slot: str, hour: int, group: str = "g3c1", room: str = "301") -> None:
    office.note(
        "timetable_slot",
        slot=slot,
        class_group=group,
        room=room,
        starts_ms=at(hour),
        ends_ms=at(hour, 40),
    )


def tap(office: Office, person: int, at_ms: int, room: str = "301") -> None:
    office.note("card_tap", at_ms=at_ms, person=person, room=room, device="gate")


async def test_entries_follow_the_day(office: Office) -> None:
    assert await office.entries(7) == {}
    tap(office, 1, at(7, 50))
    assert await office.entries(7, 51) == {("a", 1): "present"}
    assert await office.entries(8, 6) == {("a", 1): "present", ("a", 2): "absent"}
    tap(office, 2, at(8, 20))
    assert (await office.entries(8, 21))["a", 2] == "late"
    assert office.rooms == [{"301"}, {"301"}, {"301"}]
    assert await office.entries(8, 22)
    assert len(office.rooms) == 3


async def test_what_is_judged_the_same_is_not_written_again(office: Office) -> None:
    tap(office, 1, at(7, 50))
    await office.entries(9, 30)
    ((before,),) = office.box.rows("SELECT max(row) FROM attendance_entry")
    await office.entries(9, 35)
    assert office.box.rows("SELECT max(row) FROM attendance_entry") == [(before,)]


async def test_leave_entered_later_turns_an_absence_and_withdrawn_leave_turns_it_back(
    office: Office,
) -> None:
    tap(office, 1, at(7, 50))
    assert (await office.entries(10))["a", 2] == "absent"
    row: Row = {"person": 2, "from_ms": at(0), "until_ms": at(12)}
    office.store.node.record("leave", [row])
    assert (await office.entries(10))["a", 2] == "leave"
    office.store.node.record("leave", [{**row, "deleted": 1}])
    assert (await office.entries(10))["a", 2] == "absent"


async def test_a_correction_stays_whatever_is_judged(office: Office) -> None:
    tap(office, 1, at(7, 50))
    await office.entries(10)
    office.note(
        "attendance_entry",
        day=DAY,
        slot="a",
        person=2,
        status="present",
        at_ms=at(8),
        corrected_by="王老师",
        reason="忘带卡",
    )
    assert (await office.entries(11))["a", 2] == "present"
    tap(office, 2, at(8, 30))
    assert (await office.entries(12))["a", 2] == "present"


async def test_a_lesson_that_is_dropped_takes_its_entries_along(office: Office) -> None:
    tap(office, 1, at(7, 50))
    assert ("b", 2) in await office.entries(10)
    office.note("timetable_slot", slot="b", starts_ms=at(9), ends_ms=at(9))
    assert set(await office.entries(10)) == {("a", 1), ("a", 2)}


async def test_a_missed_lesson_is_made_up_for_on_another_day(office: Office) -> None:
    row: Row = {
        "day": "2026-11-20",
        "slot": "old",
        "person": 2,
        "status": "absent",
        "corrected_by": "王老师",
        "reason": "周一补课",
        "make_up": "x",
    }
    office.store.node.record("attendance_entry", [row])
    lesson(office, "x", 8, "g3c2", "302")
    assert (await office.entries(8, 30))["old", 2] == "absent"
    tap(office, 2, at(8, 2), "302")
    assert (await office.entries(8, 31))["old", 2] == "made_up"
    assert (await office.entries(8, 32))["old", 2] == "made_up"
    assert office.box.rows(
        "SELECT corrected_by, reason, make_up FROM attendance_entry WHERE slot = 'old'"
    ) == [("王老师", "周一补课", "x")]


async def test_a_tap_delivered_days_later_is_judged_on_its_own_day(office: Office) -> None:
    tap(office, 1, at(7, 50))
    await office.entries(12)
    office.now_ms = at(24 * 3)
    tap(office, 2, at(7, 55))
    office.register.note(at(7, 55))
    assert (await office.entries(24 * 3))["a", 2] == "present"


async def test_a_tap_of_thirty_days_ago_is_judged_on_its_own_day(office: Office) -> None:
    tap(office, 1, at(7, 50))
    assert (await office.entries(8, 20))["a", 2] == "absent"
    tap(office, 2, at(7, 55))
    office.register.note(at(7, 55))
    assert (await office.entries(30 * 24 + 9))["a", 2] == "present"


async def test_a_day_begins_at_the_schools_midnight() -> None:
    rng = random.Random(5)
    for _ in range(200):
        moment = rng.randrange(1_700_000_000_000, 1_900_000_000_000)
        begins, ends = span_of(day_of(moment, ZONE), ZONE)
        assert begins <= moment < ends
