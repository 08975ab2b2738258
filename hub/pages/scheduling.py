"""Changes to the schedule asked for by the pages: planned against the store, then recorded.

One change at a time, so that two people cannot both be given the same room.
"""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

from hub.lesson.pairing import read_calendar, read_lesson
from hub.lesson.request import LessonRequest, Party
from hub.lesson.schedule import (
    Plan,
    new_lesson_id,
    plan_cancel,
    plan_lessons,
    plan_move,
    plan_swap,
    repeat_weekly,
)
from hub.lesson.timetable import Calendar
from hub.pages.hub_view import HubView


class Scheduling:
    """Schedules, cancels, moves and swaps lessons; raises PlanRefusedError, UnknownLessonError."""

    def __init__(self, view: HubView, chance: random.Random) -> None:
        self._view = view
        self._chance = chance
        self._turn = asyncio.Lock()

    async def schedule(self, request: LessonRequest, weeks: int, language: str) -> Plan:
        requests = [
            (new_lesson_id(self._chance), weekly) for weekly in repeat_weekly(request, weeks)
        ]

        def plan(connection: sqlite3.Connection, now_ms: int) -> Plan:
            calendar = calendar_for(connection, [weekly for _, weekly in requests], language)
            return plan_lessons(requests, calendar, now_ms)

        return await self._record(plan)

    async def cancel(self, lesson: str) -> Plan:
        return await self._record(
            lambda connection, now_ms: plan_cancel(read_lesson(connection, lesson), now_ms)
        )

    async def move(self, lesson: str, starts_ms: int, ends_ms: int, language: str) -> Plan:
        def plan(connection: sqlite3.Connection, now_ms: int) -> Plan:
            scheduled = read_lesson(connection, lesson)
            parties = scheduled.request.parties
            calendar = read_calendar(connection, parties, starts_ms, ends_ms, language)
            return plan_move(scheduled, starts_ms, ends_ms, calendar, now_ms)

        return await self._record(plan)

    async def swap(self, lesson: str, other: str, language: str) -> Plan:
        def plan(connection: sqlite3.Connection, now_ms: int) -> Plan:
            first, second = read_lesson(connection, lesson), read_lesson(connection, other)
            calendar = calendar_for(connection, [first.request, second.request], language)
            return plan_swap(first, second, calendar, now_ms)

        return await self._record(plan)

    async def _record(self, plan: Callable[[sqlite3.Connection, int], Plan]) -> Plan:
        def run() -> Plan:
            with closing(self._view.connect()) as connection:
                planned = plan(connection, self._view.now_ms())
            self._view.record_all(planned.rows)
            return planned

        async with self._turn:
            return await asyncio.to_thread(run)


def calendar_for(
    connection: sqlite3.Connection, requests: Sequence[LessonRequest], language: str
) -> Calendar:
    """Read what the requests' rooms and classes have, from the first start to the last end."""
    parties: list[Party] = [party for request in requests for party in request.parties]
    return read_calendar(
        connection,
        parties,
        min(request.starts_ms for request in requests),
        max(request.ends_ms for request in requests),
        language,
    )
