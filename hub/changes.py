"""Tells readers that something changed; a slow one loses repetitions, never the last change."""

import asyncio
from collections.abc import AsyncIterator


class Changes:
    """Names of what changed ("school:3"), for readers on the event loop's thread.

    A reader that is behind holds each name once, so what waits is bounded by what can change.
    """

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()

    def tell(self, change: str) -> None:
        for reader in self._readers:
            reader.note(change)

    async def follow(self) -> AsyncIterator[str]:
        reader = _Reader()
        self._readers.add(reader)
        try:
            while True:
                yield await reader.next()
        finally:
            self._readers.discard(reader)


class _Reader:
    def __init__(self) -> None:
        self._noted: dict[str, None] = {}
        self._wake = asyncio.Event()

    def note(self, change: str) -> None:
        self._noted.setdefault(change)
        self._wake.set()

    async def next(self) -> str:
        while not self._noted:
            self._wake.clear()
            await self._wake.wait()
        change = next(iter(self._noted))
        del self._noted[change]
        return change
