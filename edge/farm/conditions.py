"""Whether a rule's conditions hold: hysteresis, time on end, and what cannot be relied on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean

from drivers.entities import Quality
from edge.farm.rule import Condition, Rule, Source, is_within
from edge.farm.world import Sample, World

Facts = Mapping[str, str | float]


class Because(StrEnum):
    """Why something is decided; the pages have a sentence for each, filled with the facts."""

    CONDITIONS = "conditions"  # every condition holds
    SCHEDULE = "schedule"  # its time has come; it has no conditions
    NOT_MET = "not_met"
    REACHED = "reached"  # a condition that held has come to its end
    WAITING = "waiting"  # it holds, and not yet for long enough
    DOUBT = "doubt"  # a reading is bad, uncertain, old or missing
    GUARD = "guard"
    WINDOW = "window"
    CLOCK = "clock"  # the time of day is not known
    LIMIT_RUNS = "limit_runs"
    LIMIT_TIME = "limit_time"
    LONGEST = "longest"
    PAUSE = "pause"
    INTERLOCK = "interlock"
    UNSEEN = "unseen"  # nobody knows whether the output is on
    OTHER_HAND = "other_hand"
    FAILED = "failed"
    HAND_ON = "hand_on"
    HAND_OFF = "hand_off"
    HAND_OVER = "hand_over"
    NO_RULE = "no_rule"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something may be on, and why."""

    holds: bool
    because: Because
    facts: Facts = field(default_factory=dict)


@dataclass(slots=True)
class _Latch:
    """One condition's memory: whether it held, and since when it was true."""

    is_met: bool = False
    true_since_s: float | None = None


class Conditions:
    """Judges one rule's conditions look by look."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._latches = [_Latch() for _ in rule.conditions]
        self._looked_s: float | None = None

    def judge(self, world: World) -> tuple[Verdict, Verdict]:
        """Return whether the rule wants its output on, and whether its guards allow that."""
        rule, now_s = self._rule, world.mono_s
        if self._looked_s is not None and now_s - self._looked_s > rule.stale_s:
            # Nobody watched meanwhile: what was true "on end" was not seen to be.
            self._latches = [_Latch() for _ in rule.conditions]
        self._looked_s = now_s
        verdicts = [
            _judge(condition, latch, read_source(condition.source, world), rule.stale_s, now_s)
            for condition, latch in zip(rule.conditions, self._latches, strict=True)
        ]
        when, guards = verdicts[: len(rule.when)], verdicts[len(rule.when) :]
        return self._wish(when, world), _allowed(guards)

    def _wish(self, when: list[Verdict], world: World) -> Verdict:
        for verdict in when:
            if verdict.because is Because.DOUBT:
                return verdict
        if self._rule.windows:
            if world.moment is None:
                return Verdict(False, Because.CLOCK)
            moment, days = world.moment, world.school_days
            if not any(is_within(window, moment, days) for window in self._rule.windows):
                return Verdict(False, Because.WINDOW, {"clock": f"{moment:%H:%M}"})
        for verdict in when:
            if not verdict.holds:
                return verdict
        if when:
            return Verdict(True, Because.CONDITIONS, when[0].facts)
        return Verdict(True, Because.SCHEDULE)


def _allowed(guards: list[Verdict]) -> Verdict:
    for verdict in guards:
        if verdict.because is Because.DOUBT:
            return verdict
        # Not waiting either: a guard that begins to hold is watched, not yet in force.
        if verdict.holds:
            return Verdict(False, Because.GUARD, verdict.facts)
    return Verdict(True, Because.CONDITIONS)


def read_source(source: Source, world: World) -> Sample | None:
    """Return one sample for a source: of several devices the mean, the worst quality, the age."""
    samples = world.samples.get(source, ())
    if not samples or any(sample is None for sample in samples):
        return None
    known = [sample for sample in samples if sample is not None]
    qualities = [sample.quality for sample in known]
    values = [sample.value for sample in known]
    quality = max(qualities, key=list(Quality).index)
    numbers = [value for value in values if isinstance(value, float | int)]
    value = fmean(numbers) if len(numbers) == len(values) else values[0]
    if isinstance(value, str) and len(set(values)) > 1:
        value, quality = None, Quality.BAD
    return Sample(value=value, quality=quality, age_s=max(sample.age_s for sample in known))


def _judge(
    condition: Condition, latch: _Latch, sample: Sample | None, stale_s: int, now_s: float
) -> Verdict:
    facts: dict[str, str | float] = {"point": condition.source.point}
    doubt = _doubt(condition, sample, stale_s)
    if doubt or sample is None or sample.value is None:
        latch.is_met, latch.true_since_s = False, None
        facts["how"] = doubt
        if sample is not None and doubt == "old":
            facts["age_s"] = round(sample.age_s)
        return Verdict(False, Because.DOUBT, facts)
    value = sample.value
    facts |= {
        "value": round(value, 3) if isinstance(value, float | int) else value,
        "test": condition.test,
        "limit": condition.value,
    }
    if latch.is_met and _is_past(condition, value):
        latch.is_met, latch.true_since_s = False, None
        facts["limit"] = condition.value if condition.back is None else condition.back
        return Verdict(False, Because.REACHED, facts)
    if not latch.is_met:
        if not _is_true(condition, value):
            latch.true_since_s = None
            return Verdict(False, Because.NOT_MET, facts)
        if latch.true_since_s is None:
            latch.true_since_s = now_s
        if now_s - latch.true_since_s < condition.for_min * 60:
            facts["for_min"] = condition.for_min
            return Verdict(False, Because.WAITING, facts)
        latch.is_met = True
    if not _is_true(condition, value) and condition.back is not None:
        facts["limit"] = condition.back  # between the two, it holds by the second
    return Verdict(True, Because.CONDITIONS, facts)


def _doubt(condition: Condition, sample: Sample | None, stale_s: int) -> str:
    """Return in one word why a sample cannot be relied on, empty when it can."""
    if sample is None:
        return "missing"
    if sample.quality is not Quality.GOOD:
        return sample.quality.value
    if sample.age_s > stale_s:
        return "old"
    if isinstance(sample.value, str) != (condition.test == "is"):
        return "bad"
    return ""


def _is_true(condition: Condition, value: float | str) -> bool:
    if isinstance(value, str) or isinstance(condition.value, str):
        return value == condition.value
    return value < condition.value if condition.test == "below" else value > condition.value


def _is_past(condition: Condition, value: float | str) -> bool:
    """Tell whether a condition that held has come to its end."""
    if isinstance(value, str) or isinstance(condition.value, str):
        return value != condition.value
    back = condition.value if condition.back is None else condition.back
    return value >= back if condition.test == "below" else value <= back
