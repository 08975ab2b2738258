"""What the pages read of schools from the hub's store, as SQL in the open.

Every figure comes with the moment of its evidence. Rows that claim to be from the future (a box
with a wrong clock) are left out beyond :data:`CLOCK_SLACK_MS`, so that none looks fresh for years.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hub.card_queries import (
    NO_CARDS,
    CardCount,
    CardScreen,
    count_by_school,
    count_screens,
    read_screens,
)
from hub.key_queries import SchoolKeys, read_keys
from hub.safety_queries import Alarm, Trouble, read_alarms, read_troubles
from hub.sync_queries import SchoolSync, read_school_sync

CLOCK_SLACK_MS: Final = 5 * 60 * 1000
DEVICES_MAX: Final = 500
READINGS_MAX: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    school: int
    name: str | None = None
    name_en: str | None = None
    role: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolNow:
    """One school's rows at a glance: when the last tap and reading arose, and how many today.

    ``alarms`` are those of a day that are no drill, ``drills`` those that are on now.
    """

    school: School
    tap_ms: int | None = None
    taps_today: int = 0
    reading_ms: int | None = None
    devices: Mapping[str, int]
    alarms: tuple[Alarm, ...] = ()
    drills: tuple[Alarm, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    cards: CardCount = NO_CARDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    device: str
    kind: str | None
    name: str | None
    room: str | None
    profile: str | None
    adopted_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The newest value of one point; ``value`` is None when ``quality`` is bad."""

    device: str
    point: str
    value: float | None
    unit: str | None
    quality: str | None
    source: str | None
    reason: str | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolDetail:
    now: SchoolNow
    devices: tuple[Device, ...]
    readings: tuple[Reading, ...]
    keys: SchoolKeys
    sync: SchoolSync
    screens: tuple[CardScreen, ...] = ()
    cards: CardCount = NO_CARDS


def read_schools(connection: sqlite3.Connection) -> list[School]:
    rows = connection.execute(
        """SELECT school, name, name_en, role, latitude, longitude
             FROM school WHERE deleted = 0 ORDER BY school"""
    )
    return [School(**dict(row)) for row in rows]


def read_district(connection: sqlite3.Connection, midnight_ms: int, now_ms: int) -> list[SchoolNow]:
    """Return every school known here, by number."""
    until_ms = now_ms + CLOCK_SLACK_MS
    # Each subquery is one seek in, or one run along, the index on (school, at_ms).
    figures = connection.execute(
        """SELECT school.school AS school,
                  (SELECT max(at_ms) FROM card_tap
                    WHERE school = school.school AND at_ms <= :until) AS tap_ms,
                  (SELECT count(*) FROM card_tap
                    WHERE school = school.school AND at_ms BETWEEN :midnight AND :until)
                    AS taps_today,
                  (SELECT max(at_ms) FROM reading
                    WHERE school = school.school AND at_ms <= :until) AS reading_ms
             FROM school WHERE deleted = 0""",
        {"midnight": midnight_ms, "until": until_ms},
    )
    by_school = {row["school"]: row for row in figures}
    devices: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(
        """SELECT school, coalesce(kind, '?') AS kind, count(*) AS count
             FROM device WHERE deleted = 0 GROUP BY school, kind"""
    ):
        devices[row["school"]][row["kind"]] = row["count"]
    alarms, drills = read_alarms(connection, now_ms, until_ms)
    troubles = read_troubles(connection)
    cards = count_by_school(connection, now_ms)
    return [
        SchoolNow(
            school=school,
            tap_ms=by_school[school.school]["tap_ms"],
            taps_today=by_school[school.school]["taps_today"],
            reading_ms=by_school[school.school]["reading_ms"],
            devices=devices[school.school],
            alarms=tuple(alarms.get(school.school, ())),
            drills=tuple(drills.get(school.school, ())),
            troubles=tuple(troubles.get(school.school, ())),
            cards=cards.get(school.school, NO_CARDS),
        )
        for school in read_schools(connection)
    ]


def read_school(
    connection: sqlite3.Connection, school: int, midnight_ms: int, now_ms: int
) -> SchoolDetail | None:
    """Return one school with its devices and the newest value of each point, None if unknown.

    Points are found among the newest :data:`READINGS_MAX` readings. A point whose values are words
    has a reading only for each time that it gave none; it is left out once a word came after it.
    """
    found = [
        now for now in read_district(connection, midnight_ms, now_ms) if now.school.school == school
    ]
    if not found:
        return None
    devices = connection.execute(
        """SELECT device, kind, name, room, profile, adopted_ms FROM device
            WHERE school = ? AND deleted = 0 ORDER BY room, kind, device LIMIT ?""",
        (school, DEVICES_MAX),
    )
    # SQLite takes the bare columns from the row that holds max(at_ms).
    readings = connection.execute(
        """SELECT * FROM (
                SELECT device, point, value, unit, quality, source, reason, max(at_ms) AS at_ms
                  FROM (SELECT * FROM reading WHERE school = ? AND at_ms <= ?
                         ORDER BY at_ms DESC LIMIT ?)
                 GROUP BY device, point) AS newest
            WHERE NOT EXISTS (SELECT 1 FROM device_state AS word
                               WHERE word.school = ? AND word.deleted = 0
                                 AND word.device = newest.device AND word.point = newest.point
                                 AND word.observed_ms >= newest.at_ms)
            ORDER BY device, point""",
        (school, now_ms + CLOCK_SLACK_MS, READINGS_MAX, school),
    )
    screens = tuple(read_screens(connection, school, now_ms))
    return SchoolDetail(
        now=found[0],
        devices=tuple(Device(**dict(row)) for row in devices),
        readings=tuple(Reading(**dict(row)) for row in readings),
        keys=read_keys(connection, school),
        sync=read_school_sync(connection, school),
        screens=screens,
        cards=count_screens(screens),
    )
