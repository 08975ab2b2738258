"""Bytes on the line between a box and its hub, counted where they pass.

A real hub process, an enrolled box's real folder, HTTPS with mutual TLS through a link that counts
what passes in both directions: TLS records with all that is in them, without TCP and IP headers.
Only the box's clock is made: a school day passes as fast as its rows can be written.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.arrivals import TAPS_A_DAY, Tap, school_days
from benchmarks.real_district import BOX_PORT, HUB_ADDRESS, ROUTE_ADDRESS, Hub
from edge.box_store import BoxStore, open_box
from edge.config import load_config
from edge.demo.link import Link
from edge.hub_stream import HubStream, hub_stream
from edge.uplink import SEAL_EVERY_S
from provisioning.tls import box_client_context
from sync.exchange.conversation import Conversation
from sync.exchange.framing import frame
from sync.exchange.pacing import Pace
from sync.node import SealPolicy
from sync.segments.segment import HUB
from sync.store import connect_readonly

BACKLOG_ROWS = 10_000
ROWS_A_TRANSACTION = 1000
_CLOSE_S = 0.2
_PASS_S_MAX = 10.0
_TICK_MS = int(SEAL_EVERY_S * 1000)
_QUESTION = frame(b"")
_IDLE_QUESTIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What some rows cost: sealed segments alone, and all that passed, without the handshake.

    ``question_bytes`` passed beside: an idle connection asks and answers as well.
    """

    rows: int
    segments: int
    segment_bytes: int
    passed_bytes: int
    question_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCost:
    connected_day: list[Counted]
    backlog: list[Counted]
    day_as_backlog: list[Counted]
    handshake_bytes: list[int]
    heartbeat_bytes: list[int]


async def measure_wire(hub: Hub, school: int, folder: Path, seed: int, runs: int) -> WireCost:
    """Enrol a new box in ``folder`` and count ``runs`` of each kind."""
    taps = school_days(seed)
    async with AsyncExitStack() as stack:
        # Called last: connections that the link aborts end before the loop does.
        stack.push_async_callback(asyncio.sleep, _CLOSE_S)
        link = Link((ROUTE_ADDRESS, BOX_PORT), (HUB_ADDRESS, BOX_PORT))
        await link.start(stack)
        config = await asyncio.to_thread(hub.enrol, school, folder, ROUTE_ADDRESS)
        first = next(taps)
        clock = _Clock(first.at_ms)
        line = _Line(stack.enter_context(open_box(load_config(config), clock)), link, clock)
        # What is sent once in a key's life, the grants, is not part of a day's cost.
        await line.send_backlog([first])
        cost = WireCost(
            connected_day=[], backlog=[], day_as_backlog=[], handshake_bytes=[], heartbeat_bytes=[]
        )
        for _ in range(runs):
            cost.handshake_bytes.append(await line.count_handshake())
            day, heartbeat = await line.pass_day(list(islice(taps, TAPS_A_DAY)))
            cost.connected_day.append(day)
            cost.heartbeat_bytes.append(heartbeat)
            late_day, backlog = islice(taps, TAPS_A_DAY), islice(taps, BACKLOG_ROWS)
            cost.day_as_backlog.append(await line.send_backlog(list(late_day)))
            cost.backlog.append(await line.send_backlog(list(backlog)))
    return cost


