"""Ports of a program: each served until it ends, or refused with the remedy."""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Never

from aiohttp import web

from provisioning.caller_log import CallerLog, Sparing
from provisioning.door import Crowd, Door, PortLimits
from provisioning.errors import SetupError

_SHUTDOWN_S = 2.0
_BACKLOG = 128


async def serve_app(
    stack: AsyncExitStack,
    tasks: asyncio.TaskGroup,
    app: web.Application,
    addresses: Sequence[str],
    port: int,
    context: ssl.SSLContext | None,
    limits: PortLimits,
) -> None:
    """Serve on every address until ``stack`` ends; raises SetupError when a port is taken."""
    sparing = Sparing(time.monotonic)
    log, brief = logging.getLogger(f"{__name__}.{port}"), CallerLog(sparing)
    log.addFilter(brief)
    stack.callback(log.removeFilter, brief)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=log,
        shutdown_timeout=_SHUTDOWN_S,
        keepalive_timeout=limits.idle_s,
        lingering_time=limits.linger_s,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None
    crowd = Crowd(limits, sparing)
    listening = [stack.enter_context(_listen(address, port)) for address in addresses]
    doors = [Door(each, runner.server, context, crowd) for each in listening]
    stack.push_async_callback(_close, [tasks.create_task(door.run()) for door in doors])


async def _close(doors: "list[asyncio.Task[Never]]") -> None:
    for door in doors:
        door.cancel()
    await asyncio.gather(*doors, return_exceptions=True)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SetupError(
            f"{address}:{port} cannot be served"
            f" ({os.strerror(error.errno or 0)}); stop the program that has"
            " it, or change the port in the configuration"
        ) from error
