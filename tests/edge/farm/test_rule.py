"""What a rule may say, and which moments lie in its windows."""

from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.farm.rule import (
    RULE_BYTES_MAX,
    Condition,
    Limits,
    Rule,
    RuleError,
    Source,
    Window,
    check_rule,
    is_within,
    read_rule,
    write_rule,
)
from tests.edge.farm.rules import MONDAY, PUMP, SOIL, ZONE, dry, watering

SCHOOL_DAYS = frozenset({"2026-11-23", "2026-11-24"})


def test_a_written_rule_is_read_as_it_was() -> None:
    rule = watering(
        windows=(Window(days="school_days", starts="06:30", ends="08:00"),),
        limits=Limits(longest_on_min=2.5, litres_a_day=40, litres_a_min=8),
    )
    assert read_rule(write_rule(rule)) == rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (watering(when=()), "for ever"),
        (watering(when=(dry(35, 30),)), "must lie above"),
        (watering(when=(Condition(source=SOIL, test="above", value=3, back=4),)), "below 3"),
        (watering(when=(Condition(source=SOIL, test="above", value="x"),)), "takes a number"),
        (watering(when=(Condition(source=SOIL, test="is", value=3.0),)), "one word"),
        (watering(when=(Condition(source=Source(point="p"), test="above", value=3),)), "the plot"),
        (watering(never_with=(PUMP,)), "itself"),
        (watering(limits=Limits(litres_a_day=4)), "litres a minute"),
        (watering(windows=(Window(season_from="03-01"),)), "season"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_a_remedy(rule: Rule, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        check_rule(rule)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "print(1)"},
        {"version": 2},
        {"limits": {"longest_on_min": 0}},
        {"limits": {"longest_on_min": 241}},
        {"when": [{"source": {"point": "p", "device": "d"}, "test": "over", "value": 1}]},
        {"windows": [{"starts": "24:00"}]},
        {"output": {"device": "", "command": "x"}},
    ],
)
def test_what_is_not_the_language_is_refused(change: dict[str, object]) -> None:
    told = msgspec.json.decode(write_rule(watering())) | change
    with pytest.raises(RuleError):
        read_rule(msgspec.json.encode(told))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_arbitrary_text_is_a_rule_or_a_rule_error(text: str | bytes) -> None:
    with suppress(RuleError):
        read_rule(text)


def test_a_rule_has_a_size() -> None:
    with pytest.raises(RuleError, match="bytes"):
        read_rule(" " * (RULE_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("window", "moment", "is_in"),
    [
        (Window(), MONDAY, True),
        (Window(starts="07:00", ends="08:00"), MONDAY, True),
        (Window(starts="06:00", ends="07:00"), MONDAY, False),
        (Window(days="school_days"), MONDAY, True),
        (Window(days="free_days"), MONDAY, False),
        (Window(days="school_days"), MONDAY + timedelta(days=2), False),
        # From Tuesday's evening into Wednesday, which is free: the window is Tuesday's.
        (Window(days="school_days", starts="22:00", ends="06:00"), MONDAY.replace(hour=3), False),
        (
            Window(days="school_days", starts="22:00", ends="06:00"),
            MONDAY.replace(hour=3) + timedelta(days=2),
            True,
        ),
        (Window(season_from="03-01", season_to="10-31"), MONDAY, False),
        (Window(season_from="11-01", season_to="02-28"), MONDAY, True),
        (Window(season_from="11-01", season_to="02-28"), datetime(2027, 2, 28, tzinfo=ZONE), True),
        (Window(season_from="11-01", season_to="02-28"), datetime(2027, 3, 1, tzinfo=ZONE), False),
    ],
)
def test_a_window_is_days_hours_and_season(window: Window, moment: datetime, is_in: bool) -> None:
    assert is_within(window, moment, SCHOOL_DAYS) is is_in


def test_the_stricter_of_minutes_and_litres_counts() -> None:
    assert Limits(minutes_a_day=10, litres_a_day=40, litres_a_min=8).seconds_a_day == 300
    assert Limits(minutes_a_day=2, litres_a_day=40, litres_a_min=8).seconds_a_day == 120
    assert Limits().seconds_a_day == float("inf")
