"""Keeps the connection to the hub: seals what is due, sends what the hub lacks, takes its own."""

import asyncio
import logging
import random
import sqlite3
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Never

from edge.hub_stream import (
    CONNECT_S_MAX,
    HubSilentError,
    HubStream,
    HubUnreachableError,
    hub_stream,
)
from edge.metering import ALL_FLOWS, Flows, Hold, Meter
from edge.supervision import apart
from provisioning.identity import Identity
from sync.errors import MalformedError
from sync.exchange.conversation import HEARTBEAT_MS, Conversation
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX, Message
from sync.exchange.pacing import Pace
from sync.logs.sealer import ROWS_A_SEGMENT_MAX, URGENT
from sync.node import Imported, Node, SealPolicy
from sync.schema.model import Lane
from sync.segments.segment import HUB
from sync.writer import Writer

_log = logging.getLogger(__name__)

HEARTBEAT_S = HEARTBEAT_MS / 1000
SEAL_EVERY_S = 0.5
SEAL_RETRY_S = 5.0
# The store's thread also speaks and hears: between these segments, a few milliseconds.
SEALED_AT_ONCE = 4
CONNECT_S = 6.0
"""The first patience with a new connection and its handshakes; it grows while none comes about."""
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 10.0
RETRY_SHARE = 0.25
"""A hub that was away for so long is tried again after this share of it: a short cut costs little,
and a thousand boxes do not call at once when a long one ends."""
SILENCE_S_MAX = 75.0
"""A hub that does not answer what it is asked every HEARTBEAT_S is left for a new connection."""
RETRY_AFTER_S_MAX = 60.0
_OFFLINE = SealPolicy(rows=ROWS_A_SEGMENT_MAX, age_ms=24 * 3600 * 1000)
"""Without a connection rows wait unsealed, so that what is sent later is in long segments."""


@dataclass(slots=True)
class UplinkState:
    """What is known of the link; moments are Unix ms, bytes those of messages."""

    connected: bool = False
    since_ms: int = 0
    last_exchange_ms: int | None = None
    detail: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
    refused: list[str] = field(default_factory=list)
    flows: Flows = ALL_FLOWS


