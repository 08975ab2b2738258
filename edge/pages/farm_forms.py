"""What the farm's forms hold, and the rule that one of them describes."""

from math import isfinite
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.farm.farm_rows import StoredRule
from edge.farm.keeper import OVERRIDE_MINUTES_MAX
from edge.farm.rule import (
    Clock,
    Condition,
    Minutes,
    MonthDay,
    Output,
    Rule,
    RuleError,
    Source,
    Window,
    check_rule,
)
from edge.pages.actions import PRINTABLE, ActionError, Identity, Name, Word
from edge.pages.office_forms import Person, When

RULE_FIELDS_MAX = 48
Reason = Annotated[str, Meta(max_length=500, pattern=PRINTABLE)]
Place = Annotated[
    str, Meta(min_length=3, max_length=330, pattern=r"\A[^|\x00-\x1f]+\|[^|\x00-\x1f]+\Z")
]
"""A device (or ``plot=…``) and its point or command, as a choice carries them."""
Test = Literal["below", "above", "is"]
Limit = Annotated[str, Meta(min_length=1, max_length=32, pattern=PRINTABLE)]
Back = Annotated[float, Meta(ge=-1e9, le=1e9)]
PLOT = "plot="
_PAIR = 2
"""How many conditions, and how many guards, the form has places for."""


class EnterPlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    plot: Word | None = None
    name: Name
    crop: Name | None = None
    group: Word | None = None
    devices: Annotated[tuple[Identity, ...], Meta(max_length=16)] = ()


class RemovePlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    plot: Word


class EnterRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``when1_*`` and ``when2_*`` are conditions, ``guard1_*`` and ``guard2_*`` what forbids."""

    act: Literal["enter", "try"] = "enter"
    rule: Word | None = None
    plot: Word | None = None
    name: Name
    output: Place
    when1_place: Place | None = None
    when1_test: Test = "below"
    when1_value: Limit | None = None
    when1_back: Back | None = None
    when1_for: Minutes = 0
    when2_place: Place | None = None
    when2_test: Test = "below"
    when2_value: Limit | None = None
    when2_back: Back | None = None
    when2_for: Minutes = 0
    guard1_place: Place | None = None
    guard1_test: Test = "below"
    guard1_value: Limit | None = None
    guard1_back: Back | None = None
    guard2_place: Place | None = None
    guard2_test: Test = "is"
    guard2_value: Limit | None = None
    guard2_back: Back | None = None
    days: Literal["every_day", "school_days", "free_days"] = "every_day"
    starts: Clock | None = None
    ends: Clock | None = None
    season_from: MonthDay | None = None
    season_to: MonthDay | None = None
    never_with: Annotated[tuple[Place, ...], Meta(max_length=8)] = ()
    longest: float = 10
    pause: float = 5
    runs: int | None = None
    minutes: float | None = None
    litres: float | None = None
    litres_min: float | None = None


class SwitchRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rule: Word
    word: Literal["on", "off", "remove"]


class OverrideOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    output: Place
    word: Literal["on", "off", "back"]
    minutes: Annotated[float, Meta(ge=0, le=OVERRIDE_MINUTES_MAX)] = 0


class EnterExperiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    title: Name
    factor: Name
    hypothesis: Reason | None = None
    plot_a: Word
    plot_b: Word
    points: Annotated[tuple[Word, ...], Meta(max_length=4)] = ()
    group: Word | None = None
    begins: When
    ends: When


class Conclude(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    experiment: Word
    conclusion: Reason | None = None
    word: Literal["conclude", "remove"] = "conclude"


class EnterLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    plot: Word
    group: Word | None = None
    person: Person | None = None
    text: Reason | None = None
    height_cm: Annotated[float, Meta(ge=0, le=1_000)] | None = None


class ProposePoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group: Word | None = None
    person: Person
    points: Annotated[int, Meta(ge=1, le=100)]
    work: Reason


class AnswerPoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group: Word | None = None
    task: Word
    person: Person
    teacher: Name
    word: Literal["confirm", "refuse"]


def output_of(place: str) -> Output:
    device, _, command = place.rpartition("|")
    return Output(device=device, command=command)


def place_of(output: Output) -> str:
    return f"{output.device}|{output.command}"


def rule_of(form: EnterRule) -> Rule:
    """Return the rule that a form describes; raises ActionError for one that makes no sense."""
    when = (
        _condition(
            form.when1_place, form.when1_test, form.when1_value, form.when1_back, form.when1_for
        ),
        _condition(
            form.when2_place, form.when2_test, form.when2_value, form.when2_back, form.when2_for
        ),
    )
    guards = (
        _condition(form.guard1_place, form.guard1_test, form.guard1_value, form.guard1_back, 0),
        _condition(form.guard2_place, form.guard2_test, form.guard2_value, form.guard2_back, 0),
    )
    window = Window(
        days=form.days,
        starts=form.starts or "00:00",
        ends=form.ends or "00:00",
        season_from=form.season_from or "",
        season_to=form.season_to or "",
    )
    try:
        rule = msgspec.convert(
            {
                "name": form.name,
                "output": output_of(form.output),
                "when": tuple(each for each in when if each),
                "guards": tuple(each for each in guards if each),
                "windows": () if window == Window() else (window,),
                "never_with": tuple(output_of(place) for place in form.never_with),
                "limits": {
                    "longest_on_min": form.longest,
                    "pause_min": form.pause,
                    "runs_a_day": form.runs,
                    "minutes_a_day": form.minutes,
                    "litres_a_day": form.litres,
                    "litres_a_min": form.litres_min,
                },
            },
            Rule,
        )
        check_rule(rule)
    except (msgspec.ValidationError, RuleError) as error:
        raise ActionError(400, "invalid", str(error)) from error
    return rule


def form_of(stored: StoredRule) -> EnterRule | None:
    """Return a stored rule as its form; None for what the form cannot hold."""
    rule = stored.rule
    if rule is None or len(rule.when) > _PAIR or len(rule.guards) > _PAIR or len(rule.windows) > 1:
        return None
    fields: dict[str, object] = {}
    for kind, conditions in (("when", rule.when), ("guard", rule.guards)):
        for number, each in enumerate(conditions, start=1):
            source = each.source
            device = f"{PLOT}{source.plot}" if source.plot else source.device
            fields |= {
                f"{kind}{number}_place": f"{device}|{source.point}",
                f"{kind}{number}_test": each.test,
                f"{kind}{number}_value": str(each.value),
                f"{kind}{number}_back": each.back,
            }
            if kind == "when":
                fields[f"when{number}_for"] = each.for_min
    for window in rule.windows:
        fields |= {
            "days": window.days,
            "starts": window.starts,
            "ends": window.ends,
            "season_from": window.season_from,
            "season_to": window.season_to,
        }
    limits = rule.limits
    return EnterRule(
        rule=stored.name,
        plot=stored.plot,
        name=rule.name,
        output=place_of(rule.output),
        never_with=tuple(place_of(each) for each in rule.never_with),
        longest=limits.longest_on_min,
        pause=limits.pause_min,
        runs=limits.runs_a_day,
        minutes=limits.minutes_a_day,
        litres=limits.litres_a_day,
        litres_min=limits.litres_a_min,
        **fields,  # type: ignore[arg-type] # named as the form's own fields
    )


def _condition(
    place: str | None, test: Test, value: str | None, back: float | None, for_min: float
) -> Condition | None:
    if place is None:
        return None
    if value is None:
        raise ActionError(400, "invalid", f"{place}: give the value to compare with")
    device, _, point = place.rpartition("|")
    source = Source(point=point, device=device)
    if device.startswith(PLOT):
        source = Source(point=point, plot=device.removeprefix(PLOT))
    limit: float | str = value
    if test != "is":
        try:
            limit = float(value)
        except ValueError as error:
            raise ActionError(400, "invalid", f"{value} is no number") from error
        if not isfinite(limit):
            raise ActionError(400, "invalid", f"{value} is no number")
    return Condition(
        source=source,
        test=test,
        value=limit,
        back=None if test == "is" else back,
        for_min=for_min,
    )
