"""The port on which attendance terminals call: plain HTTP, on the LAN only, closed unless wanted.

Terminals speak HTTP without TLS, and many nothing newer than 1.0. What they say is as believable
as the LAN is closed: serial numbers can be guessed. So everything here has a limit.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import Never

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edge.config import BoxConfig
from edge.devices.terminals import Terminals
from edge.pushes.calls import BODY_BYTES_MAX, Calls

_log = logging.getLogger(__name__)
_http_log = logging.getLogger("edge.pushes.http")

CONNECTIONS_MAX = 128
CONNECTIONS_PER_ADDRESS = 8
KEEP_ALIVE_S = 20.0
LINGER_S = 0.5
"""How long a body that nobody reads may go on coming."""
NO_HTTP_TOLD_MAX = 16
_LOOK_S = 0.5
_AGAIN_S = 10.0


class BriefLog(logging.Filter):
    """Tells of what is no HTTP without quoting it, and a few times only.

    It comes before any other limit, and a communication key may stand in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left = NO_HTTP_TOLD_MAX

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
            return True
        self._left -= 1
        record.msg = f"{record.msg}: it is no HTTP ({type(error).__name__})"
        record.exc_info = None
        return self._left >= 0


class _Refusal(asyncio.Protocol):
    """Hangs up at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


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
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_log,
            shutdown_timeout=2.0,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
        )
        await runner.setup()
        brief = BriefLog()
        _http_log.addFilter(brief)
        servers: list[asyncio.Server] = []
        try:
            servers += [await self._listen(runner, address) for address in self._addresses]
            self._is_refused = False
            while self._is_wanted():
                await asyncio.sleep(_LOOK_S)
                _hang_up_on_crowds(runner)
        except OSError as error:
            if not self._is_refused:
                self._is_refused = True
                _log.error(
                    "port %d cannot be served to attendance terminals (%s); stop the program that"
                    " has it, or change [terminals] in the configuration",
                    self._port,
                    os.strerror(error.errno or 0),
                )
            await asyncio.sleep(_AGAIN_S)
        finally:
            for server in servers:
                server.close()
            await runner.cleanup()
            _http_log.removeFilter(brief)

    def _is_wanted(self) -> bool:
        return self._terminals.wants_calls and self._is_clock_known()

    async def _listen(self, runner: web.AppRunner, address: str) -> asyncio.Server:
        handlers = runner.server
        assert handlers is not None

        def answer() -> asyncio.BaseProtocol:
            return handlers() if len(handlers.connections) < CONNECTIONS_MAX else _Refusal()

        loop = asyncio.get_running_loop()
        return await loop.create_server(answer, address, self._port, backlog=CONNECTIONS_MAX)


def _hang_up_on_crowds(runner: web.AppRunner) -> None:
    """Leave each address so many connections: the oldest of those above go."""
    handlers = runner.server
    assert handlers is not None
    held: Counter[str] = Counter()
    for connection in reversed(handlers.connections):
        transport = connection.transport
        if transport is None:
            continue
        address = str(transport.get_extra_info("peername", ("",))[0])
        held[address] += 1
        if held[address] > CONNECTIONS_PER_ADDRESS:
            transport.close()
