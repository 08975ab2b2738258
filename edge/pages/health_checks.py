"""What the office reads of a day's morning and noon checks (晨午检): who was seen, who not."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from enum import StrEnum

from edge.attendance.register import span_of
from edge.attendance.rules import Status
from edge.pages.card_queries import ClassDay, read_pupils

CHECKS_MAX = 20_000
"""Of one school on one day."""
FEVER_C = 37.3
"""From here on a pupil is kept apart and asked (the ministries' rules for schools, 2021)."""
NOON = time(12)


class CheckRound(StrEnum):
    """Checks before noon are the morning's, the others the noon's."""

    MORNING = "morning"
    NOON = "noon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at one pupil; without temperature and symptoms nothing was found."""

    at_ms: int
    temperature_c: float | None
    symptoms: str

    @property
    def has_finding(self) -> bool:
        return bool(self.symptoms) or (
            self.temperature_c is not None and self.temperature_c >= FEVER_C
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChecks:
    """The checks of one class on one day, by round and pupil, each pupil's in order."""

    pupils: tuple[int, ...]
    checks: Mapping[tuple[CheckRound, int], Sequence[Check]]

    def of(self, which: CheckRound, person: int) -> Sequence[Check]:
        return self.checks.get((which, person), ())

    def missing(self, which: CheckRound) -> list[int]:
        return [person for person in self.pupils if not self.of(which, person)]

    def found(self, which: CheckRound) -> list[int]:
        """Return the pupils with whom something was found; a later sound check takes none off."""
        return [
            person
            for person in self.pupils
            if any(check.has_finding for check in self.of(which, person))
        ]


def round_at(at_ms: int, zone: tzinfo) -> CheckRound:
    """Tell to which round a moment belongs."""
    local = datetime.fromtimestamp(at_ms / 1_000, zone).time()
    return CheckRound.MORNING if local < NOON else CheckRound.NOON


def rounds_begun(day: str, now_ms: int, zone: tzinfo) -> list[CheckRound]:
    """Return the rounds of an ISO date that have begun: of today perhaps the morning's alone."""
    from_ms, until_ms = span_of(day, zone)
    if now_ms < from_ms:
        return []
    if now_ms < until_ms and round_at(now_ms, zone) is CheckRound.MORNING:
        return [CheckRound.MORNING]
    return list(CheckRound)


def read_checks(
    connection: sqlite3.Connection,
    school: int,
    class_groups: Sequence[str],
    span_ms: tuple[int, int],
    zone: tzinfo,
) -> dict[str, ClassChecks]:
    """Return the checks of the classes that have pupils, by class; ``span_ms`` is the day.

    Of more than ``CHECKS_MAX`` the latest count.
    """
    checks: defaultdict[tuple[CheckRound, int], list[Check]] = defaultdict(list)
    for at_ms, person, temperature_c, symptoms in connection.execute(
        "SELECT * FROM (SELECT at_ms, person, temperature_c, symptoms FROM health_check"
        " WHERE school = ? AND at_ms >= ? AND at_ms < ? AND person IS NOT NULL"
        " ORDER BY at_ms DESC LIMIT ?) ORDER BY at_ms",
        (school, *span_ms, CHECKS_MAX),
    ):
        check = Check(at_ms=at_ms, temperature_c=temperature_c, symptoms=symptoms or "")
        checks[round_at(at_ms, zone), person].append(check)
    members = {group: read_pupils(connection, school, group) for group in class_groups}
    return {
        group: ClassChecks(
            pupils=pupils,
            checks={
                (which, person): checks[which, person]
                for person in pupils
                for which in CheckRound
                if (which, person) in checks
            },
        )
        for group, pupils in members.items()
        if pupils
    }


def find_away(class_day: ClassDay, now_ms: int) -> dict[int, Status]:
    """Return who is on leave now, and who was absent from the lesson that was noted last."""
    away: dict[int, Status] = {}
    for slot in class_day.slots:
        for person in class_day.pupils:
            entry = class_day.entries.get((slot.slot, person))
            if entry is not None:
                away.pop(person, None)
                if entry.status == Status.ABSENT:
                    away[person] = Status.ABSENT
    for leave in class_day.leaves:
        if leave.from_ms <= now_ms < leave.until_ms:
            away[leave.person] = Status.LEAVE
    return away
