"""Who has what of which log, in calm."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sync.logs.log_state import LogState
from sync.node import Node
from sync.segments.segment import HUB, LogName
from tests.simulation.machine import Machine
from tests.simulation.world import World


class BrokenInvariantError(Exception):
    """What must hold did not."""


@dataclass
class Books:
    """Who has what, in calm; what a store says is read again when it was written to."""

    world: World
    _sealed: dict[str, tuple[Node, int]] = field(default_factory=dict)
    _logs: dict[str, tuple[tuple[Node, int], dict[LogName, LogState]]] = field(default_factory=dict)
    _shared: tuple[object, dict[int, list[LogName]]] = (None, {})

    def seal(self, machine: Machine) -> None:
        """Let a node seal what waits; there is nothing if it did, and wrote nothing since."""
        if self._sealed.get(machine.name) != machine.written():
            with machine.at_work() as node:
                node.seal_all()
            self._sealed[machine.name] = machine.written()

    def lacking(self, machine: Machine, silent: AbstractSet[int] = frozenset()) -> str:
        """Return what a box or the hub still lacks that the other would give it, or nothing.

        Of a school in ``silent`` a further box holds no line now.
        """
        if machine.origin in self.world.hostile:
            return ""
        hub, logs = self.logs(self.world.hub), self.logs(machine)
        shared = {*self._shared_by_hub(machine.origin), *self._shared_of(logs, machine.origin)}
        for name in sorted(shared):
            if name not in hub and name.origin != machine.origin:
                continue  # a copy at a third party, which nobody asks
            here, there = logs.get(name), hub.get(name)
            if here is not None and here.last_row > here.sealed_row:
                return f"{machine.name} has unsealed rows in {name}"
            if any(log is not None and log.frozen for log in (here, there)):
                continue
            if waits_for_twin(name, machine, here, there, silent):
                continue
            if cursors(here) != cursors(there):
                return f"{name}: {machine.name} has {cursors(here)}, the hub {cursors(there)}"
            if here is not None and there is not None and here.head != there.head:
                # Of twins who had no line, one may have gone on as the hub has it, one not.
                return f"{name}: {machine.name} and the hub went on differently"
        return ""

    def logs(self, machine: Machine) -> dict[LogName, LogState]:
        written = machine.written()
        known = self._logs.get(machine.name)
        if known is None or known[0] != written:
            known = self._logs[machine.name] = (written, read_logs(machine))
        return known[1]

    def told(self, machine: Machine, peer: int) -> dict[int, tuple[int, int]]:
        """Return what a node was told that its peer has, by its own numbers of logs."""
        with machine.healthy(), machine.at_work() as node:
            return node.peers.cursors(peer)

    def _shared_by_hub(self, school: int) -> list[LogName]:
        logs = self.logs(self.world.hub)
        if self._shared[0] is not logs:
            shared: dict[int, list[LogName]] = defaultdict(list)
            for name in logs:
                for party in self._parties(name):
                    shared[party].append(name)
            self._shared = (logs, shared)
        return self._shared[1][school]

    def _shared_of(self, logs: Mapping[LogName, LogState], school: int) -> Iterator[LogName]:
        return (name for name in logs if school in self._parties(name))

    def _parties(self, name: LogName) -> Collection[int]:
        """Return the schools that share a log with the hub, but those that are promised nothing."""
        if name.origin in self.world.hostile:
            return ()
        parties = self.world.district.members(name.audience)
        return (
            parties if not name.audience.startswith("l") or name.origin in {HUB, *parties} else ()
        )


def waits_for_twin(
    name: LogName,
    machine: Machine,
    here: LogState | None,
    there: LogState | None,
    silent: AbstractSet[int],
) -> bool:
    """Tell whether the twin of a log's origin may have what is needed to go on: its end, or a key.

    What a box itself wrote and the hub lacks waits for nobody. What a third party alone has, for
    the hub and the origin lost their disks, waits for good.
    """
    if name.origin not in {machine.origin, HUB} and cursors(here) > cursors(there):
        return True
    if name.origin not in silent:
        return False
    return machine.origin != name.origin or cursors(here) < cursors(there)


def cursors(log: LogState | None) -> tuple[int, int]:
    return (log.stored, log.applied) if log is not None else (0, 0)


def read_logs(machine: Machine) -> dict[LogName, LogState]:
    with machine.healthy(), machine.at_work() as node:
        return {log.name: log for log in node.logs()}
