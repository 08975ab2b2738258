"""Grants lessons' keys to the partners that a person here confirmed, and closes them to others."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Never

from edge.lesson.keys.lesson_keys import LessonKeys
from edge.lesson.keys.partners import Partner, Partners
from edge.lesson.schedule import PREPARE_MS, Party, ScheduledLesson
from edge.pages.box_view import LessonRole
from sync.errors import SyncError
from sync.lessons.fragment_log import LessonId
from sync.lessons.tracks import return_log
from sync.segments.sealing import RecipientId, recipient_id
from sync.writer import Writer

_log = logging.getLogger(__name__)

GRANT_EVERY_S = 2.0


class LessonGrants:
    """Follows confirmations and parties; :meth:`run` is its task."""

    def __init__(
        self,
        partners: Partners,
        keys: LessonKeys,
        writer: Writer,
        now_ms: Callable[[], int],
        scheduled: Callable[[], Mapping[LessonId, ScheduledLesson]],
        held: Callable[[], Collection[LessonId]],
    ) -> None:
        """``held`` are the lessons that run; others are granted once at each confirmation."""
        self._partners = partners
        self._keys = keys
        self._writer = writer
        self._now_ms = now_ms
        self._scheduled = scheduled
        self._held = held
        self._granted: dict[LessonId, frozenset[RecipientId]] = {}
        self._grants_all = True

    async def partners_of(self, school: int) -> list[Partner]:
        """Return the certified boxes of another school."""
        return await self._writer.call(self._partners.of, school)

    async def confirm(self, school: int, fingerprint: str, who: str) -> None:
        """Confirm a key, also for lessons that are running or lately over.

        Raises BoxSetupError when the school has no such key.
        """
        await self._writer.call(self._partners.confirm, school, fingerprint, who)
        self._grants_all = True

    async def run(self) -> Never:
        """Grant lessons' keys to partners as they are confirmed, and close them to who left."""
        while True:
            due_ms = self._now_ms() + PREPARE_MS
            everything, self._grants_all = self._grants_all, False
            mine = [
                lesson
                for lesson in self._scheduled().values()
                if lesson.starts_ms <= due_ms and (everything or lesson.lesson in self._held())
            ]
            try:
                await self._writer.call(self._grant, mine)
            except (sqlite3.Error, SyncError) as error:
                _log.warning("lessons' keys are not granted: %s", error)
                self._grants_all = True
            await asyncio.sleep(GRANT_EVERY_S)

    def _grant(self, lessons: Sequence[ScheduledLesson]) -> None:
        for lesson in lessons:
            log, parties = _given(lesson)
            keys = [key for party in parties for key in self._partners.confirmed_keys(party.school)]
            names = frozenset(recipient_id(key) for key in keys)
            if self._granted.get(log) != names:
                self._keys.grant(log, keys)
                self._granted[log] = names


def _given(lesson: ScheduledLesson) -> tuple[LessonId, Sequence[Party]]:
    """Return the log that this school writes in a lesson, and whose boxes may read it.

    The flagship's is the lesson itself, a receiving class's is its way back.
    """
    if lesson.mine.role is LessonRole.FLAGSHIP:
        return lesson.lesson, lesson.receivers
    flagship = lesson.flagship
    log = return_log(lesson.lesson, lesson.mine.school)
    return log, () if flagship is None else (flagship,)
