"""A receiver's side of a lesson: follow it live, keep it sealed, fill what a cut left out."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.status import Cause, LessonStatus, Phase, Pulse, waiting
from edge.lesson.transfer.catch_up import CatchUp
from edge.lesson.transfer.hub_link import HubRoute, keep_connected, receive_from_hub
from edge.lesson.transfer.live_order import LiveOrder
from edge.lesson.transfer.object_fetch import ObjectFetch
from edge.lesson.transfer.recording import (
    Gap,
    RecordedTake,
    gaps_of,
    keep_durable,
    recorded_takes,
)
from edge.lesson.transfer.stored_records import opened_records, timed_event
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_exchange import Holdings, HubMinute, encode_message
from sync.lessons.fragment_log import (
    EVENTS,
    FILES,
    Header,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    is_sound,
    parse_record,
)
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_sealing import FragmentOpener, verify_group
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError
from sync.lessons.lesson_events import TimedEvent
from sync.lessons.materials import Chunk, decode_chunk
from sync.lessons.tracks import keeps_media
from sync.segments.sealing import DataKey, KeyId

HUB_SILENT_S = 1.5
"""The hub speaks every second: silent for longer, it may be away, and nobody else is blamed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears a lesson that is followed.

    ``on_item`` hears what is to be played, and ``on_media`` the same with its whole header.
    ``on_event`` hears each event once, in whatever order they come; stored ones at the start.
    ``on_chunk`` hears the chunks of slides, each at least once. ``on_hub`` hears what the hub saw
    of each minute.
    """

    on_status: Callable[[LessonStatus], None]
    on_item: Callable[[StreamItem], None] = lambda _: None
    on_media: Callable[[Header, bytes], None] = lambda _, __: None
    on_event: Callable[[TimedEvent], None] = lambda _: None
    on_chunk: Callable[[Chunk], None] = lambda _: None
    on_hub: Callable[[HubMinute], None] = lambda _: None


class LessonReceiver:
    """Follows one lesson from the hub; :meth:`run` is its task.

    Every record is parsed, matched to the lesson, opened with the lesson's key (or, a signature,
    verified with the flagship's) before it is stored, sealed as it came. Numbers already stored
    are dropped; what contradicts a signature is dropped or taken back.
    """

    def __init__(
        self,
        *,
        lesson: LessonId,
        keys: Mapping[KeyId, DataKey],
        flagship: Ed25519PublicKey,
        shelf: LessonShelf,
        route: HubRoute,
        now_ms: Callable[[], int],
        listener: Listener,
        may_fill: Callable[[], bool] = lambda: True,
    ) -> None:
        """Follow a lesson; ``keys`` may gain keys while it runs.

        ``may_fill``: whether the line may carry picture that is fetched after the lesson's end.
        """
        self._may_fill = may_fill
        self._lesson = lesson
        self._opener = FragmentOpener(lesson, keys)
        self._flagship = flagship
        self._shelf = shelf
        self._route = route
        self._now_ms = now_ms
        self._listener = listener
        self._keeps_media = keeps_media(lesson)
        self._live = LiveOrder(listener.on_item, listener.on_media)
        self._pulse = Pulse(monotonic)
        self._catch_up = CatchUp(shelf, lesson, monotonic, self._waits)
        self._parts = PartJoiner()
        self._objects = ObjectFetch(route, lesson, self._take_in)
        self._holdings: Holdings | None = None
        self._cause = Cause.HUB_UNREACHABLE
        self._connected = False
        self._heard_s = 0.0
        self._disk_fails = False
        self._key_missing = False
        self._finishing = False
        self._done = False
        self._refused = 0
        self._kept = 0
        self._told = waiting(now_ms())

    @property
    def status(self) -> LessonStatus:
        """The state as last told to the listener."""
        return self._told

    @property
    def rests(self) -> bool:
        """Whether only picture is missing, and that may not be fetched now."""
        return self._finishing and self._catch_up.rests

    @property
    def kept(self) -> int:
        """How many records were stored."""
        return self._kept

    def gaps(self) -> list[Gap]:
        """Return the media known to exist and not stored here."""
        takes = self._shelf.takes(self._lesson)
        return [gap for take in takes for gap in gaps_of(take, self._holdings)]

    def recorded(self) -> list[RecordedTake]:
        """Return what is stored here, take by take."""
        return recorded_takes(self._shelf, self._lesson, self._holdings)

    def finish(self) -> None:
        """Expect nothing new: :meth:`run` returns once the recording is whole and durable."""
        self._finishing = True

    async def run(self) -> None:
        """Follow until finished and whole; cancel it to leave the holes for another time."""
        stored = self._shelf.takes(self._lesson)
        for take in [take for take in stored if take.has_media][-1:]:
            self._begin(take.take)
        for store in stored:
            for timed in opened_records(store.records(EVENTS), self._opener, timed_event):
                self._listener.on_event(timed)
            for chunk in opened_records(store.records(FILES), self._opener, _chunk):
                self._listener.on_chunk(chunk)
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(keep_durable(self._shelf, self._lesson, self._tick))
            fetching = tasks.create_task(self._objects.run())
            await keep_connected(self._route, self._path, self._serve, self._note)
            ticking.cancel()
            fetching.cancel()
        await self._shelf.sync()
        self._done = True
        self._tell()

    def _path(self) -> str:
        return f"/lessons/{self._lesson}/follow?from={self._live.positions()}"

    def _note(self, cause: Cause) -> None:
        self._connected = cause is Cause.NONE
        self._cause = cause
        self._tell()

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._catch_up.restart()
        self._parts = PartJoiner()
        try:
            while True:
                told = await receive_from_hub(socket)
                self._heard_s = monotonic()
                if isinstance(told, Holdings):
                    self._hear(told)
                    if self._finishing and self._is_whole():
                        return
                elif isinstance(told, HubMinute):
                    self._listener.on_hub(told)
                else:
                    self._take_in(told)
                wants = self._catch_up.next_wants() if not self._key_missing else []
                for want in self._objects.take(wants, self._holdings):
                    await socket.send_str(encode_message(want).decode())
        finally:
            self._connected = False

    def _hear(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._catch_up.hear(holdings)
        self._key_missing = False  # asked again each second: the grant may have come
        if holdings.live is not None:
            self._begin(holdings.live)

    def _begin(self, take: TakeId) -> None:
        """Make a take the one that is played, beginning with what of it is stored."""
        if take == self._live.take:
            return
        self._live.begin(take)
        store = self._shelf.find(self._lesson, take)
        for record in store.join() if store is not None else ():
            try:
                opened = self._opener.open(record)
            except (KeyMissingError, ForgedError, MalformedError) as error:
                _log.warning("lesson %s: stored fragment not played: %s", self._lesson, error)
                return
            self._live.play(record, opened)

    def _take_in(self, message: bytes) -> None:
        try:
            wire = self._parts.take(message)
            if wire is None:
                return
            record = parse_record(wire)
        except MalformedError as error:
            self._refuse(error)
            return
        self._catch_up.came(record.header)
        try:
            self._keep(record)
        except KeyMissingError as error:
            if self._cause is not Cause.NO_KEY:
                _log.warning("%s", error)
            self._cause = Cause.NO_KEY
            self._key_missing = True
        except (MalformedError, ForgedError) as error:
            self._catch_up.refuse(record.header)
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._refused += 1
        _log.warning("lesson %s: %s", self._lesson, error)

    def _keep(self, record: Record) -> None:
        header = record.header
        if header.lesson != self._lesson:
            raise MalformedError(f"a fragment of lesson {header.lesson} came as {self._lesson}")
        kept = self._keeps_media or header.kind is not Kind.MEDIA
        if kept and self._has(header):
            return
        opened = b""
        if header.kind is Kind.SIGNATURE:
            verify_group(record, self._flagship)
        else:
            opened = self._opener.open(record)
            if self._cause is Cause.NO_KEY:
                self._cause = Cause.NONE
        if kept:  # not before it is proven: a new take may have another give way
            self._store(record)
        if header.kind is Kind.EVENT:
            self._tell_event(header, opened)
        elif header.kind is Kind.FILE:
            self._listener.on_chunk(decode_chunk(opened))
        elif header.kind is not Kind.SIGNATURE and self._live.play(record, opened):
            self._pulse.beat(header.track)

    def _has(self, header: Header) -> bool:
        try:
            store = self._shelf.find(self._lesson, header.take)
        except FragmentStoreError as error:
            self._note_disk(header, error)
            return False
        return store is not None and store.has(header.stream, header.number)

    def _store(self, record: Record) -> None:
        try:
            self._shelf.take(self._lesson, record.header.take).append(record)
            self._kept += 1
        except FragmentStoreError as error:
            self._note_disk(record.header, error)

    def _note_disk(self, header: Header, error: FragmentStoreError) -> None:
        if not self._disk_fails:
            _log.error("lesson %s is not recorded: %s", self._lesson, error)
        self._disk_fails = True  # the class goes on live though the disk is full
        self._catch_up.refuse(header)  # at once it would be sent, and lost, again

    def _tell_event(self, header: Header, opened: bytes) -> None:
        try:
            timed = timed_event(header, opened)
        except MalformedError as error:
            # A newer flagship's event: it is kept and passed over, as the wire asks.
            _log.info("lesson %s: %s", self._lesson, error)
            return
        self._listener.on_event(timed)

    def _waits(self, stream: Stream) -> bool:
        is_picture = stream.kind is Kind.MEDIA and not is_sound(stream.track)
        return is_picture and self._finishing and not self._may_fill()

    def _is_whole(self) -> bool:
        """Tell whether all that the hub holds is here, proven, and nothing more will come."""
        takes = self._shelf.takes(self._lesson)
        held = self._holdings
        return (
            held is not None
            and held.durable
            and len(takes) >= len(held.takes)
            and all(take.complete for take in recorded_takes(self._shelf, self._lesson, held))
        )

    def _silence(self) -> Cause:
        """Return what it means that nothing comes."""
        is_hub_silent = monotonic() - self._heard_s > HUB_SILENT_S
        return Cause.HUB_UNREACHABLE if is_hub_silent else Cause.FLAGSHIP_SILENT

    def _tick(self, disk: FragmentStoreError | None) -> None:
        self._disk_fails = disk is not None
        self._tell()

    def _tell(self) -> None:
        missing = self._catch_up.missing()
        if self._done:
            phase, cause = Phase.DONE, Cause.NONE
        elif self._finishing:
            phase, cause = Phase.CATCHING_UP, self._cause
        else:
            ails = Cause.DISK if self._disk_fails else self._cause
            phase, cause = self._pulse.judge(ails, self._silence(), missing)
        self._told = LessonStatus(
            phase=phase,
            cause=cause,
            at_ms=self._now_ms(),
            connected=self._connected,
            sound_age_ms=self._pulse.sound_age_ms,
            picture_age_ms=self._pulse.picture_age_ms,
            rung=self._pulse.rung,
            missing=missing,
            refused=self._refused,
        )
        self._listener.on_status(self._told)


def _chunk(_: Header, opened: bytes) -> Chunk:
    return decode_chunk(opened)
