"""What holds after every step, and at each quiet point, whatever happened before."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import msgspec

from sync.node import Node
from sync.schema.model import Group, Lane
from sync.segments.segment import LogName
from sync.tables.digests import digest_tables
from tests.simulation.books import Books, BrokenInvariantError, cursors, read_logs
from tests.simulation.idle import be_idle, countersigns
from tests.simulation.ledger import doubled_serials, held_serials
from tests.simulation.machine import Machine
from tests.simulation.world import World

_ROUNDS_MAX = 24
_MESSAGES_MAX = 60
_TRAVELLING = frozenset({"key_grant", "clock_clamp", "clock_correction"})
_READABLE = (Group.DISTRICT, Group.GRANT)
_SEALED_CELLS = {"card_tap": "card", "health_check": "symptoms", "grow_log": "entry"}
"""Columns that only their school reads, one a table, for each of which the ledger has the cells."""


def check_step(world: World) -> None:
    """Raise BrokenInvariantError if the last event broke what was seen on the network."""
    if world.ledger.broken:
        raise BrokenInvariantError(world.ledger.broken[0])


@dataclass
class StepCheck:
    """What holds after every step of a storm; a store is looked at again once it was written to.

    That a row is there at all, and that digests are equal, is for the quiet points: a disk that was
    lost in a storm lacks rows until others bring them back.
    """

    world: World
    cloned: set[int]
    _seen: dict[str, tuple[Node, int]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise BrokenInvariantError if the last event broke something."""
        check_step(self.world)
        for machine in self.world.machines.values():
            if machine.node is None:
                continue
            written = machine.written()
            if self._seen.get(machine.name) != written:
                self._seen[machine.name] = written
                self._check_doubled(machine)

    def _check_doubled(self, machine: Machine) -> None:
        for serial in doubled_serials(machine):
            entry = self.world.ledger.entries[serial]
            if self.world.hostile & {entry.origin, entry.school}:
                continue
            if entry.keyed or entry.origin not in self.cloned:
                raise BrokenInvariantError(
                    f"{entry.table} {serial} of {entry.machine} is at {machine.name} twice, in a"
                    " storm"
                )


def check_receipts(world: World, machine: Machine) -> None:
    """No node takes for received what its peer has never said it holds, whatever it was handed."""
    names = {log.id: log.name for log in read_logs(machine).values()}
    with machine.healthy() as store:
        query = "SELECT peer, log, stored FROM peer_cursor WHERE stored > 0"
        found = msgspec.convert(store.execute(query).fetchall(), list[tuple[int, int, int]])
    for peer, log, stored in found:
        told = world.ledger.most_told(peer, machine.origin, names[log])
        if peer not in world.hostile and stored > told:
            raise BrokenInvariantError(
                f"{machine.name} believes that {peer} holds {stored} of {names[log]}; it was told"
                f" of {told}"
            )


def settle(world: World, *, everyone: bool = True, absent: int | None = None) -> int:
    """Exchange until nothing lacks anywhere; return the rounds it took.

    ``everyone`` but the school ``absent`` holds an idle line at first; then who lacks something,
    or is hostile, calls.
    Raises BrokenInvariantError when something still lacks after so many rounds that nothing will
    move any more: somebody's trouble stopped somebody else.
    """
    books = Books(world)
    boxes = [each for each in world.boxes() if each.origin != absent]
    if everyone:
        be_idle(world, books, absent)
    rounds = 0
    while True:
        for machine in world.machines.values():
            books.seal(machine)
        for machine in sorted(boxes, key=lambda each: each.name):
            if machine.origin in world.hostile or books.lacking(machine):
                _exchange(world, books, machine)
                check_step(world)
        rounds += 1
        why = next(filter(None, map(books.lacking, boxes)), "")
        if not why:
            return rounds
        if rounds % _ROUNDS_MAX == 0 and not countersigns(world.hub):
            raise BrokenInvariantError(f"not settled after {rounds} rounds: {why}")


def check_quiet(world: World, cloned: set[int]) -> None:
    """Compare all stores with the devices' ledger, and with each other."""
    hub_rows = Counter(held_serials(world.hub))
    entries = world.ledger.entries
    for serial in entries:
        _check_entry(world, serial, hub_rows[serial], cloned)
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
    _check_store(world.hub)
    _check_unread(world.hub)
    _check_frozen(world, cloned)
    for machine in world.machines.values():
        check_receipts(world, machine)


