"""One seed: storms and quiet points in turn, then the account of them."""

from dataclasses import dataclass

from sync.segments.segment import HUB
from tests.simulation import devices
from tests.simulation.absence import stay_away
from tests.simulation.chance import seeded_hpke
from tests.simulation.checks import StepCheck, check_quiet, settle
from tests.simulation.hostile import turn_hostile
from tests.simulation.storm import Storm, calm
from tests.simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much happens in one seed."""

    schools: int
    storms: int
    storm_ms: int


SMALL = Size(schools=6, storms=2, storm_ms=180_000)
"""A slice for every test run."""
WHOLE = Size(schools=50, storms=2, storm_ms=180_000)


_BOUNDINGS, _ABSENCES = 0.35, 0.15
"""Shares of the quiet points at which histories are bounded, and a school stays away for long."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a seed did, for whoever watches."""

    steps: int
    messages: int
    rows: int
    acknowledged: int
    logs: int
    faults: dict[str, int]


class SeedFailedError(Exception):
    """An invariant broke; the text tells which, after what, and how to see it again."""


def run_seed(seed: int, size: Size) -> Account:
    """Raise SeedFailedError if an invariant breaks."""
    return _run(World(seed, size.schools), size)


def tell_seed(seed: int, size: Size) -> list[str]:
    """Return the last events of a seed, with what each message and store came to."""
    world = World(seed, size.schools)
    account = _run(world, size)
    return [*world.trace, str(account)]


def _run(world: World, size: Size) -> Account:
    storm = Storm(world)
    try:
        with seeded_hpke(world.seed):
            _live(world, storm, size)
    except Exception as error:
        # A defect of the product shows as any exception: each is told with what led to it.
        trace = "\n".join(world.trace)
        raise SeedFailedError(
            f"{trace}\nseed {world.seed}: {type(error).__name__}: {error}\n"
            f"again: make simulate SEED={world.seed} SCHOOLS={size.schools}"
        ) from error
    finally:
        storm.pupils.close()
        for machine in world.machines.values():
            machine.scrap()
    return Account(
        steps=world.steps,
        messages=world.messages,
        rows=len(world.ledger.entries),
        acknowledged=sum(entry.acknowledged for entry in world.ledger.entries.values()),
        logs=world.logs,
        faults=storm.counts,
    )


def _live(world: World, storm: Storm, size: Size) -> None:
    chance = world.chance
    schools = range(1, size.schools + 1)
    for lesson in range(max(1, size.schools // 5)):
        parties = chance.sample(schools, min(3, size.schools))
        world.district.lessons[f"lesson-{lesson}"] = frozenset(parties)
    if chance.random() < 0.4:
        older = world.machines[str(chance.choice((HUB, *schools)))]
        older.become_older()
        world.note(f"{older.name} is of an older version")
    for machine in list(world.machines.values()):
        world.start(machine)
    if chance.random() < 0.5:
        turn_hostile(world, world.machines[str(chance.choice(schools))])
    steps = StepCheck(world, storm.cloned)
    for _ in range(size.storms):
        for machine in list(world.machines.values()):
            devices.keep_working(world, machine, 4_000 if machine is world.hub else 30_000)
            if machine is not world.hub:
                world.keep_connected(machine)
        storm.begin(every_ms=max(500, 40_000 // size.schools))
        world.run(world.district.now + size.storm_ms, steps.check)
        calm(world)
        storm.excuse_doubtful()
        storm.readers.let_write()
        settle(world)
        check_quiet(world, storm.cloned)
        storm.readers.check(storm.cloned)
        storm.check_pupils()
        pause = chance.random()
        if pause < _BOUNDINGS:
            storm.bound_all_histories()
        elif pause < _BOUNDINGS + _ABSENCES:
            stay_away(world, storm)
        else:
            continue
        check_quiet(world, storm.cloned)
    assert world.hub.node is not None
    world.logs = len(world.hub.node.logs())
