"""Recorded readings as what they mean over time: a value holds until the next one, not for ever.

A box records a value when it changes, and again every quarter of an hour; longer silence, and what
was bad or uncertain, is a gap.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

HELD_MS = 20 * 60_000
"""How long a value holds at most: a quarter of an hour, and some time to spare."""
READINGS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """``value`` is None where it cannot be relied on."""

    at_ms: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a span of time came to; the mean is by time, ``covered_ms`` how much of it is known."""

    from_ms: int
    until_ms: int
    low: float
    high: float
    mean: float
    covered_ms: int


Key = tuple[str, str]
"""A device and one of its points."""


def read_series(
    connection: sqlite3.Connection, school: int, keys: Iterable[Key], *, from_ms: int, until_ms: int
) -> dict[Key, list[Reading]]:
    """Return the readings of [from, until) and those that hold into it, in order of time."""
    wanted = set(keys)
    series: dict[Key, list[Reading]] = {key: [] for key in sorted(wanted)}
    rows = connection.execute(
        "SELECT at_ms, device, point, CASE quality WHEN 'good' THEN value END FROM reading"
        " WHERE school = ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms LIMIT ?",
        (school, from_ms - HELD_MS, until_ms, READINGS_MAX),
    )
    for at_ms, device, point, value in rows:
        if (device, point) in wanted:
            series[device, point].append(Reading(at_ms, value))
    return series


def spread(
    readings: Sequence[Reading], edges: Sequence[int], *, now_ms: int
) -> list[Bucket | None]:
    """Return what each span between two edges came to, None where nothing is known of it.

    The future is not known: the latest value holds until ``now_ms`` at most.
    """
    steps = list(_steps(readings, now_ms))
    found: list[Bucket | None] = []
    first = 0
    for from_ms, until_ms in pairwise(edges):
        while first < len(steps) and steps[first][1] <= from_ms:
            first += 1
        found.append(_bucket(steps, first, from_ms, until_ms))
    return found


def merge(series: Mapping[Key, list[Bucket | None]]) -> list[Bucket | None]:
    """Return several probes of one plot as one: the mean of those known, low and high of all."""
    return [_merged([each for each in row if each]) for row in zip(*series.values(), strict=True)]


def _steps(readings: Sequence[Reading], now_ms: int) -> Iterator[tuple[int, int, float]]:
    following = [*(reading.at_ms for reading in readings[1:]), now_ms]
    for reading, next_ms in zip(readings, following, strict=False):
        end_ms = min(next_ms, reading.at_ms + HELD_MS)
        if reading.value is not None and end_ms > reading.at_ms:
            yield reading.at_ms, end_ms, reading.value


def _bucket(
    steps: Sequence[tuple[int, int, float]], first: int, from_ms: int, until_ms: int
) -> Bucket | None:
    low, high, total, covered_ms = float("inf"), float("-inf"), 0.0, 0
    for begins_ms, ends_ms, value in steps[first:]:
        if begins_ms >= until_ms:
            break
        lasted_ms = min(ends_ms, until_ms) - max(begins_ms, from_ms)
        low, high = min(low, value), max(high, value)
        total += value * lasted_ms
        covered_ms += lasted_ms
    if not covered_ms:
        return None
    return Bucket(from_ms, until_ms, low, high, total / covered_ms, covered_ms)


def _merged(known: list[Bucket]) -> Bucket | None:
    if not known:
        return None
    return Bucket(
        known[0].from_ms,
        known[0].until_ms,
        min(each.low for each in known),
        max(each.high for each in known),
        sum(each.mean for each in known) / len(known),
        min(each.covered_ms for each in known),
    )
