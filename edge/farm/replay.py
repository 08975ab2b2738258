"""What a rule would have done: the same engine over recorded readings, and an output that obeys."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import msgspec

from drivers.entities import Quality
from edge.farm.engine import Decision, Engine
from edge.farm.rule import Condition, Rule, RuleId, Source
from edge.farm.series import HELD_MS, Key, Reading
from edge.farm.world import Sample, Seen, World

DAYS_MAX = 7
STEP_OFF_MS = 60_000
STEP_ON_MS = 5_000
DECISIONS_MAX = 200
_RULE = RuleId("rule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """``left_out`` are points whose past nobody recorded: words, such as a switch's on or off."""

    decisions: tuple[tuple[int, Decision], ...]
    on_s: float
    runs: int
    left_out: tuple[str, ...]


def replay(
    rule: Rule,
    devices: Mapping[Source, Sequence[str]],
    series: Mapping[Key, Sequence[Reading]],
    *,
    span_ms: tuple[int, int],
    zone: tzinfo,
    school_days: frozenset[str],
) -> Replay:
    """Let a rule look at recorded time.

    Guards that read words, and interlocks, are taken to allow it; without its conditions' past a
    rule does nothing.
    """
    left_out = tuple(c.source.point for c in rule.conditions if c.test == "is")
    kept = msgspec.structs.replace(
        rule, guards=tuple(c for c in rule.guards if c.test != "is"), never_with=()
    )
    engine = Engine()
    engine.set_rules({_RULE: kept})
    record = _Record(series)
    decisions: list[tuple[int, Decision]] = []
    at_ms, on_ms, runs = span_ms[0], 0, 0
    while at_ms < span_ms[1]:
        is_on = engine.is_told_on(rule.output)
        world = World(
            mono_s=at_ms / 1_000,
            moment=datetime.fromtimestamp(at_ms / 1_000, zone),
            samples={c.source: record.samples(c, devices, at_ms) for c in kept.conditions},
            seen={rule.output: Seen.ON if is_on else Seen.OFF},
            school_days=school_days,
        )
        for decision in engine.look(world):
            runs += decision.argument is True
            if len(decisions) < DECISIONS_MAX:
                decisions.append((at_ms, decision))
        step_ms = STEP_ON_MS if engine.is_told_on(rule.output) else STEP_OFF_MS
        on_ms += step_ms if engine.is_told_on(rule.output) else 0
        at_ms += step_ms
    return Replay(decisions=tuple(decisions), on_s=on_ms / 1_000, runs=runs, left_out=left_out)


class _Record:
    """Recorded readings by moment."""

    def __init__(self, series: Mapping[Key, Sequence[Reading]]) -> None:
        self._series = series
        self._moments = {key: [each.at_ms for each in found] for key, found in series.items()}

    def samples(
        self, condition: Condition, devices: Mapping[Source, Sequence[str]], at_ms: int
    ) -> tuple[Sample | None, ...]:
        point = condition.source.point
        return tuple(
            self._sample((device, point), at_ms) for device in devices.get(condition.source, ())
        )

    def _sample(self, key: Key, at_ms: int) -> Sample | None:
        place = bisect_right(self._moments.get(key, ()), at_ms)
        if not place:
            return None
        reading = self._series[key][place - 1]
        if at_ms - reading.at_ms > HELD_MS:
            return None
        quality = Quality.BAD if reading.value is None else Quality.GOOD
        # A value stands until the next is recorded, however long ago it was written down.
        return Sample(value=reading.value, quality=quality, age_s=0.0)
