"""Days of seeded mishap: whatever happens to sensors, relays, hands and clocks, the farm is safe.

The ledgers are the simulated relays' own; the engine's counts are not asked.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from drivers.entities import Quality
from edge.farm.conditions import Because
from edge.farm.engine import Decision, Engine
from edge.farm.rule import Condition, Limits, Output, RuleId, Source, Window
from edge.farm.switch import REPEAT_S, Override
from edge.farm.world import Sample, Seen, World
from tests.edge.farm.rules import MONDAY, PUMP, SOIL, TANK, VENT, dry, tank_empty, watering

RAIN = Source(point="rainfall", device="modbus:weather")
WINDOW = Window(starts="06:00", ends="20:00")
MINUTES_A_DAY = 1.5
RULES = {
    RuleId("a-water"): watering(
        when=(dry(35, 45, for_min=0.1),),
        guards=(tank_empty(),),
        windows=(WINDOW,),
        never_with=(VENT,),
        limits=Limits(longest_on_min=1, pause_min=0.2, minutes_a_day=MINUTES_A_DAY),
    ),
    RuleId("b-water"): watering(
        when=(dry(25, 30),),
        limits=Limits(longest_on_min=1, pause_min=0.2, minutes_a_day=MINUTES_A_DAY),
    ),
    RuleId("c-air"): watering(
        output=VENT,
        when=(Condition(source=SOIL, test="above", value=40, back=30),),
        guards=(Condition(source=RAIN, test="is", value="yes"),),
        limits=Limits(longest_on_min=0.5, pause_min=0, minutes_a_day=2),
    ),
}


@dataclass
class Relay:
    """What a relay does: late, not at all, or by another hand; and when it was truly on."""

    is_on: bool = False
    was_on: bool = False
    touched_s: float = -1e9
    due: list[tuple[float, bool]] = field(default_factory=list)

    def pass_time(self, now_s: float) -> None:
        self.was_on = self.is_on  # what the last poll read
        for at_s, is_on in [each for each in self.due if each[0] <= now_s]:
            self.is_on = is_on
            self.due.remove((at_s, is_on))


@dataclass
class Farm:
    """A farm whose every part misbehaves by one seed."""

    seed: int
    moment: datetime = MONDAY
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.relays = {PUMP: Relay(), VENT: Relay()}
        self.soil, self.tank = 33.0, 60.0
        self.on_by_day: Counter[tuple[Output, str]] = Counter()
        self.by_hand: set[Output] = set()
        self.starts: Counter[Output] = Counter()
        self.restarts = 0
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        engine = Engine()
        engine.set_rules(RULES)
        return engine

    def sample(self, value: float | str) -> tuple[Sample | None, ...]:
        chance = self.rng.random()
        if chance < 0.01:
            return (None,)
        if chance < 0.02:
            return (Sample(value=None, quality=Quality.BAD, age_s=0.1),)
        if chance < 0.03:
            return (Sample(value=value, quality=Quality.UNCERTAIN, age_s=0.1),)
        age_s = 500.0 if chance < 0.035 else self.rng.uniform(0, 60)
        return (Sample(value=value, quality=Quality.GOOD, age_s=age_s),)

    def world(self) -> World:
        self.soil += self.rng.uniform(-0.4, 0.4) + (0.3 if self.relays[PUMP].is_on else -0.1)
        self.soil = min(max(self.soil, 15), 60)
        self.tank = min(max(self.tank + self.rng.uniform(-1.2, 1.2), 0), 100)
        if self.rng.random() < 0.002:
            jump = timedelta(hours=self.rng.uniform(-30, 30))
            self.moment = min(max(self.moment + jump, MONDAY), MONDAY + timedelta(days=3))
        rain = "yes" if self.rng.random() < 0.05 else "no"
        return World(
            mono_s=self.now_s,
            moment=None if self.rng.random() < 0.005 else self.moment,
            samples={
                SOIL: self.sample(self.soil),
                TANK: self.sample(self.tank),
                RAIN: self.sample(rain),
            },
            seen={
                output: Seen.UNKNOWN
                if self.rng.random() < 0.01
                else (Seen.ON if relay.was_on else Seen.OFF)
                for output, relay in self.relays.items()
            },
        )

    def step(self) -> tuple[World, list[Decision]]:
        self.now_s += 1.0
        self.moment += timedelta(seconds=1)
        for output, relay in self.relays.items():
            relay.pass_time(self.now_s)
            if self.rng.random() < 0.0015:  # somebody at the board
                relay.is_on = not relay.is_on
                relay.touched_s = self.now_s
            if self.rng.random() < 0.001:
                is_on = self.rng.random() < 0.5
                until_s = self.now_s + self.rng.uniform(5, 90)
                self.engine.set_override(
                    output, Override(is_on=is_on, until_s=until_s, who="a person")
                )
        world = self.world()
        decisions = self.engine.look(world)
        for decision in decisions:
            self.obey(decision)
        return world, decisions

    def obey(self, decision: Decision) -> None:
        relay = self.relays[decision.output]
        if decision.argument is None:
            return
        if self.rng.random() < 0.03:
            if decision.argument:
                self.engine.note_failed(decision.output, self.now_s)
            return
        relay.due = [(self.now_s + self.rng.choice((0.2, 0.8, 1.5)), decision.argument)]

    def restart(self) -> None:
        kept, away_s = self.engine.keep(self.now_s), self.rng.uniform(1, 200)
        self.engine = self.new_engine()
        self.engine.restore(kept, away_s, now_s=7.0)
        self.now_s, self.moment = 7.0, self.moment + timedelta(seconds=away_s)
        for relay in self.relays.values():
            relay.due = [(7.5, False)]  # the driver makes its outputs safe
        self.restarts += 1


def is_doubtful(world: World, *sources: Source) -> bool:
    for source in sources:
        (sample,) = world.samples[source]
        if sample is None or sample.quality is not Quality.GOOD or sample.age_s > 120:
            return True
    return False


@pytest.mark.parametrize("seed", range(8))
def test_no_mishap_makes_the_farm_unsafe(seed: int) -> None:
    farm = Farm(seed)
    on_since = dict.fromkeys(farm.relays, 0.0)
    told_at = dict.fromkeys(farm.relays, -1e9)
    said = Counter[tuple[bool | None, Because]]()
    for _ in range(1_000):
        if farm.rng.random() < 0.001:
            farm.restart()
            told_at = dict.fromkeys(farm.relays, farm.now_s)
        before = {output: farm.engine.is_told_on(output) for output in farm.relays}
        world, decisions = farm.step()
        engine, day = farm.engine, engine_day(farm)
        said.update((each.argument, each.because) for each in decisions)

        # Never both, neither by word nor in truth: who starts finds the other truly off.
        assert not (engine.is_told_on(PUMP) and engine.is_told_on(VENT))
        for decision in decisions:
            if decision.argument:
                other = VENT if decision.output == PUMP else PUMP
                assert not farm.relays[other].is_on or farm.relays[other].touched_s == farm.now_s
                assert not any(is_on for _, is_on in farm.relays[other].due)

        for output, rule_sources in {PUMP: (TANK,), VENT: (RAIN,)}.items():
            by_hand = engine.override_of(output)
            is_on, is_by_hand = engine.is_told_on(output), bool(by_hand and by_hand.is_on)
            # One look after any reading that cannot be relied on, it is off.
            assert not (is_on and is_doubtful(world, *rule_sources))
            assert not (is_on and not is_by_hand and is_doubtful(world, SOIL))
            if is_on and not before[output]:
                on_since[output] = farm.now_s
                farm.starts[output] += 1
                assert world.seen[output] is Seen.OFF
            if any(each.output == output and each.argument is not None for each in decisions):
                told_at[output] = farm.now_s
            longest_s = 60 if output == PUMP else 30
            assert not is_on or farm.now_s - on_since[output] <= longest_s
            if is_on and not is_by_hand:
                farm.on_by_day[output, day] += 1
            # What is on against the engine's word is told off, again and again.
            if farm.relays[output].is_on and not is_on and world.seen[output] is Seen.ON:
                assert farm.now_s - told_at[output] <= 2 * REPEAT_S

    assert all(
        on_s <= (MINUTES_A_DAY if output == PUMP else 2) * 60
        for (output, _), on_s in farm.on_by_day.items()
    )
    assert farm.starts[PUMP] + farm.starts[VENT] > 3, "a farm that does nothing proves nothing"
    assert said[False, Because.DOUBT] > 0


def engine_day(farm: Farm) -> str:
    """Return the day that the engine counts into: the last one that it knew."""
    return farm.engine.keep(farm.now_s).day
