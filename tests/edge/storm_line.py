"""A box's line to the hub that is cut, falls silent, and comes back."""

import asyncio
import contextlib
from typing import Self


class Line:
    """Passes TCP from one address to another; ``cut`` breaks it, ``silence`` swallows all."""

    def __init__(self, listen: tuple[str, int], to: tuple[str, int]) -> None:
        self._listen = listen
        self._to = to
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_silent = False

    @property
    def url(self) -> str:
        return f"http://{self._listen[0]}:{self._listen[1]}"

    @property
    def port(self) -> int:
        return self._listen[1]

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, *self._listen, reuse_address=True)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.sever()

    def sever(self) -> None:
        """Break what is connected now; whoever connects again is served."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def cut(self) -> None:
        """Break all and refuse everybody until mended."""
        self.close()

    async def silence(self) -> None:
        """Swallow what both sides say until mended; neither is told."""
        self._is_silent = True

    async def mend(self) -> None:
        self._is_silent = False
        self.close()
        await self.open()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            self._drop(writer)
            return
        except asyncio.CancelledError:
            self._drop(writer)
            raise
        self._writers.add(far_writer)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pump(reader, far_writer))
            tasks.create_task(self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    if not self._is_silent:
                        writer.write(data)
                        await writer.drain()
        finally:
            self._drop(writer)  # also when the loop ends before anybody broke it

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()
