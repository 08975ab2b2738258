"""A paired-plot experiment (对比实验): what is compared day by day, and a table to take along."""

import csv
import io
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from edge.attendance.register import day_of
from edge.farm.comparison import Comparison, compare
from edge.farm.farm_rows import DAY_MS, Plot
from edge.farm.series import Bucket, Key, merge, read_series, spread
from sync.logs.oplog import Row

EXPERIMENTS_MAX = 64
DAYS_MAX = 366
COVERED_MIN_MS = DAY_MS // 2
"""A day counts when half of it is known of both plots."""
HEIGHTS_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Two plots that differ in ``factor``; ``points`` are compared within [from, until)."""

    experiment: str
    title: str
    factor: str
    hypothesis: str
    plot_a: str
    plot_b: str
    points: tuple[str, ...]
    class_group: str
    from_ms: int
    until_ms: int
    conclusion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day of one point (or of plants' heights): what is known of either plot."""

    day: str
    a: Bucket | None
    b: Bucket | None

    @property
    def is_pair(self) -> bool:
        return all(each and each.covered_ms >= COVERED_MIN_MS for each in (self.a, self.b))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One point of both plots; heights have the point ``height``, in cm."""

    point: str
    unit: str
    days: tuple[Day, ...]
    comparison: Comparison


def experiment_row(experiment: Experiment) -> Row:
    return {
        "experiment": experiment.experiment,
        "title": experiment.title,
        "factor": experiment.factor,
        "hypothesis": experiment.hypothesis or None,
        "plot_a": experiment.plot_a,
        "plot_b": experiment.plot_b,
        "points": " ".join(experiment.points),
        "class_group": experiment.class_group or None,
        "from_ms": experiment.from_ms,
        "until_ms": experiment.until_ms,
        "conclusion": experiment.conclusion or None,
    }


def read_experiments(connection: sqlite3.Connection, school: int) -> list[Experiment]:
    """Return the school's experiments, the latest first."""
    rows = connection.execute(
        "SELECT experiment, title, factor, hypothesis, plot_a, plot_b, points, class_group,"
        " from_ms, until_ms, conclusion FROM farm_experiment WHERE school = ? AND deleted = 0"
        " AND from_ms < until_ms ORDER BY from_ms DESC, experiment LIMIT ?",
        (school, EXPERIMENTS_MAX),
    )
    return [
        Experiment(
            experiment=row[0],
            title=row[1] or row[0],
            factor=row[2] or "",
            hypothesis=row[3] or "",
            plot_a=row[4] or "",
            plot_b=row[5] or "",
            points=tuple((row[6] or "").split()),
            class_group=row[7] or "",
            from_ms=row[8],
            until_ms=row[9],
            conclusion=row[10] or "",
        )
        for row in rows
    ]


def measure(
    connection: sqlite3.Connection,
    school: int,
    experiment: Experiment,
    plots: Mapping[str, Plot],
    units: Mapping[Key, str],
    *,
    zone: tzinfo,
    now_ms: int,
) -> list[Measured]:
    """Compare every point of an experiment up to now, and the heights of the grow log.

    ``units`` has every device's points that tell numbers.
    """
    edges = day_edges(experiment.from_ms, min(experiment.until_ms, now_ms), zone)
    sides = [
        plots[plot].devices if plot in plots else ()
        for plot in (experiment.plot_a, experiment.plot_b)
    ]
    keys = [
        [key for key in units if key[0] in devices and key[1] in experiment.points]
        for devices in sides
    ]
    series = read_series(
        connection, school, [*keys[0], *keys[1]], from_ms=edges[0], until_ms=edges[-1]
    )
    buckets = {key: spread(found, edges, now_ms=now_ms) for key, found in series.items()}
    measured = [
        _measured(
            point,
            next((units[key] for key in keys[0] + keys[1] if key[1] == point), ""),
            [
                merge({key: buckets[key] for key in side if key[1] == point})
                or [None] * (len(edges) - 1)
                for side in keys
            ],
            edges,
            zone,
        )
        for point in experiment.points
    ]
    heights = [
        _heights(connection, school, plot, edges) for plot in (experiment.plot_a, experiment.plot_b)
    ]
    if any(heights[0]) or any(heights[1]):
        measured.append(_measured("height", "cm", heights, edges, zone))
    return measured


def day_edges(from_ms: int, until_ms: int, zone: tzinfo) -> list[int]:
    """Return the midnights around the days that [from, until) touches: one, up to DAYS_MAX."""
    first = datetime.fromtimestamp(from_ms / 1_000, zone).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    edges = [first]
    while len(edges) <= DAYS_MAX and (len(edges) == 1 or edges[-1].timestamp() * 1_000 < until_ms):
        edges.append(edges[-1] + timedelta(days=1))
    return [int(edge.timestamp() * 1_000) for edge in edges]


def write_csv(measured: Sequence[Measured], heading: Sequence[str]) -> bytes:
    """Return the days as a table that a spreadsheet opens: UTF-8 with its mark, commas."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_harmless(cell) for cell in heading)
    for each in measured:
        for day in each.days:
            if day.a or day.b:
                table.writerow([day.day, each.point, each.unit, *_cells(day.a), *_cells(day.b)])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _measured(
    point: str,
    unit: str,
    sides: Sequence[Sequence[Bucket | None]],
    edges: Sequence[int],
    zone: tzinfo,
) -> Measured:
    days = tuple(
        Day(day=day_of(at_ms, zone), a=a, b=b) for at_ms, a, b in zip(edges, *sides, strict=False)
    )
    pairs = [(day.a.mean, day.b.mean) for day in days if day.is_pair and day.a and day.b]
    return Measured(point=point, unit=unit, days=days, comparison=compare(pairs))


def _heights(
    connection: sqlite3.Connection, school: int, plot: str, edges: Sequence[int]
) -> list[Bucket | None]:
    """Return a plot's measured heights by day, in cm; a day's heights stand for the whole day."""
    rows = connection.execute(
        "SELECT at_ms, height_mm FROM grow_log WHERE school = ? AND at_ms >= ? AND at_ms < ?"
        " AND plot = ? AND height_mm IS NOT NULL ORDER BY at_ms LIMIT ?",
        (school, edges[0], edges[-1], plot, HEIGHTS_MAX),
    ).fetchall()
    found: list[Bucket | None] = []
    for from_ms, until_ms in pairwise(edges):
        heights = [row[1] / 10 for row in rows if from_ms <= row[0] < until_ms]
        found.append(
            Bucket(
                from_ms,
                until_ms,
                min(heights),
                max(heights),
                sum(heights) / len(heights),
                until_ms - from_ms,
            )
            if heights
            else None
        )
    return found


def _cells(bucket: Bucket | None) -> list[object]:
    if bucket is None:
        return ["", "", "", ""]
    values = (bucket.mean, bucket.low, bucket.high, bucket.covered_ms / 3_600_000)
    return [round(value, 3) for value in values]


def _harmless(cell: str) -> str:
    """Keep a text from being a formula (CWE-1236)."""
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell
