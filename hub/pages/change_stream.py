"""Tells open pages that something changed (EventSource); they fetch what they show themselves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from hub.pages.hub_view import HubView

STREAMS_MAX: Final = 256
KEEP_ALIVE_S: Final = 15
RETRY_MS: Final = 3000
KEEP_ALIVE: Final = b": still here\n\n"
CHANGED: Final = b"event: changed\ndata: 1\n\n"


class ChangeStream:
    """Serves ``/api/events``; a slow page gets fewer, newer notices, never a longer queue."""

    def __init__(self, view: HubView, allowed: Callable[[web.Request], bool]) -> None:
        self._view = view
        self._allowed = allowed
        self._open: set[asyncio.Event] = set()
        self._closing = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if len(self._open) >= STREAMS_MAX or self._closing:
            raise web.HTTPServiceUnavailable(
                text="too many pages are open; this one reloads by itself",
                headers={"Retry-After": "10"},
            )
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        changed = asyncio.Event()
        self._open.add(changed)
        try:
            await response.prepare(request)
            async with asyncio.TaskGroup() as tasks:
                listener = tasks.create_task(listen(self._view.events(), changed))
                await self._pump(request, response, changed)
                listener.cancel()
        finally:
            self._open.discard(changed)
        return response

    async def close(self, _app: web.Application) -> None:
        """Let every open stream end, so that the server can stop."""
        self._closing = True
        for changed in self._open:
            changed.set()

    async def _pump(
        self, request: web.Request, response: web.StreamResponse, changed: asyncio.Event
    ) -> None:
        notice = f"retry: {RETRY_MS}\n\n".encode()
        while await send(response, notice) and not self._closing and self._allowed(request):
            notice = KEEP_ALIVE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await changed.wait()
                changed.clear()
                notice = CHANGED


async def send(response: web.StreamResponse, notice: bytes) -> bool:
    """Write a notice; False when the page is gone or takes nothing for a while."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
            await response.write(notice)
    except (ConnectionResetError, TimeoutError):
        return False
    return True


async def listen(events: AsyncIterator[str], changed: asyncio.Event) -> None:
    async for _ in events:
        changed.set()
