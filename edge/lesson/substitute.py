"""Plays a recorded lesson into a room in the place of one whose flagship fails."""

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from edge.lesson.classroom.classroom_stream import StreamItem, item_of
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import Kind, LessonId, Record, Stream
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
    def is_here(self) -> bool:
        """Whether anything of the recording can be played here."""
        return any(_tracks(take) for take in self._shelf.takes(self._lesson))

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
            for track in tracks:
                inits = Stream(Kind.INIT, track)
                yield from _proven(take, inits, take.index(inits).head)
            picture = take.index(Stream(Kind.MEDIA, tracks[0]))
            first = max(picture.keyframe_at(begins_ms), 0)
            since_ms = picture.capture_ms(first)
            yield from heapq.merge(
                *(
                    _proven(take, Stream(Kind.MEDIA, track), _first(take, track, since_ms))
                    for track in tracks
                ),
                key=lambda record: record.header.capture_ms,
            )


def _tracks(take: TakeStore) -> list[int]:
    """Return the tracks to play: the best picture that is here, and its sound."""
    known = {stream.track for stream in take.streams if stream.kind is Kind.MEDIA}
    picture = next((track for track in (PICTURE, PICTURE_SMALL) if track in known), None)
    if picture is None:
        return [SOUND] if SOUND in known else []
    return [picture, SOUND] if SOUND in known else [picture]


def _proven(take: TakeStore, stream: Stream, first: int) -> Iterator[Record]:
    """Yield what the flagship signed: a recording is nobody else's word."""
    for record in take.records(stream, first):
        if take.is_proven(stream, record.header.number):
            yield record


def _ends_ms(take: TakeStore) -> int:
    """Return when the last fragment to play was captured."""
    index = take.index(Stream(Kind.MEDIA, _tracks(take)[0]))
    return index.capture_ms(index.head)


def _first(take: TakeStore, track: int, since_ms: int) -> int:
    """Return the first number captured at or after a moment."""
    index = take.index(Stream(Kind.MEDIA, track))
    numbers = index.present.numbers()
    return next((each for each in numbers if index.capture_ms(each) >= since_ms), index.head + 1)
