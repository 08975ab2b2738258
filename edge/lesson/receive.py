"""A receiver's side of a lesson: follow it live, keep it sealed, fill what a cut left out."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.lesson.catch_up import CatchUp
from edge.lesson.classroom_stream import StreamItem, item_of
from edge.lesson.hub_link import HubRoute, keep_connected, receive_from_hub
from edge.lesson.recording import Gap, RecordedTake, gaps_of, recorded_takes
from edge.lesson.status import Cause, LessonStatus, Phase, Pulse, waiting
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_exchange import Holdings, encode_message
from sync.lessons.fragment_log import (
    EVENTS,
    Header,
    Kind,
    LessonId,
    Record,
    TakeId,
    is_sound,
    parse_record,
)
from sync.lessons.fragment_sealing import FragmentOpener, verify_group
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError
from sync.lessons.lesson_events import TimedEvent, decode_event
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)

_TICK_S = 1.0


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
        on_item: Callable[[StreamItem], None],
        on_status: Callable[[LessonStatus], None],
        on_event: Callable[[TimedEvent], None] = lambda _: None,
    ) -> None:
        """``keys`` may gain keys while the lesson runs. ``on_item`` hears what is to be played.

        ``on_event`` hears each event once, in whatever order they come; stored ones at the start.
        """
        self._lesson = lesson
        self._opener = FragmentOpener(lesson, keys)
        self._flagship = flagship
        self._shelf = shelf
        self._route = route
        self._now_ms = now_ms
        self._live = _Live(on_item)
        self._on_status = on_status
        self._on_event = on_event
        self._pulse = Pulse(monotonic)
        self._catch_up = CatchUp(shelf, lesson, monotonic)
        self._holdings: Holdings | None = None
        self._cause = Cause.HUB_UNREACHABLE
        self._connected = False
        self._disk_fails = False
        self._key_missing = False
        self._finishing = False
        self._done = False
        self._refused = 0
        self._told = waiting(now_ms())

    @property
    def status(self) -> LessonStatus:
        """The state as last told to ``on_status``."""
        return self._told

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
            for record in store.records(EVENTS):
                self._hear_event(record)
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(self._tick())
            await keep_connected(self._route, self._path, self._serve, self._note)
            ticking.cancel()
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
        try:
            while True:
                told = await receive_from_hub(socket)
                if isinstance(told, Holdings):
                    self._hear(told)
                    if self._finishing and self._is_whole():
                        return
                else:
                    self._take_in(told)
                for want in self._catch_up.next_wants() if not self._key_missing else ():
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

    def _take_in(self, wire: bytes) -> None:
        try:
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
        store = self._shelf.take(self._lesson, header.take)
        if store.has(header.stream, header.number):
            return
        opened = b""
        if header.kind is Kind.SIGNATURE:
            verify_group(record, self._flagship)
        else:
            opened = self._opener.open(record)
            if self._cause is Cause.NO_KEY:
                self._cause = Cause.NONE
        try:
            store.append(record)
        except FragmentStoreError:
            _log.exception("lesson %s is not recorded", self._lesson)
            self._disk_fails = True  # the class goes on live though the disk is full
        if header.kind is Kind.EVENT:
            self._tell_event(header, opened)
        elif header.kind is not Kind.SIGNATURE and self._live.play(record, opened):
            self._pulse.beat(header.track)

    def _hear_event(self, record: Record) -> None:
        """Tell of an event that was stored by an earlier run."""
        try:
            self._tell_event(record.header, self._opener.open(record))
        except (KeyMissingError, ForgedError, MalformedError) as error:
            _log.warning("lesson %s: stored event passed over: %s", self._lesson, error)

    def _tell_event(self, header: Header, opened: bytes) -> None:
        try:
            event = decode_event(opened)
        except MalformedError as error:
            # A newer flagship's event: it is kept and passed over, as the wire asks.
            _log.info("lesson %s: %s", self._lesson, error)
            return
        self._on_event(
            TimedEvent(at_ms=header.capture_ms, take=header.take, number=header.number, event=event)
        )

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

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                await self._shelf.sync()
                self._disk_fails = False
            except FragmentStoreError:
                _log.exception("lesson %s is not durable", self._lesson)
                self._disk_fails = True
            self._tell()

    def _tell(self) -> None:
        missing = self._catch_up.missing()
        if self._done:
            phase, cause = Phase.DONE, Cause.NONE
        elif self._finishing:
            phase, cause = Phase.CATCHING_UP, self._cause
        else:
            ails = Cause.DISK if self._disk_fails else self._cause
            phase, cause = self._pulse.judge(ails, Cause.FLAGSHIP_SILENT, missing)
        self._told = LessonStatus(
            phase=phase,
            cause=cause,
            at_ms=self._now_ms(),
            connected=self._connected,
            sound_age_ms=self._pulse.sound_age_ms,
            picture_age_ms=self._pulse.picture_age_ms,
            missing=missing,
            refused=self._refused,
        )
        self._on_status(self._told)


class _Live:
    """Decides what of the take being played goes to the classroom: in order, from keyframes."""

    def __init__(self, on_item: Callable[[StreamItem], None]) -> None:
        self._on_item = on_item
        self._played: dict[tuple[Kind, int], int] = {}
        self.take: TakeId | None = None

    def begin(self, take: TakeId) -> None:
        self.take = take
        self._played = {}

    def positions(self) -> str:
        """Return the newest fragment played of each track, as the hub's ``from`` reads it."""
        if self.take is None:
            return ""
        return ",".join(
            f"{self.take.hex()}:{track}:{number}"
            for (kind, track), number in self._played.items()
            if kind is Kind.MEDIA
        )

    def play(self, record: Record, opened: bytes) -> bool:
        """Hand a record on if it is next; False for what is late or follows a hole in a picture."""
        header = record.header
        name = header.kind, header.track
        last = self._played.get(name, -1)
        if header.take != self.take or header.number <= last:
            return False
        needs_previous = header.kind is Kind.MEDIA and not is_sound(header.track)
        if needs_previous and not header.keyframe and header.number != last + 1:
            return False
        self._played[name] = header.number
        self._on_item(item_of(header, opened))
        return True
