"""What the store holds of exercise lessons and fitness results."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from edge.sports.fitness import Attempt
from edge.sports.load import Beat

PUPILS_MAX = 200
BEATS_MAX = 400_000
SESSIONS_MAX = 20
ATTEMPTS_READ_MAX = 20_000
OPEN_MS_MAX = 4 * 3_600_000
"""A lesson that nobody ended is over after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One lesson; its figures are None while it goes on, or when the bands told too little."""

    session: str
    class_group: str
    teacher: str
    starts_ms: int
    ends_ms: int | None
    alarm_bpm: int
    density: float | None = None
    individual_density: float | None = None
    intensity_bpm: float | None = None
    coverage: float | None = None
    pupils: int | None = None
    told: int | None = None
    reached: int | None = None


def read_sessions(connection: sqlite3.Connection, school: int) -> list[SessionRow]:
    """Return the latest lessons, the newest first."""
    rows = connection.execute(
        "SELECT session, class_group, coalesce(teacher, '') AS teacher, starts_ms, ends_ms,"
        " coalesce(alarm_bpm, 200) AS alarm_bpm, density, individual_density, intensity_bpm,"
        " coverage, pupils, told, reached FROM exercise_session"
        " WHERE school = ? AND deleted = 0 AND starts_ms IS NOT NULL AND class_group IS NOT NULL"
        " ORDER BY starts_ms DESC LIMIT ?",
        (school, SESSIONS_MAX),
    )
    return [SessionRow(**dict(row)) for row in rows]


def read_worn(connection: sqlite3.Connection, school: int, session: str) -> dict[str, int]:
    """Return who wears which band."""
    rows = connection.execute(
        "SELECT band, person FROM band_worn WHERE school = ? AND session = ? AND deleted = 0"
        " AND person IS NOT NULL ORDER BY band LIMIT ?",
        (school, session, PUPILS_MAX),
    )
    return {row[0]: row[1] for row in rows}


def read_beats(
    connection: sqlite3.Connection, school: int, persons: Sequence[int], from_ms: int, until_ms: int
) -> dict[int, list[Beat]]:
    """Return the kept heart rates of pupils in [from, until), each by time."""
    found: dict[int, list[Beat]] = {person: [] for person in persons}
    for person, at_ms, bpm, moving in connection.execute(
        "SELECT person, at_ms, bpm, moving FROM heart_rate WHERE school = ?"
        " AND at_ms >= ? AND at_ms < ? AND bpm IS NOT NULL ORDER BY at_ms, log, row LIMIT ?",
        (school, from_ms, until_ms, BEATS_MAX),
    ):
        if person in found:
            told = None if moving is None else bool(moving)
            found[person].append(Beat(at_ms=at_ms, bpm=bpm, moving=told))
    return found


def read_attempts(
    connection: sqlite3.Connection, school: int, from_ms: int, until_ms: int
) -> list[Attempt]:
    """Return fitness results of a span, by time."""
    rows = connection.execute(
        "SELECT person, station, result, at_ms FROM fitness_result WHERE school = ?"
        " AND at_ms >= ? AND at_ms < ? AND person IS NOT NULL AND station IS NOT NULL"
        " AND result IS NOT NULL ORDER BY at_ms, log, row LIMIT ?",
        (school, from_ms, until_ms, ATTEMPTS_READ_MAX),
    )
    return [Attempt(person=r[0], station=r[1], result=r[2], at_ms=r[3]) for r in rows]
