"""What a class card and the office read of attendance, duty, honour and the office's messages."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.class_cards.messages import CardMessage, MessageKind, read_messages
from sync.logs.oplog import Row

PUPILS_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Honour:
    person: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """How many are noted how in one lesson; ``awaited`` are not noted yet."""

    counts: Mapping[str, int]
    awaited: int

    @property
    def here(self) -> int:
        return self.counts.get("present", 0) + self.counts.get("late", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardExtras:
    """``duty`` by ISO date, ``honour`` by ISO week; messages are those of this room."""

    duty: Mapping[str, Sequence[int]]
    honour: Mapping[str, Sequence[Honour]]
    messages: Sequence[CardMessage]

    def of_kind(self, kind: str) -> list[CardMessage]:
        return [each for each in self.messages if each.kind == MessageKind(kind)]

    @property
    def persons(self) -> set[int]:
        honoured = {each.person for week in self.honour.values() for each in week}
        return honoured | {person for day in self.duty.values() for person in day}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    status: str
    at_ms: int | None
    corrected_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySlot:
    slot: str
    subject: str
    teacher: str
    starts_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLeave:
    person: int
    from_ms: int
    until_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDay:
    """One class on one day: its lessons, its pupils, and what is noted of each."""

    slots: tuple[DaySlot, ...]
    pupils: tuple[int, ...]
    entries: Mapping[tuple[str, int], Entry]
    leaves: tuple[PlannedLeave, ...]


def read_extras(
    connection: sqlite3.Connection,
    school: int,
    room: str,
    *,
    span_ms: tuple[int, int],
    days: Sequence[str],
    weeks: Sequence[str],
) -> CardExtras:
    """Return what the office put on a room's card for a span, its ISO dates and weeks."""
    groups = (
        "SELECT class_group FROM class_group WHERE school = :school AND room = :room"
        " AND deleted = 0"
    )
    names = {"school": school, "room": room}
    duty: dict[str, list[int]] = {}
    for day, person in connection.execute(
        f"SELECT day, person FROM duty WHERE school = :school AND deleted = 0"  # noqa: S608 - constants
        f" AND class_group IN ({groups}) AND day BETWEEN :first AND :last"
        " AND person IS NOT NULL ORDER BY day, person LIMIT 200",
        names | {"first": days[0], "last": days[-1]},
    ):
        duty.setdefault(day, []).append(person)
    honour: dict[str, list[Honour]] = {}
    for week, person, reason in connection.execute(
        f"SELECT week, person, reason FROM honour WHERE school = :school AND deleted = 0"  # noqa: S608 - constants
        f" AND class_group IN ({groups}) AND week BETWEEN :first AND :last"
        " AND person IS NOT NULL ORDER BY week, person LIMIT 50",
        names | {"first": weeks[0], "last": weeks[-1]},
    ):
        honour.setdefault(week, []).append(Honour(person=person, reason=reason or ""))
    standing = read_messages(connection, school, from_ms=span_ms[0], until_ms=span_ms[1])
    return CardExtras(
        duty=duty,
        honour=honour,
        messages=[each for each in standing if each.room in {None, room}],
    )


def read_attendance(
    connection: sqlite3.Connection, school: int, room: str, day: str, span_ms: tuple[int, int]
) -> Attendance | None:
    """Count a room's lesson that began last, else its first; None before anything is noted."""
    slot = connection.execute(
        "SELECT slot.slot AS slot, slot.class_group AS class_group FROM timetable_slot AS slot"
        " WHERE slot.school = :school AND slot.room = :room AND slot.deleted = 0"
        " AND slot.starts_ms >= :midnight AND slot.starts_ms < :tomorrow AND EXISTS ("
        "SELECT 1 FROM attendance_entry AS entry WHERE entry.school = slot.school"
        " AND entry.day = :day AND entry.slot = slot.slot AND entry.deleted = 0)"
        " ORDER BY slot.starts_ms DESC, slot.slot LIMIT 1",
        {
            "school": school,
            "room": room,
            "day": day,
            "midnight": span_ms[0],
            "tomorrow": span_ms[1],
        },
    ).fetchone()
    if slot is None:
        return None
    counts = {
        row[0]: row[1]
        for row in connection.execute(
            "SELECT status, count(*) FROM attendance_entry WHERE school = ? AND day = ?"
            " AND slot = ? AND deleted = 0 GROUP BY status",
            (school, day, slot[0]),
        )
    }
    members = read_pupils(connection, school, slot[1])
    return Attendance(counts=counts, awaited=max(0, len(members) - sum(counts.values())))


def read_pupils(connection: sqlite3.Connection, school: int, class_group: str) -> tuple[int, ...]:
    rows = connection.execute(
        "SELECT enrolment.person FROM enrolment JOIN person ON person.school = enrolment.school"
        " AND person.person = enrolment.person AND person.deleted = 0 AND person.kind = 'pupil'"
        " WHERE enrolment.school = ? AND enrolment.class_group = ? AND enrolment.deleted = 0"
        " ORDER BY enrolment.person LIMIT ?",
        (school, class_group, PUPILS_MAX),
    )
    return tuple(row[0] for row in rows)


def read_groups(connection: sqlite3.Connection, school: int) -> dict[str, str]:
    """Return the names of the school's classes, by id."""
    rows = connection.execute(
        "SELECT class_group, coalesce(name, class_group) FROM class_group"
        " WHERE school = ? AND deleted = 0 ORDER BY grade, class_group",
        (school,),
    )
    return {row[0]: row[1] for row in rows}


def read_group(connection: sqlite3.Connection, school: int, class_group: str) -> Row | None:
    """Return a class's whole row: ``room`` is None before somebody said where it is."""
    row = connection.execute(
        "SELECT class_group, name, grade, room FROM class_group"
        " WHERE school = ? AND class_group = ? AND deleted = 0",
        (school, class_group),
    ).fetchone()
    return None if row is None else dict(row)


def read_class_day(
    connection: sqlite3.Connection,
    school: int,
    class_group: str,
    day: str,
    span_ms: tuple[int, int],
) -> ClassDay:
    slots = connection.execute(
        "SELECT slot, subject, teacher, starts_ms, ends_ms FROM timetable_slot"
        " WHERE school = ? AND class_group = ? AND deleted = 0 AND starts_ms >= ?"
        " AND starts_ms < ? ORDER BY starts_ms, slot LIMIT 20",
        (school, class_group, *span_ms),
    )
    pupils = read_pupils(connection, school, class_group)
    entries = connection.execute(
        "SELECT slot, person, status, at_ms, corrected_by, reason FROM attendance_entry"
        " WHERE school = ? AND day = ? AND deleted = 0",
        (school, day),
    )
    leaves = connection.execute(
        "SELECT person, from_ms, until_ms, reason FROM leave WHERE school = ? AND deleted = 0"
        " AND until_ms > ? ORDER BY from_ms LIMIT 500",
        (school, span_ms[0]),
    )
    of_class = frozenset(pupils)
    return ClassDay(
        slots=tuple(
            DaySlot(
                slot=row[0],
                subject=row[1] or "",
                teacher=row[2] or "",
                starts_ms=row[3],
                ends_ms=row[4],
            )
            for row in slots
        ),
        pupils=pupils,
        entries={
            (row[0], row[1]): Entry(status=row[2], at_ms=row[3], corrected_by=row[4], reason=row[5])
            for row in entries
            if row[1] in of_class
        },
        leaves=tuple(
            PlannedLeave(person=row[0], from_ms=row[1], until_ms=row[2], reason=row[3] or "")
            for row in leaves
            if row[0] in of_class
        ),
    )
