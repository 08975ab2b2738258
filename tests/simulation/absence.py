"""A school that is silent for longer than the hub waits for it, and comes back."""

from dataclasses import replace

from sync.history.horizon import DAY_MS
from sync.segments.segment import HUB
from tests.simulation import devices
from tests.simulation.books import BrokenInvariantError
from tests.simulation.checks import settle
from tests.simulation.machine import Machine
from tests.simulation.storm import HISTORY, Storm
from tests.simulation.world import World

_HALF_MS = 100 * DAY_MS
"""Twice this is longer than a hub waits, once is not."""


def stay_away(world: World, storm: Storm) -> None:
    """Let one honest school's box work without its hub for 200 days, and then come back, in calm.

    Raises BrokenInvariantError when the others wait for it, or it is not taken back.
    """
    apart = {HUB, *world.hostile, *storm.cloned}
    candidates = [each for each in world.boxes() if each.origin not in apart]
    if not candidates:
        return
    away = world.chance.choice(candidates)
    world.note(f"{away.name} is away for long")
    for _ in range(2):
        world.district.now += _HALF_MS
        for _ in range(3):
            devices.write_something(world, away)
        settle(world, absent=away.origin)
        for machine in world.machines.values():
            if machine is not away:
                _bound_history(machine)
        settle(world, absent=away.origin)
    if _evicted(world.hub) != {away.origin}:
        raise BrokenInvariantError(f"the hub evicted {_evicted(world.hub)}, not {away.origin}")
    storm.counts["absence"] = storm.counts.get("absence", 0) + 1
    settle(world)
    if _evicted(world.hub):
        raise BrokenInvariantError(f"the hub does not take {away.name} back")


def _bound_history(machine: Machine) -> None:
    policy = replace(HISTORY, silent_ms=_HALF_MS * 3 // 2)
    with machine.at_work() as node:
        for _ in node.history.steps(policy):
            pass


def _evicted(hub: Machine) -> set[object]:
    with hub.healthy() as store:
        query = "SELECT member FROM eviction WHERE deleted = 0 AND returned_ms IS NULL"
        return {member for (member,) in store.execute(query).fetchall()}
