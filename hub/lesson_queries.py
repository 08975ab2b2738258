"""What the pages read of lessons from the hub's store, with the evidence of both ends."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from hub.queries import CLOCK_SLACK_MS
from sync.errors import MalformedError
from sync.lessons.lesson_minutes import SignedMinutes, parse_rungs, read_minutes
from sync.lessons.lesson_times import LATER_MS_MAX, LONGER_MS_MAX
from sync.lessons.root_cause import Hop

PREPARING_MS: Final = 10 * 60 * 1000
QUALITY_MAX: Final = 40
UPCOMING_MAX: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a school last said about its end of a lesson."""

    at_ms: int
    hop: str | None
    state: str | None
    cause: str | None
    frames: int | None
    late_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """``rungs``: seconds by rung; ``digest``: the recording's, in hex."""

    live_s: int
    recorded_s: int
    missing_s: int
    rung: str | None
    sent_s: int = 0
    rungs: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonParty:
    """One end of a lesson with the evidence its school sent."""

    school: int
    role: str
    class_group: str
    room: str
    quality: Quality | None
    minutes: Minutes | None
    recorded_ms: int | None
    recorded_bytes: int | None
    recording_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTimes:
    """When the district planned a lesson, Unix ms."""

    starts_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A scheduled lesson, its flagship first among the parties.

    ``starts_ms`` and ``ends_ms`` are as its teacher ordered them, ``planned`` as the district did.
    """

    lesson: str
    flagship: int
    kind: str
    title_zh: str
    title_en: str
    teacher: str
    starts_ms: int
    ends_ms: int
    rehearsal: bool
    cancelled: bool
    planned: PlannedTimes
    stopped: bool
    parties: tuple[LessonParty, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    lesson: str
    title_zh: str | None
    title_en: str | None
    starts_ms: int


def read_lessons(connection: sqlite3.Connection, from_ms: int, until_ms: int) -> list[Lesson]:
    """Return the lessons that start in a span (Unix ms, end excluded), by start."""
    lessons = connection.execute(
        f"""SELECT {_LESSON_COLUMNS} FROM lesson {_ORDERED}
            WHERE lesson.deleted = 0 AND lesson.starts_ms >= ? AND lesson.starts_ms < ?
            ORDER BY lesson.starts_ms, lesson.school, lesson.lesson""",  # noqa: S608 - constants
        (from_ms, until_ms),
    ).fetchall()
    parties = connection.execute(
        f"""SELECT {_PARTY_COLUMNS}
             FROM lesson {_PARTY_EVIDENCE}
            WHERE lesson.deleted = 0 AND lesson.starts_ms >= ? AND lesson.starts_ms < ?
            ORDER BY party.role <> 'flagship', party.school""",  # noqa: S608 - constants
        (from_ms, until_ms),
    ).fetchall()
    return _assemble(lessons, parties)


def read_lesson_evidence(connection: sqlite3.Connection, lesson: str) -> Lesson | None:
    """Return one lesson with both ends' evidence, None if it is not known here."""
    lessons = connection.execute(
        f"SELECT {_LESSON_COLUMNS} FROM lesson {_ORDERED}"  # noqa: S608 - constants
        " WHERE lesson.deleted = 0 AND lesson.lesson = ?",
        (lesson,),
    ).fetchall()
    parties = connection.execute(
        f"""SELECT {_PARTY_COLUMNS}
             FROM lesson {_PARTY_EVIDENCE}
            WHERE lesson.deleted = 0 AND lesson.lesson = ?
            ORDER BY party.role <> 'flagship', party.school""",  # noqa: S608 - constants
        (lesson,),
    ).fetchall()
    found = _assemble(lessons, parties)
    return found[0] if found else None


def read_upcoming(connection: sqlite3.Connection, flagship: int, now_ms: int) -> list[Upcoming]:
    """Return a flagship's lessons that have not begun, soonest first."""
    rows = connection.execute(
        """SELECT lesson, title_zh, title_en, starts_ms FROM lesson
            WHERE school = ? AND deleted = 0 AND cancelled = 0 AND starts_ms > ?
            ORDER BY starts_ms LIMIT ?""",
        (flagship, now_ms, UPCOMING_MAX),
    )
    return [Upcoming(**dict(row)) for row in rows]


def read_signed(connection: sqlite3.Connection, lesson: str) -> dict[int, SignedMinutes]:
    """Return what each school signed of a lesson; what cannot be read is left out."""
    rows = connection.execute(
        "SELECT * FROM lesson_minutes WHERE lesson = ? AND deleted = 0 AND signature IS NOT NULL",
        (lesson,),
    ).fetchall()
    found: dict[int, SignedMinutes] = {}
    for row in rows:
        with suppress(MalformedError):
            found[row["school"]] = read_minutes(row)
    return found


def read_quality(
    connection: sqlite3.Connection, school: int, lesson: Lesson, now_ms: int
) -> list[Quality]:
    """Return what a school said about its end of a lesson, newest first."""
    rows = connection.execute(
        f"""SELECT at_ms, hop, state, cause, frames, late_ms FROM lesson_quality
            WHERE school = ? AND lesson = ? AND at_ms BETWEEN ? AND ?
              AND coalesce(hop, '') NOT IN ({_HOPS})
            ORDER BY at_ms DESC, log, row DESC LIMIT ?""",  # noqa: S608 - a constant
        (
            school,
            lesson.lesson,
            lesson.starts_ms - PREPARING_MS,
            now_ms + CLOCK_SLACK_MS,
            QUALITY_MAX,
        ),
    )
    return [Quality(**dict(row)) for row in rows]


