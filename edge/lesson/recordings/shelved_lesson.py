"""One recorded lesson as the library shows it, and what the library needs of the box's store."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.lesson.recordings.recorded_lessons import RecordedLesson
from edge.lesson.transfer.recording import Gap
from sync.lessons.fragment_log import Kind, LessonId, Stream
from sync.lessons.fragment_store import TakeStore
from sync.lessons.lesson_minutes import Disagreement, Minutes, SignedMinutes
from sync.logs.oplog import Row
from sync.segments.sealing import DataKey, KeyId


class Books(Protocol):
    """What the library reads and writes of the box's store."""

    @property
    def school(self) -> int: ...

    def connect(self) -> sqlite3.Connection:
        """Open the store read-only; called from worker threads."""

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Write rows down; raises sqlite3.Error."""

    async def keys(self, lesson: LessonId, flagship: int, /) -> Mapping[KeyId, DataKey]:
        """Return a lesson's keys that this box holds, as its flagship granted them."""

    async def sealing_key(self, lesson: LessonId, /) -> DataKey:
        """Return the key that seals what this school, its flagship, adds to a lesson."""

    async def signed(self, minutes: Collection[SignedMinutes]) -> frozenset[int]:
        """Return the schools whose minutes a box of that school has signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyMinutes:
    """One party's word on a lesson, held against the flagship's.

    ``minutes`` is None while none came; ``is_signed`` is False where the signature does not hold.
    """

    school: int
    name: tuple[str, str]
    minutes: Minutes | None
    is_signed: bool
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedGap:
    """What is missing of a track; ``from_ms`` is the capture time (Unix ms) at which it begins."""

    track: int
    from_ms: int
    seconds: float


def timed_gap(store: TakeStore, gap: Gap) -> TimedGap:
    """Say when a gap began: where the fragment before it ended, or with its take."""
    index = store.index(Stream(Kind.MEDIA, gap.track))
    before = index.present.before(gap.first)
    from_ms = index.capture_ms(before) if before >= 0 else store.started_ms or 0
    return TimedGap(track=gap.track, from_ms=from_ms, seconds=gap.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One lesson as the list shows it; ``kept_until_ms`` is None for ever, or for what is not here.

    ``elsewhere``: another party signed that it holds all of it.
    """

    told: RecordedLesson
    running: bool
    here: bool
    stored_bytes: int
    kept_until_ms: int | None
    protected: bool
    elsewhere: bool
