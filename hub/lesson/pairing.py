"""Reading the schedule back: lessons as recorded, the calendar, and which schools are paired."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hub.lesson.request import LessonRequest, Party
from hub.lesson.schedule import FLAGSHIP, ScheduledLesson
from hub.lesson.timetable import Calendar, Slot
from hub.locale.catalogue import CHINESE

# A school may leave out what it does not know.
SLOT_COLUMNS = """school, slot, coalesce(class_group, '') AS class_group,
    coalesce(room, '') AS room, coalesce(subject, '') AS subject,
    coalesce(teacher, '') AS teacher, starts_ms, ends_ms, lesson"""


RECORDINGS_MAX = 200
"""Recordings a person is offered as substitutes: the newest."""


class UnknownLessonError(LookupError):
    """No such lesson is scheduled here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Schools that teach and receive together, and in how many lessons.

    ``pattern`` is "1+N" for one flagship school, "N+N" for several that share receivers.
    """

    flagships: tuple[int, ...]
    receivers: tuple[int, ...]
    lessons: int

    @property
    def pattern(self) -> str:
        return "1+N" if len(self.flagships) == 1 else "N+N"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A lesson that has a recording at some school."""

    lesson: str
    title_zh: str | None
    title_en: str | None
    starts_ms: int


def pairings(connection: sqlite3.Connection, from_ms: int, until_ms: int) -> list[Pairing]:
    """Return the pairings that lessons of a span (Unix ms, end excluded) make, largest first.

    A rehearsal makes none.
    """
    found = connection.execute(
        """SELECT lesson.lesson AS lesson, lesson.school AS flagship, party.school AS receiver
             FROM lesson JOIN lesson_party AS party
               ON party.lesson = lesson.lesson AND party.deleted = 0 AND party.role <> ?
            WHERE lesson.deleted = 0 AND lesson.cancelled = 0
              AND coalesce(lesson.rehearsal, 0) = 0
              AND lesson.starts_ms >= ? AND lesson.starts_ms < ?
            ORDER BY flagship, receiver""",
        (FLAGSHIP, from_ms, until_ms),
    ).fetchall()
    return group_pairings([(row["lesson"], row["flagship"], row["receiver"]) for row in found])


def group_pairings(links: Iterable[tuple[str, int, int]]) -> list[Pairing]:
    """Group (lesson, flagship, receiver) links into the sets of schools they connect."""
    groups: list[tuple[set[int], set[int], set[str]]] = []
    for lesson, flagship, receiver in links:
        flagships, receivers, lessons = {flagship}, {receiver}, {lesson}
        apart = []
        for group in groups:
            if {flagship, receiver}.isdisjoint(group[0] | group[1]):
                apart.append(group)
            else:
                flagships |= group[0]
                receivers |= group[1]
                lessons |= group[2]
        groups = [*apart, (flagships, receivers, lessons)]
    return sorted(
        (
            Pairing(
                flagships=tuple(sorted(flagships)),
                receivers=tuple(sorted(receivers)),
                lessons=len(lessons),
            )
            for flagships, receivers, lessons in groups
        ),
        key=lambda pairing: (-pairing.lessons, pairing.flagships),
    )


def read_calendar(
    connection: sqlite3.Connection,
    parties: Sequence[Party],
    from_ms: int,
    until_ms: int,
    language: str = CHINESE,
) -> Calendar:
    """Return what the parties' rooms and classes have in a span, and names for the sentences."""
    schools = sorted({party.school for party in parties})
    rooms_asked = sorted({party.room for party in parties})
    classes = sorted({party.class_group for party in parties})
    slots = connection.execute(
        f"""SELECT {SLOT_COLUMNS} FROM timetable_slot
             WHERE deleted = 0 AND school IN ({marks(schools)})
               AND starts_ms < ? AND ends_ms > ?
               AND (room IN ({marks(rooms_asked)}) OR class_group IN ({marks(classes)}))""",  # noqa: S608 - only question marks are put in
        (*schools, until_ms, from_ms, *rooms_asked, *classes),
    ).fetchall()
    rooms = connection.execute(
        f"SELECT school, room FROM room WHERE deleted = 0 AND school IN ({marks(schools)})",  # noqa: S608 - only question marks are put in
        tuple(schools),
    ).fetchall()
    return Calendar(
        schools=read_school_names(connection, language),
        rooms={
            school: frozenset(row["room"] for row in rooms if row["school"] == school)
            for school in {row["school"] for row in rooms}
        },
        slots=[read_slot(row) for row in slots],
        recorded=read_recorded(connection),
    )


