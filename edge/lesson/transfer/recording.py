"""Takes at a school's box: sealing what the camera gives, and what a recording amounts to."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.classroom_stream import StreamItem, item_of
from sync.lessons.fragment_exchange import Holdings, spans_of
from sync.lessons.fragment_log import SIGNATURES, Kind, LessonId, Record, Stream, TakeId, is_sound
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer, digest, groups_of, sign_group
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.lessons.lesson_events import LessonEvent, TimedEvent, encode_event
from sync.lessons.materials import chunks_of, encode_chunk
from sync.lessons.tracks import keeps_media
from sync.segments.sealing import DataKey

_log = logging.getLogger(__name__)

GROUP_RECORDS_MAX = 256
GROUP_MS_MAX = 2000
DURABLE_EVERY_S = 1.0
_KEPT = frozenset({Kind.MEDIA, Kind.EVENT, Kind.FILE})


class UnwrittenTake:
    """A take that the disk could not even begin: it goes out live, and only its inits are kept."""

    def __init__(self, lesson: LessonId, take: TakeId, why: str) -> None:
        self.lesson = lesson
        self.take = take
        self._why = why
        self._inits: dict[int, Record] = {}

    def append(self, record: Record) -> bool:
        """Take nothing; raises FragmentStoreError."""
        if record.header.kind is Kind.INIT:
            self._inits[record.header.track] = record
        raise FragmentStoreError(self._why)

    def join(self) -> list[Record]:
        """Return what is known of what a viewer needs to begin now: the newest inits."""
        return list(self._inits.values())

    def sync(self) -> None:
        """There is nothing to make durable."""


class TakeRecorder:
    """Seals, stores and signs one take; a group is signed when the next keyframe begins one."""

    def __init__(
        self,
        store: TakeStore | UnwrittenTake,
        key: DataKey,
        signing: Ed25519PrivateKey,
        on_record: Callable[[Record], None],
        on_item: Callable[[StreamItem], None],
    ) -> None:
        """``on_record`` hears each sealed record once stored, ``on_item`` each opened one."""
        self.store = store
        self._sealer = TakeSealer(store.lesson, store.take, key)
        self._signing = signing
        self._on_record = on_record
        self._on_item = on_item
        self._keeps_media = keeps_media(store.lesson)
        self._unsigned: list[tuple[Stream, int, bytes]] = []
        self._group_ms: int | None = None
        self._newest_ms = 0
        self._signatures = 0
        self._unstored = 0
        self._closed = False

    @property
    def take(self) -> TakeId:
        return self.store.take

    @property
    def closed(self) -> bool:
        """Nothing follows; :meth:`close` was called."""
        return self._closed

    @property
    def unstored(self) -> int:
        """Records the disk did not take; they went out live and are lost to the recording."""
        return self._unstored

    def use_key(self, key: DataKey) -> None:
        """Seal the records that follow under another key."""
        self._sealer.use_key(key)

    def add_init(self, track: int, media_type: str, segment: bytes, capture_ms: int) -> None:
        """Take in a track's initialisation segment; ``media_type`` as a browser's MSE names it."""
        record = self._sealer.seal_init(track, media_type, segment, capture_ms)
        name = media_type.encode("ascii")
        self._keep(record, bytes((len(name),)) + name + segment)

    def add(self, fragment: MediaFragment) -> None:
        """Take in one fragment."""
        picture_group = fragment.keyframe and not is_sound(fragment.track)
        if picture_group or self._group_is_full(fragment.capture_ms):
            self._sign(final=False)
        record = self._sealer.seal_media(
            fragment.track,
            fragment.number,
            fragment.data,
            MediaTimes(
                decode_time=fragment.decode_time,
                duration=fragment.duration,
                timescale=fragment.timescale,
                capture_ms=fragment.capture_ms,
            ),
            keyframe=picture_group,
        )
        self._keep(record, fragment.data)

    def tell(self, event: LessonEvent, at_ms: int) -> TimedEvent:
        """Take in an event of this moment, Unix ms, and sign for it at once.

        Raises ValueError for an event that no node would read.
        """
        record = self._sealer.seal_event(encode_event(event), at_ms)
        self._enter(record)
        self._sign(final=False)
        header = record.header
        return TimedEvent(at_ms=at_ms, take=header.take, number=header.number, event=event)

    def add_file(self, data: bytes, at_ms: int) -> None:
        """Take in a slide, 1 byte to 4 MiB, in chunks."""
        for chunk in chunks_of(data):
            self._enter(self._sealer.seal_file(encode_chunk(chunk), at_ms))
        self._sign(final=False)

    def close(self) -> None:
        """Sign what is left and say that nothing follows."""
        if not self._closed:
            self._closed = True
            self._sign(final=True)
            with contextlib.suppress(FragmentStoreError):  # the publisher tries each second
                self.store.sync()

    def _keep(self, record: Record, opened: bytes) -> None:
        self._enter(record)
        self._on_item(item_of(record.header, opened))

    def _enter(self, record: Record) -> None:
        if self._closed:
            raise ValueError("the take is closed; open a new one")
        header = record.header
        if header.kind is Kind.MEDIA and not self._keeps_media:
            self._on_record(record)
            return
        self._store_and_tell(record)
        self._unsigned.append((header.stream, header.number, digest(record)))
        self._newest_ms = header.capture_ms
        if self._group_ms is None:
            self._group_ms = header.capture_ms

    def _store_and_tell(self, record: Record) -> None:
        try:
            self.store.append(record)
        except FragmentStoreError:
            # The class goes on live though the disk is full; the publisher shows the cause.
            self._unstored += 1
        self._on_record(record)

    def _group_is_full(self, capture_ms: int) -> bool:
        old = self._group_ms is not None and capture_ms - self._group_ms >= GROUP_MS_MAX
        return old or len(self._unsigned) >= GROUP_RECORDS_MAX

    def _sign(self, *, final: bool) -> None:
        unsigned, self._unsigned, self._group_ms = self._unsigned, [], None
        for group in groups_of(unsigned, final=final):
            self._store_and_tell(
                sign_group(
                    self.store.lesson,
                    self.store.take,
                    self._signatures,
                    group,
                    self._newest_ms,
                    self._signing,
                )
            )
            self._signatures += 1


def close_take(store: TakeStore, signing: Ed25519PrivateKey) -> None:
    """Sign what a take of ours was left with when its process was killed."""
    if store.final:
        return
    for group in groups_of(store.unsigned(), final=True):
        number = store.index(SIGNATURES).head + 1
        captured_ms = store.started_ms or 0
        store.append(sign_group(store.lesson, store.take, number, group, captured_ms, signing))
    store.sync()


async def keep_durable(
    shelf: LessonShelf, lesson: LessonId, note: Callable[[FragmentStoreError | None], None]
) -> Never:
    """Make durable what was written, each second; ``note`` hears each time how that went."""
    while True:
        await asyncio.sleep(DURABLE_EVERY_S)
        failure: FragmentStoreError | None = None
        try:
            await shelf.sync()
        except FragmentStoreError as error:
            _log.exception("lesson %s is not durable", lesson)
            failure = error
        note(failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What exists and is not stored here: numbers ``first`` to ``last`` of one track."""

    take: TakeId
    track: int
    first: int
    last: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTake:
    """What of a take is stored here; ``unproven`` fragments wait for the flagship's signature."""

    take: TakeId
    started_ms: int
    seconds: dict[int, float]
    stored_bytes: int
    gaps: tuple[Gap, ...]
    unproven: int
    final: bool

    @property
    def complete(self) -> bool:
        return self.final and not self.gaps and not self.unproven


