"""What holds after every step, and at each quiet point, whatever happened before."""

from collections import Counter, defaultdict

import msgspec

from sync.folding.fold import digest_tables
from sync.logs.log_state import LogState
from sync.schema.model import Group
from sync.segments.segment import HUB, LogName
from tests.simulation.ledger import held_serials
from tests.simulation.machine import Machine
from tests.simulation.world import World

_ROUNDS_MAX = 24
_MESSAGES_MAX = 60
_TRAVELLING = frozenset({"key_grant", "clock_clamp", "clock_correction"})
_READABLE = (Group.DISTRICT, Group.GRANT)


class BrokenInvariantError(Exception):
    """What must hold did not."""


def check_step(world: World) -> None:
    """Raise BrokenInvariantError if the last event broke what was seen on the network."""
    if world.ledger.broken:
        raise BrokenInvariantError(world.ledger.broken[0])


def settle(world: World) -> int:
    """Exchange until nothing lacks anywhere; return the rounds it took.

    Raises BrokenInvariantError when something still lacks after so many rounds that nothing will
    move any more: somebody's trouble stopped somebody else.
    """
    why = ""
    for done in range(_ROUNDS_MAX):
        for machine in sorted(world.boxes(), key=lambda each: each.name):
            _exchange(world, machine)
            check_step(world)
        why = _lacking(world)
        if not why:
            return done + 1
    raise BrokenInvariantError(f"not settled after {_ROUNDS_MAX} rounds: {why}")


def check_quiet(world: World, cloned: set[int]) -> None:
    """Compare all stores with the devices' ledger, and with each other."""
    hub_rows = Counter(held_serials(world.hub))
    entries = world.ledger.entries
    for serial, entry in entries.items():
        if world.hostile & {entry.origin, entry.school}:
            continue
        times = hub_rows[serial]
        name = f"{entry.table} {serial} of {entry.machine}"
        if not times and entry.acknowledged and not entry.may_be_lost:
            raise BrokenInvariantError(f"{name} was acknowledged and is lost")
        if not times and entry.written and not entry.may_be_lost:
            raise BrokenInvariantError(f"{name} was written, and did not arrive")
        # A disk that went back in time unnoticed may double what its device does not name.
        if times > 1 and (entry.keyed or entry.origin not in cloned):
            raise BrokenInvariantError(f"{name} is there {times} times")
    unknown = hub_rows.keys() - entries.keys()
    if unknown:
        raise BrokenInvariantError(f"the hub holds rows that no device made: {sorted(unknown)[:5]}")
    _check_batches(world, hub_rows)
    by_school: dict[int, Counter[int]] = defaultdict(Counter)
    for serial, times in hub_rows.items():
        by_school[entries[serial].school][serial] = times
    for machine in world.boxes():
        if machine.origin not in world.hostile:
            _check_box(world, machine, by_school[machine.origin])
    _check_frozen(world, cloned)


def _check_batches(world: World, held: Counter[int]) -> None:
    """Rows that were recorded together are there together."""
    there: dict[int, set[bool]] = defaultdict(set)
    for serial, entry in world.ledger.entries.items():
        if not entry.may_be_lost and not world.hostile & {entry.origin, entry.school}:
            there[entry.batch].add(held[serial] > 0)
    torn = [batch for batch, seen in there.items() if len(seen) > 1]
    if torn:
        raise BrokenInvariantError(f"of a batch of rows some are there and some not: {torn[:5]}")


def _check_box(world: World, machine: Machine, at_hub: Counter[int]) -> None:
    here = Counter(held_serials(machine, machine.origin))
    if here != at_hub:
        odd = sorted((here - at_hub) + (at_hub - here))
        raise BrokenInvariantError(f"{machine.name} and the hub hold different rows: {odd[:5]}")
    theirs, ours = _digests(machine, machine.origin), _digests(world.hub, machine.origin)
    differing = [table for table in ours if ours[table] != theirs[table]]
    if differing:
        raise BrokenInvariantError(
            f"{machine.name} and the hub hold the same segments and differ in {differing}"
        )
    _check_sealed_cells(world, machine)
    for each in (machine, world.hub):
        with each.healthy() as store:
            ((sound,),) = store.execute("PRAGMA quick_check(1)").fetchall()
        if sound != "ok":
            raise BrokenInvariantError(f"{each.name}'s store is damaged: {sound}")


