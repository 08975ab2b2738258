"""Writes what happened before it is shown, and keeps what the disk does not take until it does."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Never

from edge.class_cards.screens import Record
from sync.errors import SyncError
from sync.logs.oplog import Row

_log = logging.getLogger(__name__)

WAIT_S = 2.0
RETRY_S = 1.0
WAITING_MAX = 2_000

_Rows = Mapping[str, Sequence[Row]]


class Books:
    """One writer in order. :meth:`run` writes; an alarm waits for the disk, but not for ever."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._waiting: deque[tuple[_Rows, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._fails = False

    @property
    def is_behind(self) -> bool:
        """Whether rows wait for the disk."""
        return bool(self._waiting)

    def enter(self, rows: _Rows) -> asyncio.Future[None]:
        """Have rows written; the future is done once they are durable."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= WAITING_MAX:
            _log.error("the disk takes no rows; what happens is shown but not kept any more")
            return written
        self._waiting.append((rows, written))
        self._wake.set()
        return written

    async def write(self, rows: _Rows) -> bool:
        """Return once rows are durable, or after WAIT_S; whether they are."""
        return await self.wait(self.enter(rows)) if any(rows.values()) else True

    async def wait(self, written: asyncio.Future[None]) -> bool:
        """Return when rows that were entered are durable, or after WAIT_S; whether they are."""
        await asyncio.wait([written], timeout=WAIT_S)
        return written.done() and not written.cancelled()

    async def run(self) -> Never:
        while True:
            self._wake.clear()
            while self._waiting:
                await self._write_first()
            await self._wake.wait()

    async def flush(self) -> None:
        """Write what waits, at the end; raises sqlite3.Error when the disk does not take it."""
        while self._waiting:
            rows, written = self._waiting.popleft()
            await self._record(rows)
            written.set_result(None)

    async def _write_first(self) -> None:
        # Taken first: what the writer was asked for is done even if this task is cancelled.
        rows, written = self._waiting.popleft()
        try:
            await self._record(rows)
        except sqlite3.Error as error:
            self._waiting.appendleft((rows, written))
            if not self._fails:
                _log.error("the disk takes no rows (%s): free some space", error)
            self._fails = True
            await asyncio.sleep(RETRY_S)
        except SyncError as error:
            _log.error("what happened cannot be kept: %s", error)
            written.cancel()
        else:
            self._fails = False
            written.set_result(None)
