"""Charts as plain geometry, which a template writes as SVG: lines, bands, ticks, gaps as gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from math import ceil, floor, log10

from edge.farm.series import Bucket

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 30
BUCKETS = 240
_TICKS_X = 7
_TICKS_Y = 5
_HOUR_S, _DAY_S = 3_600, 86_400
_STEPS_S = (
    _HOUR_S, 3 * _HOUR_S, 6 * _HOUR_S, 12 * _HOUR_S,
    _DAY_S, 2 * _DAY_S, 7 * _DAY_S, 14 * _DAY_S, 30 * _DAY_S, 90 * _DAY_S,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points of SVG polylines and polygons, one for each run without a gap.

    ``dots`` are runs of one span only.
    """

    label: str
    paths: tuple[str, ...]
    bands: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """``rows`` are ticks of values, ``columns`` of time: a place, and a value or a moment (ms)."""

    unit: str
    lines: tuple[Line, ...]
    rows: tuple[tuple[float, float], ...]
    columns: tuple[tuple[float, int], ...]
    is_by_day: bool
    is_empty: bool


def even_edges(from_ms: int, until_ms: int, count: int = BUCKETS) -> list[int]:
    """Return the edges of ``count`` equal spans, of a second at least."""
    span_ms = max(until_ms - from_ms, count * 1_000)
    return [from_ms + span_ms * place // count for place in range(count + 1)]


def draw(
    named: Sequence[tuple[str, Sequence[Bucket | None]]],
    unit: str,
    *,
    from_ms: int,
    until_ms: int,
    zone: tzinfo,
) -> Chart:
    """Draw series of one unit over [from, until)."""
    known = [bucket for _, buckets in named for bucket in buckets if bucket]
    low = min((bucket.low for bucket in known), default=0.0)
    high = max((bucket.high for bucket in known), default=1.0)
    rows = value_ticks(low, high)
    low, high = min(low, rows[0]), max(high, rows[-1])

    def place_x(at_ms: float) -> float:
        share = (at_ms - from_ms) / max(1, until_ms - from_ms)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def place_y(value: float) -> float:
        share = (value - low) / ((high - low) or 1)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for label, buckets in named:
        paths, bands, dots = [], [], []
        for run in _runs(buckets):
            middles = [place_x((each.from_ms + each.until_ms) / 2) for each in run]
            if len(run) == 1:
                dots.append((middles[0], place_y(run[0].mean)))
            paths.append(_points(middles, [place_y(each.mean) for each in run]))
            tops = [place_y(each.high) for each in run]
            bottoms = [place_y(each.low) for each in run]
            bands.append(_points([*middles, *middles[::-1]], [*tops, *bottoms[::-1]]))
        lines.append(Line(label=label, paths=tuple(paths), bands=tuple(bands), dots=tuple(dots)))
    columns, is_by_day = time_ticks(from_ms, until_ms, zone)
    return Chart(
        unit=unit,
        lines=tuple(lines),
        rows=tuple((place_y(value), value) for value in rows),
        columns=tuple((place_x(at_ms), at_ms) for at_ms in columns),
        is_by_day=is_by_day,
        is_empty=not known,
    )


def value_ticks(low: float, high: float) -> list[float]:
    """Return round numbers that enclose [low, high], about five."""
    span = high - low or max(abs(high), 1.0)
    size = 10 ** floor(log10(span / _TICKS_Y))
    step = next(size * each for each in (1, 2, 5, 10) if span / (size * each) <= _TICKS_Y)
    first, last = floor(low / step), ceil(high / step)
    digits = max(0, -floor(log10(step)))
    return [round(place * step, digits) for place in range(first, max(last, first + 1) + 1)]


def time_ticks(from_ms: int, until_ms: int, zone: tzinfo) -> tuple[list[int], bool]:
    """Return round moments of the school's clock in [from, until), and whether they are days."""
    span_s = (until_ms - from_ms) / 1_000
    step_s = next((each for each in _STEPS_S if span_s / each <= _TICKS_X), _STEPS_S[-1])
    midnight = datetime.fromtimestamp(from_ms / 1_000, zone).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    ticks = []
    at = midnight
    while at.timestamp() * 1_000 < until_ms:
        if at.timestamp() * 1_000 >= from_ms:
            ticks.append(int(at.timestamp() * 1_000))
        at += timedelta(seconds=step_s)
    return ticks, step_s >= _DAY_S


def _runs(buckets: Sequence[Bucket | None]) -> list[list[Bucket]]:
    """Return what follows each other without a gap."""
    known = [bucket for bucket in buckets if bucket]
    runs = [known[:1]] if known else []
    for before, bucket in pairwise(known):
        if before.until_ms == bucket.from_ms:
            runs[-1].append(bucket)
        else:
            runs.append([bucket])
    return runs


def _points(xs: Sequence[float], ys: Sequence[float]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True))
