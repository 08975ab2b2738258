"""A school's line to its hub that can be cut: what is in flight vanishes, as on a dead link."""

import asyncio
import os
from contextlib import AsyncExitStack

from edge.errors import BoxSetupError

_CHUNK_BYTES = 64 * 1024


class Link:
    """Passes TCP connections from ``listen`` to ``hub``, (address, port) each, until cut."""

    def __init__(self, listen: tuple[str, int], hub: tuple[str, int]) -> None:
        self._listen = listen
        self._hub = hub
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.passed_bytes = 0

    async def start(self, stack: AsyncExitStack) -> None:
        address, port = self._listen
        try:
            server = await asyncio.start_server(self._pass, address, port)
        except OSError as error:
            raise BoxSetupError(
                f"{address}:{port} cannot be served"
                f" ({os.strerror(error.errno or 0)}); is another demo running? Stop"
                " it, or give this one another network number"
            ) from error
        stack.callback(server.close)
        stack.callback(self._abort)

    def cut(self) -> None:
        """Swallow everything from now on; connections stay half-open, as on a dead line."""
        self._open.clear()

    def mend(self) -> None:
        """Pass traffic again; connections from before the cut are reset."""
        self._abort()
        self._open.set()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._hub)
            self._writers.add(far_writer)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, far_writer))
                    tasks.create_task(self._pump(far_reader, writer))
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        except* OSError:
            pass  # a side hung up: so does the other
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if not self._open.is_set():
                continue
            self.passed_bytes += len(data)
            sink.write(data)
            await sink.drain()
        sink.close()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
