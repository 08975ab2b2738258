"""One ordinary day of a school and its hub: taps, checks, edits, and a line between them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from sync.logs.oplog import Row
from tests.simulation.crash_points import Course, Step
from tests.simulation.ledger import Entry
from tests.simulation.machine import Machine
from tests.simulation.world import World


def school_day(world: World) -> Course:
    """Return a day without anything of the history's bounding."""
    return Course({"day": [Step(work) for work in _works(world)]}, end=lambda: None)


def _works(world: World) -> Iterator[Callable[[], None]]:
    box, hub = world.machines["1"], world.hub
    yield lambda: _talk(world)
    for part in range(3):
        yield lambda: record_events(world, box, "card_tap", 3)
        yield partial(_record_states, box, part)
        yield lambda: record_events(world, hub, "audit_entry", 1)
        yield lambda: seal(box)
        yield lambda: record_events(world, box, "health_check", 2)
        if part == 0:
            yield lambda: record_events(world, box, "grow_log", 120)
        yield partial(_record_hub_states, hub, part)
        yield lambda: _talk(world)
        yield lambda: record_events(world, box, "alarm", 1)
        yield lambda: _talk(world)


def record_events(
    world: World, machine: Machine, table: str, rows: int, cell: tuple[str, str] | None = None
) -> None:
    """Let a device write rows, and the ledger know; ``cell`` is a sealed column with its value."""
    batch = world.ledger.begin_batch()
    text = cell[1] if cell else None
    entry = Entry(table, machine.origin, 1, machine.name, batch, cell=text, keyed=False)
    serials = [world.ledger.enter(replace(entry)) for _ in range(rows)]
    audience = "s1" if table == "audit_entry" else None
    with machine.at_work() as node:
        more = dict([cell]) if cell else {}
        node.record(table, [{"at_ms": serial, **more} for serial in serials], audience)
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


def seal(machine: Machine) -> None:
    with machine.at_work() as node:
        node.seal_all()


def _talk(world: World) -> None:
    """Let the box call, and both ends speak some messages."""
    world.district.now += 60_000
    line = world.connect(world.machines["1"])
    for _ in range(6):
        for end, other in ((line.edge, line.desk), (line.desk, line.edge)):
            seal(end.machine)
            data = world.compose(line, end)
            if data is not None and other.machine.node is other.node:
                world.hear(line, other, data)
            if not line.is_open:
                return
