"""Figures as Prometheus reads them: the text exposition format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/. No label's value comes from outside:
series are bounded by the lanes, groups and states that the code knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SERIES_MAX = 2000
"""A program that would show more is wrong: to write them out blocks its event loop."""


class FamilyKind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Sample:
    """``value`` None is left out: a figure that is not known is not 0."""

    value: float | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its series; ``name`` ends in its unit, a counter's in ``_total``."""

    name: str
    told: str
    samples: Sequence[Sample]
    kind: FamilyKind = FamilyKind.GAUGE


def one(name: str, told: str, value: float | None) -> Family:
    """Return a gauge without labels."""
    return Family(name, told, [Sample(value, {})])


def count(name: str, told: str, value: float) -> Family:
    """Return a counter without labels."""
    return Family(name, told, [Sample(value, {})], FamilyKind.COUNTER)


def labelled(name: str, told: str, label: str, values: Mapping[str, float | None]) -> Family:
    """Return a gauge with a series for each value of one label."""
    return Family(name, told, [Sample(value, {label: each}) for each, value in values.items()])


def seconds(at_ms: int | None) -> float | None:
    """Return a moment or span in Prometheus's unit."""
    return None if at_ms is None else at_ms / 1000


def expose(families: Iterable[Family]) -> bytes:
    """Write families out; one without a known value is left out."""
    lines: list[str] = []
    series = 0
    for family in families:
        known = [sample for sample in family.samples if sample.value is not None]
        if not known:
            continue
        series += len(known)
        lines += [f"# HELP {family.name} {family.told}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(sample.labels)} {sample.value!r}" for sample in known]
    assert series < SERIES_MAX, "series are bounded by what the code knows"
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{shown}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
