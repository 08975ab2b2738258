"""One day of a school and its hub, during which a disk stops or fails at a chosen call."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sync.logs.oplog import Row
from tests.simulation.chance import seeded_hpke
from tests.simulation.checks import check_quiet, check_step, settle
from tests.simulation.disk import CHANGES, Call, Survival
from tests.simulation.ledger import Entry
from tests.simulation.machine import DownError, Machine
from tests.simulation.world import World

MACHINES = ("0", "1")
"""The hub and the one school's box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How often a machine's disk was called in a day without faults."""

    changes: int
    writes: int
    calls: int


def count_calls(name: str) -> Counted:
    world = _new_world()
    try:
        with seeded_hpke(world.seed):
            _pass_a_day(world)
        heard = world.machines[name].trouble.heard
        return Counted(
            changes=sum(heard[call] for call in CHANGES),
            writes=heard[Call.WRITE],
            calls=heard.total(),
        )
    finally:
        _scrap(world)


def crash_at(name: str, change: int, survival: Survival) -> bool:
    """Cut a machine's power before its so many-th change; return whether it came so far.

    Raises BrokenInvariantError if anything was lost or doubled, or did not settle.
    """
    world = _new_world()
    try:
        machine = world.machines[name]
        machine.survival = survival
        machine.trouble.changes_until_cut = change
        _live(world)
        return machine.trouble.cuts == 1
    finally:
        _scrap(world)


def fail_at(name: str, call: int, *, full: bool, times: int) -> int:
    """Fail ``times`` calls from one on, as a disk that is full or bad; return how many failed.

    Raises BrokenInvariantError as :func:`crash_at`.
    """
    world = _new_world()
    try:
        trouble = world.machines[name].trouble
        trouble.full = full
        trouble.fails_from, trouble.fails_times = call, times
        _live(world)
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


def _live(world: World) -> None:
    with seeded_hpke(world.seed):
        _pass_a_day(world)
        for machine in world.machines.values():
            machine.trouble.heal()
        _start_stopped(world)
        settle(world)
        check_quiet(world, cloned=set())


def _pass_a_day(world: World) -> None:
    """Go through the day; whoever stops is started again and the day goes on."""
    for step in _day(world):
        _start_stopped(world)
        try:
            step()
        except (DownError, sqlite3.Error) as error:
            world.note(f"{type(error).__name__} {error}")
        check_step(world)


def _start_stopped(world: World) -> None:
    """A machine may stop while it starts, and be started once more."""
    for machine in world.machines.values():
        for _ in range(3):
            if machine.node is None:
                world.start(machine)


def _day(world: World) -> Iterator[Callable[[], None]]:
    box, hub = world.machines["1"], world.hub
    yield lambda: _talk(world)
    for part in range(3):
        yield lambda: _record(world, box, "card_tap", 3)
        yield partial(_record_states, box, part)
        yield lambda: _record(world, hub, "audit_entry", 1)
        yield lambda: _seal(box)
        yield lambda: _record(world, box, "health_check", 2)
        if part == 0:
            yield lambda: _record(world, box, "grow_log", 120)
        yield partial(_record_hub_states, hub, part)
        yield lambda: _talk(world)
        yield lambda: _record(world, box, "alarm", 1)
        yield lambda: _talk(world)


def _record(world: World, machine: Machine, table: str, rows: int) -> None:
    batch = world.ledger.begin_batch()
    serials = [
        world.ledger.enter(
            Entry(table, machine.origin, 1, machine.name, batch, cell=None, keyed=False)
        )
        for _ in range(rows)
    ]
    audience = "s1" if table == "audit_entry" else None
    with machine.at_work() as node:
        node.record(table, [{"at_ms": serial} for serial in serials], audience)
    for serial in serials:
        world.ledger.entries[serial].written = True


def _record_states(box: Machine, part: int) -> None:
    slot: Row = {"school": 1, "slot": "mon1", "room": f"r{part}"}
    room: Row = {"room": "r1", "name": f"name {part}", "deleted": part == 2}
    with box.at_work() as node:
        node.record_all({"timetable_slot": [slot], "room": [room]})


def _record_hub_states(hub: Machine, part: int) -> None:
    slot: Row = {"school": 1, "slot": "mon1", "teacher": f"t{part}"}
    notice: Row = {"school": 0, "notice": "n1", "title_en": f"title {part}"}
    with hub.at_work() as node:
        node.record_all({"timetable_slot": [slot], "notice": [notice]})


def _seal(machine: Machine) -> None:
    with machine.at_work() as node:
        node.seal_all()


def _talk(world: World) -> None:
    """Let the box call, and both ends speak some messages."""
    world.district.now += 60_000
    line = world.connect(world.machines["1"])
    for _ in range(6):
        for end, other in ((line.edge, line.desk), (line.desk, line.edge)):
            _seal(end.machine)
            data = world.compose(line, end)
            if data is not None and other.machine.node is other.node:
                world.hear(line, other, data)
            if not line.is_open:
                return
