"""A day of a school and its hub, during which a disk stops or fails at a chosen call."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.simulation.books import BrokenInvariantError
from tests.simulation.chance import seeded_hpke
from tests.simulation.checks import check_quiet, check_step, settle
from tests.simulation.disk import CHANGES, Call, Survival
from tests.simulation.machine import DownError, Machine
from tests.simulation.world import World

MACHINES = ("0", "1")
"""The hub and the one school's box."""


class UnfinishedError(Exception):
    """A step did not come to its end, though no machine went down."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something done in the course of a day, at most ``tries_max`` times until it is done.

    One that is tried once is left to the rest of the day, as a program leaves it to its next
    round; one that a person does is tried until it is done, and has to be done in the end.
    """

    work: Callable[[], None]
    tries_max: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """How a day goes; ``end`` checks what the day is about, once all is well and has settled."""

    phases: Mapping[str, Sequence[Step]]
    end: Callable[[], None]


Day: TypeAlias = Callable[[World], Course]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How often a machine's disk was called by some moment of a day without faults."""

    changes: int
    writes: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The part of a day between two moments."""

    name: str
    begin: Counted
    end: Counted


def count_calls(name: str, day: Day) -> list[Phase]:
    """Return the phases of a day as one machine's disk hears them; the first has its start too."""
    world = _new_world()
    try:
        machine = world.machines[name]
        phases = []
        end = _counted(machine)
        with seeded_hpke(world.seed):
            for phase, steps in day(world).phases.items():
                begin = end
                for step in steps:
                    _take(world, phase, step)
                end = _counted(machine)
                phases.append(Phase(name=phase, begin=begin, end=end))
        return phases
    finally:
        _scrap(world)


def crash_at(name: str, change: int, survival: Survival, day: Day) -> bool:
    """Cut a machine's power before its so many-th change; return whether it came so far.

    Raises BrokenInvariantError if anything was lost or doubled, or did not settle.
    """
    world = _new_world()
    try:
        machine = world.machines[name]
        machine.survival = survival
        machine.trouble.changes_until_cut = change
        _live(world, day)
        return machine.trouble.cuts == 1
    finally:
        _scrap(world)


def fail_at(name: str, call: int, day: Day, *, full: bool, times: int) -> int:
    """Fail ``times`` calls from one on, as a disk that is full or bad; return how many failed.

    Raises BrokenInvariantError as :func:`crash_at`.
    """
    world = _new_world()
    try:
        trouble = world.machines[name].trouble
        trouble.full = full
        trouble.fails_from, trouble.fails_times = call, times
        _live(world, day)
        return trouble.failures
    finally:
        _scrap(world)


def _new_world() -> World:
    world = World(seed=4, schools=1)
    for machine in world.machines.values():
        machine.checkpoint_pages = 8  # so that checkpoints are among what is crashed
    return world


def _scrap(world: World) -> None:
    for machine in world.machines.values():
        machine.scrap()


def _counted(machine: Machine) -> Counted:
    heard = machine.trouble.heard
    return Counted(
        changes=sum(heard[call] for call in CHANGES),
        writes=heard[Call.WRITE],
        calls=heard.total(),
    )


def _live(world: World, day: Day) -> None:
    with seeded_hpke(world.seed):
        course = day(world)
        for phase, steps in course.phases.items():
            for step in steps:
                _take(world, phase, step)
        for machine in world.machines.values():
            machine.trouble.heal()
        _start_stopped(world)
        settle(world)
        check_quiet(world, cloned=set())
        course.end()


def _take(world: World, phase: str, step: Step) -> None:
    """Take a step of the day; whoever stops is started again and the day goes on."""
    for _ in range(step.tries_max):
        _start_stopped(world)
        try:
            step.work()
        except (DownError, sqlite3.Error, UnfinishedError) as error:
            why = f"{type(error).__name__} {error}"
            world.note(why)
            check_step(world)
        else:
            check_step(world)
            return
    if step.tries_max > 1:
        raise BrokenInvariantError(f"{phase} does not come to its end: {why}")


def _start_stopped(world: World) -> None:
    """A machine may stop while it starts, and be started once more."""
    for machine in world.machines.values():
        for _ in range(3):
            if machine.node is None:
                world.start(machine)
