"""Ports of a program: each served until it ends, or refused with the remedy."""

import os
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiohttp import web

from provisioning.errors import SetupError

_SHUTDOWN_S = 2.0


async def serve_app(
    stack: AsyncExitStack,
    app: web.Application,
    addresses: Sequence[str],
    port: int,
    context: ssl.SSLContext | None,
) -> None:
    """Serve on every address until ``stack`` ends; raises SetupError when a port is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for address in addresses:
        try:
            await web.TCPSite(runner, address, port, ssl_context=context).start()
        except OSError as error:
            raise SetupError(
                f"{address}:{port} cannot be served"
                f" ({os.strerror(error.errno or 0)}); stop the program that has"
                " it, or change the port in the configuration"
            ) from error
