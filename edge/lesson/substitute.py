"""Plays a recorded lesson into a room in the place of one whose flagship fails."""

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from edge.lesson.classroom.classroom_stream import StreamItem, item_of
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import Kind, LessonId, Record, Stream, is_sound
from sync.lessons.fragment_proof import ProvenStream
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)

PAUSE_MS_MAX = 1000
"""A longer pause between two takes, or a hole in one, is not waited for."""


class SubstitutePlayer:
    """One recording of this box; :meth:`play` hands it to the room at the pace it was taken."""

    def __init__(
        self,
        shelf: LessonShelf,
        lesson: LessonId,
        keys: Mapping[KeyId, DataKey],
        publish: Callable[[StreamItem], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._shelf = shelf
        self._lesson = lesson
        self._opener = FragmentOpener(lesson, keys)
        self._publish = publish
        self._now_ms = now_ms

    @property
    def opens(self) -> bool:
        """Whether it is here, signed, and its key opens it."""
        media = (each for each in self._records(0) if each.header.kind is Kind.MEDIA)
        first = next(media, None)
        try:
            return first is not None and bool(self._opener.open(first))
        except (KeyMissingError, ForgedError, MalformedError):
            return False

    async def play(self, from_ms: int) -> None:
        """Play from so far into the recording to its end; what cannot be opened is left out.

        Fragments are told as captured when they are played: a page counts no delay from them.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        before_ms: int | None = None
        for record in self._records(from_ms):
            captured_ms = record.header.capture_ms
            if record.header.kind is Kind.MEDIA:
                step_ms = 0 if before_ms is None else captured_ms - before_ms
                before_ms = captured_ms
                due_s += min(max(step_ms, 0), PAUSE_MS_MAX) / 1000
                await asyncio.sleep(max(0.0, due_s - loop.time()))
            try:
                item = item_of(record.header, self._opener.open(record))
            except (KeyMissingError, ForgedError, MalformedError) as error:
                _log.warning("lesson %s: not played: %s", self._lesson, error)
                continue
            self._publish(replace(item, capture_ms=self._now_ms()))

    def _records(self, from_ms: int) -> Iterator[Record]:
        takes = [take for take in self._shelf.takes(self._lesson) if _tracks(take)]
        begins_ms = (takes[0].started_ms or 0) + from_ms if takes else 0
        ends_ms = [_ends_ms(take) for take in takes]
        if ends_ms and begins_ms >= ends_ms[-1]:
            begins_ms = 0  # it is shorter than the lesson: better from its beginning than nothing
        for take, end_ms in zip(takes, ends_ms, strict=True):
            if end_ms <= begins_ms:
                continue
            tracks = _tracks(take)
            picture = Stream(Kind.MEDIA, tracks[0])
            first = max(ProvenStream(take, picture).keyframe_at(begins_ms), 0)
            since_ms = take.index(picture).capture_ms(first)
            played = [_inits(take, track, since_ms) for track in tracks]
            played += [_media(take, track, since_ms) for track in tracks]
            for _, _, record in heapq.merge(*played, key=lambda timed: timed[:2]):
                yield record


_Timed = tuple[int, bool, Record]
"""When it is due (Unix ms), whether it is media, and the record."""


def _inits(take: TakeStore, track: int, since_ms: int) -> Iterator[_Timed]:
    """Yield the init in force at a moment, and those that follow: each class called on has one.

    A camera's first one is written down a moment after its first fragment arrived.
    """
    media = take.index(Stream(Kind.MEDIA, track))
    begun_ms = media.capture_ms(next(media.present.numbers()))
    found = list(ProvenStream(take, Stream(Kind.INIT, track)).records())
    due = [record.header.capture_ms for record in found]
    due[:1] = [min(at_ms, begun_ms) for at_ms in due[:1]]
    before = sum(at_ms <= since_ms for at_ms in due)
    for at_ms, record in list(zip(due, found, strict=True))[max(0, before - 1) :]:
        yield max(at_ms, since_ms), False, record


def _media(take: TakeStore, track: int, since_ms: int) -> Iterator[_Timed]:
    proven = ProvenStream(take, Stream(Kind.MEDIA, track))
    for record in proven.records(_first(take, track, since_ms)):
        yield record.header.capture_ms, True, record


def _tracks(take: TakeStore) -> list[int]:
    """Return the tracks to play: the best picture that is here, its sound, and what is beside."""
    known = {
        stream.track
        for stream in take.streams
        if stream.kind is Kind.MEDIA and ProvenStream(take, stream).head >= 0
    }
    picture = next((track for track in (PICTURE, PICTURE_SMALL) if track in known), None)
    led = [track for track in (picture, SOUND) if track in known]
    beside = known - {PICTURE, PICTURE_SMALL, SOUND}
    return [*led, *sorted(beside)] if led else []


def _ends_ms(take: TakeStore) -> int:
    """Return when the last fragment to play was captured."""
    stream = Stream(Kind.MEDIA, _tracks(take)[0])
    return take.index(stream).capture_ms(ProvenStream(take, stream).head)


def _first(take: TakeStore, track: int, since_ms: int) -> int:
    """Return the first number captured at or after a moment that can be begun with."""
    stream = Stream(Kind.MEDIA, track)
    index, proven = take.index(stream), ProvenStream(take, stream)
    found = (
        each
        for each in proven.numbers()
        if index.capture_ms(each) >= since_ms and (is_sound(track) or index.is_keyframe(each))
    )
    return next(found, proven.head + 1)
