"""Requests in progress on the boxes' port, so that a revoked box is cut off while one lasts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

from aiohttp import web

from provisioning.box_gate import BoxGate
from provisioning.certificates import Binding
from provisioning.enrolment_api import calling_box
from provisioning.errors import RefusedError

CHECK_EVERY_S = 1.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OpenCalls:
    """``watch`` is a middleware of the port; :meth:`run` is its task."""

    def __init__(self, gate: BoxGate) -> None:
        self._gate = gate
        self._open: dict[asyncio.Transport, Binding] = {}

    @web.middleware
    async def watch(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Remember who is at the other end while a request is answered."""
        transport = request.transport
        try:
            box = calling_box(request, self._gate)
        except RefusedError:
            return await handler(request)  # who may do what without being let through, it says
        if transport is None:
            raise ConnectionResetError("the box hung up")
        self._open[transport] = box
        try:
            return await handler(request)
        finally:
            self._open.pop(transport, None)

    async def run(self) -> Never:
        """Cut off every second who may not stay: revoked, or its certificate ran out."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            for transport, box in list(self._open.items()):
                try:
                    self._gate.check(box)
                except RefusedError:
                    transport.abort()
