"""Writes what happened before it is shown, and keeps what the disk does not take until it does."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Never

from sync.errors import SyncError
from sync.logs.oplog import Row

_log = logging.getLogger(__name__)

WAIT_S = 2.0
RETRY_S = 1.0
WAITING_MAX = 2_000

_Rows = Mapping[str, Sequence[Row]]
Record = Callable[[_Rows], Awaitable[None]]
"""Writes rows of several tables in one transaction, durable on return."""
Connect = Callable[[], sqlite3.Connection]
"""Opens the store for reading; whoever opens it closes it."""


class Books:
    """One writer in order. :meth:`run` writes; an alarm waits for the disk, but not for ever."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: deque[tuple[_Rows, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._fails = False
        self._behind_since: float | None = None

    @property
    def is_behind(self) -> bool:
        """Whether rows wait for the disk."""
        return self._behind_since is not None

    def enter(self, rows: _Rows) -> asyncio.Future[None]:
        """Have rows written; the future is done once they are durable."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= WAITING_MAX:
            _log.error("the disk takes no rows; what happens is shown but not kept any more")
            return written
        self._waiting.append((rows, written))
        if self._behind_since is None:
            self._behind_since = asyncio.get_running_loop().time()
        self._wake.set()
        return written

    async def write(self, rows: _Rows) -> bool:
        """Return as :meth:`wait` does."""
        return await self.wait(self.enter(rows)) if any(rows.values()) else True

    async def wait(self, written: asyncio.Future[None]) -> bool:
        """Return when rows that were entered are durable; whether they are.

        Not later than WAIT_S after the disk took rows last: of many who wait, each would else wait
        for those before it.
        """
        now = asyncio.get_running_loop().time()
        since = now if self._behind_since is None else self._behind_since
        await asyncio.wait([written], timeout=max(0.0, since + WAIT_S - now))
        return written.done() and not written.cancelled()

    async def run(self) -> Never:
        while True:
            self._wake.clear()
            while self._waiting:
                if not await self._write_first():
                    await asyncio.sleep(RETRY_S)
            await self._wake.wait()

    async def flush(self) -> None:
        """Write what waits, at the end; what the disk does not take then is lost, and logged."""
        while self._waiting:
            if not await self._write_first():
                _log.error("%d changes are lost with the box's end", len(self._waiting))
                return

    async def _write_first(self) -> bool:
        """Write the rows that wait longest; return whether the disk took them."""
        # Taken first: what the writer was asked for is done even if this task is cancelled.
        rows, written = self._waiting.popleft()
        try:
            await self._record(rows)
        except sqlite3.Error as error:
            self._waiting.appendleft((rows, written))
            if not self._fails:
                _log.error("the disk takes no rows (%s): free some space", error)
            self._fails = True
            return False
        except SyncError as error:
            _log.error("what happened cannot be kept: %s", error)
            written.cancel()
        else:
            self._fails = False
            written.set_result(None)
        self._behind_since = asyncio.get_running_loop().time() if self._waiting else None
        return True
