"""The lessons this school has a part in, read from what the hub sent."""

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from edge.pages.box_view import LessonRole
from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId, parse_lesson_id
from sync.lessons.lesson_times import LessonOrder, LessonTimes, apply_order

_log = logging.getLogger(__name__)

AFTER_MS = 14 * 24 * 3600 * 1000
"""How long after its end a lesson is still filled up from the hub."""
PREPARE_MS = 10 * 60 * 1000
ROOM_AFTER_MS = 2 * 3600 * 1000
"""How long after its end a lesson is given to its room's pages, which nobody signs in to."""
PAST = "this lesson is past; its recording is on the page of lessons, with the setup code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One school's part in a lesson."""

    school: int
    name: str
    name_en: str
    role: LessonRole
    room: str
    class_group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledLesson:
    """A lesson as the hub schedules it and its teacher ordered; Unix ms.

    ``planned``: the hub's times; ``ordered_ms``: when the teacher ordered others, if that counts.
    ``done`` once it is written down. ``substitute``: the lesson whose recording is played when the
    flagship fails.
    """

    lesson: LessonId
    kind: str
    title_zh: str
    title_en: str
    teacher: str
    starts_ms: int
    ends_ms: int
    rehearsal: bool
    done: bool
    planned: LessonTimes
    mine: Party
    parties: tuple[Party, ...]
    ordered_ms: int | None = None
    stopped: bool = False
    substitute: LessonId | None = None
    substitute_title: str = ""

    @property
    def flagship(self) -> Party | None:
        return next((party for party in self.parties if party.role is LessonRole.FLAGSHIP), None)

    @property
    def receivers(self) -> tuple[Party, ...]:
        return tuple(party for party in self.parties if party.role is LessonRole.RECEIVER)

    @property
    def times(self) -> LessonTimes:
        return LessonTimes(starts_ms=self.starts_ms, ends_ms=self.ends_ms, stopped=self.stopped)

    def is_open_to_its_room(self, now_ms: int) -> bool:
        """Tell whether the room's pages may still see the lesson; later it wants a code."""
        return now_ms < self.ends_ms + ROOM_AFTER_MS

    def ordered(self, order: LessonOrder | None) -> "ScheduledLesson":
        """Return this lesson as its teacher ordered it, if that counts."""
        times = apply_order(self.planned, order)
        if order is None or times == self.planned:
            return self
        return replace(
            self,
            ordered_ms=order.at_ms,
            starts_ms=times.starts_ms,
            ends_ms=times.ends_ms,
            stopped=times.stopped,
        )


def read_lessons(store: sqlite3.Connection, school: int, now_ms: int) -> list[ScheduledLesson]:
    """Return lessons of this school that are to come, run, or ended lately, by time.

    Cancelled ones are left out, and so are those whose rows make no sense.
    """
    rows = store.execute(
        "SELECT l.lesson, l.kind, l.title_zh, l.title_en, l.teacher, l.starts_ms, l.ends_ms,"
        " l.rehearsal, l.substitute, (SELECT coalesce(title_zh, title_en) FROM lesson"
        " WHERE lesson = l.substitute AND deleted = 0 LIMIT 1) AS substitute_title,"
        " minutes.lesson IS NOT NULL AS done,"
        " p.school, p.role, p.room, p.class_group, s.name, s.name_en"
        " FROM lesson_party mine"
        " JOIN lesson l ON l.lesson = mine.lesson"
        " JOIN lesson_party p ON p.lesson = mine.lesson"
        " LEFT JOIN school s ON s.school = p.school AND s.deleted = 0"
        " LEFT JOIN lesson_minutes minutes ON minutes.school = mine.school"
        " AND minutes.lesson = mine.lesson AND minutes.deleted = 0"
        " WHERE mine.school = ? AND mine.deleted = 0 AND l.deleted = 0 AND p.deleted = 0"
        " AND coalesce(l.cancelled, 0) = 0 AND l.ends_ms > ? AND l.starts_ms < l.ends_ms"
        " AND p.role IN ('flagship', 'receiver')"
        " ORDER BY l.starts_ms, l.lesson, p.role, p.school",
        (school, now_ms - AFTER_MS),
    ).fetchall()
    lessons = [
        _lesson(list(of_lesson), school)
        for _, of_lesson in groupby(rows, lambda row: row["lesson"])
    ]
    orders = _orders(store, now_ms - AFTER_MS)
    return [
        lesson.ordered(orders.get((lesson.flagship.school, lesson.lesson)))
        if lesson.flagship is not None
        else lesson
        for lesson in lessons
        if lesson is not None
    ]


