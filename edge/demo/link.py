"""A school's line to its hub that can be cut and narrowed.

Cut, what is in flight vanishes, as on a dead link; narrow, what does not fit waits at who sends it.
"""

import asyncio
import os
import socket
from contextlib import AsyncExitStack, suppress
from enum import IntEnum

from edge.errors import BoxSetupError

_CHUNK_BYTES = 64 * 1024
_NARROW_CHUNK_BYTES = 1500
_HELD_BYTES, _NARROW_HELD_BYTES = 1024 * 1024, 8 * 1024
"""What the kernel may take in of a connection before it is passed on: on a slow line hardly more
than the line itself holds, or seconds of picture would wait here, where nobody can drop them."""


class _Way(IntEnum):
    UP = 0
    DOWN = 1


class Link:
    """Passes TCP connections from ``listen`` to ``hub``, (address, port) each, until cut."""

    def __init__(self, listen: tuple[str, int], hub: tuple[str, int]) -> None:
        self._listen = listen
        self._hub = hub
        self._open = asyncio.Event()
        self._open.set()
        self._bytes_s: float | None = None
        self._free_s = [0.0 for _ in _Way]
        self._widened = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self.passed_bytes = 0

    async def start(self, stack: AsyncExitStack) -> None:
        address, port = self._listen
        try:
            server = await asyncio.start_server(self._pass, address, port, limit=_NARROW_HELD_BYTES)
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

    def narrow(self, bytes_s: float) -> None:
        """Carry no more than so much each way from now on, of all connections together."""
        self._bytes_s = bytes_s
        self._widened.clear()
        for writer in self._writers:
            self._bound(writer)

    def widen(self) -> None:
        """Carry everything at once again, also what waits."""
        self._bytes_s = None
        self._widened.set()
        for writer in self._writers:
            self._bound(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._add(writer)
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(
                *self._hub, limit=_NARROW_HELD_BYTES
            )
            self._add(far_writer)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, far_writer, _Way.UP))
                    tasks.create_task(self._pump(far_reader, writer, _Way.DOWN))
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        except* OSError:
            pass  # a side hung up: so does the other
        finally:
            self._writers.discard(writer)
            writer.close()

    def _add(self, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._bytes_s is not None:
            self._bound(writer)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: _Way
    ) -> None:
        while data := await source.read(self._chunk_bytes):
            await self._wait_for_turn(way, len(data))
            if not self._open.is_set():
                continue
            self.passed_bytes += len(data)
            sink.write(data)
            await sink.drain()
        sink.close()

    @property
    def _chunk_bytes(self) -> int:
        return _CHUNK_BYTES if self._bytes_s is None else _NARROW_CHUNK_BYTES

    async def _wait_for_turn(self, way: _Way, count: int) -> None:
        if self._bytes_s is None:
            return
        now_s = asyncio.get_running_loop().time()
        self._free_s[way] = max(now_s, self._free_s[way]) + count / self._bytes_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._free_s[way]):
                await self._widened.wait()

    def _bound(self, writer: asyncio.StreamWriter) -> None:
        held = _HELD_BYTES if self._bytes_s is None else _NARROW_HELD_BYTES
        connection = writer.get_extra_info("socket")
        with suppress(OSError):  # it hung up: nothing of it is held
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, held)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, held)

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
