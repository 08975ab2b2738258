"""One connection to the hub while it lasts: live records at once, holes when nothing live waits."""

import asyncio
import contextlib
import socket as sockets
from collections.abc import Callable, Collection, Iterator
from time import monotonic

import aiohttp

from edge.lesson.transfer.recording import UnwrittenTake
from sync.lessons.fragment_dispatch import Dispatch, Piece
from sync.lessons.fragment_exchange import (
    Current,
    Holdings,
    Turn,
    encode_message,
    turn_of,
)
from sync.lessons.fragment_index import NumberSet
from sync.lessons.fragment_log import Kind, LessonId, Record, Stream, TakeId, parse_header
from sync.lessons.fragment_queue import parcel_of
from sync.lessons.fragment_rungs import ANEW, Ladder, Rung, Standing
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore
from sync.lessons.link_gauge import Reading, read_link
from sync.lessons.tcp_connection import (
    TcpInfo,
    find_tcp_info,
    prefer_bbr,
    under_way_bytes,
    unsent_bytes,
)

_POLL_S = 0.005
_SEND_S_MAX = 10.0


class Uplink:
    """Knows what the hub holds or was sent on this connection, and sends the rest."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        lesson: LessonId,
        shelf: LessonShelf,
        holdings: Holdings,
        on_live: Callable[[int], None],
        standing: Standing = ANEW,
    ) -> None:
        """``on_live`` hears the track of each live fragment once it was handed to the network.

        ``standing`` is that of the connection before this.
        """
        self._socket = socket
        self._connection: sockets.socket | None = socket.get_extra_info("socket")
        prefer_bbr(self._connection)
        self._takes = shelf.takes(lesson)
        self._on_live = on_live
        ladder = Ladder(standing, both=True)
        self._dispatch = Dispatch(self._next_hole, bytes, in_parts=True, ladder=ladder)
        self._queue = self._dispatch.queue
        self._current: TakeId | None = None
        self._wake = asyncio.Event()
        self._sent: dict[tuple[TakeId, Stream], NumberSet] = {}
        self._cursors: dict[tuple[TakeId, Stream], int] = {}
        for held in holdings.takes:
            for one in held.streams:
                sent = self._sent.setdefault((held.id, one.stream), NumberSet())
                for first, last in one.have:
                    sent.add_span(first, last)

    @property
    def dropped(self) -> int:
        """Live fragments this connection was too slow for; they follow as holes."""
        return self._queue.dropped

    @property
    def rung(self) -> Rung:
        """The picture that the hub is sent now."""
        return self._dispatch.rung

    @property
    def standing(self) -> Standing:
        """What the next connection is to begin with."""
        return self._queue.ladder.standing

    def begin(self, take: TakeStore | UnwrittenTake) -> None:
        """Tell the hub that this take is the live one from here on, and begin at its keyframe."""
        self.add_take(take)
        self._current = take.take
        for record in take.join():
            self.offer(record)
        self._wake.set()

    def add_take(self, take: TakeStore | UnwrittenTake) -> None:
        """Send also what another take holds: one that is not played, of events or materials."""
        if isinstance(take, TakeStore) and take not in self._takes:
            self._takes.append(take)
        self._wake.set()

    def offer(self, record: Record) -> None:
        """Send a record as soon as the link takes it; a file's follows when nothing live waits."""
        header = record.header
        known = self._sent_of(header.take, header.stream).has(header.number)
        if not known and header.kind is not Kind.FILE:
            self._queue.offer(parcel_of(record, record.wire), monotonic())
        self._wake.set()

    def lost(self, takes: Collection[TakeId]) -> None:
        """Send again what of these takes is here: the hub held them, and gave them up."""
        for name in [name for name in self._sent if name[0] in takes]:
            del self._sent[name]
            self._cursors.pop(name, None)
        self._wake.set()

    def holes(self) -> int:
        """Return how many records are to be sent that lie below one already sent."""
        return sum(
            store.index(stream).present.count_within(0, sent.head + 1)
            - sum(store.index(stream).present.count_within(a, b + 1 - a) for a, b in sent.spans())
            for store in self._takes
            for stream in store.streams
            if (sent := self._sent_of(store.take, stream)).head >= 0
        )

    async def send(self) -> None:
        """Send until cancelled; raises what the connection raises."""
        announced: tuple[TakeId, Rung] | None = None
        while True:
            now_s = monotonic()
            self._dispatch.look(self._read, now_s)
            if unsent_bytes(self._connection) >= self._dispatch.gauge.unsent_bytes_max:
                self._dispatch.gauge.note_full(_POLL_S)
                await asyncio.sleep(_POLL_S)
                continue
            piece = self._dispatch.next(now_s, under_way_bytes(self._connection))
            if self._current is not None and (self._current, self.rung) != announced:
                announced = self._current, self.rung
                told = Current(take=self._current.hex(), rung=self.rung)
                async with asyncio.timeout(_SEND_S_MAX):
                    await self._socket.send_str(encode_message(told).decode())
            if piece is None:
                await self._rest()
                continue
            async with asyncio.timeout(_SEND_S_MAX):
                await self._socket.send_bytes(piece.data)
            self._note(piece)
            await asyncio.sleep(0)

    def _note(self, piece: Piece) -> None:
        """Remember what is sent whole now."""
        wire = piece.wire if piece.parcel is None else piece.parcel.data
        if wire is None:
            return
        header, _ = parse_header(wire)
        self._sent_of(header.take, header.stream).add(header.number)
        if piece.parcel is not None and header.kind is Kind.MEDIA:
            self._on_live(header.track)

    def line(self) -> TcpInfo | None:
        """Return how the connection is, None for one that is gone."""
        return find_tcp_info(self._connection)

    def _read(self) -> Reading | None:
        return read_link(self._connection)

    async def _rest(self) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._dispatch.rest_s):
                await self._wake.wait()

    def _next_hole(self, upto: Turn) -> bytes | None:
        """Return the next record the hub lacks: sound before files before picture, oldest first."""
        for store, stream in self._in_turn():
            if turn_of(stream) > upto:
                return None
            sent = self._sent_of(store.take, stream)
            present = store.index(stream).present
            name = store.take, stream
            for number in present.numbers(self._cursors.get(name, 0)):
                wire = None if sent.has(number) else store.read(stream, number)
                if wire is not None:
                    return wire
                self._cursors[name] = number + 1
        return None

    def _in_turn(self) -> Iterator[tuple[TakeStore, Stream]]:
        found = [(store, stream) for store in self._takes for stream in store.streams]
        yield from sorted(found, key=lambda one: turn_of(one[1]))

    def _sent_of(self, take: TakeId, stream: Stream) -> NumberSet:
        return self._sent.setdefault((take, stream), NumberSet())
