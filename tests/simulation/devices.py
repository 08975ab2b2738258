"""What happens at schools and at the hub: rows that devices and people make."""

import random
import sqlite3
from collections.abc import Callable
from functools import partial

from sync.logs.oplog import Row
from sync.segments.columnar import Value
from sync.segments.segment import HUB
from tests.simulation.ledger import Entry
from tests.simulation.machine import DownError, Machine
from tests.simulation.world import POLICY, World

SEAL_MS = 10_000
_SLOTS = ("mon1", "mon2", "tue1")
_ROOMS = ("r1", "r2", "r3", "r4")


def keep_working(world: World, machine: Machine, every_ms: int) -> None:
    """Let a machine's devices write, and let it seal, until the world is cleared."""

    def work() -> None:
        _attempt(world, machine, lambda: write_something(world, machine))
        world.after(1 + world.chance.randrange(2 * every_ms), work)

    def seal() -> None:
        _attempt(world, machine, lambda: _seal(machine))
        world.after(SEAL_MS, seal)

    world.after(1 + world.chance.randrange(2 * every_ms), work)
    world.after(1 + world.chance.randrange(SEAL_MS), seal)


def write_something(world: World, machine: Machine) -> None:
    """Write rows of one kind; raises what the node raises."""
    chance = world.chance
    if machine.origin == HUB:
        _write_at_hub(world, machine, chance)
        return
    kind = chance.choices(("taps", "health", "alarm", "farm", "bulk", "lesson", "states"), _WEIGHTS)
    match kind[0]:
        case "taps":
            _write_taps(world, machine, chance)
        case "health":
            _write_events(world, machine, "health_check", {"temperature_c": 36.5}, cell="symptoms")
        case "alarm":
            _write_events(world, machine, "alarm", {"alarm": "fire", "drill": 1})
        case "farm":
            _write_events(world, machine, "farm_action", {"device": "pump", "command": "on"})
        case "bulk":
            _write_events(world, machine, "grow_log", {"plot": "p1"}, cell="entry")
        case "lesson":
            lessons = [
                lesson
                for lesson, parties in sorted(world.district.lessons.items())
                if machine.origin in parties
            ]
            if lessons:
                lesson = chance.choice(lessons)
                _write_events(world, machine, "hand_raise", {"lesson": lesson, "raised": 1})
        case _:
            _write_states(machine, chance)


_WEIGHTS = (6, 2, 1, 3, 2, 1, 5)


def _write_taps(world: World, machine: Machine, chance: random.Random) -> None:
    keyed = chance.random() < 0.5
    batch = world.ledger.begin_batch()
    rows: list[Row] = []
    serials = []
    for _ in range(chance.randrange(1, 9)):
        has_card = chance.random() < 0.3 and machine.knows("card_tap", "card")
        card = f"card-{chance.randrange(99)}" if has_card else None
        serial = _enter(world, machine, "card_tap", batch, card, keyed=keyed)
        serials.append(serial)
        key = f"t{serial}" if keyed else None
        rows.append({"at_ms": serial, "device": "door", "card": card, "device_key": key})
    if keyed and chance.random() < 0.3:
        rows += rows[:1]  # the terminal pushes once more
    machine.record({"card_tap": rows, "duty": [_duty(chance)]})
    _written(world, serials)


def _write_events(
    world: World, machine: Machine, table: str, values: Row, cell: str | None = None
) -> None:
    batch = world.ledger.begin_batch()
    rows: list[Row] = []
    serials = []
    for _ in range(world.chance.randrange(1, 5)):
        content = f"sealed {world.chance.randrange(999)}" if cell else None
        serial = _enter(world, machine, table, batch, content)
        serials.append(serial)
        rows.append({**values, "at_ms": serial} | ({cell: content} if cell else {}))
    machine.record({table: rows})
    _written(world, serials)


def _write_states(machine: Machine, chance: random.Random) -> None:
    rows: dict[str, list[Row]] = {}
    for _ in range(chance.randrange(1, 4)):
        gone = chance.random() < 0.25
        name = f"by {machine.name} {chance.randrange(10**6)}"
        match chance.randrange(4):
            case 0:
                row: Row = {"room": chance.choice(_ROOMS), "name": name, "deleted": gone}
                rows.setdefault("room", []).append(row)
            case 1:
                rows.setdefault("duty", []).append(_duty(chance))
            case 2:
                person = chance.randrange(5)
                row = {"person": person, "kind": "pupil", "name": name.encode(), "deleted": gone}
                rows.setdefault("person", []).append(row)
            case _:
                row = _slot(chance, machine.origin, name)
                rows.setdefault("timetable_slot", []).append(row)
    machine.record(rows)


def _write_at_hub(world: World, hub: Machine, chance: random.Random) -> None:
    school = chance.randrange(1, world.schools + 1)
    name = f"by the hub {chance.randrange(10**6)}"
    match chance.randrange(3):
        case 0:
            notice = f"n{chance.randrange(6)}"
            gone = chance.random() < 0.2
            row: Row = {"school": 0, "notice": notice, "title_en": name, "deleted": gone}
            hub.record({"notice": [row]})
        case 1:
            hub.record({"timetable_slot": [_slot(chance, school, name)]})
        case _:
            batch = world.ledger.begin_batch()
            entry = Entry("audit_entry", HUB, school, hub.name, batch, None, keyed=False)
            serial = world.ledger.enter(entry)
            row = {"at_ms": serial, "who": "district", "action": name}
            hub.record({"audit_entry": [row]}, audience=f"s{school}")
            _written(world, [serial])


def edit_at_once(world: World, school: int) -> None:
    """Let hub and school write one cell at one moment, by clocks that agree."""
    for machine in (world.hub, world.machines[str(school)]):
        slot: Row = {"school": school, "slot": "mon1", "room": f"by {machine.name}"}
        _attempt(world, machine, partial(machine.record, {"timetable_slot": [slot]}))


def _duty(chance: random.Random) -> Row:
    return {"class_group": f"c{chance.randrange(3)}", "day": "mon", "person": chance.randrange(99)}


def _slot(chance: random.Random, school: int, name: str) -> Row:
    column = chance.choice(("room", "subject", "teacher"))
    slot: dict[str, Value] = {"school": school, "slot": chance.choice(_SLOTS), column: name}
    if chance.random() < 0.15:
        slot["deleted"] = True
    return slot


def _enter(
    world: World,
    machine: Machine,
    table: str,
    batch: int,
    cell: str | None,
    *,
    keyed: bool = False,
) -> int:
    entry = Entry(table, machine.origin, machine.origin, machine.name, batch, cell, keyed)
    return world.ledger.enter(entry)


def _written(world: World, serials: list[int]) -> None:
    for serial in serials:
        world.ledger.entries[serial].written = True


def _seal(machine: Machine) -> None:
    with machine.at_work() as node:
        node.seal_due(POLICY)


def _attempt(world: World, machine: Machine, work: Callable[[], None]) -> None:
    was_up = machine.node is not None
    try:
        work()
    except sqlite3.Error as error:
        world.note(f"{machine.name} cannot write: {error}")
    except DownError:
        if was_up:
            world.went_down(machine)