def _orders(store: sqlite3.Connection, since_ms: int) -> dict[tuple[int, str], LessonOrder]:
    """Return what schools ordered of lessons; only the flagship's word will count."""
    rows = store.execute(
        "SELECT school, lesson, at_ms, planned_starts_ms, planned_ends_ms, starts_ms, ends_ms,"
        " coalesce(stopped, 0) AS stopped FROM lesson_order WHERE deleted = 0"
        " AND at_ms > ? AND planned_starts_ms IS NOT NULL AND planned_ends_ms IS NOT NULL"
        " AND starts_ms IS NOT NULL AND ends_ms IS NOT NULL",
        (since_ms,),
    )
    return {
        (row["school"], row["lesson"]): LessonOrder(
            at_ms=row["at_ms"],
            planned=LessonTimes(starts_ms=row["planned_starts_ms"], ends_ms=row["planned_ends_ms"]),
            times=LessonTimes(
                starts_ms=row["starts_ms"], ends_ms=row["ends_ms"], stopped=bool(row["stopped"])
            ),
        )
        for row in rows
    }


def _lesson(rows: Sequence[sqlite3.Row], school: int) -> ScheduledLesson | None:
    """Return one lesson of its parties' rows, None when this school or a fit name is missing."""
    first = rows[0]
    try:
        name = parse_lesson_id(first["lesson"])
    except MalformedError as error:
        _log.warning("the hub schedules what cannot be held: %s", error)
        return None
    parties = tuple(_party(row) for row in rows)
    own = [party for party in parties if party.school == school]
    if not own:
        return None
    title_zh, title_en = titles(first)
    return ScheduledLesson(
        lesson=name,
        kind=first["kind"] or "delivery",
        title_zh=title_zh,
        title_en=title_en,
        teacher=first["teacher"] or "",
        starts_ms=first["starts_ms"],
        ends_ms=first["ends_ms"],
        rehearsal=bool(first["rehearsal"]),
        done=bool(first["done"]),
        planned=LessonTimes(starts_ms=first["starts_ms"], ends_ms=first["ends_ms"]),
        substitute=_substitute(first["substitute"]),
        substitute_title=first["substitute_title"] or "",
        mine=own[0],
        parties=parties,
    )


def _substitute(name: str | None) -> LessonId | None:
    if not name:
        return None
    try:
        return parse_lesson_id(name)
    except MalformedError as error:
        _log.warning("a lesson's substitute is passed over: %s", error)
        return None


def _party(row: sqlite3.Row) -> Party:
    name, name_en = school_names(row)
    return Party(
        school=row["school"],
        name=name,
        name_en=name_en,
        role=LessonRole(row["role"]),
        room=row["room"] or "",
        class_group=row["class_group"] or "",
    )


def titles(lesson: sqlite3.Row) -> tuple[str, str]:
    """Return a lesson's title in Chinese and in English; what it lacks is in the other language."""
    title_zh, title_en = lesson["title_zh"] or "", lesson["title_en"] or ""
    return title_zh or title_en, title_en or title_zh


def school_names(party: sqlite3.Row) -> tuple[str, str]:
    """Return a school's name in Chinese and in English; its number where it has none."""
    name = party["name"] or str(party["school"])
    return name, party["name_en"] or name