def recorded_takes(
    shelf: LessonShelf, lesson: LessonId, holdings: Holdings | None = None
) -> list[RecordedTake]:
    """Return a lesson's takes, ordered by time; ``holdings`` adds what the hub knows to exist."""
    return [
        RecordedTake(
            take=store.take,
            started_ms=store.started_ms or 0,
            seconds={
                stream.track: store.index(stream).seconds
                for stream in store.streams
                if stream.kind is Kind.MEDIA
            },
            stored_bytes=store.stored_bytes,
            gaps=tuple(gaps_of(store, holdings)),
            unproven=store.unproven(),
            final=store.final,
        )
        for store in shelf.takes(lesson)
    ]


def gaps_of(store: TakeStore, holdings: Holdings | None = None) -> list[Gap]:
    """Return the holes below the highest number that is stored, signed or held by the hub."""
    gaps: list[Gap] = []
    for stream in kept_streams(store, holdings):
        index = store.index(stream)
        mean_s = index.seconds / index.present.count if index.present.count else 0.0
        gaps += [
            Gap(
                take=store.take,
                track=stream.track,
                first=first,
                last=last,
                seconds=mean_s * (last + 1 - first),
            )
            for first, last in index.present.missing(known_head(store, stream, holdings))
        ]
    return gaps


def kept_streams(store: TakeStore, holdings: Holdings | None) -> list[Stream]:
    """Return the streams of picture, sound, events and files known to exist."""
    streams = {*store.streams, *store.coverage.streams()}
    if holdings is not None:
        for held in holdings.takes:
            if held.take == store.take.hex():
                streams |= {one.stream for one in held.streams}
    return sorted(stream for stream in streams if stream.kind in _KEPT)


def known_head(store: TakeStore, stream: Stream, holdings: Holdings | None) -> int:
    """Return the highest number known to exist, -1 for none."""
    spans = [] if holdings is None else spans_of(holdings, store.take, stream)
    held = spans[-1][1] if spans else -1
    return max(store.index(stream).head, store.coverage.head(stream), held)
