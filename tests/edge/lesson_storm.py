"""A lesson of 45 minutes in which everything breaks, in virtual time; the troubles from a seed."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.lesson.status import Phase
from sync.lessons.fragment_log import Kind, Stream, TakeId
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import key_id
from tests.edge.lesson_bench import KEY, LESSON
from tests.edge.lesson_machines import LessonMachines
from tests.edge.storm_machines import Book, Flagship, Machine, School, fill_disks
from tests.edge.virtual_time import run_in_virtual_time

MINUTES = 45

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What befalls whom: from when (s since the bell), for how long."""

    kind: str
    victim: str
    at_s: float
    lasts_s: float
    size: int = 0


KINDS: dict[str, tuple[tuple[str, ...], tuple[float, float]]] = {
    "kill": (("flagship", "hub", "school-2", "school-3"), (1, 8)),
    "power": (("flagship", "hub", "school-2", "school-3"), (5, 60)),
    "cut": (("flagship", "school-2", "school-3"), (2, 120)),
    "silence": (("flagship", "school-2", "school-3"), (2, 120)),
    "camera": (("flagship",), (2, 30)),
    "clock": (("flagship", "school-2"), (30, 600)),
    "disk": (("flagship", "hub", "school-2"), (5, 60)),
}
"""Victims of each kind of trouble, and how long it lasts (s)."""


def draw_troubles(seed: int, minutes: int) -> list[Trouble]:
    """Return the seed's troubles by time: each kind befalls each victim about once."""
    chance = random.Random(seed)
    drawn = [
        Trouble(
            kind=kind,
            victim=victim,
            at_s=chance.uniform(0, minutes * 60 - 1),
            lasts_s=chance.uniform(*lasts_s),
            size=chance.choice((-1, 1)) * chance.randrange(5_000, 3 * 3_600_000),
        )
        for kind, (victims, lasts_s) in KINDS.items()
        for victim in victims
        if chance.random() < 0.8
    ]
    return sorted(drawn, key=lambda each: each.at_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a storm left: records by machine, and what is true of it."""

    troubles: list[Trouble]
    book: Book
    records: dict[str, dict[tuple[TakeId, Stream, int], bytes]]
    payloads: dict[str, dict[bytes, int]]
    phases: dict[str, Phase]


def ride_out(seed: int, folder: Path, minutes: int = MINUTES) -> Outcome:
    """Hold the lesson through the seed's troubles, and wait until every recording is whole.

    Whose phase is not DONE then has had ``SETTLED_S_MAX`` after the last trouble, in vain.
    """
    storm = _Storm(seed, folder, minutes)
    with ExitStack() as stack:
        fill_disks(stack.enter_context(pytest.MonkeyPatch.context()), list(storm.machines.values()))
        run_in_virtual_time(storm.run)
    found = {name: _read(machine.folder) for name, machine in storm.machines.items()}
    return Outcome(
        storm.troubles,
        storm.lesson.book,
        {name: records for name, (records, _) in found.items()},
        {name: payloads for name, (_, payloads) in found.items()},
        {
            each.name: each.status.phase
            for each in storm.machines.values()
            if isinstance(each, Flagship | School)
        },
    )


class _Storm:
    def __init__(self, seed: int, folder: Path, minutes: int) -> None:
        self.troubles = draw_troubles(seed, minutes)
        self._ends_s = minutes * 60
        self._camera_is_on = True
        self.lesson = LessonMachines(folder, seed, 47)
        self.machines = {each.name: each for each in self.lesson.all}

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            await self.lesson.start(tasks)
            filming = tasks.create_task(self._film())
            befalling = [tasks.create_task(self._befall(each, tasks)) for each in self.troubles]
            await asyncio.sleep(self._ends_s - loop.time())
            filming.cancel()
            self.lesson.finish()
            await asyncio.gather(*befalling)
            await self.lesson.settle()

    async def _film(self) -> None:
        loop = asyncio.get_running_loop()
        for second in range(self._ends_s):
            await asyncio.sleep(second - loop.time())
            if self._camera_is_on:
                self.lesson.flagship.film(second)

    async def _befall(self, trouble: Trouble, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        machine = self.machines[trouble.victim]
        await asyncio.sleep(trouble.at_s)
        begin, end = self._means(trouble, machine, tasks)
        begun_s = loop.time()
        await begin()
        await asyncio.sleep(trouble.lasts_s)
        await end()
        self.lesson.book.note(f"{trouble.kind} {trouble.victim}", begun_s, loop.time())

    def _means(
        self, trouble: Trouble, machine: Machine, tasks: asyncio.TaskGroup
    ) -> tuple[Work, Work]:
        async def start() -> None:
            machine.start(tasks)

        async def turn(*, on: bool) -> None:
            self._camera_is_on = on
            if not on:
                self.lesson.flagship.lose_camera()

        async def fill(*, full: bool) -> None:
            machine.disk_is_full = full

        async def set_clock(ahead_ms: int) -> None:
            machine.clock_ahead_ms = ahead_ms

        return {
            "kill": (machine.kill, start),
            "power": (machine.cut_power, start),
            "cut": (machine.line.cut, machine.line.mend),
            "silence": (machine.line.silence, machine.line.mend),
            "camera": (lambda: turn(on=False), lambda: turn(on=True)),
            "clock": (lambda: set_clock(trouble.size), lambda: set_clock(0)),
            "disk": (lambda: fill(full=True), lambda: fill(full=False)),
        }[trouble.kind]


def _read(
    folder: Path,
) -> tuple[dict[tuple[TakeId, Stream, int], bytes], dict[bytes, int]]:
    """Return a machine's records (SHA-256 by name), and of the opened media which track."""
    opener = FragmentOpener(LESSON, {key_id(KEY): KEY})
    records: dict[tuple[TakeId, Stream, int], bytes] = {}
    payloads: dict[bytes, int] = {}
    shelf = LessonShelf(folder)
    for take in shelf.takes(LESSON):
        for stream in take.streams:
            for record in take.records(stream):
                name = take.take, stream, record.header.number
                records[name] = hashlib.sha256(record.wire).digest()
                if stream.kind is Kind.MEDIA:
                    payloads[hashlib.sha256(opener.open(record)).digest()] = stream.track
    shelf.close()
    return records, payloads
