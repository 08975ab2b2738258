"""What classes and rooms have when, and the place a lesson takes among it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from hub.lesson.request import LessonRequest, school_name
from hub.locale.sentence import Argument, Clock, Day, Sentence

Row: TypeAlias = dict[str, str | int | float | bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One row of ``timetable_slot``: a class has something in a room at a time."""

    school: int
    slot: str
    class_group: str
    room: str
    subject: str
    teacher: str
    starts_ms: int
    ends_ms: int
    lesson: str | None

    def row(self) -> Row:
        return {
            "school": self.school,
            "slot": self.slot,
            "class_group": self.class_group,
            "room": self.room,
            "subject": self.subject,
            "teacher": self.teacher,
            "starts_ms": self.starts_ms,
            "ends_ms": self.ends_ms,
            "lesson": self.lesson,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """What is known and taken: school names by number, reported rooms by school, slots.

    ``recorded``: lessons that are over, with the schools that had a part in them.
    """

    schools: Mapping[int, str]
    rooms: Mapping[int, frozenset[str]]
    slots: Sequence[Slot]
    recorded: Mapping[str, frozenset[int]] = field(default_factory=dict)


def claim_slots(
    lesson: str, request: LessonRequest, calendar: Calendar
) -> tuple[list[Slot], list[Sentence]]:
    """Return each party's slot for the lesson, and what already stands in its place.

    A class's own period in that room at exactly that time is taken over and given back on cancel;
    anything else that overlaps in the room or the class is in the way.
    """
    slots: list[Slot] = []
    clashes: list[Sentence] = []
    for party in request.parties:
        slot = Slot(
            school=party.school,
            slot=lesson,
            class_group=party.class_group,
            room=party.room,
            subject=request.subject,
            teacher=request.teacher,
            starts_ms=request.starts_ms,
            ends_ms=request.ends_ms,
            lesson=lesson,
        )
        for other in calendar.slots:
            if not overlaps(slot, other):
                continue
            if is_own_period(slot, other):
                slot = replace(slot, slot=other.slot)
            else:
                clashes.append(clash(slot, other, school_name(party.school, calendar.schools)))
        slots.append(slot)
    return slots, clashes


def overlaps(slot: Slot, other: Slot) -> bool:
    return (
        slot.school == other.school
        and (slot.room == other.room or slot.class_group == other.class_group)
        and slot.starts_ms < other.ends_ms
        and other.starts_ms < slot.ends_ms
    )


def is_own_period(slot: Slot, other: Slot) -> bool:
    return (
        other.lesson is None
        and (slot.room, slot.class_group) == (other.room, other.class_group)
        and (slot.starts_ms, slot.ends_ms) == (other.starts_ms, other.ends_ms)
    )


def clash(slot: Slot, other: Slot, school: str) -> Sentence:
    arguments: dict[str, Argument] = {
        "school": school,
        "room": slot.room,
        "class_group": slot.class_group,
        "subject": other.subject,
        "day": Day(other.starts_ms),
        "from": Clock(other.starts_ms),
        "until": Clock(other.ends_ms),
    }
    if slot.room == other.room:
        return Sentence(
            "%(school)s: room %(room)s is taken by %(subject)s on %(day)s, %(from)s to %(until)s; "
            "choose another time or room.",
            arguments,
        )
    return Sentence(
        "%(school)s: class %(class_group)s has %(subject)s on %(day)s, %(from)s to %(until)s; "
        "choose another time or class.",
        arguments,
    )


def find_unknown_rooms(request: LessonRequest, calendar: Calendar) -> Iterable[Sentence]:
    """Return a warning for each room its school has not reported; the box may report it yet."""
    for party in request.parties:
        rooms = calendar.rooms.get(party.school)
        if rooms and party.room not in rooms:
            yield Sentence(
                "%(school)s has not reported a room “%(room)s”; it reported %(rooms)s. "
                "If that is a slip, cancel this lesson and schedule it again.",
                {
                    "school": school_name(party.school, calendar.schools),
                    "room": party.room,
                    "rooms": ", ".join(sorted(rooms)[:10]),
                },
            )
