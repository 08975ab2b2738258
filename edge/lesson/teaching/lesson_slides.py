"""The slides of lessons given here: pictures on the disk, their order and titles in the store."""

import asyncio
import sqlite3

from drivers.errors import SetupError
from edge.lesson.teaching.materials import MaterialError, Materials
from edge.lesson.teaching.teacher_desk import SlidePicture
from sync.errors import MalformedError
from sync.lessons.fragment_log import parse_lesson_id
from sync.node import Node
from sync.writer import Writer

FIRST = 1
"""Positions count from here."""


class LessonSlides:
    """Implements :class:`edge.lesson.teaching.teacher_desk.Slides`; on the event loop's thread."""

    def __init__(
        self, materials: Materials, node: Node, reader: sqlite3.Connection, writer: Writer
    ) -> None:
        self._materials = materials
        self._node = node
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    async def pictures(self, lesson: str) -> list[SlidePicture]:
        return await self._writer.call(self._read, lesson)

    async def add(self, lesson: str, title: str, picture: bytes) -> SlidePicture:
        async with self._turn:
            known = await self.pictures(lesson)
            position = known[-1].position + 1 if known else FIRST
            try:
                material = await asyncio.to_thread(
                    self._materials.add,
                    parse_lesson_id(lesson),
                    position,
                    title or f"{position}",
                    picture,
                )
            except (MaterialError, MalformedError) as error:
                raise SetupError(str(error)) from error
            await self._writer.call(self._node.record, "resource", [material.row])
        return SlidePicture(position=position, title=material.title, digest=material.digest.hex())

    def _read(self, lesson: str) -> list[SlidePicture]:
        rows = self._reader.execute(
            "SELECT position, title, digest FROM resource"
            " WHERE school = ? AND lesson = ? AND deleted = 0 AND digest IS NOT NULL"
            " AND media_type LIKE 'image/%' ORDER BY position",
            (self._node.origin, lesson),
        )
        return [
            SlidePicture(
                position=row["position"], title=row["title"] or "", digest=row["digest"].hex()
            )
            for row in rows
        ]
