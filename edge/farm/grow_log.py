"""The grow log and the labour of a class, as the store holds them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

ENTRIES_MAX = 100
WORK_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """``person`` is None for an entry of the whole class."""

    at_ms: int
    plot: str
    person: int | None
    text: str
    height_mm: int | None
    photo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Labour of one pupil; ``is_granted`` is None until a teacher has answered."""

    at_ms: int
    person: int
    task: str
    points: int
    work: str
    is_granted: bool | None
    teacher: str


def read_log(connection: sqlite3.Connection, school: int, class_group: str) -> list[LogEntry]:
    """Return a class's latest entries, those of no class among them."""
    rows = connection.execute(
        "SELECT at_ms, plot, person, entry, height_mm, photo FROM grow_log"
        " WHERE school = ? AND coalesce(class_group, '') IN ('', ?)"
        " ORDER BY at_ms DESC LIMIT ?",
        (school, class_group, ENTRIES_MAX),
    )
    return [
        LogEntry(
            at_ms=row[0],
            plot=row[1] or "",
            person=row[2],
            text=row[3] or "",
            height_mm=row[4],
            photo=row[5] or "",
        )
        for row in rows
    ]


def read_work(connection: sqlite3.Connection, school: int, pupils: Sequence[int]) -> list[Work]:
    """Return the labour of some pupils, the latest first; a task's first answer counts."""
    answers: dict[tuple[str, int], tuple[bool, str]] = {}
    for row in connection.execute(
        "SELECT task, person, granted, confirmed_by FROM labour_confirmation WHERE school = ?"
        " ORDER BY at_ms LIMIT ?",
        (school, WORK_MAX * 10),
    ):
        # Before there was a column for it, a confirmation only ever granted.
        granted = row[2] is None or bool(row[2])
        answers.setdefault((row[0], row[1]), (granted, row[3] or ""))
    wanted = set(pupils)
    rows = connection.execute(
        "SELECT at_ms, person, task, points, work FROM labour_point WHERE school = ?"
        " ORDER BY at_ms DESC LIMIT ?",
        (school, WORK_MAX),
    )
    found = []
    for at_ms, person, task, points, work in rows:
        if person in wanted:
            answer = answers.get((task, person))
            found.append(
                Work(
                    at_ms=at_ms,
                    person=person,
                    task=task or "",
                    points=points or 0,
                    work=work or "",
                    is_granted=answer[0] if answer else None,
                    teacher=answer[1] if answer else "",
                )
            )
    return found
