"""What the library of recordings reads and writes of the box's store."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence

from edge.box_store import BoxStore
from edge.lesson.keys.lesson_keys import LessonKeys, read_keys
from sync.lessons.fragment_log import LessonId
from sync.lessons.lesson_minutes import SignedMinutes
from sync.logs.oplog import Row
from sync.segments.sealing import DataKey, KeyId
from sync.store import connect_readonly
from sync.writer import Writer


class RecordingBooks:
    """The box's store, read on threads of its own and written on the store's."""

    def __init__(self, store: BoxStore, writer: Writer, keys: LessonKeys) -> None:
        self._store = store
        self._keys = keys
        self._writer = writer

    @property
    def school(self) -> int:
        return self._store.identity.school

    def connect(self) -> sqlite3.Connection:
        return connect_readonly(self._store.path)

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await self._writer.call(self._store.node.record_all, rows)

    async def keys(self, lesson: LessonId, flagship: int) -> Mapping[KeyId, DataKey]:
        return await self._writer.call(
            read_keys, self._store.reader, lesson, flagship, self._store.identity.sealing
        )

    async def sealing_key(self, lesson: LessonId) -> DataKey:
        return await self._writer.call(self._keys.sealing_key, lesson)

    async def signed(self, minutes: Collection[SignedMinutes]) -> frozenset[int]:
        return await self._writer.call(self._check, list(minutes))

    def _check(self, minutes: Collection[SignedMinutes]) -> frozenset[int]:
        keys = self._store.acquaintances.signing_keys
        return frozenset(
            each.minutes.school for each in minutes if each.is_signed_by(keys(each.minutes.school))
        )
