"""The flagship's side of a lesson: sealed takes go to the hub, live first, holes afterwards."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.status import Cause, LessonStatus, Phase, Pulse, waiting
from edge.lesson.transfer.healing import Healing
from edge.lesson.transfer.hub_link import HubRoute, HubSilentError, keep_connected, receive_from_hub
from edge.lesson.transfer.recording import TakeRecorder, UnwrittenTake, keep_durable
from edge.lesson.transfer.uplink import Uplink
from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_exchange import Holdings, HubMinute, overlap, spans_of
from sync.lessons.fragment_log import FILES, Kind, LessonId, Record, TakeId
from sync.lessons.fragment_rungs import ANEW
from sync.lessons.fragment_sealing import FragmentOpener, new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.lessons.lesson_events import LessonEvent, TimedEvent
from sync.lessons.materials import chunk_count, decode_chunk
from sync.lessons.tcp_connection import TcpInfo
from sync.segments.sealing import DataKey, key_id

_log = logging.getLogger(__name__)


class LessonPublisher:
    """Records one lesson's takes and keeps the hub supplied; :meth:`run` is its task.

    What capture gives goes into :meth:`open_take`'s recorder, which seals and stores it; from
    there it is sent at once while the link keeps up. After a cut it goes on at the newest
    keyframe, and what the hub lacks follows whenever nothing live waits.
    """

    def __init__(
        self,
        *,
        lesson: LessonId,
        key: DataKey,
        signing: Ed25519PrivateKey,
        shelf: LessonShelf,
        route: HubRoute,
        now_ms: Callable[[], int],
        on_status: Callable[[LessonStatus], None],
        on_item: Callable[[StreamItem], None] = lambda _: None,
    ) -> None:
        """``on_item`` hears each opened init and fragment, for the flagship's own classroom."""
        self._lesson = lesson
        self._key = key
        self._signing = signing
        self._shelf = shelf
        self._route = route
        self._now_ms = now_ms
        self._on_status = on_status
        self._on_item = on_item
        self.on_hub: Callable[[HubMinute], None] = lambda _: None
        """Hears what the hub saw of each minute."""
        self._recorder: TakeRecorder | None = None
        self._teller: TakeRecorder | None = None
        self._link: Uplink | None = None
        self._holdings: Holdings | None = None
        self._cause = Cause.HUB_UNREACHABLE
        self._disk_fails = False
        self._finishing = False
        self._done = False
        self._dropped = 0
        self._standing = ANEW  # the last connection's
        self._captured = Pulse(monotonic)
        self._sent = Pulse(monotonic)
        self._told = waiting(now_ms())
        self._healing = Healing(lesson, shelf, route, signing)

    @property
    def status(self) -> LessonStatus:
        """The state as last told to ``on_status``."""
        return self._told

    def line(self) -> TcpInfo | None:
        """Return how the connection to the hub is, None while there is none."""
        return None if self._link is None else self._link.line()

    @property
    def recorder(self) -> TakeRecorder | None:
        """The take that is open, for what is added to it beside the capture."""
        return self._recorder

    def open_take(self) -> TakeRecorder:
        """Begin a take, ending the one before it: call at each start of the capture."""
        self.close_take()
        store = self._new_take()
        self._recorder = TakeRecorder(store, self._key, self._signing, self._offer, self._on_item)
        if self._link is not None:
            self._link.begin(store)
        return self._recorder

    def use_key(self, key: DataKey) -> None:
        """Seal what comes from now on under another key, in the take that is open too."""
        self._key = key
        for recorder in (self._recorder, self._teller):
            if recorder is not None:
                recorder.use_key(key)

    def tell(self, event: LessonEvent) -> TimedEvent:
        """Record an event of this moment and send it at once; it needs no camera.

        Raises ValueError for an event that no node would read, and once the lesson is finished;
        SyncError where its take cannot be begun.
        """
        return self._open_teller().tell(event, self._now_ms())

    def send_file(self, data: bytes) -> None:
        """Record a slide of the lesson's materials; it goes whenever nothing live waits.

        Raises ValueError once the lesson is finished.
        """
        self._open_teller().add_file(data, self._now_ms())

    def sent_files(self) -> set[bytes]:
        """Return the SHA-256 of the files that lie whole in what was recorded under this key."""
        opener = FragmentOpener(self._lesson, {key_id(self._key): self._key})
        offsets: dict[tuple[bytes, int], set[int]] = {}
        for store in self._shelf.takes(self._lesson):
            for record in store.records(FILES):
                try:
                    chunk = decode_chunk(opener.open(record))
                except (KeyMissingError, ForgedError, MalformedError):
                    continue  # sent again: whoever has it whole passes it over
                offsets.setdefault((chunk.digest, chunk.total), set()).add(chunk.offset)
        return {
            digest for (digest, total), found in offsets.items() if len(found) == chunk_count(total)
        }

    def _open_teller(self) -> TakeRecorder:
        """Return the recorder of what is no media, in a take of its own."""
        if self._finishing:
            raise ValueError("the lesson is over; nothing more happens in it")
        if self._teller is None:
            store = self._shelf.take(self._lesson, new_take())
            self._teller = TakeRecorder(store, self._key, self._signing, self._offer, _nothing)
            if self._link is not None:
                self._link.add_take(store)
        return self._teller

    def _new_take(self) -> TakeStore | UnwrittenTake:
        take = new_take()
        try:
            return self._shelf.take(self._lesson, take)
        except FragmentStoreError as error:
            # A full disk takes the recording; the class still gets the lesson.
            _log.error("lesson %s goes out live and is not recorded: %s", self._lesson, error)
            return UnwrittenTake(self._lesson, take, str(error))

    def close_take(self) -> None:
        """End the take that is open, if one is: the capture stopped."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def finish(self) -> None:
        """End the lesson: :meth:`run` returns once the hub durably holds all of it."""
        self.close_take()
        if self._teller is not None:
            self._teller.close()
        self._finishing = True

    async def run(self) -> None:
        """Serve the hub until the lesson is finished and held by it whole."""
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(keep_durable(self._shelf, self._lesson, self._tick))
            await keep_connected(self._route, self._path, self._serve, self._note)
            ticking.cancel()
        await self._shelf.sync()
        self._done = True
        self._tell()

    def _path(self) -> str:
        return f"/lessons/{self._lesson}/publish"

    def _note(self, cause: Cause) -> None:
        self._cause = cause
        self._tell()

    def _offer(self, record: Record) -> None:
        if record.header.kind is Kind.MEDIA:
            self._captured.beat(record.header.track)
        if self._link is not None:
            self._link.offer(record)

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        first = await receive_from_hub(socket)
        if not isinstance(first, Holdings):
            raise HubSilentError("the hub did not say what it holds")
        self._holdings = first
        link = Uplink(socket, self._lesson, self._shelf, first, self._sent.beat, self._standing)
        if self._recorder is not None:
            link.begin(self._recorder.store)
        self._link = link
        self._tell()
        lost: ExceptionGroup | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(link.send())
                await self._listen(socket, link)
                sending.cancel()
        except* (aiohttp.ClientError, HubSilentError, OSError) as errors:  # and TimeoutError
            lost = errors
        finally:
            self._link = None
            self._dropped += link.dropped
            self._standing = link.standing
        if lost is not None:
            # Not raised above: Python before 3.11.4 (Debian 12) wraps in a group whatever is
            # raised inside except*, and nobody who connects again looks into groups.
            raise HubSilentError(str(lost.exceptions[0])) from lost

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, link: Uplink) -> None:
        """Take in what the hub holds; returns when the lesson is finished and held whole."""
        while True:
            told = await receive_from_hub(socket)
            if isinstance(told, HubMinute):
                self.on_hub(told)
            elif isinstance(told, Holdings):
                link.lost(_takes(self._holdings) - _takes(told))
                self._holdings = told
                opened = self._opened()
                await self._healing.heal(told, opened)
                whole = self._healing.is_over(told, opened) and not self._lacking()
                if self._finishing and told.durable and whole:
                    return

    def _opened(self) -> list[TakeId]:
        recorders = (self._recorder, self._teller)
        return [each.take for each in recorders if each is not None and not each.closed]

    def _tick(self, disk: FragmentStoreError | None) -> None:
        self._disk_fails = disk is not None
        self._tell()

    def _lacking(self) -> int:
        """Return how many records stored here the hub is not known to hold."""
        lacking = 0
        for store in self._shelf.takes(self._lesson):
            for stream in store.streams:
                ours = store.index(stream).present.spans()
                held = (
                    [] if self._holdings is None else spans_of(self._holdings, store.take, stream)
                )
                lacking += sum(last + 1 - first for first, last in ours)
                lacking -= sum(last + 1 - first for first, last in overlap(ours, held))
        return lacking

    def _tell(self) -> None:
        link = self._link
        missing = self._lacking() if link is None or self._finishing else link.holes()
        if self._done:
            phase, cause = Phase.DONE, Cause.NONE
        elif self._finishing:
            phase, cause = Phase.CATCHING_UP, self._cause
        else:
            unstored = self._recorder is not None and self._recorder.unstored
            ails = Cause.DISK if self._disk_fails or unstored else self._cause
            silent = Cause.HUB_UNREACHABLE if self._captured.fresh else Cause.CAMERA_SILENT
            phase, cause = self._sent.judge(ails, silent, missing)
        self._told = LessonStatus(
            phase=phase,
            cause=cause,
            at_ms=self._now_ms(),
            connected=link is not None,
            sound_age_ms=self._sent.sound_age_ms,
            picture_age_ms=self._sent.picture_age_ms,
            rung=self._sent.rung,
            missing=missing,
            dropped=self._dropped + (0 if link is None else link.dropped),
        )
        self._on_status(self._told)


def _takes(holdings: Holdings | None) -> set[TakeId]:
    return set() if holdings is None else {held.id for held in holdings.takes}


def _nothing(_: StreamItem) -> None:
    """Events are nothing that a classroom plays; :meth:`LessonPublisher.tell` returns them."""
