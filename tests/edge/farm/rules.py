"""Rules and worlds for tests of the farm."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from drivers.entities import Quality
from edge.farm.rule import Condition, Limits, Output, Rule, Source, Window
from edge.farm.world import Sample, Seen, World

ZONE = timezone(timedelta(hours=8))
PUMP = Output(device="modbus:relays", command="relay_1")
VENT = Output(device="modbus:relays", command="relay_2")
SOIL = Source(point="soil_moisture", device="modbus:soil")
TANK = Source(point="water_level", device="modbus:tank")
MONDAY = datetime(2026, 11, 23, 7, 0, tzinfo=ZONE)


def dry(below: float = 35, back: float = 45, for_min: float = 0) -> Condition:
    return Condition(source=SOIL, test="below", value=below, back=back, for_min=for_min)


def tank_empty() -> Condition:
    return Condition(source=TANK, test="below", value=10, back=20)


def watering(
    *,
    name: str = "water",
    output: Output = PUMP,
    when: tuple[Condition, ...] = (dry(),),
    guards: tuple[Condition, ...] = (),
    windows: tuple[Window, ...] = (),
    never_with: tuple[Output, ...] = (),
    limits: Limits | None = None,
) -> Rule:
    return Rule(
        name=name,
        output=output,
        when=when,
        guards=guards,
        windows=windows,
        never_with=never_with,
        limits=limits or Limits(longest_on_min=30, pause_min=0),
    )


def sample(
    value: float | str | None, quality: Quality = Quality.GOOD, age_s: float = 0.5
) -> tuple[Sample]:
    return (Sample(value=value, quality=quality, age_s=age_s),)


def world(
    mono_s: float,
    *,
    soil: float | str | None = 30,
    quality: Quality = Quality.GOOD,
    tank: float = 80,
    seen: Mapping[Output, Seen] | None = None,
    moment: datetime | None = MONDAY,
    samples: Mapping[Source, tuple[Sample | None, ...]] | None = None,
) -> World:
    return World(
        mono_s=mono_s,
        moment=moment,
        samples=samples or {SOIL: sample(soil, quality), TANK: sample(tank)},
        seen={PUMP: Seen.OFF, VENT: Seen.OFF} if seen is None else seen,
        school_days=frozenset({"2026-11-23"}),
    )
