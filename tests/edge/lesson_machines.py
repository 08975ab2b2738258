"""The machines of one lesson, each on its own line to the hub, from the bell to the last record."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path

from tests.edge.storm_line import Line
from tests.edge.storm_machines import Book, Flagship, Hub, Machine, School
from tests.loopback import own_address

SETTLED_S_MAX = 180.0
"""After the lesson, and once every trouble is over, all is whole by then."""
HUB_PORT, LINE_PORT = 7443, 7444


class LessonMachines:
    """A flagship and two schools around a hub, at own addresses that begin with ``third``."""

    def __init__(self, folder: Path, seed: int, third: int) -> None:
        self.book = Book()
        self._is_over = False
        hub = (own_address(f"{third}.1"), HUB_PORT)

        def line(number: int) -> Line:
            return Line((own_address(f"{third}.{10 + number}"), LINE_PORT), hub)

        def chance(name: str) -> random.Random:
            return random.Random(f"{seed}/{name}")

        def over() -> bool:
            return self._is_over

        self.hub = Hub(folder / "hub", chance("hub"), line(0), hub)
        self.flagship = Flagship(folder / "flagship", chance("flagship"), line(1), self.book, over)
        self.schools = [
            School(
                folder / f"school-{number}", chance(f"school-{number}"), line(number), number, over
            )
            for number in (2, 3)
        ]
        self.all: list[Machine] = [self.hub, self.flagship, *self.schools]

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        for machine in self.all:
            await machine.line.open()
            machine.start(tasks)

    def finish(self) -> None:
        """Let the lesson be over: what is missing is still sent."""
        self._is_over = True
        self.flagship.finish()
        for school in self.schools:
            school.finish()

    async def settle(self) -> None:
        """End them all, once the boxes have done all they had to, or ``SETTLED_S_MAX`` later."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S_MAX):
                for box in (self.flagship, *self.schools):
                    await box.over()
        for machine in self.all:
            await machine.stop()
            machine.line.close()
        await asyncio.sleep(0)  # closing goes on in the loop's next turn
