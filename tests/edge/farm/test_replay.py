"""What a rule would have done with recorded readings."""

from collections.abc import Sequence

import msgspec

from edge.farm.conditions import Because
from edge.farm.farm_rows import DAY_MS
from edge.farm.replay import Replay, replay
from edge.farm.rule import Condition, Limits, Rule, Source
from edge.farm.series import Key, Reading
from tests.edge.farm.rules import MONDAY, SOIL, VENT, ZONE, dry, watering

START_MS = int(MONDAY.replace(hour=0).timestamp() * 1_000)
MINUTE = 60_000
KEY: Key = (SOIL.device, SOIL.point)


def run(rule: Rule, readings: Sequence[Reading]) -> Replay:
    sources = {condition.source: (condition.source.device,) for condition in rule.conditions}
    return replay(
        rule,
        sources,
        {KEY: readings},
        span_ms=(START_MS, START_MS + DAY_MS),
        zone=ZONE,
        school_days=frozenset(),
    )


def values(*recorded: tuple[int, float | None]) -> list[Reading]:
    return [Reading(START_MS + minute * MINUTE, value) for minute, value in recorded]


def test_a_day_is_watered_as_the_rule_would_have_done() -> None:
    found = run(
        watering(limits=Limits(longest_on_min=10, pause_min=30)),
        values(*((at, 40.0) for at in range(0, 600, 15)), (600, 30.0), (605, 46.0), (620, 46.0)),
    )
    told = [((at - START_MS) // MINUTE, each.argument) for at, each in found.decisions]
    assert told == [(600, True), (605, False)]
    assert (found.runs, found.on_s) == (1, 300)


def test_a_silence_in_the_record_stops_the_pump() -> None:
    found = run(watering(limits=Limits(longest_on_min=60)), values((0, 30.0)))
    assert [each.because for _, each in found.decisions] == [Because.CONDITIONS, Because.DOUBT]
    assert found.on_s <= 21 * 60


def test_words_and_interlocks_have_no_past_and_are_said_to_be_left_out() -> None:
    float_switch = Condition(source=Source(point="input_1", device="board"), test="is", value="on")
    rule = msgspec.structs.replace(watering(guards=(float_switch,)), never_with=(VENT,))
    found = run(rule, values((0, 30.0), (10, 50.0)))
    assert found.left_out == ("input_1",)
    assert found.runs == 1


def test_a_rule_that_waits_for_a_word_does_nothing_in_the_past() -> None:
    word = Condition(source=Source(point="input_1", device="board"), test="is", value="on")
    assert run(watering(when=(dry(), word)), values((0, 30.0))).runs == 0
