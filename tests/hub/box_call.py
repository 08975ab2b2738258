"""A box's connection to a running hub, driven message by message."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from edge.hub_stream import HubStream, HubUnreachableError, hub_stream
from provisioning.identity import Identity
from provisioning.tls import box_client_context
from sync.exchange.conversation import Conversation, Heard
from sync.exchange.message import Message
from sync.exchange.pacing import Pace
from sync.node import Node, NodeKeys
from sync.segments.segment import HUB
from sync.store import open_store
from tests.hub.running_hub import HOST, OwnHub, RunningHub


@dataclass
class BoxCall:
    """Time does not pass for it, so that it asks nothing of itself."""

    node: Node
    conversation: Conversation
    stream: HubStream

    async def speak(self) -> None:
        """Seal and send all that may be sent now."""
        self.node.seal_all()
        while data := self.conversation.speak(0):
            await self.stream.send(data)

    async def hear(self) -> Heard:
        async with asyncio.timeout(10):
            return self.conversation.hear(await self.stream.receive(), 0)

    async def until_ended(self) -> None:
        """Hear what still comes until the hub hangs up."""
        with suppress(HubUnreachableError):
            while True:
                await self.hear()

    async def next_message(self) -> Message:
        while True:
            message = (await self.hear()).message
            if message is not None:
                return message


def _first_message(_node: Node, conversation: Conversation) -> Iterator[bytes]:
    data = conversation.speak(0)
    assert data is not None
    yield data


@asynccontextmanager
async def calling(
    hub: RunningHub,
    identity: Identity,
    folder: Path,
    first: Callable[[Node, Conversation], Iterator[bytes]] = _first_message,
) -> AsyncIterator[BoxCall]:
    """Connect with an empty store in ``folder``; the hub's first message is still to be heard.

    ``first`` makes the messages that leave together as the first thing on the line.
    """
    keys = NodeKeys(origin=identity.school, signing=identity.signing, sealing=identity.sealing)
    with closing(open_store(folder / "box.db")) as store:
        node = Node(store, keys, hub.now_ms, os.urandom, OwnHub(identity))
        conversation = Conversation(node, HUB, Pace(), 0, asks=True)

        async def begin() -> bytes | None:
            return None if conversation.has_spoken else b"".join(first(node, conversation))

        base = f"https://{HOST}:{hub.config.boxes.port}"
        async with hub_stream(base, box_client_context(identity, hub.now_ms), begin) as stream:
            yield BoxCall(node, conversation, stream)