def _check_entry(world: World, serial: int, times: int, cloned: set[int]) -> None:
    entry = world.ledger.entries[serial]
    if world.hostile & {entry.origin, entry.school}:
        return
    name = f"{entry.table} {serial} of {entry.machine}"
    if not times and entry.acknowledged and not entry.may_be_lost:
        raise BrokenInvariantError(f"{name} was acknowledged and is lost")
    if not times and entry.written and not entry.may_be_lost:
        raise BrokenInvariantError(f"{name} was written, and did not arrive")
    # Of two boxes on copies of one disk each may seal what waited in it. One disk that went back in
    # time doubles nothing.
    if times > 1 and (entry.keyed or entry.origin not in cloned):
        raise BrokenInvariantError(f"{name} is there {times} times")


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
    _check_lesson_logs(world, machine)
    _check_sealed_cells(world, machine)
    _check_store(machine)


def _check_lesson_logs(world: World, machine: Machine) -> None:
    """Of a log of a lesson a party has the rows that the hub has, once both have all of it.

    Most are of other schools, so that comparing what is its own says nothing of them.
    """
    here, there = read_logs(machine), read_logs(world.hub)
    names = [name for name in here if name.audience.startswith("l")]
    equal = {name for name in names if cursors(here[name]) == cursors(there.get(name))}
    mine, hubs = (
        {row for row in _lesson_rows(each) if row[0] in equal} for each in (machine, world.hub)
    )
    if mine != hubs:
        odd = sorted(mine ^ hubs, key=repr)[:5]
        raise BrokenInvariantError(
            f"{machine.name} and the hub hold the same logs of lessons and differ in {odd}"
        )
    strange = {
        name.audience
        for name in names
        if machine.origin not in world.district.members(name.audience)
    }
    if strange:
        raise BrokenInvariantError(f"{machine.name} holds logs of others' lessons: {strange}")


def _lesson_rows(machine: Machine) -> list[tuple[LogName, tuple[int, ...]]]:
    with machine.healthy() as store:
        found = store.execute(
            "SELECT l.origin, l.incarnation, l.audience, l.lane, t.school, t.row, t.at_ms, t.raised"
            " FROM hand_raise t JOIN log l ON l.id = t.log"
        ).fetchall()
    rows = msgspec.convert(found, list[tuple[int, int, str, Lane, int, int, int, int]])
    return [(LogName(*row[:4]), row[4:]) for row in rows]


def _check_store(machine: Machine) -> None:
    with machine.healthy() as store:
        ((sound,),) = store.execute("PRAGMA quick_check(1)").fetchall()
    if sound != "ok":
        raise BrokenInvariantError(f"{machine.name}'s store is damaged: {sound}")


def _check_sealed_cells(world: World, machine: Machine) -> None:
    """What only the school may read is with each row at the school."""
    for table, column in _SEALED_CELLS.items():
        query = f"SELECT at_ms, {column} FROM {table} WHERE school = ?"  # noqa: S608 - the schema's names
        with machine.healthy() as store:
            found = store.execute(query, (machine.origin,)).fetchall()
        for serial, cell in found:
            if cell != world.ledger.entries[msgspec.convert(serial, int)].cell:
                raise BrokenInvariantError(
                    f"{machine.name}: {table} {serial} holds {cell!r}, not what its device gave"
                )


def _check_unread(hub: Machine) -> None:
    """What only a school may read is nowhere else."""
    for table, column in _SEALED_CELLS.items():
        with hub.healthy() as store:
            read = store.execute(
                f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608 - the schema's names
            ).fetchone()
        if read != (0,):
            raise BrokenInvariantError(f"the hub reads {table}.{column}")


def _check_frozen(world: World, cloned: set[int]) -> None:
    guilty = cloned | world.unsteady | world.hostile
    for machine in world.machines.values():
        for log in read_logs(machine).values():
            if log.frozen and log.name.origin not in guilty:
                raise BrokenInvariantError(f"{machine.name} froze an honest log: {log.frozen}")


def _digests(machine: Machine, school: int) -> dict[str, bytes]:
    """Return digests of what a school and its hub share: the school's rows and the district's."""
    with machine.healthy() as store:
        digests = digest_tables(store.cursor().as_sqlite3, schools=(school, 0), groups=_READABLE)
    # Rows of these stand in logs of lessons too, which not every school gets.
    return {table: digest for table, digest in digests.items() if table not in _TRAVELLING}


def _exchange(world: World, books: Books, machine: Machine) -> None:
    """Let a box and the hub talk until both are quiet, without any faults."""
    line = world.connect(machine)
    for _ in range(_MESSAGES_MAX):
        world.district.now += 97
        said = 0
        for end, other in ((line.edge, line.desk), (line.desk, line.edge)):
            books.seal(end.machine)
            data = world.compose(line, end)
            if data is not None:
                world.hear(line, other, data)
                said += 1
            if not line.is_open and machine.origin not in world.hostile:
                raise BrokenInvariantError(f"{machine.name} and the hub cannot talk, in calm")
        if not said or not line.is_open:
            return
