"""Stored fragments of a lesson to a page that was cut off: ``/classroom/replay``.

A class goes on where its picture froze. Its page asks for what follows, a few seconds at a time,
until it has reached what comes live (``edge/pages/static/replay.js``)::

    GET /classroom/replay?room=…&lesson=…&take=<8 hex digits>&after=<track>:<number>,…&skip=…

``take`` is the take as the stream's messages name it, ``after`` the newest fragment the page has
of each track, ``skip`` what is not waited for: nothing, ``picture`` or ``all``. The answer is a run
of parts, each led by its length (4 bytes, big-endian): first a JSON object, then messages of
``edge.lesson.classroom.classroom_stream`` in order of capture::

    {"media_ms": 0, "newest_ms": 0, "live": false, "over": false, "hole": "" | "sound" | "picture"}

``media_ms``: how much of the lesson this is. ``newest_ms``: when the newest stored fragment was
captured. ``live``: nothing signed follows; what does is on the stream as it comes. ``over``: and
nothing will. ``hole``: what comes next is known to exist and is not here yet, or its signature is
not; the page asks again, and later with ``skip``. Of a lesson that is written down nothing more
comes: its holes are passed over, and its end is the end. Only what the flagship signed is given
(``sync.lessons.fragment_proof``).

Sound leads: it is never held up by a picture that stays out, and where the large picture is missing
the small one is given.
"""

import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec
from aiohttp import web

from edge.lesson.classroom.classroom_stream import encode_item, item_of
from edge.lesson.schedule import PAST, ScheduledLesson
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_index import StreamIndex
from sync.lessons.fragment_log import (
    NUMBER_MAX,
    TRACK_MAX,
    Kind,
    LessonId,
    Stream,
    is_sound,
)
from sync.lessons.fragment_objects import parse_number
from sync.lessons.fragment_proof import ProvenStream
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND
from sync.segments.sealing import DataKey, KeyId

WINDOW_MS = 2000
BATCH_BYTES_MAX = 4 * 1024 * 1024
BATCH_RECORDS_MAX = 512
OPENERS_MAX = 4
WAIT_AFTER_MS = 10 * 60 * 1000
"""How long after a lesson's end its class may still wait for what a cut held up."""
_JOIN_MS = 1500
"""A track that the page has not followed up to here begins at a keyframe near here."""
_TAKE_DIGITS = 8
_LENGTH = struct.Struct(">I")


class Skip(StrEnum):
    """What a page no longer waits for."""

    NOTHING = ""
    PICTURE = "picture"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a page has come: the take's first bytes, and its newest fragment of each track."""

    take: bytes
    after: Mapping[int, int]
    skip: Skip = Skip.NOTHING


@dataclass(slots=True, kw_only=True)
class Batch:
    """What a page is given at once; ``messages`` are as the stream has them."""

    messages: list[bytes] = field(default_factory=list)
    size: int = 0
    media_ms: int = 0
    newest_ms: int = 0
    live: bool = False
    final: bool = False
    over: bool = False
    hole: str = ""

    @property
    def is_full(self) -> bool:
        return self.size >= BATCH_BYTES_MAX or len(self.messages) >= BATCH_RECORDS_MAX

    def add(self, message: bytes) -> None:
        self.messages.append(message)
        self.size += len(message)

    def encode(self) -> bytes:
        head = msgspec.json.encode(
            {
                "media_ms": self.media_ms,
                "newest_ms": self.newest_ms,
                "live": self.live,
                "over": self.over,
                "hole": self.hole,
            }
        )
        return b"".join(_LENGTH.pack(len(part)) + part for part in (head, *self.messages))


def parse_place(take: str, after: str, skip: str) -> Place:
    """Read a page's query or raise MalformedError."""
    if len(take) != _TAKE_DIGITS or not set(take) <= set("0123456789abcdef"):
        raise MalformedError("take= has 8 hexadecimal digits")
    numbers: dict[int, int] = {}
    for one in after.split(",", TRACK_MAX) if after else ():
        track, _, number = one.partition(":")
        numbers[parse_number(track, TRACK_MAX)] = parse_number(number, NUMBER_MAX)
    if skip not in set(Skip):
        raise MalformedError("skip= is empty, picture or all")
    return Place(take=bytes.fromhex(take), after=numbers, skip=Skip(skip))


