"""Alarms, drills and troubles of the schools' safety, as their boxes told them."""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

ALARM_HOURS: Final = 24
ALARMS_MAX: Final = 200
DRILL: Final = "drill"
DRILL_MS_MAX: Final = 2 * 3600 * 1000
"""A drill that nobody ended lasts no longer."""
TROUBLES_MAX: Final = 500
_EARLIER_MS: Final = 3600 * 1000
"""A clock that was set back may have put a step before its alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm or a drill. ``taken_ms``, ``taken_by``: who at the school takes care of it.

    ``seen_ms``, ``seen_by``: the district's own answer. None is "not yet".
    """

    school: int
    at_ms: int
    alarm: str | None
    place: str | None
    incident: str | None = None
    is_drill: bool = False
    taken_ms: int | None = None
    taken_by: str | None = None
    closed_ms: int | None = None
    seen_ms: int | None = None
    seen_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A circuit that could not tell of an alarm now."""

    school: int
    name: str
    since_ms: int
    reason: str | None


def read_alarms(
    connection: sqlite3.Connection, now_ms: int, until_ms: int
) -> tuple[dict[int, list[Alarm]], dict[int, list[Alarm]]]:
    """Return the day's alarms and the drills that are on, by school, the newest first.

    An alarm of a drill is neither.
    """
    alarms: defaultdict[int, list[Alarm]] = defaultdict(list)
    drills: defaultdict[int, list[Alarm]] = defaultdict(list)
    for row in connection.execute(
        """SELECT alarm.school AS school, alarm.at_ms AS at_ms, alarm.alarm AS alarm,
                  alarm.place AS place, alarm.incident AS incident,
                  coalesce(alarm.drill, 0) AS is_drill,
                  taken.at_ms AS taken_ms, taken.who AS taken_by, closed.at_ms AS closed_ms,
                  answer.at_ms AS seen_ms, answer.who AS seen_by
             FROM school CROSS JOIN alarm
               ON alarm.school = school.school AND alarm.at_ms BETWEEN :from AND :until
             LEFT JOIN alarm_step AS taken ON taken.school = alarm.school
              AND taken.at_ms >= alarm.at_ms - :earlier AND taken.incident = alarm.incident
              AND taken.step = 'acknowledged'
             LEFT JOIN alarm_step AS closed ON closed.school = alarm.school
              AND closed.at_ms >= alarm.at_ms - :earlier AND closed.incident = alarm.incident
              AND closed.step = 'closed'
             LEFT JOIN alarm_answer AS answer ON answer.school = alarm.school
              AND answer.incident = alarm.incident AND answer.deleted = 0
            WHERE school.deleted = 0
              AND (coalesce(alarm.drill, 0) = 0 OR alarm.alarm = :drill)
            GROUP BY alarm.school, alarm.at_ms, alarm.log, alarm.row
            ORDER BY alarm.at_ms DESC LIMIT :most""",
        {
            "from": now_ms - ALARM_HOURS * 3600 * 1000,
            "until": until_ms,
            "earlier": _EARLIER_MS,
            "drill": DRILL,
            "most": ALARMS_MAX,
        },
    ):
        alarm = Alarm(**{**dict(row), "is_drill": bool(row["is_drill"])})
        if not alarm.is_drill:
            alarms[alarm.school].append(alarm)
        elif alarm.closed_ms is None and now_ms - alarm.at_ms < DRILL_MS_MAX:
            drills[alarm.school].append(alarm)
    return alarms, drills


def read_troubles(connection: sqlite3.Connection) -> dict[int, list[Trouble]]:
    """Return the circuits in trouble by school, the longest first."""
    troubles: defaultdict[int, list[Trouble]] = defaultdict(list)
    for row in connection.execute(
        """SELECT state.school AS school, coalesce(circuit.name, state.circuit) AS name,
                  coalesce(state.since_ms, 0) AS since_ms, state.reason AS reason
             FROM school CROSS JOIN circuit_state AS state ON state.school = school.school
             CROSS JOIN safety_circuit AS circuit ON circuit.school = state.school
              AND circuit.circuit = state.circuit AND circuit.deleted = 0
            WHERE school.deleted = 0 AND state.deleted = 0 AND state.state = 'trouble'
            ORDER BY since_ms, name LIMIT ?""",
        (TROUBLES_MAX,),
    ):
        troubles[row["school"]].append(Trouble(**dict(row)))
    return troubles