class Uplink:
    """Seals what is due and exchanges whenever either end has something.

    ``on_import`` hears, on the event loop, what the hub sent.
    """

    def __init__(  # noqa: PLR0913 - what it joins: a box, its store, its link
        self,
        identity: Identity,
        context: ssl.SSLContext,
        node: Node,
        writer: Writer,
        *,
        policy: SealPolicy,
        rng: random.Random,
        on_import: Callable[[Imported], None],
        on_change: Callable[[], None],
        meter: Meter | None = None,
    ) -> None:
        self._base = f"https://{identity.hub_host}:{identity.hub_port}"
        self._context = context
        self._node = node
        self._writer = writer
        self._policy = policy
        self._rng = rng
        self._on_import = on_import
        self._on_change = on_change
        self._meter = meter
        self._wake = asyncio.Event()
        self._is_full = asyncio.Event()
        self._is_heard = asyncio.Event()
        self._pace = Pace()
        self._conversation: Conversation | None = None
        self._may_hold_more = False  # the hub, than it could tell before the last cut
        self._calm_from_s = 0.0
        self.state = UplinkState(since_ms=node.clock.now_ms(), detail="not tried yet")

    def nudge(self) -> None:
        """Exchange now, if there is a connection, whatever waits."""
        self._wake.set()

    def under_way(self) -> Mapping[Lane, int]:
        """Return bytes of segments by lane that were sent and not acknowledged yet."""
        return {} if self._conversation is None else self._conversation.under_way

    async def run(self) -> Never:
        """Keep the link until cancelled."""
        loop = asyncio.get_running_loop()
        # A burst flows while it is recorded; what is fewer rows waits for company.
        self._node.heed_full(
            self._policy.rows, partial(loop.call_soon_threadsafe, self._is_full.set)
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_sealing())
                tasks.create_task(self._keep_connected())
        finally:
            self._node.ignore_full()
        raise AssertionError("the uplink's tasks run until they are cancelled")

    async def _keep_sealing(self) -> Never:
        while True:
            self._is_full.clear()
            policy = self._policy if self.state.connected else _OFFLINE
            try:
                made = await self._writer.call(self._node.seal_due, policy, SEALED_AT_ONCE)
                if made:
                    self._wake.set()
                if made >= SEALED_AT_ONCE:
                    continue
            except sqlite3.Error as error:
                _log.warning("nothing is sealed (%s); rows wait unsealed", error)
                await asyncio.sleep(SEAL_RETRY_S)
            try:
                async with asyncio.timeout(SEAL_EVERY_S):
                    await self._is_full.wait()
                    while self._conversation is not None and self._conversation.awaits_receipt:
                        # Several segments a message, and a commit: what is being taken in is over.
                        self._is_heard.clear()
                        await self._is_heard.wait()
            except TimeoutError:
                pass

    async def _keep_connected(self) -> Never:
        heard_s = _now_s()
        failures = 1
        while True:
            after_s = 0.0
            try:
                await self._hold_one_connection(min(CONNECT_S_MAX, CONNECT_S * failures))
            except* (HubUnreachableError, sqlite3.Error) as group:
                error = _first(group)
                after_s = error.after_s if isinstance(error, HubUnreachableError) else 0.0
                failures += 1
                if self.state.connected:
                    heard_s, failures = _now_s(), 1
                self._note_loss(error)
            wait_s = min(RETRY_MAX_S, max(RETRY_FIRST_S, RETRY_SHARE * (_now_s() - heard_s)))
            await asyncio.sleep(self._rng.uniform(0.5, 1) * wait_s)
            await asyncio.sleep(self._rng.uniform(1, 2) * min(after_s, RETRY_AFTER_S_MAX))

    async def _hold_one_connection(self, connect_s_max: float) -> None:
        """Raise HubUnreachableError when none can be had, or the one that was had is lost."""
        conversation = Conversation(
            self._node,
            HUB,
            self._pace,
            _now_ms(),
            asks=True,
            first_bytes_max=0 if self._may_hold_more else FIRST_BYTES_MAX,
        )

        called_ms = _now_ms()

        async def begin() -> bytes | None:
            if conversation.has_spoken:
                return await self._speak(conversation)
            self._pace.note_connected(_now_ms() - called_ms)
            # Unsealed rows waited for this moment. Nothing else is to be sealed before it speaks.
            _, data = await asyncio.gather(
                self._writer.call(self._node.seal_all, SEALED_AT_ONCE),
                self._speak(conversation),
            )
            return data

        try:
            async with hub_stream(self._base, self._context, begin, connect_s_max) as stream:
                self._conversation = conversation
                await apart(self._converse(stream, conversation))
        finally:
            self._conversation = None
            self._may_hold_more = bool(conversation.under_way) or (
                self._may_hold_more and not conversation.has_heard
            )

    async def _converse(self, stream: HubStream, conversation: Conversation) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._seal_rest())
            tasks.create_task(self._keep_hearing(stream, conversation))
            tasks.create_task(self._keep_speaking(stream, conversation))
            tasks.create_task(stream.watch())

    async def _seal_rest(self) -> None:
        """Seal the rest of what waited for this connection, while the hub takes in the first."""
        while await self._writer.call(self._node.seal_all, SEALED_AT_ONCE) >= SEALED_AT_ONCE:
            self._wake.set()
        self._wake.set()

    async def _keep_speaking(self, stream: HubStream, conversation: Conversation) -> Never:
        while True:
            self._wake.clear()
            is_calm = self._calm_from_s <= _now_s()
            self._pace.note_rate(stream.bytes_a_s)
            data = await self._speak(conversation)
            if data is not None:
                await stream.send(data)
                continue
            silent_s = conversation.silent_ms(_now_ms()) / 1000
            if silent_s > SILENCE_S_MAX:
                raise HubUnreachableError(f"the hub has not answered for {silent_s:.0f} s")
            due_s = (conversation.due_ms() or 0) / 1000
            if not is_calm:
                due_s = min(due_s, self._calm_from_s)
            try:
                async with asyncio.timeout(max(0.0, due_s - _now_s())):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _speak(self, conversation: Conversation) -> bytes | None:
        self.state.flows = self._flows()
        data = await self._writer.call(
            conversation.speak, _now_ms(), CREDIT_BYTES, 0, self.state.flows.lanes
        )
        if data is not None:
            self.state.sent_bytes += len(data)
            await self._count(len(data))
        return data

    async def _count(self, message_bytes: int) -> None:
        if self._meter is not None:
            await self._writer.call(self._meter.count, message_bytes, self._node.clock.now_ms())

    def _flows(self) -> Flows:
        """Return which lanes may flow now: not those that the hub or the meter asks to wait."""
        flows = ALL_FLOWS
        if self._meter is not None:
            flows = self._meter.flows(self._node.clock.now_ms())
        if self._calm_from_s > _now_s():
            return flows.only(URGENT, Hold.HUB_BUSY)
        return flows

    async def _keep_hearing(self, stream: HubStream, conversation: Conversation) -> Never:
        while True:
            content = await stream.receive()
            self.state.received_bytes += len(content)
            await self._count(len(content))
            try:
                heard = await self._writer.call(conversation.hear, content, _now_ms())
            except MalformedError as error:
                raise HubUnreachableError(f"the hub cannot be understood: {error}") from error
            self._is_heard.set()
            self.state.last_exchange_ms = self._node.clock.now_ms()
            self._note_answer()
            if heard.message is not None:
                self._note_message(heard.message)
            if heard.imported.stored:
                self._on_import(heard.imported)
            self._wake.set()
            self._on_change()

    def _note_message(self, message: Message) -> None:
        if message.retry_after_ms:
            after_s = min(message.retry_after_ms / 1000, RETRY_AFTER_S_MAX)
            self._calm_from_s = _now_s() + self._rng.uniform(0.5, 1.5) * after_s
        if message.refused or message.have:
            self.state.refused = [
                f"{each.log} segment {each.seq}: {each.reason}" for each in message.refused
            ]
        for reason in self.state.refused:
            _log.warning("the hub refused %s", reason)

    def _note_answer(self) -> None:
        if not self.state.connected:
            _log.info("connected to the hub at %s", self._base)
            self.state.connected = True
            self.state.since_ms = self._node.clock.now_ms()
        self.state.detail = "connected"

    def _note_loss(self, error: BaseException) -> None:
        is_harmless = isinstance(error, HubSilentError) and not self._may_hold_more
        self._pace.note_loss(_now_ms(), is_harmless=is_harmless)
        if self.state.connected or not self.state.detail:
            _log.warning("the link to the hub is gone: %s; rows wait here until it is back", error)
            self.state.since_ms = self._node.clock.now_ms()
        self.state.connected = False
        self.state.detail = str(error)
        self._on_change()


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """Return the first of the errors themselves."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _now_ms() -> int:
    return int(_now_s() * 1000)
