"""A stored recording read as one MP4 file, in slices that are fair to a running lesson."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge.errors import BoxSetupError
from edge.lesson.recordings.mp4_export import Movie, MovieMaker, Piece
from edge.lesson.recordings.mp4_reading import TrackFormat, read_fragment, read_init
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import (
    Header,
    Kind,
    LessonId,
    Stream,
    TakeId,
)
from sync.lessons.fragment_proof import ProvenStream
from sync.lessons.fragment_sealing import FragmentOpener, split_init
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore
from sync.segments.sealing import DataKey, KeyId

SLICE_RECORDS = 32
"""Read between two looks at what else waits: about a millisecond."""
WRITE_BYTES = 128 * 1024


class RecordingError(BoxSetupError):
    """The recording cannot be shown; the message says why and what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFile:
    """A recording as it was when it was looked at.

    ``clock`` pairs capture times (Unix ms) with the file's milliseconds, one for each take.
    """

    lesson: LessonId
    movie: Movie
    takes: tuple[TakeId, ...]
    clock: tuple[tuple[int, int], ...]


class RecordingReader:
    """Opens one lesson's stored and signed fragments with the keys this box holds."""

    def __init__(self, shelf: LessonShelf, lesson: LessonId, keys: Mapping[KeyId, DataKey]) -> None:
        self._shelf = shelf
        self._lesson = lesson
        self._opener = FragmentOpener(lesson, keys)
        self._lacks_key: KeyMissingError | None = None

    async def open_file(
        self, picture: int, sound: int, chapters: Sequence[tuple[int, str]] = ()
    ) -> RecordingFile:
        """Look through the recording; ``chapters`` are at capture times (Unix ms).

        Raises RecordingError.
        """
        maker = MovieMaker(picture, sound)
        takes: list[TakeId] = []
        try:
            for store in self._shelf.takes(self._lesson):
                takes += [store.take] * await self._hear(maker, store.take, {picture, sound})
            clock = tuple(maker.clock)
            movie = maker.finish([(movie_ms(clock, at_ms), title) for at_ms, title in chapters])
        except (MalformedError, ForgedError) as error:
            raise RecordingError(str(self._lacks_key or error)) from error
        return RecordingFile(lesson=self._lesson, movie=movie, takes=tuple(takes), clock=clock)

    async def read(self, file: RecordingFile, first: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes ``first`` to ``end`` (excluded) of the file; raises RecordingError."""
        waiting: list[bytes] = []
        waiting_bytes = 0
        for count, piece in enumerate(file.movie.pieces(first, end)):
            part = piece if isinstance(piece, bytes) else self._samples(file, piece)
            waiting.append(part)
            waiting_bytes += len(part)
            if waiting_bytes >= WRITE_BYTES:
                yield b"".join(waiting)
                waiting, waiting_bytes = [], 0
            elif count % SLICE_RECORDS == 0:
                await asyncio.sleep(0)
        if waiting:
            yield b"".join(waiting)

    async def _hear(self, maker: MovieMaker, take: TakeId, tracks: set[int]) -> int:
        """Tell the maker of a take; 0 for one without any of the tracks' media, else 1."""
        store = self._take(take)
        begun = False
        formats: dict[int, TrackFormat] = {}
        for count, (stream, number) in enumerate(_in_time(store, tracks)):
            if count % SLICE_RECORDS == 0:
                await asyncio.sleep(0)
                store = self._take(take)
            record = ProvenStream(store, stream).read(number)
            if record is None:
                continue
            try:
                opened = self._opener.open(record)
            except KeyMissingError as error:
                self._lacks_key = error  # what was sealed under it is a gap
                continue
            if stream.kind is Kind.INIT:
                formats[stream.track] = read_init(split_init(opened)[1])
                continue
            if not begun:
                maker.begin_take(_origin_ms(record.header))
                begun = True
            if stream.track in formats:
                maker.add_format(stream.track, formats.pop(stream.track))
            maker.add(stream.track, number, read_fragment(opened))
        return int(begun)

    def _samples(self, file: RecordingFile, piece: Piece) -> bytes:
        stream = Stream(Kind.MEDIA, piece.track)
        record = ProvenStream(self._take(file.takes[piece.take]), stream).read(piece.number)
        if record is None:
            raise RecordingError(
                f"a fragment of lesson {self._lesson} is no longer readable on the disk; try again"
            )
        opened = self._opener.open(record)
        begins = read_fragment(opened).data_at
        return opened[begins + piece.first : begins + piece.end]

    def _take(self, take: TakeId) -> TakeStore:
        store = self._shelf.find(self._lesson, take)
        if store is None:
            raise RecordingError(f"the recording of lesson {self._lesson} was given up meanwhile")
        return store


def movie_ms(clock: Sequence[tuple[int, int]], capture_ms: int) -> int:
    """Return where in a file a capture time lies; what was before the first take is at 0."""
    begun = [pair for pair in clock if pair[0] <= capture_ms]
    if not begun:
        return 0
    captured_ms, at_ms = begun[-1]
    return at_ms + capture_ms - captured_ms


def _in_time(store: TakeStore, tracks: set[int]) -> Iterator[tuple[Stream, int]]:
    """Yield the take's inits and fragments of some tracks in order of capture."""

    def of(stream: Stream) -> Iterator[tuple[int, int, Stream, int]]:
        index = store.index(stream)
        is_media = stream.kind is Kind.MEDIA
        for count, number in enumerate(ProvenStream(store, stream).numbers()):
            # A camera's first init is written down a moment after its first picture arrived.
            at_ms = index.capture_ms(number) if is_media or count else 0
            yield at_ms, int(is_media), stream, number

    streams = [
        stream
        for stream in store.streams
        if stream.track in tracks and stream.kind in {Kind.MEDIA, Kind.INIT}
    ]
    for _, _, stream, number in heapq.merge(*(of(stream) for stream in streams)):
        yield stream, number


def _origin_ms(header: Header) -> int:
    return header.capture_ms - header.decode_time * 1000 // header.timescale
