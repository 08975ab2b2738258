"""The recordings on this box: what there is, how long it stays, and each as a file to look at."""

import asyncio
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Never

from drivers.entities import NowMs
from edge.errors import NotNowError
from edge.lesson.recordings.protected import Protected
from edge.lesson.recordings.recorded_lessons import (
    RecordedLesson,
    read_kept,
    read_needed,
    read_recorded,
)
from edge.lesson.recordings.recording_file import RecordingError, RecordingFile, RecordingReader
from edge.lesson.recordings.retention import (
    DAY_MS,
    HOUR_MS,
    Keeping,
    Nature,
    Stored,
    Why,
    expired,
    given_up,
    kept_until,
)
from edge.lesson.recordings.shelved_lesson import (
    Books,
    PartyMinutes,
    Shelved,
    TimedGap,
    timed_gap,
)
from edge.lesson.recordings.time_line import TimeLine, build_time_line, captured_captions
from edge.lesson.recordings.told_beside import caption_lines, read_hands, read_pieces
from edge.lesson.recordings.webvtt import Cue
from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.recording import gaps_of
from edge.lesson.transfer.stored_records import proven_events
from sync.lessons.caption_tracks import Piece as CaptionPiece
from sync.lessons.caption_tracks import seal_captions
from sync.lessons.fragment_log import Kind, LessonId, is_sound
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_minutes import Disagreement, Minutes, disagreements
from sync.lessons.root_cause import HopMinute, HopSum, Root, find_root, hop_sums, read_hops
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND, parse_return_log
from sync.logs.oplog import Row

_log = logging.getLogger(__name__)

TIDY_EVERY_S = 600.0
DISK_FREE_MIN = 2 * 1024**3
"""Recordings give way so that this much stays free for records."""
_FILES_KEPT = 2
"""Files looked through and kept in memory, some MB for hours of lesson."""


