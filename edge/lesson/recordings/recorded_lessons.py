"""Lessons that were or are, as the store tells of them: what was signed, and what is kept."""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from edge.lesson.schedule import school_names, titles
from edge.pages.box_view import LessonRole
from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId, parse_lesson_id
from sync.lessons.lesson_minutes import Minutes, SignedMinutes, lacking_s, read_minutes
from sync.logs.oplog import Row

LESSONS_MAX = 300
_GAPS = msgspec.json.Decoder(list[tuple[int, int, int]])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTake:
    """One take as it was written down at the lesson's end; ``gaps`` are (track, first, last)."""

    take: str
    recorded_ms: int
    stored_bytes: int
    gaps: tuple[tuple[int, int, int], ...]
    complete: bool
    digest: bytes
    gone_ms: int | None
    gone_why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLesson:
    """One lesson of this school that has begun, with what was written down of it so far."""

    lesson: LessonId
    title_zh: str
    title_en: str
    teacher: str
    starts_ms: int
    ends_ms: int
    rehearsal: bool
    role: LessonRole
    room: str
    flagship: int
    names: dict[int, tuple[str, str]]
    """Each party's name, in Chinese and English."""
    minutes: dict[int, SignedMinutes]
    takes: tuple[KeptTake, ...]

    def minutes_of(self, school: int) -> Minutes | None:
        found = self.minutes.get(school)
        return None if found is None else found.minutes

    def is_elsewhere(self, school: int) -> bool:
        """Tell whether another party than ``school`` signed that it holds all of the lesson."""
        return any(
            other != school and each.minutes.recorded_s and not self.lacking_s(other)
            for other, each in self.minutes.items()
        )

    def lacking_s(self, school: int) -> int:
        """Return the seconds that a school's recording lacks by what was signed."""
        signed, given = self.minutes_of(school), self.minutes_of(self.flagship)
        if signed is None:
            return 0
        given_s = None if given is None else given.recorded_s
        return lacking_s(signed.recorded_s, signed.missing_s, given_s)

    @property
    def gone_ms(self) -> int | None:
        """When the recording went, None while some of it is kept."""
        if not self.takes or any(take.gone_ms is None for take in self.takes):
            return None
        return max(take.gone_ms or 0 for take in self.takes)


def read_recorded(store: sqlite3.Connection, school: int, now_ms: int) -> list[RecordedLesson]:
    """Return a school's lessons that have begun, newest first; rows that make no sense left out."""
    lessons = store.execute(
        "SELECT l.lesson, l.title_zh, l.title_en, l.teacher, l.starts_ms, l.ends_ms, l.rehearsal,"
        " mine.role, mine.room FROM lesson_party mine JOIN lesson l ON l.lesson = mine.lesson"
        " WHERE mine.school = ? AND mine.deleted = 0 AND l.deleted = 0"
        " AND coalesce(l.cancelled, 0) = 0 AND l.starts_ms <= ?"
        " AND mine.role IN ('flagship', 'receiver')"
        " ORDER BY l.starts_ms DESC, l.lesson LIMIT ?",
        (school, now_ms, LESSONS_MAX),
    ).fetchall()
    names = msgspec.json.encode([row["lesson"] for row in lessons]).decode()
    parties = _by_lesson(
        store.execute(
            "SELECT p.lesson, p.school, p.role, s.name, s.name_en FROM lesson_party p"
            " LEFT JOIN school s ON s.school = p.school AND s.deleted = 0"
            " WHERE p.deleted = 0 AND p.lesson IN (SELECT value FROM json_each(?))"
            " ORDER BY p.role, p.school",
            (names,),
        )
    )
    minutes = _by_lesson(
        store.execute(
            "SELECT * FROM lesson_minutes WHERE deleted = 0 AND signature IS NOT NULL"
            " AND lesson IN (SELECT value FROM json_each(?))",
            (names,),
        )
    )
    takes = _by_lesson(
        store.execute(
            "SELECT * FROM recording WHERE school = ? AND deleted = 0"
            " AND lesson IN (SELECT value FROM json_each(?)) ORDER BY take",
            (school, names),
        )
    )
    found: list[RecordedLesson] = []
    for row in lessons:
        try:
            lesson = parse_lesson_id(row["lesson"])
        except MalformedError:
            continue  # the schedule says so already
        here = parties[lesson]
        title_zh, title_en = titles(row)
        found.append(
            RecordedLesson(
                lesson=lesson,
                title_zh=title_zh,
                title_en=title_en,
                teacher=row["teacher"] or "",
                starts_ms=row["starts_ms"],
                ends_ms=row["ends_ms"],
                rehearsal=bool(row["rehearsal"]),
                role=LessonRole(row["role"]),
                room=row["room"] or "",
                flagship=next((one["school"] for one in here if one["role"] == "flagship"), 0),
                names={one["school"]: school_names(one) for one in here},
                minutes=dict(_signed(minutes[lesson])),
                takes=tuple(_take(one) for one in takes[lesson]),
            )
        )
    return found


def read_needed(store: sqlite3.Connection, now_ms: int) -> frozenset[str]:
    """Return the lessons that are not over, and those whose recordings would stand in for them."""
    rows = store.execute(
        "SELECT lesson, substitute FROM lesson WHERE deleted = 0"
        " AND coalesce(cancelled, 0) = 0 AND ends_ms > ?",
        (now_ms,),
    )
    return frozenset(name for row in rows for name in row if name is not None)


def read_kept(store: sqlite3.Connection, school: int, lessons: Collection[str]) -> list[Row]:
    """Return the rows of a school's recordings of some lessons that were not said to be gone."""
    rows = store.execute(
        "SELECT lesson, take, recorded_ms, bytes, gaps, complete, digest FROM recording"
        " WHERE school = ? AND deleted = 0 AND gone_ms IS NULL",
        (school,),
    )
    return [dict(row) for row in rows if row["lesson"] in lessons]


def _signed(rows: Iterable[sqlite3.Row]) -> Iterable[tuple[int, SignedMinutes]]:
    for row in rows:
        with suppress(MalformedError):
            yield row["school"], read_minutes(row)


def _take(row: sqlite3.Row) -> KeptTake:
    try:
        gaps = tuple(_GAPS.decode(row["gaps"] or "[]"))
    except (msgspec.DecodeError, UnicodeError):
        gaps = ()
    return KeptTake(
        take=row["take"],
        recorded_ms=row["recorded_ms"] or 0,
        stored_bytes=row["bytes"] or 0,
        gaps=gaps,
        complete=bool(row["complete"]),
        digest=row["digest"] or b"",
        gone_ms=row["gone_ms"],
        gone_why=row["gone_why"] or "",
    )


def _by_lesson(rows: Iterable[sqlite3.Row]) -> dict[str, list[sqlite3.Row]]:
    found: defaultdict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in rows:
        found[row["lesson"]].append(row)
    return found
