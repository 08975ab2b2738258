"""Streams of what changed (WHATWG HTML §9.2, server-sent events), to bounded many pages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import web

from edge.pages.box_view import Change

STREAMS_MAX = 256
STREAM_PING_S = 15

Telling = Callable[[Sequence[Change]], Awaitable[bytes]]
"""Writes changes as events; nothing where they do not concern the page."""


class Streams:
    """The open streams of one kind of page."""

    def __init__(self) -> None:
        self._streams: set[asyncio.Task[None]] = set()

    async def serve(
        self,
        request: web.Request,
        changes: AsyncIterator[Change],
        tell: Telling,
        first: Sequence[Change] = (),
    ) -> web.StreamResponse:
        """Stream until the page goes or the box stops.

        ``first`` is told at once: what changed between the page and its stream.
        """
        if len(self._streams) >= STREAMS_MAX:
            raise web.HTTPServiceUnavailable(
                text=f"{STREAMS_MAX} pages already listen", headers={"Retry-After": "30"}
            )
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        async with asyncio.TaskGroup() as tasks:
            stream = tasks.create_task(_stream(response, changes, tell, first))
            self._streams.add(stream)
            stream.add_done_callback(self._streams.discard)
        return response

    async def close(self, _app: web.Application) -> None:
        """End the open streams, so that a stop does not wait for every page to leave."""
        for stream in tuple(self._streams):
            stream.cancel()


async def tell_names(changes: Sequence[Change]) -> bytes:
    """Write each change as its name."""
    return "".join(f"data: {one}\n\n" for one in changes).encode()


class Pending:
    """Changes not yet told; at most one of each, so a slow page costs a handful of words."""

    def __init__(self) -> None:
        self._changes: set[Change] = set()
        self._some = asyncio.Event()
        self.ended = False

    def add(self, change: Change) -> None:
        self._changes.add(change)
        self._some.set()

    def end(self) -> None:
        self.ended = True
        self._some.set()

    async def take(self) -> list[Change]:
        """Wait for changes and return all of them."""
        await self._some.wait()
        changes = sorted(self._changes)
        self._changes.clear()
        if not self.ended:
            self._some.clear()
        return changes


async def _stream(
    response: web.StreamResponse,
    changes: AsyncIterator[Change],
    tell: Telling,
    first: Sequence[Change],
) -> None:
    pending = Pending()
    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(_collect(changes, pending))
            await asyncio.sleep(0)  # it follows from here on; whatever is read now is not older
            for change in first:
                pending.add(change)
            await response.write(b"retry: 2000\n\n")
            while not pending.ended:
                try:
                    async with asyncio.timeout(STREAM_PING_S):
                        told = await pending.take()
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                if events := await tell(told):
                    await response.write(events)
            reading.cancel()
    except* ConnectionError:
        pass  # the page has gone


async def _collect(changes: AsyncIterator[Change], pending: Pending) -> None:
    async for change in changes:
        pending.add(change)
    pending.end()