class Library:
    """:meth:`run` is its task, which gives up what is old or in the way."""

    def __init__(
        self,
        shelf: LessonShelf,
        folder: Path,
        books: Books,
        *,
        materials: Materials,
        keeping: Keeping,
        is_held: Callable[[LessonId], bool],
        now_ms: NowMs,
    ) -> None:
        """``folder`` is the box's, ``is_held`` tells whether a lesson is being held now."""
        self._shelf = shelf
        self._folder = folder
        self._books = books
        self._materials = materials
        self._keeping = keeping
        self._is_held = is_held
        self._now_ms = now_ms
        self._needed: frozenset[str] = frozenset()
        self._protected = Protected(folder / "kept-lessons.json")
        self._files: OrderedDict[tuple[LessonId, int, int], RecordingFile] = OrderedDict()
        self._looking = asyncio.Lock()

    async def run(self) -> Never:
        while True:
            await self.tidy(shutil.disk_usage(self._folder).free)
            await asyncio.sleep(TIDY_EVERY_S)

    async def lessons(self) -> list[Shelved]:
        """Return the lessons that were or are, newest first."""
        told = await asyncio.to_thread(self._read)
        stored = self._shelf.sizes()
        return [self._shelved(lesson, stored) for lesson in told]

    async def find(self, lesson: str) -> Shelved:
        """Return one lesson; raises NotNowError for one that this school had no part in."""
        found = [each for each in await self.lessons() if each.told.lesson == lesson]
        if not found:
            raise NotNowError(f"no lesson {lesson[:48]} was held here; look at the list of lessons")
        return found[0]

    async def minutes(self, told: RecordedLesson) -> list[PartyMinutes]:
        """Return what each party signed of a lesson, the flagship first."""
        signed = await self._books.signed(told.minutes.values())
        flagship = told.minutes_of(told.flagship) if told.flagship in signed else None
        return [
            PartyMinutes(
                school=school,
                name=name,
                minutes=told.minutes_of(school),
                is_signed=school in signed,
                disagreements=_held_against(flagship, told.minutes_of(school)),
            )
            for school, name in told.names.items()
        ]

    async def gaps(self, shelved: Shelved) -> list[TimedGap]:
        """Return what is known to exist of a lesson and is not stored here, in order of time."""
        if not shelved.here:
            return []
        lesson = shelved.told.lesson
        found = [
            timed_gap(store, gap) for store in self._shelf.takes(lesson) for gap in gaps_of(store)
        ]
        self._close(lesson)
        return sorted(found, key=lambda gap: (gap.from_ms, gap.track))

    async def pictures(self, shelved: Shelved) -> list[int]:
        """Return the tracks of the pictures that a file can be made of, the teacher's first."""
        lesson = shelved.told.lesson
        stores = self._shelf.takes(lesson) if shelved.here else []
        tracks = {
            stream.track
            for store in stores
            for stream in store.streams
            if stream.kind is Kind.MEDIA and not is_sound(stream.track)
        }
        self._close(lesson)
        return sorted(tracks - {PICTURE_SMALL})

    async def hops(self, told: RecordedLesson) -> tuple[list[HopSum], Root]:
        """Return how each hop at this school fared, and where trouble came from as seen here."""
        minutes = await asyncio.to_thread(self._read_hops, told)
        gives = told.flagship == self._books.school
        root = find_root(minutes if gives else (), () if gives else minutes, is_flagship=gives)
        return hop_sums(minutes), root

    async def time_line(self, shelved: Shelved) -> TimeLine:
        """Return what happened in a lesson beside picture and sound, as far as it came here."""
        told = shelved.told
        keys = await self._books.keys(told.lesson, told.flagship)
        events = list(proven_events(self._shelf, told.lesson, keys)) if shelved.here else []
        self._close(told.lesson)
        hands, pieces = await asyncio.to_thread(self._read_beside, told)
        return build_time_line(events, hands, caption_lines(pieces, keys))

    async def add_captions(self, shelved: Shelved, language: str, cues: Sequence[Cue]) -> None:
        """Seal captions, at the times of the file that this box shows, for all of the lesson.

        Raises NotNowError where another school taught, RecordingError, MalformedError.
        """
        told = shelved.told
        if told.flagship != self._books.school:
            raise NotNowError("captions are added at the school that taught the lesson")
        file = await self.file(shelved)
        key = await self._books.sealing_key(told.lesson)
        lines = captured_captions(language, cues, file.clock)
        rows = [
            piece.row()
            for piece in seal_captions(
                told.lesson,
                language,
                [(line.from_ms, line.until_ms, line.text) for line in lines],
                key,
                os.urandom,
            )
        ]
        await self._books.record({"caption_track": rows})

    async def file(self, shelved: Shelved, picture: int = PICTURE) -> RecordingFile:
        """Look through a recording, or return it as it was looked through; raises RecordingError.

        A lesson that is being held is shown as far as it has come.
        """
        if not shelved.here:
            raise RecordingError(
                f"the recording of lesson {shelved.told.lesson} is not on this box;"
                " another school of the lesson may have it"
            )
        lesson = shelved.told.lesson
        async with self._looking:
            stores = self._shelf.takes(lesson)
            name = lesson, picture, sum(store.stored_bytes for store in stores)
            found = self._files.get(name)
            if found is None:
                reader = await self.reader(shelved)
                found = self._files[name] = await reader.open_file(picture, SOUND)
            self._files.move_to_end(name)
            while len(self._files) > _FILES_KEPT:
                old, _ = self._files.popitem(last=False)
                self._close(old[0])
        return found

    async def reader(self, shelved: Shelved) -> RecordingReader:
        keys = await self._books.keys(shelved.told.lesson, shelved.told.flagship)
        return RecordingReader(self._shelf, shelved.told.lesson, keys)

    async def protect(self, lesson: LessonId, *, protected: bool) -> None:
        """Keep a recording whatever its age, or let it age again; raises NotNowError."""
        await self.find(lesson)
        self._protected.set(lesson, protected=protected)

    async def give_up(self, lesson: LessonId, who: str) -> None:
        """Remove a recording for a person; raises NotNowError."""
        shelved = await self.find(lesson)
        if shelved.running:
            raise NotNowError("the lesson is being held; wait for its end")
        if shelved.protected:
            raise NotNowError("the recording is protected; lift that first")
        _log.warning("lesson %s: its recording is removed by %s", lesson, who)
        await self._forget([(lesson, Why.PERSON)])

    async def tidy(self, free_bytes: int) -> None:
        """Give up what is old, then what is in the way of ``DISK_FREE_MIN``."""
        stored = await self._stored()
        old = expired(stored, self._keeping, self._now_ms())
        gone = {each.lesson for each, _ in old}
        lacking = DISK_FREE_MIN - free_bytes - sum(each.stored_bytes for each, _ in old)
        rest = [each for each in stored if each.lesson not in gone]
        crowded = given_up(rest, lacking)
        for each in crowded:
            _log.warning(
                "the disk is nearly full: what is kept of lesson %s is given up", each.lesson
            )
        await self._forget(
            [(each.lesson, why) for each, why in old]
            + [(each.lesson, Why.DISK) for each in crowded]
        )

    async def _forget(self, lessons: Collection[tuple[LessonId, Why]]) -> None:
        """Remove recordings, and write down that they went and why."""
        gone = {lesson: why for lesson, why in lessons if not self._is_held(lesson)}
        if not gone:
            return
        for lesson, why in gone.items():
            for key in [key for key in self._files if key[0] == lesson]:
                del self._files[key]
            self._shelf.forget(lesson)
            self._materials.forget(lesson)
            self._protected.set(lesson, protected=False)
            _log.info("what was kept of lesson %s went: %s", lesson, why)
        rows = await asyncio.to_thread(self._gone_rows, gone)
        if rows:
            await self._books.record({"recording": rows})

    def _gone_rows(self, lessons: Mapping[LessonId, Why]) -> list[Row]:
        gone_ms = self._now_ms()
        with closing(self._books.connect()) as connection:
            return [
                {**row, "gone_ms": gone_ms, "gone_why": lessons[LessonId(str(row["lesson"]))].value}
                for row in read_kept(connection, self._books.school, lessons)
            ]

    async def _stored(self) -> list[Stored]:
        """Return what is kept of lessons that are not being held."""
        told = {each.lesson: each for each in await asyncio.to_thread(self._read)}
        slides = await asyncio.to_thread(self._materials.sizes)
        sizes = self._shelf.sizes()
        for lesson, (slide_bytes, added_ms) in slides.items():
            take_bytes, touched_ms = sizes.get(lesson, (0, 0))
            sizes[lesson] = take_bytes + slide_bytes, max(touched_ms, added_ms)
        return [
            self._stored_as(lesson, size, told.get(lesson))
            for lesson, size in sizes.items()
            if not self._is_held(lesson)
        ]

    def _stored_as(
        self, lesson: LessonId, size: tuple[int, int], told: RecordedLesson | None
    ) -> Stored:
        stored_bytes, touched_ms = size
        return Stored(
            lesson=lesson,
            nature=_nature(lesson, told),
            ended_ms=told.ends_ms if told else touched_ms,
            stored_bytes=stored_bytes,
            protected=lesson in self._protected or lesson in self._needed,
            elsewhere=told is not None and told.is_elsewhere(self._books.school),
        )

    def _read(self) -> list[RecordedLesson]:
        now_ms = self._now_ms()
        with closing(self._books.connect()) as connection:
            self._needed = read_needed(connection, now_ms)
            return read_recorded(connection, self._books.school, now_ms)

    def _shelved(self, told: RecordedLesson, sizes: Mapping[LessonId, tuple[int, int]]) -> Shelved:
        running = self._is_held(told.lesson)
        here = told.lesson in sizes
        stored = self._stored_as(told.lesson, sizes.get(told.lesson, (0, 0)), told)
        return Shelved(
            told=told,
            running=running,
            here=here,
            stored_bytes=stored.stored_bytes,
            kept_until_ms=kept_until(stored, self._keeping) if here and not running else None,
            protected=told.lesson in self._protected,
            elsewhere=stored.elsewhere,
        )

    def _read_hops(self, told: RecordedLesson) -> list[HopMinute]:
        with closing(self._books.connect()) as connection:
            until_ms = told.ends_ms + DAY_MS
            return read_hops(
                connection, self._books.school, told.lesson, told.starts_ms - HOUR_MS, until_ms
            )

    def _read_beside(
        self, told: RecordedLesson
    ) -> tuple[list[tuple[int, int]], list[CaptionPiece]]:
        with closing(self._books.connect()) as connection:
            return (
                read_hands(connection, told.lesson),
                read_pieces(connection, told.lesson, told.flagship),
            )

    def _close(self, lesson: LessonId) -> None:
        """Close what was opened to look at, unless the lesson is being held."""
        if not self._is_held(lesson) and all(name[0] != lesson for name in self._files):
            self._shelf.close_lesson(lesson)


def _nature(lesson: LessonId, told: RecordedLesson | None) -> Nature:
    if parse_return_log(lesson) is not None:
        return Nature.RETURN
    if told is None:
        return Nature.UNKNOWN
    return Nature.REHEARSAL if told.rehearsal else Nature.RECORDING


def _held_against(flagship: Minutes | None, minutes: Minutes | None) -> tuple[Disagreement, ...]:
    if flagship is None or minutes is None or minutes.school == flagship.school:
        return ()
    return tuple(disagreements(flagship, minutes))