def _check_sealed_cells(world: World, machine: Machine) -> None:
    """What only the school may read is with each row, at the school and nowhere else."""
    cells = {"card_tap": "card", "health_check": "symptoms", "grow_log": "entry"}
    for table, column in cells.items():
        query = f"SELECT at_ms, {column} FROM {table} WHERE school = ?"  # noqa: S608 - the schema's names
        with machine.healthy() as store:
            found = store.execute(query, (machine.origin,)).fetchall()
        for serial, cell in found:
            if cell != world.ledger.entries[msgspec.convert(serial, int)].cell:
                raise BrokenInvariantError(
                    f"{machine.name}: {table} {serial} holds {cell!r}, not what its device gave"
                )
        with world.hub.healthy() as store:
            read = store.execute(
                f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608 - the schema's names
            ).fetchone()
        if read != (0,):
            raise BrokenInvariantError(f"the hub reads {table}.{column}")


def _check_frozen(world: World, cloned: set[int]) -> None:
    guilty = cloned | world.hostile
    for machine in world.machines.values():
        for log in _logs(machine).values():
            if log.frozen and log.name.origin not in guilty:
                raise BrokenInvariantError(f"{machine.name} froze an honest log: {log.frozen}")


def _digests(machine: Machine, school: int) -> dict[str, bytes]:
    """Return digests of what a school and its hub share: the school's rows and the district's."""
    with machine.healthy() as store:
        digests = digest_tables(store.cursor().as_sqlite3, schools=(school, 0), groups=_READABLE)
    # Rows of these stand in logs of lessons too, which not every school gets.
    return {table: digest for table, digest in digests.items() if table not in _TRAVELLING}


def _exchange(world: World, machine: Machine) -> None:
    """Let a box and the hub talk until both are quiet, without any faults."""
    line = world.connect(machine)
    quiet = 0
    for _ in range(_MESSAGES_MAX):
        world.district.now += 97
        said = 0
        for end, other in ((line.edge, line.desk), (line.desk, line.edge)):
            with end.machine.at_work() as node:
                node.seal_all()
            message = world.compose(line, end)
            if message is not None:
                world.hear(line, other, message)
                said += 1
            if not line.is_open and machine.origin not in world.hostile:
                raise BrokenInvariantError(f"{machine.name} and the hub cannot talk, in calm")
        quiet = 0 if said else quiet + 1
        if quiet == 2 or not line.is_open:
            return


def _lacking(world: World) -> str:
    """Return what one node still lacks that another would give it, or nothing."""
    hub = _logs(world.hub)
    for machine in world.boxes():
        if machine.origin in world.hostile:
            continue
        logs = _logs(machine)
        for name in hub.keys() | logs.keys():
            if name not in hub and name.origin != machine.origin:
                continue  # a copy at a third party, which nobody asks
            if name.origin in world.hostile or not _is_shared(world, name, machine.origin):
                continue
            here, there = logs.get(name), hub.get(name)
            if any(log is not None and log.frozen for log in (here, there)):
                continue
            if here is not None and here.last_row > here.sealed_row:
                return f"{machine.name} has unsealed rows in {name}"
            if _cursors(here) != _cursors(there):
                return f"{name}: {machine.name} has {_cursors(here)}, the hub {_cursors(there)}"
    return ""


def _is_shared(world: World, name: LogName, school: int) -> bool:
    if name.audience.startswith("l"):
        parties = world.district.members(name.audience)
        return school in parties and name.origin in {HUB, *parties}
    return name.audience in {"d", f"s{school}"}


def _cursors(log: LogState | None) -> tuple[int, int]:
    return (log.stored, log.applied) if log is not None else (0, 0)


def _logs(machine: Machine) -> dict[LogName, LogState]:
    with machine.healthy(), machine.at_work() as node:
        return {log.name: log for log in node.logs()}
