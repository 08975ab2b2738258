"""The language of farm rules: data that a form writes and the engine reads, never code.

A rule drives one output (a command of a device that has an interlock) while all its conditions
hold, within its windows. Its guards and interlocks protect the output whoever wants it on.
"""

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta, Struct

RuleId = NewType("RuleId", str)

RULE_BYTES_MAX = 4_096
CONDITIONS_MAX = 4
LONGEST_MIN_MAX = 240
DAY_MIN = 24 * 60

Text = Annotated[str, Meta(max_length=256)]
Named = Annotated[str, Meta(min_length=1, max_length=80)]
Clock = Annotated[str, Meta(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]\Z")]
MonthDay = Annotated[str, Meta(pattern=r"\A((0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?\Z")]
Minutes = Annotated[float, Meta(ge=0, le=DAY_MIN)]


class RuleError(ValueError):
    """A rule says something that cannot be, or that nobody could rely on."""


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is read: a point of one device, or of all devices of a plot (their mean)."""

    point: Annotated[str, Meta(min_length=1, max_length=64)]
    device: Text = ""
    plot: Text = ""


class Condition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reading below or above ``value``, or being a word, for ``for_min`` minutes on end.

    A number's condition then holds until the reading is past ``back``: the hysteresis.
    """

    source: Source
    test: Literal["below", "above", "is"]
    value: float | Annotated[str, Meta(max_length=32)]
    back: float | None = None
    for_min: Minutes = 0


class Window(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Times of the school's clock; one that ends at or before its start ends on the next day.

    Days are those on which it starts. A season is from one day of the year to another, both
    included, over New Year if need be; empty is the whole year.
    """

    days: Literal["every_day", "school_days", "free_days"] = "every_day"
    starts: Clock = "00:00"
    ends: Clock = "00:00"
    season_from: MonthDay = ""
    season_to: MonthDay = ""


class Output(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, order=True):
    """What is switched: a device's command."""

    device: Annotated[str, Meta(min_length=1, max_length=256)]
    command: Annotated[str, Meta(min_length=1, max_length=64)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is enough; a day is the school's. Litres are counted by the time on."""

    longest_on_min: Annotated[float, Meta(gt=0, le=LONGEST_MIN_MAX)] = 30
    pause_min: Minutes = 5
    runs_a_day: Annotated[int, Meta(ge=1, le=500)] | None = None
    minutes_a_day: Annotated[float, Meta(gt=0, le=DAY_MIN)] | None = None
    litres_a_day: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    litres_a_min: Annotated[float, Meta(gt=0, le=1_000)] | None = None

    @property
    def seconds_a_day(self) -> float:
        """The time on that minutes and litres together allow."""
        allowed = [] if self.minutes_a_day is None else [self.minutes_a_day * 60]
        if self.litres_a_day is not None and self.litres_a_min is not None:
            allowed.append(self.litres_a_day / self.litres_a_min * 60)
        return min(allowed, default=math.inf)


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule. A reading older than ``stale_s`` counts as none."""

    version: Literal[1] = 1
    name: Named
    output: Output
    when: Annotated[tuple[Condition, ...], Meta(max_length=CONDITIONS_MAX)] = ()
    guards: Annotated[tuple[Condition, ...], Meta(max_length=CONDITIONS_MAX)] = ()
    windows: Annotated[tuple[Window, ...], Meta(max_length=4)] = ()
    never_with: Annotated[tuple[Output, ...], Meta(max_length=8)] = ()
    limits: Limits = Limits()
    stale_s: Annotated[int, Meta(ge=10, le=3_600)] = 120

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self.when + self.guards


def read_rule(text: str | bytes) -> Rule:
    """Return a checked rule; RuleError names what is wrong with it."""
    content = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if len(content) > RULE_BYTES_MAX:
        raise RuleError(f"the rule has {len(content)} bytes; {RULE_BYTES_MAX} are the most")
    try:
        rule = msgspec.json.decode(content, type=Rule)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RuleError(f"the rule cannot be read: {error}") from error
    check_rule(rule)
    return rule


def write_rule(rule: Rule) -> str:
    """Return a rule as it is stored."""
    return msgspec.json.encode(rule).decode()


def check_rule(rule: Rule) -> None:
    """Raise RuleError for a rule of the right shape that makes no sense."""
    for problem in _problems(rule):
        raise RuleError(problem)


def _problems(rule: Rule) -> Iterator[str]:
    if not rule.when and not rule.windows:
        yield "it would be on for ever: give it a condition or a time window"
    for condition in rule.conditions:
        yield from _problems_of(condition)
    for window in rule.windows:
        if bool(window.season_from) != bool(window.season_to):
            yield "a season has a first and a last day: give both, or none"
    if rule.output in rule.never_with:
        yield "an output cannot exclude itself; name another one"
    limits = rule.limits
    if (limits.litres_a_day is None) != (limits.litres_a_min is None):
        yield "litres are counted by the time on: give litres a day and litres a minute, or neither"


def _problems_of(condition: Condition) -> Iterator[str]:
    point, value, back = condition.source.point, condition.value, condition.back
    if bool(condition.source.device) == bool(condition.source.plot):
        yield f"{point}: name the device that measures it, or the plot"
    if condition.test == "is":
        if not isinstance(value, str) or not value or back is not None:
            yield f"{point}: “is” takes one word, like on"
    elif isinstance(value, str):
        yield f"{point}: {condition.test} takes a number, not {value!r}"
    elif back is not None and (back < value if condition.test == "below" else back > value):
        side = "above" if condition.test == "below" else "below"
        yield f"{point}: it ends at {back:g}, which must lie {side} {value:g}"


def is_within(window: Window, moment: datetime, school_days: frozenset[str]) -> bool:
    """Tell whether a local moment lies in a window; ``school_days`` are ISO dates."""
    starts, ends = time.fromisoformat(window.starts), time.fromisoformat(window.ends)
    now, day = moment.time(), moment.date()
    if starts < ends:
        return starts <= now < ends and _is_day(window, day, school_days)
    if now >= starts and _is_day(window, day, school_days):
        return True
    return now < ends and _is_day(window, day - timedelta(days=1), school_days)


def _is_day(window: Window, day: date, school_days: frozenset[str]) -> bool:
    if window.days != "every_day":
        is_school_day = day.isoformat() in school_days
        if is_school_day != (window.days == "school_days"):
            return False
    if not window.season_from:
        return True
    here = f"{day:%m-%d}"
    first, last = window.season_from, window.season_to
    return first <= here <= last if first <= last else here >= first or here <= last