class _Clock:
    """The box's wall clock, moved by the trace."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


class _Line:
    """The box's end, doing what the uplink does, when the trace says so."""

    def __init__(self, box: BoxStore, link: Link, clock: _Clock) -> None:
        self._box = box
        self._link = link
        self._clock = clock
        self._context = box_client_context(box.identity, _real_ms)
        self._sealed = self._count_sealed()

    async def count_handshake(self) -> int:
        """Return what a connection costs before the first request."""
        before = self._link.passed_bytes
        _, writer = await asyncio.open_connection(ROUTE_ADDRESS, BOX_PORT, ssl=self._context)
        writer.close()
        # The hub may hang up first; the handshake was complete.
        with suppress(ssl.SSLError):
            await writer.wait_closed()
        return self._link.passed_bytes - before

    async def send_backlog(self, taps: Sequence[Tap]) -> Counted:
        """Let taps arrive while disconnected, then connect and send all, as after a cut."""
        node = self._box.node
        handshake = await self.count_handshake()
        before = self._link.passed_bytes
        for start in range(0, len(taps), ROWS_A_TRANSACTION):
            self._clock.ms = taps[start].at_ms
            node.record("card_tap", [tap.row for tap in taps[start : start + ROWS_A_TRANSACTION]])
        self._clock.ms = taps[-1].at_ms
        node.seal_all()
        async with self._connected() as call:
            await call.until_acknowledged()
            return self._counted(len(taps), self._link.passed_bytes - before - handshake)

    async def pass_day(self, taps: Sequence[Tap]) -> tuple[Counted, int]:
        """Let a day's taps arrive while connected; also return what an idle heartbeat costs.

        The box asks when the trace's time has come; with the answer comes what the hub owes.
        """
        node, policy = self._box.node, SealPolicy()
        async with self._connected() as call:
            await call.until_acknowledged()
            heartbeat_bytes = min([await call.ask() for _ in range(_IDLE_QUESTIONS)])
            before, asked = self._link.passed_bytes, 0
            begun_ms = tick_ms = self._clock.ms = taps[0].at_ms
            for tap, until_ms in zip(taps, _nexts(taps), strict=True):
                self._clock.ms = tap.at_ms
                node.record("card_tap", [tap.row])
                while tick_ms < until_ms:
                    self._clock.ms = tick_ms = tick_ms + _TICK_MS
                    if node.seal_due(policy) or call.is_due(tick_ms - begun_ms):
                        asked += await call.keep_up(tick_ms - begun_ms)
            assert not call.conversation.under_way, "the last receipt came with the last answer"
            question_bytes = asked * heartbeat_bytes
            passed_bytes = self._link.passed_bytes - before - question_bytes
            return self._counted(len(taps), passed_bytes, question_bytes), heartbeat_bytes

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["_Call"]:
        conversation = Conversation(self._box.node, HUB, Pace(), 0, asks=True)

        async def begin() -> bytes | None:
            return conversation.speak(0)

        base = f"https://{ROUTE_ADDRESS}:{BOX_PORT}"
        async with hub_stream(base, self._context, begin) as stream:
            yield _Call(stream, conversation, self._link)

    def _counted(self, rows: int, passed_bytes: int, question_bytes: int = 0) -> Counted:
        sealed = self._count_sealed()
        segments, size = (now - before for now, before in zip(sealed, self._sealed, strict=True))
        self._sealed = sealed
        if passed_bytes < rows:
            raise RuntimeError(f"{rows} rows passed as {passed_bytes} bytes: they are miscounted")
        return Counted(
            rows=rows,
            segments=segments,
            segment_bytes=size,
            passed_bytes=passed_bytes,
            question_bytes=question_bytes,
        )

    def _count_sealed(self) -> tuple[int, int]:
        with closing(connect_readonly(self._box.path)) as store:
            row = store.execute(
                "SELECT count(*), coalesce(sum(length(wire)), 0) FROM segment s"
                " JOIN log l ON l.id = s.log WHERE l.origin = ?",
                (self._box.node.origin,),
            ).fetchone()
        return row[0], row[1]


@dataclass(frozen=True, slots=True)
class _Call:
    """One connection; its clock stands still, so that it asks nothing of itself, but for a day."""

    stream: HubStream
    conversation: Conversation
    link: Link

    async def until_acknowledged(self) -> None:
        """Send what is sealed; the hub is asked for its receipt, which waits otherwise."""
        while not self.conversation.has_heard or await self._send():
            await self._hear()

    async def ask(self) -> int:
        """Ask the hub for what it owes; return what passed, at times with what it had to say."""
        before = self.link.passed_bytes
        await self.stream.send(_QUESTION)
        await self._hear()
        return self.link.passed_bytes - before

    def is_due(self, now_ms: int) -> bool:
        due_ms = self.conversation.due_ms()
        return due_ms is not None and due_ms <= now_ms

    async def keep_up(self, now_ms: int) -> int:
        """Send what is to be sent now; return 1 if the hub was asked, and has answered."""
        asked = 0
        while data := self.conversation.speak(now_ms):
            before = self.link.passed_bytes
            await self.stream.send(data)
            if data == _QUESTION:
                asked += 1
                await self._hear(now_ms)
            # What the trace says later goes in a record of its own.
            async with asyncio.timeout(_PASS_S_MAX):
                while self.link.passed_bytes < before + len(data):  # noqa: ASYNC110 - it only counts
                    await asyncio.sleep(0)
        return asked

    async def _send(self) -> bool:
        """Send all that may be sent now; tell whether a receipt is still to come."""
        while data := self.conversation.speak(0):
            await self.stream.send(data)
        if not self.conversation.under_way:
            return False
        await self.stream.send(_QUESTION)
        return True

    async def _hear(self, now_ms: int = 0) -> None:
        message = self.conversation.hear(await self.stream.receive(), now_ms).message
        if message is not None and message.refused:
            raise RuntimeError(f"the hub refused {message.refused[0]}; mend the path first")


def _nexts(taps: Sequence[Tap]) -> Iterator[int]:
    """Yield until when each tap is the last: the next one's moment, two minutes after the last."""
    yield from (tap.at_ms for tap in taps[1:])
    yield taps[-1].at_ms + 120_000


def _real_ms() -> int:
    return time.time_ns() // 1_000_000
