"""The engine, look by look: what switches, what stops, and what is only said."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from drivers.entities import Quality
from edge.farm.conditions import Because
from edge.farm.engine import Decision, Engine
from edge.farm.rule import Condition, Limits, Output, Rule, RuleId, Source, Window
from edge.farm.switch import HAND_PAUSE_S, RETRY_FIRST_S, UNSEEN_S, Override
from edge.farm.world import Sample, Seen
from tests.edge.farm.rules import (
    MONDAY,
    PUMP,
    SOIL,
    TANK,
    VENT,
    dry,
    sample,
    tank_empty,
    watering,
    world,
)

WATER = RuleId("r1")
AIR = RuleId("r2")
PUMPING = {PUMP: Seen.ON, VENT: Seen.OFF}


def engine(*rules: Rule) -> Engine:
    made = Engine()
    made.set_rules({RuleId(f"r{number}"): rule for number, rule in enumerate(rules, start=1)})
    return made


def told(decisions: list[Decision]) -> list[tuple[bool | None, Because]]:
    return [(each.argument, each.because) for each in decisions]


def started(made: Engine, at_s: float = 0.0) -> Engine:
    assert told(made.look(world(at_s))) == [(True, Because.CONDITIONS)]
    return made


def seconds(first: int, last: int) -> Iterator[float]:
    return (float(second) for second in range(first, last + 1))


def test_a_dry_bed_is_watered_until_it_is_wet_and_not_at_every_wobble() -> None:
    made = started(engine(watering()))
    assert made.look(world(1, soil=36, seen=PUMPING)) == []
    assert made.look(world(2, soil=44.9, seen=PUMPING)) == []
    assert told(made.look(world(3, soil=45, seen=PUMPING))) == [(False, Because.REACHED)]
    for second in seconds(4, 20):
        assert made.look(world(second, soil=36)) == []
    assert told(made.look(world(21, soil=34.9))) == [(True, Because.CONDITIONS)]


def test_it_has_to_be_dry_for_some_minutes_on_end() -> None:
    made = engine(watering(when=(dry(for_min=1),)))
    for second in seconds(0, 59):
        assert made.look(world(second)) == []
    assert made.standings[WATER].because is Because.WAITING
    assert made.look(world(59.5, soil=40)) == []
    for second in seconds(60, 119):
        assert made.look(world(second)) == []
    assert told(made.look(world(120))) == [(True, Because.CONDITIONS)]


@pytest.mark.parametrize(
    "samples",
    [
        {SOIL: sample(None, Quality.BAD), TANK: sample(80)},
        {SOIL: sample(20, Quality.UNCERTAIN), TANK: sample(80)},
        {SOIL: sample(20, age_s=121), TANK: sample(80)},
        {SOIL: sample("wet"), TANK: sample(80)},
        {SOIL: (None,), TANK: sample(80)},
        {TANK: sample(80)},
        {SOIL: sample(20), TANK: sample(None, Quality.BAD)},
        {SOIL: sample(20), TANK: sample(80, age_s=500)},
    ],
)
def test_a_reading_that_cannot_be_relied_on_never_starts_the_pump_and_stops_it_at_once(
    samples: dict[Source, tuple[Sample | None, ...]],
) -> None:
    made = engine(watering(guards=(tank_empty(),)))
    assert not [each for each in made.look(world(0, samples=samples)) if each.argument]
    started(made, 200)
    assert told(made.look(world(201, samples=samples, seen=PUMPING))) == [(False, Because.DOUBT)]


def test_a_plots_reading_is_the_mean_of_its_probes_and_as_good_as_the_worst() -> None:
    plot = Source(point="soil_moisture", plot="east")
    made = engine(watering(when=(Condition(source=plot, test="below", value=35),)))
    two = {plot: (*sample(30), *sample(42))}
    assert made.look(world(0, samples=two)) == []
    assert made.standings[WATER].facts["value"] == 36
    worse = {plot: (*sample(30), *sample(31, Quality.UNCERTAIN))}
    made.look(world(1, samples=worse))
    assert made.standings[WATER].because is Because.DOUBT
    assert told(made.look(world(2, samples={plot: (*sample(30), *sample(32))}))) == [
        (True, Because.CONDITIONS)
    ]


def test_an_empty_tank_stops_the_pump_whoever_wants_it() -> None:
    made = engine(
        watering(guards=(tank_empty(),)),
        watering(name="morning", when=(), windows=(Window(starts="07:00", ends="08:00"),)),
    )
    started(made)
    assert told(made.look(world(1, tank=9, seen=PUMPING))) == [(False, Because.GUARD)]
    made.set_override(PUMP, Override(is_on=True, until_s=99, who="a person"))
    assert not [each for each in made.look(world(2, tank=15)) if each.argument]
    assert [each.argument for each in made.look(world(3, tank=20))] == [True]


def test_pump_and_vent_are_never_on_together_and_wait_until_the_other_is_seen_off() -> None:
    made = engine(
        watering(never_with=(VENT,)),
        watering(name="air", output=VENT, when=(dry(50, 60),)),
    )
    assert told(made.look(world(0))) == [
        (True, Because.CONDITIONS),
        (None, Because.INTERLOCK),
    ]
    both = {PUMP: Seen.ON, VENT: Seen.OFF}
    assert told(made.look(world(1, soil=46, seen=both))) == [(False, Because.REACHED)]
    assert made.look(world(2, soil=46, seen=both)) == []  # the pump still runs
    assert made.look(world(3, soil=46)) == []  # off a moment ago: the order may be on its way
    unread = {PUMP: Seen.UNKNOWN, VENT: Seen.OFF}
    assert made.look(world(9, soil=46, seen=unread)) == []
    assert told(made.look(world(10, soil=46))) == [(True, Because.CONDITIONS)]


def test_a_vent_opened_by_hand_stops_the_pump() -> None:
    made = started(engine(watering(never_with=(VENT,))))
    seen = {PUMP: Seen.ON, VENT: Seen.ON}
    assert told(made.look(world(1, seen=seen))) == [(False, Because.INTERLOCK)]


def test_an_output_that_is_not_read_any_more_is_switched_off() -> None:
    made = started(engine(watering()))
    gone: dict[Output, Seen] = {PUMP: Seen.UNKNOWN}
    for second in seconds(1, int(UNSEEN_S)):
        assert made.look(world(second, seen=gone)) == []
    assert told(made.look(world(1 + UNSEEN_S, seen=gone))) == [(False, Because.UNSEEN)]
    assert not [each for each in made.look(world(8, seen=gone)) if each.argument]


def test_minutes_and_runs_of_a_day_have_an_end_and_the_next_day_a_beginning() -> None:
    limits = Limits(longest_on_min=1, pause_min=0, minutes_a_day=3, runs_a_day=9)
    made = engine(watering(limits=limits))
    on_s, seen = 0, Seen.OFF
    for second in seconds(0, 1_500):
        made.look(world(second, seen={PUMP: seen}))
        on_s += made.is_told_on(PUMP)
        seen = Seen.ON if made.is_told_on(PUMP) else Seen.OFF
    assert 170 <= on_s <= 180
    assert made.standings[WATER].because is Because.LIMIT_TIME
    tomorrow = MONDAY + timedelta(days=1)
    assert told(made.look(world(1_501, moment=tomorrow))) == [(True, Because.CONDITIONS)]


def test_runs_a_day_are_counted() -> None:
    made = engine(watering(limits=Limits(pause_min=0, runs_a_day=1)))
    started(made)
    made.look(world(1, soil=60, seen=PUMPING))
    assert told(made.look(world(2))) == [(None, Because.LIMIT_RUNS)]
    assert made.look(world(3)) == []  # said once


def test_a_run_ends_after_the_longest_time_and_rests() -> None:
    made = started(engine(watering(limits=Limits(longest_on_min=1, pause_min=2))))
    for second in seconds(1, 58):
        assert made.look(world(second, seen=PUMPING)) == []
    assert told(made.look(world(59, seen=PUMPING))) == [(False, Because.LONGEST)]
    for second in seconds(60, 178):
        assert made.look(world(second)) == []
        assert made.standings[WATER].because is Because.PAUSE
    assert told(made.look(world(181))) == [(True, Because.CONDITIONS)]


def test_windows_want_a_known_clock() -> None:
    rule = watering(windows=(Window(starts="06:00", ends="08:00"),))
    made = engine(rule)
    assert made.look(world(0, moment=None)) == []
    assert made.standings[WATER].because is Because.CLOCK
    started(made, 1)
    late = MONDAY.replace(hour=8)
    assert told(made.look(world(2, moment=late, seen=PUMPING))) == [(False, Because.WINDOW)]


def test_a_clock_that_jumps_to_and_fro_gives_no_second_allowance() -> None:
    limits = Limits(longest_on_min=1, pause_min=0, minutes_a_day=1)
    made = started(engine(watering(limits=limits)))
    for second in seconds(1, 100):
        made.look(world(second, seen=PUMPING if made.is_told_on(PUMP) else {PUMP: Seen.OFF}))
    tomorrow = MONDAY + timedelta(days=1)
    assert told(made.look(world(160, moment=tomorrow))) == [(True, Because.CONDITIONS)]
    assert told(made.look(world(161, seen=PUMPING))) == [(False, Because.LIMIT_TIME)]


def test_a_person_waters_beyond_limits_and_times_and_not_for_ever() -> None:
    made = engine(watering(limits=Limits(longest_on_min=2, runs_a_day=1)))
    made.set_override(PUMP, Override(is_on=True, until_s=30, who="a person"))
    wet = world(0, soil=80)
    assert told(made.look(wet)) == [(True, Because.HAND_ON)]
    assert made.look(world(29, soil=80, seen=PUMPING)) == []
    assert told(made.look(world(30, soil=80, seen=PUMPING))) == [(False, Because.HAND_OVER)]
    made.set_override(PUMP, Override(is_on=True, until_s=999, who="a person"))
    assert told(made.look(world(40, soil=80))) == [(True, Because.HAND_ON)]
    assert told(made.look(world(160, soil=80, seen=PUMPING))) == [(False, Because.LONGEST)]
    assert made.look(world(161, soil=80)) == []


def test_a_person_holds_an_output_off() -> None:
    made = started(engine(watering()))
    made.set_override(PUMP, Override(is_on=False, until_s=50, who="a person"))
    assert told(made.look(world(1, seen=PUMPING))) == [(False, Because.HAND_OFF)]
    assert made.look(world(49)) == []
    assert told(made.look(world(50))) == [(True, Because.CONDITIONS)]


def test_what_another_hand_switched_on_is_switched_off_again_and_again() -> None:
    made = engine(watering())
    assert told(made.look(world(0, soil=80, seen=PUMPING))) == [(False, Because.OTHER_HAND)]
    again = [made.look(world(second, soil=80, seen=PUMPING)) for second in seconds(1, 5)]
    assert [len(each) for each in again] == [0, 0, 0, 0, 1]
    assert again[4][0].is_repeated
    times = [s for s in seconds(6, 700) if made.look(world(s, soil=80, seen=PUMPING))]
    assert times == [15, 35, 75, 155, 315, 615]  # a stuck relay is told less and less often
    made.look(world(701, soil=80))
    assert [each.argument for each in made.look(world(702, soil=80, seen=PUMPING))] == [False]


def test_what_another_hand_switched_off_is_let_be_for_a_while() -> None:
    made = started(engine(watering()))
    for second in seconds(1, 9):
        assert made.look(world(second)) == []
    assert told(made.look(world(10))) == [(False, Because.OTHER_HAND)]
    assert made.look(world(9 + HAND_PAUSE_S)) == []
    assert told(made.look(world(10 + HAND_PAUSE_S))) == [(True, Because.CONDITIONS)]


def test_an_output_that_cannot_be_switched_on_is_tried_less_and_less_often() -> None:
    made = started(engine(watering()))
    made.note_failed(PUMP, 1)
    assert told(made.look(world(2))) == [(None, Because.FAILED)]
    assert made.look(world(RETRY_FIRST_S)) == []
    assert told(made.look(world(1 + RETRY_FIRST_S))) == [(True, Because.CONDITIONS)]
    made.note_failed(PUMP, 62)
    assert not made.is_told_on(PUMP)
    assert not [each for each in made.look(world(62 + 119)) if each.argument]
    assert [each.argument for each in made.look(world(62 + 120))] == [True]


def test_a_rule_that_is_taken_away_leaves_nothing_on() -> None:
    made = started(engine(watering()))
    made.set_rules({})
    assert told(made.look(world(1, seen=PUMPING))) == [(False, Because.NO_RULE)]
    assert made.look(world(2)) == []


def test_the_time_on_is_counted_through_a_restart() -> None:
    limits = Limits(longest_on_min=5, pause_min=1, minutes_a_day=2)
    made = started(engine(watering(limits=limits)))
    made.look(world(30, seen=PUMPING))
    made.set_override(VENT, Override(is_on=False, until_s=500, who="a person"))
    kept = made.keep(30)
    after = engine(watering(limits=limits))
    after.restore(kept, elapsed_s=60, now_s=1_000)
    assert after.usage_of(PUMP).on_s == 90
    assert after.usage_of(PUMP).runs == 1
    held = after.override_of(VENT)
    assert held is not None
    assert held.until_s == 1_410
    assert after.look(world(1_000)) == []
    assert after.standings[WATER].because is Because.PAUSE
    assert told(after.look(world(1_061))) == [(True, Because.CONDITIONS)]
    assert told(after.look(world(1_091, seen=PUMPING))) == [(False, Because.LIMIT_TIME)]


def test_a_persons_on_ends_with_a_restart() -> None:
    made = engine(watering())
    made.set_override(PUMP, Override(is_on=True, until_s=500, who="a person"))
    made.look(world(0, soil=80))
    after = engine(watering())
    after.restore(made.keep(1), elapsed_s=1, now_s=0)
    assert after.override_of(PUMP) is None
    assert after.look(world(1, soil=80)) == []


def test_what_was_used_while_the_clock_was_unknown_is_of_the_first_day_known() -> None:
    made = engine(watering(limits=Limits(pause_min=0, minutes_a_day=1)))
    assert [each.argument for each in made.look(world(0, moment=None))] == [True]
    made.look(world(40, moment=None, seen=PUMPING))
    assert told(made.look(world(60, seen=PUMPING))) == [(False, Because.LIMIT_TIME)]


def test_a_rule_that_nobody_looked_after_has_to_see_again() -> None:
    made = engine(watering(when=(dry(for_min=1),)))
    made.look(world(0))
    assert made.look(world(1_000)) == []
    assert made.standings[WATER].because is Because.WAITING
