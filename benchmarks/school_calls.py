"""A school's connection to the hub, driven message by message, each timed to its receipt."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from edge.box_store import BoxStore
from edge.hub_stream import HubStream, hub_stream
from provisioning.tls import box_client_context
from sync.exchange.conversation import HEARTBEAT_MS, Conversation
from sync.exchange.framing import frame
from sync.exchange.pacing import Pace
from sync.segments.segment import HUB
from sync.writer import Writer

CONNECTING_MAX = 32
"""So many connect at once; a storm is another matter."""


@dataclass(frozen=True, slots=True)
class SchoolCall:
    """A connection on which the hub has said what it holds; nothing of the box's was sent yet."""

    box: BoxStore
    stream: HubStream
    conversation: Conversation
    writer: Writer

    async def send_all(self) -> list[float]:
        """Send what is sealed until the hub has receipted it; return each message's seconds.

        The hub is asked for each receipt, which would wait for company otherwise.
        """
        took_s = []
        while data := await self.writer.call(self.conversation.speak, _steady_ms()):
            if not self.conversation.under_way:
                await self.stream.send(data)  # a receipt for what the hub told
                continue
            began_s = time.perf_counter()
            await self.stream.send(data + frame(b""))
            while self.conversation.under_way:
                await self.hear()
            took_s.append(time.perf_counter() - began_s)
        return took_s

    async def rest(self, seconds: float) -> None:
        """Let time pass as an idle box does, which asks now and then whether the hub is there."""
        until_s = time.perf_counter() + seconds
        while (left_s := until_s - time.perf_counter()) > 0:
            await asyncio.sleep(min(left_s, HEARTBEAT_MS / 1000))
            if left_s > HEARTBEAT_MS / 1000:
                await self.stream.send(frame(b""))
                await self.hear()

    async def hear(self) -> None:
        """Take in one message of the hub."""
        content = await self.stream.receive()
        heard = await self.writer.call(self.conversation.hear, content, _steady_ms())
        if heard.message is not None and heard.message.refused:
            raise RuntimeError(f"the hub refused {heard.message.refused[0]}; mend the path first")


@asynccontextmanager
async def connected(boxes: Sequence[BoxStore], writer: Writer) -> AsyncIterator[list[SchoolCall]]:
    """Connect all boxes and hear what the hub holds of each."""
    some = asyncio.Semaphore(CONNECTING_MAX)
    async with AsyncExitStack() as stack:

        async def connect(box: BoxStore) -> SchoolCall:
            async with some:
                return await _connect(stack, box, writer)

        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(connect(box)) for box in boxes]
        yield [call.result() for call in calls]


async def _connect(stack: AsyncExitStack, box: BoxStore, writer: Writer) -> SchoolCall:
    conversation = Conversation(box.node, HUB, Pace(), _steady_ms(), asks=True, first_bytes_max=0)

    async def begin() -> bytes | None:
        return await writer.call(conversation.speak, _steady_ms())

    base = f"https://{box.identity.hub_host}:{box.identity.hub_port}"
    context = box_client_context(box.identity, lambda: time.time_ns() // 1_000_000)
    stream = await stack.enter_async_context(hub_stream(base, context, begin))
    call = SchoolCall(box, stream, conversation, writer)
    while not conversation.has_heard:
        await call.hear()
    return call


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000
