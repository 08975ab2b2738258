"""Tells readers that something changed; a slow one loses repetitions, never the last change."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from edge.pages.box_view import Change


class Changes:
    """Call on the event loop's thread. ``told``: how many there were."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._last: dict[Change, int] = {}
        self.told = 0

    def since(self, told: int) -> Sequence[Change]:
        """Return what changed after so many; everything, if there never were so many."""
        return [change for change, last in self._last.items() if last > told or told > self.told]

    def tell(self, change: Change) -> None:
        self.told += 1
        self._last[change] = self.told
        for reader in self._readers:
            reader.note(change)

    async def follow(self) -> AsyncIterator[Change]:
        reader = _Reader()
        self._readers.add(reader)
        try:
            while True:
                yield await reader.next()
        finally:
            self._readers.discard(reader)


class _Reader:
    def __init__(self) -> None:
        self._noted: dict[Change, None] = {}
        self._wake = asyncio.Event()

    def note(self, change: Change) -> None:
        self._noted.setdefault(change)
        self._wake.set()

    async def next(self) -> Change:
        while not self._noted:
            self._wake.clear()
            await self._wake.wait()
        change = next(iter(self._noted))
        del self._noted[change]
        return change