def read_recorded(connection: sqlite3.Connection) -> dict[str, frozenset[int]]:
    """Return the lessons of which recordings were reported, with their schools."""
    schools: defaultdict[str, set[int]] = defaultdict(set)
    for row in connection.execute(
        """SELECT DISTINCT recording.lesson AS lesson, party.school AS school FROM recording
             JOIN lesson_party AS party
               ON party.lesson = recording.lesson AND party.deleted = 0
            WHERE recording.deleted = 0"""
    ):
        schools[row["lesson"]].add(row["school"])
    return {lesson: frozenset(found) for lesson, found in schools.items()}


def read_recordings(connection: sqlite3.Connection) -> list[Recorded]:
    """Return the newest lessons that have a recording, for a person to choose from."""
    rows = connection.execute(
        """SELECT lesson, title_zh, title_en, starts_ms FROM lesson
            WHERE deleted = 0 AND coalesce(rehearsal, 0) = 0
              AND lesson IN (SELECT lesson FROM recording WHERE deleted = 0)
            ORDER BY starts_ms DESC LIMIT ?""",
        (RECORDINGS_MAX,),
    )
    return [Recorded(**dict(row)) for row in rows]


def read_school_names(connection: sqlite3.Connection, language: str = CHINESE) -> dict[int, str]:
    """Return each school's name in the reader's language, or in the other if it has only one."""
    rows = connection.execute("SELECT school, name, name_en FROM school WHERE deleted = 0")
    return {
        row["school"]: pick(row["name"], row["name_en"], language) or str(row["school"])
        for row in rows
    }


def pick(chinese: str | None, english: str | None, language: str) -> str:
    """Return the text in the reader's language, else in the other, else nothing."""
    first, second = (chinese, english) if language == CHINESE else (english, chinese)
    return first or second or ""


def read_lesson(connection: sqlite3.Connection, lesson: str) -> ScheduledLesson:
    """Return a lesson as recorded; raises :class:`UnknownLessonError`."""
    found = connection.execute(
        """SELECT school, kind, title_zh, title_en, teacher, starts_ms, ends_ms, rehearsal,
                  cancelled, coalesce(substitute, '') AS substitute
             FROM lesson WHERE lesson = ? AND deleted = 0""",
        (lesson,),
    ).fetchone()
    parties = connection.execute(
        """SELECT school, role, class_group, room FROM lesson_party
            WHERE lesson = ? AND deleted = 0 ORDER BY role <> ?, school""",
        (lesson, FLAGSHIP),
    ).fetchall()
    if found is None or not parties or parties[0]["role"] != FLAGSHIP:
        raise UnknownLessonError(lesson)
    slots = connection.execute(
        f"SELECT {SLOT_COLUMNS} FROM timetable_slot WHERE lesson = ? AND deleted = 0",  # noqa: S608 - a constant
        (lesson,),
    ).fetchall()
    flagship, *receivers = (
        Party(school=row["school"], class_group=row["class_group"], room=row["room"])
        for row in parties
    )
    return ScheduledLesson(
        lesson=lesson,
        request=LessonRequest(
            kind=found["kind"],
            title_zh=found["title_zh"],
            title_en=found["title_en"],
            subject=slots[0]["subject"] if slots else found["title_zh"],
            teacher=found["teacher"],
            starts_ms=found["starts_ms"],
            ends_ms=found["ends_ms"],
            flagship=flagship,
            receivers=tuple(receivers),
            rehearsal=bool(found["rehearsal"]),
            substitute=found["substitute"],
        ),
        cancelled=bool(found["cancelled"]),
        slots=tuple(read_slot(row) for row in slots),
    )


def marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def read_slot(row: sqlite3.Row) -> Slot:
    return Slot(**{column: row[column] for column in row.keys()})  # noqa: SIM118 - Row iterates values
