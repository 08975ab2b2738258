"""The lessons this school has a part in, read from what the hub sent."""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass

from edge.pages.box_view import LessonRole

AFTER_MS = 14 * 24 * 3600 * 1000
"""How long after its end a lesson is still filled up from the hub."""
PREPARE_MS = 10 * 60 * 1000


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
    """A lesson as the hub schedules it; times are Unix ms."""

    lesson: str
    kind: str
    title_zh: str
    title_en: str
    teacher: str
    starts_ms: int
    ends_ms: int
    rehearsal: bool
    mine: Party
    parties: tuple[Party, ...]

    @property
    def flagship(self) -> Party | None:
        return next((party for party in self.parties if party.role is LessonRole.FLAGSHIP), None)

    @property
    def receivers(self) -> tuple[Party, ...]:
        return tuple(party for party in self.parties if party.role is LessonRole.RECEIVER)


def read_lessons(store: sqlite3.Connection, school: int, now_ms: int) -> list[ScheduledLesson]:
    """Return lessons of this school that are to come, run, or ended lately, by time."""
    lessons = store.execute(
        "SELECT l.* FROM lesson l JOIN lesson_party mine ON mine.lesson = l.lesson"
        " WHERE mine.school = ? AND mine.deleted = 0 AND l.deleted = 0"
        " AND coalesce(l.cancelled, 0) = 0 AND l.ends_ms > ? ORDER BY l.starts_ms, l.lesson",
        (school, now_ms - AFTER_MS),
    ).fetchall()
    parties = _read_parties(store, [row["lesson"] for row in lessons])
    found = []
    for row in lessons:
        own = [party for party in parties[row["lesson"]] if party.school == school]
        if own:
            found.append(
                ScheduledLesson(
                    lesson=row["lesson"],
                    kind=row["kind"] or "delivery",
                    title_zh=row["title_zh"] or row["title_en"] or "",
                    title_en=row["title_en"] or row["title_zh"] or "",
                    teacher=row["teacher"] or "",
                    starts_ms=row["starts_ms"],
                    ends_ms=row["ends_ms"],
                    rehearsal=bool(row["rehearsal"]),
                    mine=own[0],
                    parties=tuple(parties[row["lesson"]]),
                )
            )
    return found


def _read_parties(store: sqlite3.Connection, lessons: list[str]) -> defaultdict[str, list[Party]]:
    parties: defaultdict[str, list[Party]] = defaultdict(list)
    for lesson in lessons:
        rows = store.execute(
            "SELECT p.*, s.name, s.name_en FROM lesson_party p"
            " LEFT JOIN school s ON s.school = p.school AND s.deleted = 0"
            " WHERE p.lesson = ? AND p.deleted = 0 ORDER BY p.role, p.school",
            (lesson,),
        ).fetchall()
        for row in rows:
            name = row["name"] or f"{row['school']}"
            parties[lesson].append(
                Party(
                    school=row["school"],
                    name=name,
                    name_en=row["name_en"] or name,
                    role=LessonRole(row["role"]),
                    room=row["room"] or "",
                    class_group=row["class_group"] or "",
                )
            )
    return parties