def replay(shelf: LessonShelf, opener: FragmentOpener, lesson: LessonId, place: Place) -> Batch:
    """Return what follows a place.

    Raises MalformedError when the take is not here (any more), KeyMissingError and ForgedError for
    what cannot be opened.
    """
    takes = [take for take in shelf.takes(lesson) if _lead(take) is not None]
    at = next((i for i, take in enumerate(takes) if take.take.startswith(place.take)), None)
    if at is None:
        raise MalformedError("this take is not stored here; join the lesson as it is now")
    batch = Batch(newest_ms=max(_newest_ms(take) for take in takes))
    for number, take in enumerate(takes[at:], at):
        after = place.after if number == at else {}
        is_newest = number == len(takes) - 1
        given_whole = _Reading(take, opener, place.skip, batch, is_newest=is_newest).give(after)
        if not given_whole:
            break
        batch.live = is_newest
        batch.final = take.final
    return batch


class _Reading:
    """Gives one take's next seconds into a batch."""

    def __init__(
        self,
        take: TakeStore,
        opener: FragmentOpener,
        skip: Skip,
        batch: Batch,
        *,
        is_newest: bool,
    ) -> None:
        """``is_newest``: no take follows, so what is not signed yet comes live."""
        self._take = take
        self._is_newest = is_newest
        self._opener = opener
        self._skip = skip
        self._batch = batch

    def give(self, after: Mapping[int, int]) -> bool:
        """Tell whether the take has nothing more: its next one may follow."""
        lead = _lead(self._take)
        assert lead is not None
        index, proven = self._take.index(lead), ProvenStream(self._take, lead)
        first = after.get(lead.track, -1) + 1
        if self._skip is Skip.ALL:
            first = next(proven.numbers(first), first)
        if not proven.has(first):
            is_hole = self._skip is not Skip.ALL and self._is_missing(proven, first)
            if is_hole:
                self._batch.hole = "sound" if is_sound(lead.track) else "picture"
            return not is_hole
        led = list(_run(index, proven, first))
        begins_ms, ends_ms = index.capture_ms(first), index.capture_ms(led[-1])
        following = led[-1] + 1
        is_last = not proven.has(following) and not self._is_missing(proven, following)
        if is_last:
            ends_ms += WINDOW_MS  # what was captured last beside it goes along
        chosen = {lead: led}
        for stream in self._take.streams:
            if stream.kind is Kind.MEDIA and stream not in {lead, _MAIN, _SMALL}:
                chosen[stream], _ = self._beside(stream, after, begins_ms, ends_ms)
        if is_sound(lead.track):
            chosen[_MAIN], whole = self._beside(_MAIN, after, begins_ms, ends_ms)
            if not whole:
                chosen[_SMALL], _ = self._beside(_SMALL, after, begins_ms, ends_ms)
                if not chosen[_SMALL] and self._skip is Skip.NOTHING:
                    self._batch.hole = "picture"
                    return False
        self._batch.media_ms += max(0, index.capture_ms(led[-1]) - begins_ms)
        fits = self._emit(chosen, begins_ms if after else None, ends_ms)
        return fits and is_last

    def _is_missing(self, proven: ProvenStream, number: int) -> bool:
        """Tell whether a number is worth waiting for: nothing else brings it."""
        return proven.is_awaited(number) if self._is_newest else proven.is_unproven(number)

    def _beside(
        self, stream: Stream, after: Mapping[int, int], begins_ms: int, ends_ms: int
    ) -> tuple[list[int], bool]:
        """Return what of a stream goes with a stretch of the lead, and whether that is all of it.

        On from the page's newest fragment, or, where that is long past or there is none, from a
        keyframe; and after a hole from the next keyframe.
        """
        index, proven = self._take.index(stream), ProvenStream(self._take, stream)
        first = after.get(stream.track, -1) + 1
        if stream.track not in after or (
            proven.has(first) and index.capture_ms(first) < begins_ms - _JOIN_MS
        ):
            first = max(first, proven.keyframe_at(begins_ms))
        chosen: list[int] = []
        expected = first
        for number in proven.numbers(first):
            if index.capture_ms(number) > ends_ms or len(chosen) >= BATCH_RECORDS_MAX:
                break
            begins_anew = is_sound(stream.track) or index.is_keyframe(number)
            if begins_anew or (number == expected and (chosen or stream.track in after)):
                chosen.append(number)
                expected = number + 1
        return chosen, expected == first + len(chosen) and not self._is_missing(proven, expected)

    def _emit(
        self, chosen: Mapping[Stream, list[int]], begins_ms: int | None, ends_ms: int
    ) -> bool:
        """Open and add what was chosen in order of capture; False when it did not all fit."""
        found = [*self._inits(chosen, begins_ms, ends_ms)]
        for stream, numbers in chosen.items():
            index = self._take.index(stream)
            found += [(index.capture_ms(number), 1, stream, number) for number in numbers]
        for _, _, stream, number in sorted(found):
            if self._batch.is_full:
                return False
            record = ProvenStream(self._take, stream).read(number)
            if record is None:
                continue
            self._batch.add(encode_item(item_of(record.header, self._opener.open(record))))
        return True

    def _inits(
        self, chosen: Mapping[Stream, list[int]], begins_ms: int | None, ends_ms: int
    ) -> Iterator[tuple[int, int, Stream, int]]:
        """Yield the inits of the chosen tracks: at a take's begin those before it, then new ones.

        ``begins_ms`` is None at the take's begin.
        """
        for stream, numbers in chosen.items():
            inits = Stream(Kind.INIT, stream.track)
            index = self._take.index(inits)
            for number in ProvenStream(self._take, inits).numbers() if numbers else ():
                captured_ms = index.capture_ms(number)
                if captured_ms <= ends_ms and (begins_ms is None or captured_ms >= begins_ms):
                    yield captured_ms, 0, inits, number