# Rows of the hops tell of one minute each; the others tell of the lesson.
_HOPS: Final = ", ".join(f"'{hop}'" for hop in Hop)

# What the flagship's teacher ordered counts for the times that were planned then, within a bound
# that the boxes keep too.
_ORDERED: Final = f"""
    LEFT JOIN lesson_order AS ordered ON ordered.school = lesson.school
        AND ordered.lesson = lesson.lesson AND ordered.deleted = 0
        AND ordered.planned_starts_ms = lesson.starts_ms
        AND ordered.planned_ends_ms = lesson.ends_ms
        AND ordered.starts_ms BETWEEN lesson.starts_ms AND lesson.starts_ms + {LATER_MS_MAX}
        AND ordered.ends_ms > ordered.starts_ms
        AND ordered.ends_ms <= lesson.ends_ms + {LONGER_MS_MAX}"""
_LESSON_COLUMNS: Final = """lesson.*, coalesce(ordered.starts_ms, lesson.starts_ms) AS begins_ms,
    coalesce(ordered.ends_ms, lesson.ends_ms) AS finishes_ms,
    coalesce(ordered.stopped, 0) AS stopped"""

_PARTY_COLUMNS: Final = """party.lesson AS lesson, party.school AS school,
    coalesce(party.role, '') AS role, coalesce(party.class_group, '') AS class_group,
    coalesce(party.room, '') AS room,
    quality.at_ms AS at_ms, quality.hop AS hop, quality.state AS state, quality.cause AS cause,
    quality.frames AS frames, quality.late_ms AS late_ms,
    minutes.live_s AS live_s, minutes.recorded_s AS recorded_s,
    minutes.missing_s AS missing_s, minutes.rung AS rung, minutes.sent_s AS sent_s,
    minutes.rungs AS rungs, hex(minutes.digest) AS digest,
    (SELECT max(recorded_ms) FROM recording WHERE school = party.school
        AND lesson = party.lesson AND deleted = 0) AS recorded_ms,
    (SELECT sum(bytes) FROM recording WHERE school = party.school
        AND lesson = party.lesson AND deleted = 0) AS recorded_bytes,
    (SELECT min(complete) FROM recording WHERE school = party.school
        AND lesson = party.lesson AND deleted = 0) AS recording_complete"""

# A school's newest word on a lesson: a short run backwards along the index on (school, at_ms).
_PARTY_EVIDENCE: Final = f"""
    JOIN lesson_party AS party ON party.lesson = lesson.lesson AND party.deleted = 0
    LEFT JOIN lesson_quality AS quality ON quality.school = party.school
        AND (quality.log, quality.row) = (
            SELECT log, row FROM lesson_quality
             WHERE school = party.school AND lesson = party.lesson
               AND at_ms BETWEEN lesson.starts_ms - {PREPARING_MS} AND lesson.ends_ms + 86400000
               AND coalesce(hop, '') NOT IN ('preflight', {_HOPS})
             ORDER BY at_ms DESC, log, row DESC LIMIT 1)
    LEFT JOIN lesson_minutes AS minutes ON minutes.school = party.school
        AND minutes.lesson = party.lesson AND minutes.deleted = 0"""  # noqa: S608 - constants


def _assemble(lessons: Sequence[sqlite3.Row], parties: Sequence[sqlite3.Row]) -> list[Lesson]:
    by_lesson: defaultdict[str, list[LessonParty]] = defaultdict(list)
    for row in parties:
        by_lesson[row["lesson"]].append(_read_party(row))
    return [
        Lesson(
            lesson=row["lesson"],
            flagship=row["school"],
            kind=row["kind"] or "",
            title_zh=row["title_zh"] or "",
            title_en=row["title_en"] or "",
            teacher=row["teacher"] or "",
            starts_ms=row["begins_ms"],
            ends_ms=row["finishes_ms"],
            planned=PlannedTimes(starts_ms=row["starts_ms"], ends_ms=row["ends_ms"]),
            stopped=bool(row["stopped"]),
            rehearsal=bool(row["rehearsal"]),
            cancelled=bool(row["cancelled"]),
            parties=tuple(by_lesson[row["lesson"]]),
        )
        for row in lessons
    ]


def _rungs(text: str | None) -> dict[str, int]:
    try:
        return parse_rungs(text or "{}")
    except MalformedError:
        return {}


def _read_party(row: sqlite3.Row) -> LessonParty:
    quality = minutes = None
    if row["at_ms"] is not None:
        quality = Quality(
            at_ms=row["at_ms"],
            hop=row["hop"],
            state=row["state"],
            cause=row["cause"],
            frames=row["frames"],
            late_ms=row["late_ms"],
        )
    if row["live_s"] is not None:
        minutes = Minutes(
            live_s=row["live_s"],
            recorded_s=row["recorded_s"] or 0,
            missing_s=row["missing_s"] or 0,
            rung=row["rung"],
            sent_s=row["sent_s"] or 0,
            rungs=_rungs(row["rungs"]),
            digest=(row["digest"] or "").lower(),
        )
    return LessonParty(
        school=row["school"],
        role=row["role"],
        class_group=row["class_group"],
        room=row["room"],
        quality=quality,
        minutes=minutes,
        recorded_ms=row["recorded_ms"],
        recorded_bytes=row["recorded_bytes"],
        recording_complete=bool(row["recording_complete"]),
    )
