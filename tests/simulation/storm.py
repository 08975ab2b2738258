"""Faults, drawn from the seed: each storm has some kinds of them, more or less often."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from sync.history.bounding import HistoryPolicy
from sync.segments.segment import HUB
from tests.simulation import devices
from tests.simulation.checks import settle
from tests.simulation.courier import Courier
from tests.simulation.disk import Survival
from tests.simulation.ledger import held_serials
from tests.simulation.machine import DownError, Machine
from tests.simulation.pupils import Belongings, Pupils
from tests.simulation.readers import Readers
from tests.simulation.skew import older_store
from tests.simulation.world import World
from tests.sync.district import empty_store

_HOUR_MS = 3_600_000
_BACKUPS_KEPT = 3
_THINKS_AGAIN = 0.7
_SET_BACK = 0.3
"""Share of what happens at a school's office that a copy of its box does not know of soon after."""
HISTORY = HistoryPolicy(written_bytes=1, apart_ms=10_000, retention_ms=60_000)
"""Checkpoints as often as storms come, and backups as old as that allows."""


@dataclass
class Storm:
    """What is wrong with the world, from :meth:`begin` until the world is cleared."""

    world: World
    kinds: list[str] = field(default_factory=list)
    cloned: set[int] = field(default_factory=set)
    backups: dict[str, list[tuple[int, bytes, Belongings]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    courier: Courier = field(init=False)
    readers: Readers = field(init=False)
    pupils: Pupils = field(init=False)
    _doubtful: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.courier, self.readers = Courier(self.world), Readers(self.world)
        self.pupils = Pupils(self.world, HISTORY.retention_ms)

    def begin(self, every_ms: int) -> None:
        """Draw this storm's kinds; one fault happens about each ``every_ms``."""
        chance = self.world.chance
        faults = self._faults()
        self.kinds = [kind for kind in faults if chance.random() < 0.6] or ["cut"]
        if {"clock", "history"} <= {*self.kinds}:
            # By a wrong clock a history ends before the backups do that it is kept for.
            self.kinds.remove(chance.choice(("clock", "history")))
        self.world.note(f"a storm of {', '.join(self.kinds)}")

        def strike() -> None:
            kind = chance.choice(self.kinds)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            faults[kind](chance.choice(self._victims()))
            self.world.after(1 + chance.randrange(2 * every_ms), strike)

        self.world.after(1 + chance.randrange(2 * every_ms), strike)

    def bound_all_histories(self) -> None:
        """Let time pass in calm, until every checkpoint is verified and what it covers is gone."""
        for _ in range(3):
            self.world.district.now += HISTORY.retention_ms + 1
            for machine in self.world.machines.values():
                self._take_steps(machine, 100_000)
            settle(self.world, everyone=False)

    def check_pupils(self) -> None:
        """At a quiet point: let erasures come to their end, and see what still opens."""
        self.pupils.come_home()
        forgotten = self.pupils.check(self.cloned, self._hub_backups)
        if forgotten:
            self.counts["forgotten"] = forgotten

    def _hub_backups(self) -> list[Belongings]:
        return [belongings for _, belongings in self._kept(self.world.hub)]

    def _victims(self) -> list[Machine]:
        """Return machines to choose among; the hub is hit as often as all boxes together are."""
        boxes = self.world.boxes()
        return [*boxes, *[self.world.hub] * max(1, len(boxes) // 4)]

    def _faults(self) -> dict[str, Callable[[Machine], None]]:
        return {
            "cut": self._cut_link,
            "loss": self._lose_messages,
            "delay": self._delay_messages,
            "redelivery": self._deliver_again,
            "power": self._cut_power,
            "kill": self._kill,
            "bad disk": lambda machine: self._fail_disk(machine, full=False),
            "full disk": lambda machine: self._fail_disk(machine, full=True),
            "clock": self._jump_clock,
            "backup": self._back_up,
            "restore": self._restore,
            "wipe": self._wipe,
            "clone": self._clone,
            "set back": self._set_back,
            "coincidence": self._coincide,
            "history": self._bound_history,
            "stick": lambda machine: self._attempt(machine, lambda: self.courier.export(machine)),
            "old stick": lambda machine: self._attempt(
                machine, lambda: self.courier.deliver(machine)
            ),
            "keys": self._decide,
            "pupils": lambda _: self._meet_pupils(),
        }

    def _cut_link(self, machine: Machine) -> None:
        if machine.origin == HUB:
            return
        link = self.world.links[machine.name]
        link.up = False
        self.world.note(f"{machine.name}'s link is cut")
        self.world.after(self._some_ms(), lambda: setattr(link, "up", True))

    def _lose_messages(self, machine: Machine) -> None:
        if machine.origin == HUB:
            return
        link = self.world.links[machine.name]
        link.lost = self.world.chance.uniform(0.1, 0.9)
        self.world.after(self._some_ms(), lambda: setattr(link, "lost", 0.0))

    def _delay_messages(self, machine: Machine) -> None:
        if machine.origin == HUB:
            return
        link = self.world.links[machine.name]
        link.late_ms = 60_000  # beyond the caller's patience
        self.world.after(self._some_ms(), lambda: setattr(link, "late_ms", 50))

    def _deliver_again(self, machine: Machine) -> None:
        """Bring segments that passed once more, out of order, as a courier's old stick does."""
        chance = self.world.chance
        passed = [wire for school, wire in self.world.wires if school == machine.origin]
        wires = chance.sample(passed, min(len(passed), chance.randrange(1, 12)))
        self._attempt(
            self.world.hub,
            lambda: self.world.bring(self.world.hub, machine.origin, wires),
        )

    def _cut_power(self, machine: Machine) -> None:
        self._stop(machine, self.world.chance.choice(list(Survival)))

    def _kill(self, machine: Machine) -> None:
        self._stop(machine, Survival.ALL)

    def _stop(self, machine: Machine, survival: Survival) -> None:
        """Stop a machine at once, or at one of its next writes."""
        if machine.node is None:
            return
        machine.survival = survival
        if self.world.chance.random() < 0.8:
            machine.trouble.changes_until_cut = self.world.chance.randrange(80)
            self.world.note(f"{machine.name} will stop in a write, {survival.name} survives")
        else:
            machine.go_down(survival)
            self.world.went_down(machine)

    def _fail_disk(self, machine: Machine, *, full: bool) -> None:
        machine.trouble.full = full
        machine.trouble.every = self.world.chance.choice((1, 2, 7, 40))
        word = "is full" if full else "fails"
        self.world.note(f"{machine.name}'s disk {word} at each call {machine.trouble.every}")
        self.world.after(self._some_ms(), lambda: setattr(machine.trouble, "every", 0))

    def _jump_clock(self, machine: Machine) -> None:
        chance = self.world.chance
        jump_ms = chance.choice((_HOUR_MS // 60, _HOUR_MS, 400 * 24 * _HOUR_MS))
        jump_ms = chance.choice((-1, 1)) * chance.randrange(1, jump_ms)
        machine.clock_offset_ms = jump_ms
        self.world.note(f"{machine.name}'s clock jumps by {jump_ms} ms")
        self.world.after(self._some_ms(), lambda: setattr(machine, "clock_offset_ms", 0))

    def _back_up(self, machine: Machine) -> None:
        if machine.is_older:
            return  # back-ups of versions are a matter of their own
        self._attempt(machine, lambda: self._keep(machine, machine.back_up()))

    def _keep(self, machine: Machine, content: bytes) -> None:
        kept = self.backups.setdefault(machine.name, [])
        kept.append((self.world.district.now, content, self.pupils.belongings(machine)))
        del kept[:-_BACKUPS_KEPT]
        self.world.note(f"{machine.name} is backed up")

    def _restore(self, machine: Machine) -> None:
        kept = self._kept(machine)
        if kept:
            self._replace(machine, *self.world.chance.choice(kept))
            self.world.note(f"{machine.name} was restored from a backup")

    def _kept(self, machine: Machine) -> list[tuple[bytes, Belongings]]:
        """Return the backups of a machine that are not too old to be used."""
        oldest_ms = self.world.district.now - HISTORY.retention_ms
        return [
            (content, belongings)
            for taken_ms, content, belongings in self.backups.get(machine.name, ())
            if taken_ms > oldest_ms
        ]

    def _wipe(self, machine: Machine) -> None:
        if self.world.chance.random() < 0.3:
            self._replace(machine, older_store() if machine.is_older else empty_store(), {})
            self.world.note(f"{machine.name} lost its disk")

    def _set_back(self, machine: Machine) -> None:
        """Let a whole disk go back to what it is now, the marker that tells of a restore too."""
        if machine.origin != HUB and not machine.is_older:
            self._attempt(machine, lambda: self._take_image(machine))

    def _take_image(self, machine: Machine) -> None:
        image, generation = machine.image(), machine.generation
        belongings = self.pupils.belongings(machine)

        def go_back() -> None:
            if machine.generation == generation:
                self.world.unsteady.add(machine.origin)
                self._replace(machine, image, belongings, generation)
                self.world.note(f"{machine.name}'s disk went back in time")

        self.world.after(self._some_ms(), go_back)

    def _replace(
        self, machine: Machine, content: bytes, belongings: Belongings, generation: bytes = b""
    ) -> None:
        if machine.node is None:
            return
        before = set(held_serials(machine))
        fresh = f"generation {self.world.chance.random()}".encode()
        machine.replace_store(content, generation or fresh)
        self.pupils.replace(machine, belongings)
        self.world.went_down(machine)
        self.world.start(machine)
        if machine.node is None:
            self._excuse(before)
        else:
            self._excuse(before - set(held_serials(machine)))

    def excuse_doubtful(self) -> None:
        """Judge, now that all run, the rows that a machine which was down may have held."""
        doubtful, self._doubtful = self._doubtful, set()
        self._excuse(doubtful)
        assert not self._doubtful, "every machine runs in a calm"

    def _excuse(self, gone: set[int]) -> None:
        """Note rows of which no copy is left: losing these is the disk's fault."""
        standing = [each for each in self.world.machines.values() if each.node is not None]
        held = {machine.name: set(held_serials(machine)) for machine in standing}
        for serial in gone:
            entry = self.world.ledger.entries[serial]
            # Who else holds a row is not asked for it: only its origin, its school and the hub.
            parties = {HUB, entry.origin, entry.school}
            asked = [each for each in self.world.machines.values() if each.origin in parties]
            if any(serial in held.get(machine.name, ()) for machine in asked):
                continue
            if all(machine.node is not None for machine in asked):
                entry.may_be_lost = True
            else:
                self._doubtful.add(serial)

    def _clone(self, machine: Machine) -> None:
        """Start a second box from a copy of the first one's disk, the generation file included."""
        name = f"{machine.origin}b"
        if machine.origin == HUB or machine.is_older or name in self.world.machines:
            return
        self._attempt(machine, lambda: self._start_clone(machine, name, machine.back_up()))

    def _start_clone(self, machine: Machine, name: str, content: bytes) -> None:
        self.cloned.add(machine.origin)
        twin = self.world.add_machine(name, machine.origin)
        twin.disk.put("store.db", content)
        twin.generation = machine.generation
        self.pupils.replace(twin, self.pupils.belongings(machine))
        self.world.note(f"{machine.name} was cloned")
        self.world.start(twin)
        self.world.keep_connected(twin)
        devices.keep_working(self.world, twin, 20_000)

    def _bound_history(self, machine: Machine) -> None:
        """Let a machine make checkpoints and drop what they cover, or stop on the way."""
        steps_max = self.world.chance.choice((3, 30, 1000))
        self._attempt(machine, lambda: self._take_steps(machine, steps_max))

    def _take_steps(self, machine: Machine, steps_max: int) -> None:
        with machine.at_work() as node:
            taken = sum(1 for _ in islice(node.history.steps(HISTORY), steps_max))
        self.world.note(f"{machine.name} bounds its history in {taken} steps")

    def _decide(self, machine: Machine) -> None:
        """Let a person at a box decide who reads, and mostly think again before long."""
        self._attempt(machine, lambda: self.readers.decide(machine))
        if self.world.chance.random() < _THINKS_AGAIN:
            self.world.after(self._some_ms(), lambda: self._decide(machine))

    def _meet_pupils(self) -> None:
        machine = self.pupils.choose()
        if machine is None:
            return
        is_set_back = self.world.chance.random() < _SET_BACK
        if is_set_back:
            self._back_up(machine)
        self._attempt(machine, lambda: self.pupils.strike(machine))
        if is_set_back:
            after_ms = self.world.chance.randrange(HISTORY.retention_ms)
            self.world.after(after_ms, lambda: self._restore(machine))

    def _coincide(self, machine: Machine) -> None:
        if machine.origin != HUB:
            devices.edit_at_once(self.world, machine.origin)

    def _attempt(self, machine: Machine, work: Callable[[], None]) -> None:
        was_up = machine.node is not None
        try:
            work()
        except sqlite3.Error as error:
            self.world.note(f"{machine.name}: {error}")
        except DownError:
            if was_up:
                self.world.went_down(machine)

    def _some_ms(self) -> int:
        return self.world.chance.randrange(1_000, 90_000)


def calm(world: World) -> None:
    """End all faults: clocks are right, links up, disks well, every machine runs."""
    world.clear()
    for link in world.links.values():
        link.up, link.lost, link.late_ms = True, 0.0, 50
        link.line = None
    for machine in world.machines.values():
        machine.clock_offset_ms = 0
        machine.trouble.heal()
        if machine.node is None:
            world.start(machine)
        if machine.is_older:
            machine.upgrade()
            world.note(f"{machine.name} was upgraded")