_MAIN = Stream(Kind.MEDIA, PICTURE)
_SMALL = Stream(Kind.MEDIA, PICTURE_SMALL)


def _lead(take: TakeStore) -> Stream | None:
    """Return the stream that a class follows: the sound, without one the picture."""
    streams = [Stream(Kind.MEDIA, track) for track in (SOUND, PICTURE, PICTURE_SMALL)]
    return next((stream for stream in streams if take.index(stream).head >= 0), None)


def _newest_ms(take: TakeStore) -> int:
    lead = _lead(take)
    index = StreamIndex() if lead is None else take.index(lead)
    return index.capture_ms(index.head) if index.head >= 0 else 0


def _run(index: StreamIndex, proven: ProvenStream, first: int) -> Iterator[int]:
    """Yield the unbroken run from a proven number on, up to a time and a count."""
    ends_ms = index.capture_ms(first) + WINDOW_MS
    for number in range(first, first + BATCH_RECORDS_MAX):
        if not proven.has(number) or index.capture_ms(number) > ends_ms:
            return
        yield number


class ReplayDesk:
    """Answers pages that catch up."""

    def __init__(
        self,
        shelf: LessonShelf,
        scheduled: Callable[[], Mapping[LessonId, ScheduledLesson]],
        keys_of: Callable[[ScheduledLesson], Awaitable[Mapping[KeyId, DataKey]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._shelf = shelf
        self._scheduled = scheduled
        self._keys_of = keys_of
        self._now_ms = now_ms
        self._openers: dict[LessonId, FragmentOpener] = {}

    async def serve(self, request: web.Request) -> web.Response:
        """Answer 404 for a lesson or a take that is not of this room, past, or not kept here."""
        query = request.query
        lesson = self._scheduled().get(LessonId(query.get("lesson", "")))
        if lesson is None or lesson.mine.room != query.get("room", ""):
            raise web.HTTPNotFound(text="this room has no such lesson; join the one that runs")
        if not lesson.is_open_to_its_room(self._now_ms()):
            raise web.HTTPNotFound(text=PAST)
        try:
            place = parse_place(
                query.get("take", ""), query.get("after", ""), query.get("skip", "")
            )
        except MalformedError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        if lesson.done:
            place = replace(place, skip=Skip.ALL)
        opener = await self._opener(lesson)
        try:
            batch = replay(self._shelf, opener, lesson.lesson, place)
        except (MalformedError, ForgedError, KeyMissingError) as error:
            self._openers.pop(lesson.lesson, None)  # a key may have come since
            raise web.HTTPNotFound(text=str(error)) from error
        since_end_ms = self._now_ms() - lesson.ends_ms
        is_over = lesson.done or since_end_ms >= (0 if batch.final else WAIT_AFTER_MS)
        batch.over = batch.live and is_over
        return web.Response(
            body=batch.encode(),
            content_type="application/octet-stream",
            headers={"Cache-Control": "no-store"},
        )

    async def _opener(self, lesson: ScheduledLesson) -> FragmentOpener:
        known = self._openers.get(lesson.lesson)
        if known is None:
            known = FragmentOpener(lesson.lesson, await self._keys_of(lesson))
            if len(self._openers) >= OPENERS_MAX:
                del self._openers[next(iter(self._openers))]
            self._openers[lesson.lesson] = known
        return known
