"""The port on which attendance terminals call: plain HTTP, on the LAN only, closed unless wanted.

Terminals speak HTTP without TLS, and many nothing newer than 1.0. What they say is as believable
as the LAN is closed: serial numbers can be guessed. So everything here has a limit.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Never

from aiohttp import web

from edge.config import BoxConfig
from edge.devices.terminals import Terminals
from edge.pushes.calls import BODY_BYTES_MAX, Calls
from provisioning.door import PortLimits
from provisioning.errors import SetupError
from provisioning.serving import serve_app

_log = logging.getLogger(__name__)

LIMITS = PortLimits(connections=256, of_an_address=48, idle_s=20.0, linger_s=0.5)
"""Several terminals may call from behind one router."""
_LOOK_S = 0.5
_AGAIN_S = 10.0


class PushPort:
    """Opens and closes the port as ``terminals`` wants it, once the box knows the time.

    Until then nobody is answered: terminals set their clocks by the answers, and keep what they
    have to tell.
    """

    def __init__(
        self,
        config: BoxConfig,
        terminals: Terminals,
        calls: Calls,
        *,
        is_clock_known: Callable[[], bool] = lambda: True,
    ) -> None:
        self._port = config.terminals.port
        self._addresses = config.terminals.addresses or (str(config.network.interface.ip),)
        self._terminals = terminals
        self._calls = calls
        self._is_clock_known = is_clock_known
        self._is_refused = False

    async def run(self) -> Never:
        """Keep the port as it is wanted, for ever."""
        while True:
            if self._is_wanted():
                await self._serve()
            await asyncio.sleep(_LOOK_S)

    async def _serve(self) -> None:
        """Serve until the port is wanted no more; one that is taken is told and tried again."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.add_routes(self._calls.routes())
        try:
            async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
                await serve_app(stack, tasks, app, self._addresses, self._port, None, LIMITS)
                self._is_refused = False
                await self._until_unwanted()
        except* SetupError as refused:
            if not self._is_refused:
                self._is_refused = True
                _log.error("attendance terminals cannot call: %s", refused.exceptions[0])
        if self._is_refused:
            await asyncio.sleep(_AGAIN_S)

    async def _until_unwanted(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._is_wanted():
                return

    def _is_wanted(self) -> bool:
        return self._terminals.wants_calls and self._is_clock_known()
