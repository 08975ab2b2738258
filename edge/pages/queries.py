"""What the pages read from the box's store, in SQL."""

import sqlite3
from dataclasses import dataclass

from edge.class_cards.office import SWAP

SLOTS_MAX = 1_000
TAPS_MAX = 10
NOTICES_MAX = 20
ROOMS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    room: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One period; the lesson's fields are None where it is no delivery lesson.

    ``swapped``: the office changed its subject or teacher, and no delivery lesson took its place.
    """

    slot: str
    starts_ms: int
    ends_ms: int
    subject: str | None
    teacher: str | None
    lesson: str | None
    title_zh: str | None
    title_en: str | None
    swapped: bool
    rehearsal: bool
    cancelled: bool
    flagship_zh: str | None
    flagship_en: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """``person`` is None for a card nobody is known by."""

    at_ms: int
    person: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    title_zh: str | None
    title_en: str | None
    body_zh: str | None
    body_en: str | None
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCardRows:
    class_names: tuple[str, ...]
    slots: tuple[Slot, ...]
    notices: tuple[Notice, ...]


def read_rooms(connection: sqlite3.Connection, school: int) -> list[Room]:
    """Return the school's rooms: those named, and those a timetable or a class speaks of."""
    rows = connection.execute(
        """
        SELECT known.room AS room, COALESCE(room.name, known.room) AS name
        FROM (
            SELECT room FROM room WHERE school = :school AND deleted = 0
            UNION SELECT room FROM class_group WHERE school = :school AND deleted = 0
            UNION SELECT room FROM timetable_slot WHERE school = :school AND deleted = 0
        ) AS known
        LEFT JOIN room
            ON room.school = :school AND room.room = known.room AND room.deleted = 0
        WHERE known.room IS NOT NULL AND known.room <> ''
        ORDER BY name LIMIT :limit
        """,
        {"school": school, "limit": ROOMS_MAX},
    )
    return [Room(room=row["room"], name=row["name"]) for row in rows]


def read_class_card(
    connection: sqlite3.Connection, school: int, room: str, *, day_ms: int, until_ms: int
) -> ClassCardRows:
    """Return what a room's card shows of [``day_ms``, ``until_ms``)."""
    return ClassCardRows(
        class_names=_class_names(connection, school, room),
        slots=_slots(connection, school, room, day_ms, until_ms),
        notices=_notices(connection, school, day_ms, until_ms),
    )


def read_taps(
    connection: sqlite3.Connection, school: int, room: str, from_ms: int
) -> tuple[tuple[Tap, ...], int]:
    """Return a room's latest taps since a moment, and how many people tapped."""
    return _taps(connection, school, room, from_ms), _arrived(connection, school, room, from_ms)


def _class_names(connection: sqlite3.Connection, school: int, room: str) -> tuple[str, ...]:
    rows = connection.execute(
        """
        SELECT name FROM class_group
        WHERE school = ? AND room = ? AND deleted = 0 AND name IS NOT NULL
        ORDER BY name LIMIT 4
        """,
        (school, room),
    )
    return tuple(row["name"] for row in rows)


def _slots(
    connection: sqlite3.Connection, school: int, room: str, from_ms: int, until_ms: int
) -> tuple[Slot, ...]:
    # A lesson and its parties stand under their own schools, so they are joined by id alone.
    rows = connection.execute(
        """
        SELECT slot.slot, slot.starts_ms, slot.ends_ms, slot.subject, slot.teacher, slot.lesson,
               lesson.title_zh, lesson.title_en,
               COALESCE(slot.lesson, '') = '' AND slot.slot IN (
                   SELECT subject FROM audit_entry WHERE school = :school AND action = :swap
               ) AS swapped,
               COALESCE(lesson.rehearsal, 0) AS rehearsal,
               COALESCE(lesson.cancelled, 0) AS cancelled,
               flagship.name AS flagship_zh, flagship.name_en AS flagship_en
        FROM timetable_slot AS slot
        LEFT JOIN lesson ON lesson.lesson = slot.lesson AND lesson.deleted = 0
        LEFT JOIN school AS flagship
            ON flagship.school = lesson.school AND flagship.deleted = 0
        WHERE slot.school = :school AND slot.room = :room AND slot.deleted = 0
          AND slot.ends_ms > :from_ms AND slot.starts_ms < :until_ms
          AND slot.starts_ms < slot.ends_ms
        ORDER BY slot.starts_ms, slot.slot LIMIT :most
        """,
        {
            "school": school,
            "swap": SWAP,
            "room": room,
            "from_ms": from_ms,
            "until_ms": until_ms,
            "most": SLOTS_MAX,
        },
    )
    return tuple(
        Slot(
            slot=row["slot"],
            starts_ms=row["starts_ms"],
            ends_ms=row["ends_ms"],
            subject=row["subject"],
            teacher=row["teacher"],
            lesson=row["lesson"] or None,
            title_zh=row["title_zh"],
            title_en=row["title_en"],
            swapped=bool(row["swapped"]),
            rehearsal=bool(row["rehearsal"]),
            cancelled=bool(row["cancelled"]),
            flagship_zh=row["flagship_zh"],
            flagship_en=row["flagship_en"],
        )
        for row in rows
    )


def _taps(connection: sqlite3.Connection, school: int, room: str, from_ms: int) -> tuple[Tap, ...]:
    rows = connection.execute(
        """
        SELECT at_ms, person FROM card_tap
        WHERE school = ? AND room = ? AND at_ms >= ? ORDER BY at_ms DESC LIMIT ?
        """,
        (school, room, from_ms, TAPS_MAX),
    )
    return tuple(Tap(at_ms=row["at_ms"], person=row["person"]) for row in rows)


def _arrived(connection: sqlite3.Connection, school: int, room: str, from_ms: int) -> int:
    (count,) = connection.execute(
        """
        SELECT COUNT(DISTINCT person) FROM card_tap
        WHERE school = ? AND room = ? AND at_ms >= ?
        """,
        (school, room, from_ms),
    ).fetchone()
    return int(count)


def _notices(
    connection: sqlite3.Connection, school: int, from_ms: int, until_ms: int
) -> tuple[Notice, ...]:
    # School 0 is the district's: a notice for every school.
    rows = connection.execute(
        """
        SELECT title_zh, title_en, body_zh, body_en, from_ms, until_ms FROM notice
        WHERE school IN (0, ?) AND deleted = 0 AND until_ms > ? AND from_ms < ?
        ORDER BY from_ms DESC LIMIT ?
        """,
        (school, from_ms, until_ms, NOTICES_MAX),
    )
    return tuple(
        Notice(
            title_zh=row["title_zh"],
            title_en=row["title_en"],
            body_zh=row["body_zh"],
            body_en=row["body_en"],
            from_ms=row["from_ms"],
            until_ms=row["until_ms"],
        )
        for row in rows
    )
