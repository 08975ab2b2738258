"""One connection to the hub while it lasts: live records at once, holes when nothing live waits."""

import asyncio
import contextlib
import socket as sockets
from collections.abc import Callable
from time import monotonic

import aiohttp

from sync.lessons.fragment_exchange import Current, Holdings, encode_message, stream_order
from sync.lessons.fragment_index import NumberSet
from sync.lessons.fragment_log import Kind, LessonId, Record, Stream, TakeId, parse_header
from sync.lessons.fragment_outlet import UNSENT_BYTES_MAX, prefer_bbr, unsent_bytes
from sync.lessons.fragment_queue import LiveQueue, parcel_of
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore

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
    ) -> None:
        """``on_live`` hears the track of each live fragment once it was handed to the network."""
        self._socket = socket
        self._connection: sockets.socket | None = socket.get_extra_info("socket")
        prefer_bbr(self._connection)
        self._takes = shelf.takes(lesson)
        self._on_live = on_live
        self._queue = LiveQueue()
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

    def begin(self, take: TakeStore) -> None:
        """Tell the hub that this take is the live one from here on, and begin at its keyframe."""
        self.add_take(take)
        self._current = take.take
        for record in take.join():
            self.offer(record)
        self._wake.set()

    def add_take(self, take: TakeStore) -> None:
        """Send a take that began after the connection did, as what it holds is offered."""
        if take not in self._takes:
            self._takes.append(take)

    def offer(self, record: Record) -> None:
        """Send a record as soon as the link takes it."""
        if not self._sent_of(record.header.take, record.header.stream).has(record.header.number):
            self._queue.offer(parcel_of(record, record.wire), monotonic())
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
        announced: TakeId | None = None
        while True:
            if unsent_bytes(self._connection) >= UNSENT_BYTES_MAX:
                await asyncio.sleep(_POLL_S)
                continue
            if self._current is not None and self._current != announced:
                announced = self._current
                text = encode_message(Current(take=announced.hex())).decode()
                async with asyncio.timeout(_SEND_S_MAX):
                    await self._socket.send_str(text)
            parcel = self._queue.take(monotonic())
            wire = self._next_hole() if parcel is None else parcel.data
            if wire is None:
                await self._rest()
                continue
            header, _ = parse_header(wire)
            async with asyncio.timeout(_SEND_S_MAX):
                await self._socket.send_bytes(wire)
            self._sent_of(header.take, header.stream).add(header.number)
            if parcel is not None and header.kind is Kind.MEDIA:
                self._on_live(header.track)
            await asyncio.sleep(0)

    async def _rest(self) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._wake.wait()

    def _next_hole(self) -> bytes | None:
        """Return the next record the hub lacks: oldest take first, sound before picture."""
        for store in self._takes:
            for stream in sorted(store.streams, key=stream_order):
                sent = self._sent_of(store.take, stream)
                present = store.index(stream).present
                name = store.take, stream
                for number in present.numbers(self._cursors.get(name, 0)):
                    wire = None if sent.has(number) else store.read(stream, number)
                    if wire is not None:
                        return wire
                    self._cursors[name] = number + 1
        return None

    def _sent_of(self, take: TakeId, stream: Stream) -> NumberSet:
        return self._sent.setdefault((take, stream), NumberSet())
