"""Keeps the attendance entries true: judges today again whenever something was seen or changed."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Never

from edge.attendance.rules import (
    Judgement,
    Leave,
    MakeUp,
    Period,
    Place,
    Rules,
    Status,
    Tap,
    judge,
)
from edge.books import Connect
from sync.logs.oplog import Row
from sync.node import Node
from sync.writer import Writer

LOOK_EVERY_S = 30.0
"""Lessons begin and graces end without anybody's doing."""
PAUSE_S = 1.0
DAYS_WAITING_MAX = 62
MAKE_UP_DAYS = 31
PERIODS_MAX = 20_000
_DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """What one day is judged by."""

    periods: tuple[Period, ...]
    members: Mapping[str, Collection[int]]
    taps: tuple[Tap, ...]
    leaves: tuple[Leave, ...]
    make_ups: tuple[MakeUp, ...]


class Register:
    """Judges days and writes what changed; entries that a person corrected stay as they are.

    ``changed`` is told the rooms whose entries changed. Call on the event loop's thread.
    """

    def __init__(
        self,
        node: Node,
        reader: sqlite3.Connection,
        writer: Writer,
        connect: Connect,
        *,
        zone: tzinfo,
        rules: Rules,
        now_ms: Callable[[], int],
        changed: Callable[[Collection[str]], None],
    ) -> None:
        self._node = node
        self._reader = reader
        self._writer = writer
        self._connect = connect
        self._zone = zone
        self._rules = rules
        self._now_ms = now_ms
        self._changed = changed
        self._noted: set[str] = set()
        self._wake = asyncio.Event()

    def note(self, *moments_ms: int) -> None:
        """Judge the days of these moments too, soon; without any, today alone."""
        for moment_ms in moments_ms:
            if len(self._noted) < DAYS_WAITING_MAX:
                self._noted.add(day_of(moment_ms, self._zone))
        self._wake.set()

    async def run(self) -> Never:
        now_ms = self._now_ms()
        self.note(now_ms - _DAY_MS, now_ms)  # a box that was off in the evening
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.look()
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Judge today and the days that were noted; their entries are durable on return."""
        now_ms = self._now_ms()
        noted = self._noted | {day_of(now_ms, self._zone)}
        self._noted = set()
        rooms: set[str] = set()
        for day in sorted(noted):
            facts, judged = await asyncio.to_thread(self._judge, day, now_ms)
            slots = await self._writer.call(self._write, day, judged)
            rooms |= {period.room for period in facts.periods if period.slot in slots}
        if rooms:
            self._changed(rooms)

    def _judge(self, day: str, now_ms: int) -> tuple[DayFacts, dict[Place, Judgement]]:
        with closing(self._connect()) as connection:
            facts = read_day(connection, self._node.origin, day, self._zone)
        judged = judge(
            facts.periods,
            facts.members,
            facts.taps,
            facts.leaves,
            facts.make_ups,
            self._rules,
            now_ms,
        )
        return facts, judged

    def _write(self, day: str, judged: Mapping[Place, Judgement]) -> set[str]:
        """Write what differs from the entries there are; return the slots concerned.

        Runs in the writer's thread, so that no correction comes between reading and writing.
        """
        standing: dict[Place, sqlite3.Row] = {}
        days = sorted({day, *(place.day for place in judged)})
        for each in days:
            for row in self._reader.execute(
                "SELECT slot, person, status, at_ms, corrected_by, reason, make_up"
                " FROM attendance_entry WHERE school = ? AND day = ? AND deleted = 0",
                (self._node.origin, each),
            ):
                standing[Place(day=each, slot=row[0], person=row[1])] = row
        rows: list[Row] = []
        for place, found in judged.items():
            before = standing.get(place)
            if before is not None and tuple(before[2:4]) == (found.status.value, found.at_ms):
                continue
            is_corrected = before is not None and before[4] is not None
            if is_corrected and found.status is not Status.MADE_UP:
                continue
            corrected_by, reason, make_up = (None, None, None) if before is None else before[4:7]
            rows.append(
                {
                    **_entry(place),
                    "status": found.status.value,
                    "at_ms": found.at_ms,
                    "corrected_by": corrected_by,
                    "reason": reason,
                    "make_up": make_up,
                }
            )
        for place, before in standing.items():
            if place.day == day and place not in judged and before[4] is None:
                rows.append({**_entry(place), "deleted": 1})
        if rows:
            self._node.record("attendance_entry", rows)
        return {str(row["slot"]) for row in rows}


def read_day(connection: sqlite3.Connection, school: int, day: str, zone: tzinfo) -> DayFacts:
    """Read a day's lessons, pupils, taps and leave; ``day`` is an ISO date in ``zone``."""
    from_ms, until_ms = span_of(day, zone)
    span = {"school": school, "from_ms": from_ms, "until_ms": until_ms, "most": PERIODS_MAX}
    periods = connection.execute(
        "SELECT slot.slot, slot.class_group, slot.room, slot.starts_ms, slot.ends_ms"
        " FROM timetable_slot AS slot"
        " LEFT JOIN lesson ON lesson.lesson = slot.lesson AND lesson.deleted = 0"
        " WHERE slot.school = :school AND slot.deleted = 0 AND slot.starts_ms >= :from_ms"
        " AND slot.starts_ms < :until_ms AND slot.ends_ms > slot.starts_ms"
        " AND slot.class_group <> '' AND slot.room <> '' AND coalesce(lesson.cancelled, 0) = 0"
        " ORDER BY slot.starts_ms, slot.slot LIMIT :most",
        span,
    ).fetchall()
    members: defaultdict[str, list[int]] = defaultdict(list)
    for group, person in connection.execute(
        "SELECT enrolment.class_group, enrolment.person FROM enrolment JOIN person"
        " ON person.school = enrolment.school AND person.person = enrolment.person"
        " AND person.deleted = 0 AND person.kind = 'pupil'"
        " WHERE enrolment.school = :school AND enrolment.deleted = 0"
        " AND enrolment.class_group IS NOT NULL AND coalesce(enrolment.since_ms, 0) < :until_ms",
        span,
    ):
        members[group].append(person)
    taps = connection.execute(
        "SELECT at_ms, person, room FROM card_tap WHERE school = :school"
        " AND at_ms >= :from_ms AND at_ms < :until_ms AND person IS NOT NULL AND room <> ''",
        span,
    ).fetchall()
    leaves = connection.execute(
        "SELECT person, from_ms, until_ms FROM leave WHERE school = :school AND deleted = 0"
        " AND from_ms < :until_ms AND until_ms > :from_ms AND until_ms > from_ms",
        span,
    ).fetchall()
    owed = connection.execute(
        "SELECT entry.person, entry.day, entry.slot, slot.slot, slot.class_group, slot.room,"
        " slot.starts_ms, slot.ends_ms FROM attendance_entry AS entry"
        " JOIN timetable_slot AS slot ON slot.school = entry.school AND slot.slot = entry.make_up"
        " AND slot.deleted = 0"
        " WHERE entry.school = :school AND entry.deleted = 0 AND entry.day >= :since"
        " AND slot.starts_ms >= :from_ms AND slot.starts_ms < :until_ms AND slot.room <> ''",
        span | {"since": day_of(from_ms - MAKE_UP_DAYS * _DAY_MS, zone)},
    ).fetchall()
    return DayFacts(
        periods=tuple(_period(row, zone) for row in periods),
        members=members,
        taps=tuple(Tap(at_ms=row[0], person=row[1], room=row[2]) for row in taps),
        leaves=tuple(Leave(person=row[0], from_ms=row[1], until_ms=row[2]) for row in leaves),
        make_ups=tuple(
            MakeUp(person=row[0], day=row[1], slot=row[2], instead=_period(row[3:], zone))
            for row in owed
        ),
    )


def day_of(at_ms: int, zone: tzinfo) -> str:
    """Return a moment's date at the school, ISO 8601."""
    return datetime.fromtimestamp(at_ms / 1_000, zone).date().isoformat()


def span_of(day: str, zone: tzinfo) -> tuple[int, int]:
    """Return a date's midnights in ``zone``, Unix ms; raises ValueError for what is no date."""
    date = datetime.fromisoformat(day).date()
    begins, ends = (
        datetime.combine(each, time.min, zone).timestamp() for each in (date, date + timedelta(1))
    )
    return int(begins * 1_000), int(ends * 1_000)


def _period(row: sqlite3.Row | tuple[object, ...], zone: tzinfo) -> Period:
    slot, class_group, room, starts_ms, ends_ms = row
    assert isinstance(starts_ms, int)
    assert isinstance(ends_ms, int)
    return Period(
        day=day_of(starts_ms, zone),
        slot=str(slot),
        class_group=str(class_group),
        room=str(room),
        starts_ms=starts_ms,
        ends_ms=ends_ms,
    )


def _entry(place: Place) -> Row:
    return {"day": place.day, "slot": place.slot, "person": place.person}
