"""The drivers at work, each supervised so that one trouble stays one trouble."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Never

from drivers.errors import SetupError
from drivers.transports.port_address import Place
from edge.supervision import keep_running

Driver = Callable[[], Coroutine[None, None, Never]]


class Programs:
    """Starts and stops drivers by name; :meth:`run` owns their tasks."""

    def __init__(self) -> None:
        self._drivers: dict[str, Driver] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._added = asyncio.Event()

    def start(self, name: str, driver: Driver) -> None:
        """Run a driver from now on, or from when :meth:`run` begins."""
        self._drivers[name] = driver
        self._added.set()

    async def stop(self, name: str) -> None:
        """End a driver and wait for its end; harmless when there is none of this name."""
        self._drivers.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def run(self) -> Never:
        """Run every driver until cancelled; one that fails is started again with a pause."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._added.clear()
                for name in self._drivers.keys() - self._tasks.keys():
                    self._tasks[name] = tasks.create_task(keep_running(name, self._drivers[name]))
                await self._added.wait()


class Ports:
    """Which ports are taken, and by what: no two drivers open one."""

    def __init__(self) -> None:
        self._takers: dict[Place, str] = {}

    def take(self, path: Place, taker: str) -> None:
        """Reserve a port; raises SetupError when another holds it."""
        if self._takers.setdefault(path, taker) != taker:
            raise SetupError(f"{path} is another adopted device's; plug this one in elsewhere")

    def free(self, path: Place, taker: str) -> None:
        """Give a port back; harmless when ``taker`` does not hold it."""
        if self._takers.get(path) == taker:
            del self._takers[path]

    def taken(self) -> frozenset[Place]:
        return frozenset(self._takers)
