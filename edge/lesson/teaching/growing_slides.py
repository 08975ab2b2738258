"""A lesson's slides as they come to a school, put together on the disk beside the lesson."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Never

from edge.lesson.teaching.materials import Materials
from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId
from sync.lessons.materials import Chunk

_log = logging.getLogger(__name__)

WAITING_MAX = 512
"""Chunks that wait for the disk, 16 MiB; more are written while the lesson waits."""


class GrowingSlides:
    """Takes chunks from the lesson's stream; :meth:`run` writes them, apart from the stream."""

    def __init__(self, materials: Materials, lesson: LessonId, changed: Callable[[], None]) -> None:
        """Have ``changed`` called for each slide that is whole."""
        self._materials = materials
        self._lesson = lesson
        self._changed = changed
        self._turn = threading.Lock()
        self._waiting: asyncio.Queue[Chunk] = asyncio.Queue(WAITING_MAX)

    def take(self, chunk: Chunk) -> None:
        try:
            self._waiting.put_nowait(chunk)
        except asyncio.QueueFull:
            self._grow(chunk)

    async def run(self) -> Never:
        while True:
            chunk = await self._waiting.get()
            if await asyncio.to_thread(self._grow, chunk):
                self._changed()

    def _grow(self, chunk: Chunk) -> bool:
        """Return whether a slide became whole; what is wrong with one is said and passed over."""
        try:
            with self._turn:
                return self._materials.grow(self._lesson, chunk)
        except (MalformedError, OSError) as error:
            _log.warning("lesson %s: a slide: %s", self._lesson, error)
            return False
