"""Gathers what each page shows: the store's rows, read in a worker thread, and the hub's lights."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from hub.lesson.pairing import (
    Pairing,
    Recorded,
    UnknownLessonError,
    pairings,
    read_recordings,
    read_school_names,
)
from hub.lesson_queries import (
    PREPARING_MS,
    Lesson,
    Quality,
    Upcoming,
    read_lesson_evidence,
    read_lessons,
    read_quality,
    read_signed,
    read_upcoming,
)
from hub.locale.catalogue import DAY_MS, start_of_day
from hub.pages.district import District, SchoolRow, build_district, build_row
from hub.pages.hub_view import FlowLight, HubView, SchoolLight
from hub.pages.lesson_detail import LessonDetail, build_detail
from hub.pages.lesson_evidence import tell_ways, weigh_words
from hub.pages.lesson_grid import Grid, build_grid
from hub.queries import SchoolDetail, read_district, read_school
from sync.lessons.lesson_minutes import SignedMinutes
from sync.lessons.root_cause import HopMinute, read_hops

T = TypeVar("T")

PAIRING_DAYS = 30


class UnknownSchoolError(LookupError):
    """No such school is known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonDay:
    """The lessons of one day as a grid, and the pairings of the weeks around it."""

    now_ms: int
    day_ms: int
    lessons: int
    grid: Grid
    pairings: tuple[Pairing, ...]
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolPage:
    now_ms: int
    row: SchoolRow
    detail: SchoolDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonReading:
    """What the store tells of one lesson."""

    lesson: Lesson
    history: Mapping[int, Sequence[Quality]]
    others: tuple[Upcoming, ...]
    names: Mapping[int, str]
    signed: Mapping[int, SignedMinutes]
    hops: Mapping[int, Sequence[HopMinute]]


class Figures:
    """Reads for the pages; every answer is of one moment."""

    def __init__(self, view: HubView) -> None:
        self._view = view

    async def district(self, language: str) -> District:
        now_ms = self._view.now_ms()
        boxes = self._view.school_lights()
        midnight_ms = start_of_day(now_ms)

        def read(connection: sqlite3.Connection) -> District:
            lessons = read_lessons(connection, midnight_ms, midnight_ms + DAY_MS)
            schools = read_district(connection, midnight_ms, now_ms)
            return build_district(schools, boxes, lessons, now_ms, language)

        return await self.read(read)

    async def lesson_day(self, day_ms: int, language: str) -> LessonDay:
        """Return the lessons of the day that begins at ``day_ms``."""

        def read(
            connection: sqlite3.Connection,
        ) -> tuple[list[Lesson], list[Pairing], dict[int, str]]:
            return (
                read_lessons(connection, day_ms, day_ms + DAY_MS),
                pairings(
                    connection, day_ms - PAIRING_DAYS * DAY_MS, day_ms + PAIRING_DAYS * DAY_MS
                ),
                read_school_names(connection, language),
            )

        lessons, paired, names = await self.read(read)
        now_ms = self._view.now_ms()
        flows = self._flows(lessons, now_ms)
        grid = await asyncio.to_thread(build_grid, lessons, flows, names, now_ms)
        return LessonDay(
            now_ms=now_ms,
            day_ms=day_ms,
            lessons=len(lessons),
            grid=grid,
            pairings=tuple(paired),
            names=names,
        )

    async def lesson(self, lesson: str, language: str) -> LessonDetail:
        """Return both ends of a lesson; raises UnknownLessonError."""
        asked_ms = self._view.now_ms()

        def read(
            connection: sqlite3.Connection,
        ) -> LessonReading:
            found = read_lesson_evidence(connection, lesson)
            if found is None:
                raise UnknownLessonError(lesson)
            history = {
                party.school: read_quality(connection, party.school, found, asked_ms)
                for party in found.parties
            }
            others = [
                other
                for other in read_upcoming(connection, found.flagship, asked_ms)
                if other.lesson != lesson
            ]
            return LessonReading(
                lesson=found,
                history=history,
                others=tuple(others),
                names=read_school_names(connection, language),
                signed=read_signed(connection, lesson),
                hops={
                    party.school: read_hops(
                        connection,
                        party.school,
                        lesson,
                        found.starts_ms - PREPARING_MS,
                        found.ends_ms + DAY_MS,
                    )
                    for party in found.parties
                },
            )

        told = await self.read(read)
        boxes = {box.school: box for box in self._view.school_lights()}
        keys = {school: self._view.signing_keys(school) for school in told.signed}
        words = weigh_words(told.signed, keys, told.lesson.flagship)
        ways = tell_ways(told.hops, told.lesson.flagship)
        flows = self._view.lesson_flow(lesson)
        detail = build_detail(
            told.lesson, flows, boxes, told.history, told.names, self._view.now_ms(), words, ways
        )
        return replace(detail, others=told.others)

    async def school(self, school: int, language: str) -> SchoolPage:
        """Return one school; raises UnknownSchoolError."""
        now_ms = self._view.now_ms()
        boxes: Sequence[SchoolLight] = self._view.school_lights()
        box = next((box for box in boxes if box.school == school), None)
        detail = await self.read(
            lambda connection: read_school(connection, school, start_of_day(now_ms), now_ms)
        )
        if detail is None:
            raise UnknownSchoolError(school)
        row = build_row(detail.now, box, now_ms, language)
        return SchoolPage(now_ms=now_ms, row=row, detail=detail)

    async def school_names(self, language: str) -> dict[int, str]:
        return await self.read(lambda connection: read_school_names(connection, language))

    async def recordings(self) -> list[Recorded]:
        """Return the lessons whose recordings may stand in for a flagship that fails."""
        return await self.read(read_recordings)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on a connection of its own in a worker thread: the loop relays lessons."""

        def run() -> T:
            with closing(self._view.connect()) as connection:
                return work(connection)

        return await asyncio.to_thread(run)

    def _flows(self, lessons: Sequence[Lesson], now_ms: int) -> dict[str, Sequence[FlowLight]]:
        """Ask the relay about lessons that run; of others only the schools' records count."""
        return {
            lesson.lesson: self._view.lesson_flow(lesson.lesson)
            for lesson in lessons
            if lesson.starts_ms <= now_ms < lesson.ends_ms
        }
