"""Recorded readings over time, compared and drawn."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.farm.chart import BUCKETS, HEIGHT, WIDTH, draw, even_edges, time_ticks, value_ticks
from edge.farm.comparison import PAIRS_MIN, Finding, compare, t_quantile
from edge.farm.experiment import Experiment, day_edges, measure, write_csv
from edge.farm.farm_rows import DAY_MS, Plot
from edge.farm.series import HELD_MS, Bucket, Reading, merge, read_series, spread
from tests.edge.farm.readings import record_readings
from tests.edge.farm.rules import MONDAY, ZONE
from tests.edge.pages.simulated_box import SCHOOL, SimulatedBox

START_MS = int(MONDAY.replace(hour=0).timestamp() * 1_000)
MINUTE = 60_000
# Cushny and Peebles 1905, as Student 1908 printed it: hours of sleep gained by two drugs.
SLEEP = [
    (1.9, 0.7), (0.8, -1.6), (1.1, -0.2), (0.1, -1.2), (-0.1, -0.1),
    (4.4, 3.4), (5.5, 3.7), (1.6, 0.8), (4.6, 0.0), (3.4, 2.0),
]  # fmt: skip


def test_a_value_holds_until_the_next_and_not_for_ever() -> None:
    readings = [Reading(0, 10.0), Reading(10 * MINUTE, 20.0), Reading(15 * MINUTE, None)]
    (bucket,) = spread(readings, [0, 60 * MINUTE], now_ms=DAY_MS)
    assert bucket is not None
    assert (bucket.low, bucket.high, bucket.covered_ms) == (10, 20, 15 * MINUTE)
    assert bucket.mean == pytest.approx((10 * 10 + 20 * 5) / 15)
    assert spread([Reading(0, 1.0)], [HELD_MS, 2 * HELD_MS], now_ms=DAY_MS) == [None]


def test_the_future_is_not_known() -> None:
    (bucket, none) = spread([Reading(0, 5.0)], [0, MINUTE, 2 * MINUTE], now_ms=MINUTE // 2)
    assert bucket is not None
    assert bucket.covered_ms == MINUTE // 2
    assert none is None


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.none() | st.floats(-50, 50)),
        max_size=40,
        unique_by=lambda p: p[0],
    ),
    st.integers(1, 30),
)
def test_every_bucket_lies_within_what_was_recorded(
    recorded: list[tuple[int, float | None]], count: int
) -> None:
    readings = [Reading(minute * MINUTE, value) for minute, value in sorted(recorded)]
    edges = even_edges(0, 500 * MINUTE, count)
    buckets = spread(readings, edges, now_ms=500 * MINUTE)
    assert len(buckets) == count
    good = [reading.value for reading in readings if reading.value is not None]
    for (from_ms, until_ms), bucket in zip(pairwise(edges), buckets, strict=True):
        if bucket is not None:
            assert min(good) <= bucket.low <= bucket.high <= max(good)
            assert bucket.low - 1e-9 <= bucket.mean <= bucket.high + 1e-9
            assert 0 < bucket.covered_ms <= until_ms - from_ms


def test_probes_of_a_plot_become_one_where_any_is_known() -> None:
    first, second = Bucket(0, 1, 1, 3, 2, 1), Bucket(0, 1, 5, 9, 6, 1)
    merged = merge({("a", "p"): [first, None, None], ("b", "p"): [second, second, None]})
    assert merged == [Bucket(0, 1, 1, 9, 4, 1), second, None]


def test_the_paired_difference_is_students_own() -> None:
    found = compare(SLEEP)
    assert found.difference == pytest.approx(1.58)
    assert found.low == pytest.approx(0.70, abs=0.005)
    assert found.high == pytest.approx(2.46, abs=0.005)
    assert found.finding is Finding.A_MORE
    assert compare([(b, a) for a, b in SLEEP]).finding is Finding.B_MORE


def test_too_few_days_are_said_to_be_too_few() -> None:
    assert compare([]).finding is Finding.TOO_FEW
    few = compare(SLEEP[: PAIRS_MIN - 1])
    assert (few.finding, few.low) == (Finding.TOO_FEW, None)
    assert few.mean_a == pytest.approx(0.975)
    assert compare([*SLEEP[:4], (0.0, 5.0)]).finding is Finding.UNDECIDED
    assert t_quantile(500) == t_quantile(30)


@given(st.integers(-(10**8), 10**8), st.integers(0, 10**8))
def test_ticks_are_round_and_enclose_what_is_drawn(hundredths: int, span: int) -> None:
    low, high = hundredths / 100, (hundredths + span) / 100
    ticks = value_ticks(low, high)
    assert ticks[0] <= low
    assert high <= ticks[-1]
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)


def test_a_gap_is_a_gap_and_everything_lies_within_the_picture() -> None:
    edges = even_edges(0, DAY_MS)
    readings = [Reading(at * MINUTE, at % 7 + 20.0) for at in range(0, 600, 5)]
    readings += [Reading(600 * MINUTE, None), Reading(1_000 * MINUTE, 22.0)]
    chart = draw(
        [("a", spread(readings, edges, now_ms=DAY_MS))], "%", from_ms=0, until_ms=DAY_MS, zone=ZONE
    )
    (line,) = chart.lines
    assert len(line.paths) == len(line.bands) == 2
    for path in (*line.paths, *line.bands):
        for point in path.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert len(chart.columns) >= 3
    assert not draw([("a", [None] * BUCKETS)], "", from_ms=0, until_ms=1, zone=ZONE).lines[0].paths


def test_moments_are_those_of_the_schools_clock() -> None:
    ticks, is_by_day = time_ticks(START_MS, START_MS + DAY_MS, ZONE)
    assert ticks[0] == START_MS
    assert not is_by_day
    ticks, is_by_day = time_ticks(START_MS + 1, START_MS + 14 * DAY_MS, ZONE)
    assert is_by_day
    assert all((tick - START_MS) % DAY_MS == 0 for tick in ticks)


def record(box: SimulatedBox, device: str, values: dict[int, float], hours: int = 24) -> None:
    quarters = [
        (START_MS + day * DAY_MS + quarter * 15 * MINUTE, value)
        for day, value in values.items()
        for quarter in range(hours * 4)
    ]
    record_readings(box, device, "soil_moisture", quarters)


EXPERIMENT = Experiment(
    experiment="e1",
    title="=SUM(1)",
    factor="watering",
    hypothesis="",
    plot_a="a",
    plot_b="b",
    points=("soil_moisture",),
    class_group="",
    from_ms=START_MS,
    until_ms=START_MS + 8 * DAY_MS,
)


def test_an_experiment_compares_days_that_both_plots_know(tmp_path: Path) -> None:
    box = SimulatedBox(tmp_path / "box.sqlite")
    record(box, "probe-a", {day: 30.0 + day for day in range(6)})
    record(box, "probe-b", {day: 25.0 + day for day in range(5)})
    record(box, "probe-b", {5: 1.0}, hours=3)  # not half a day
    for day, plot, height in ((1, "a", 120), (1, "a", 100), (1, "b", 90)):
        box.insert(
            "grow_log", at_ms=START_MS + day * DAY_MS + 7, plot=plot, height_mm=height, entry="x"
        )
    plots = {
        name: Plot(plot=name, name=name, crop="", class_group="", devices=(f"probe-{name}",))
        for name in ("a", "b")
    }
    units = {(f"probe-{name}", "soil_moisture"): "%" for name in plots}
    with box.connect() as connection:
        moisture, heights = measure(
            connection,
            SCHOOL,
            EXPERIMENT,
            plots,
            units,
            zone=ZONE,
            now_ms=START_MS + 7 * DAY_MS,
        )
    assert [day.is_pair for day in moisture.days] == [True] * 5 + [False] * 2
    assert moisture.comparison.difference == pytest.approx(5)
    assert moisture.comparison.finding is Finding.A_MORE
    assert heights.point == "height"
    assert heights.days[1].a == Bucket(START_MS + DAY_MS, START_MS + 2 * DAY_MS, 10, 12, 11, DAY_MS)
    assert heights.comparison.finding is Finding.TOO_FEW
    text = write_csv([moisture, heights], ["=SUM(1)", "day"]).decode("utf-8-sig")
    assert text.splitlines()[0] == "'=SUM(1),day"
    assert (
        text.splitlines()[1] == "2026-11-23,soil_moisture,%,30.0,30.0,30.0,24.0,25.0,25.0,25.0,24.0"
    )


def test_edges_are_midnights() -> None:
    edges = day_edges(START_MS + 5, START_MS + DAY_MS + 1, ZONE)
    assert edges == [START_MS, START_MS + DAY_MS, START_MS + 2 * DAY_MS]
    assert len(day_edges(START_MS, START_MS - DAY_MS, ZONE)) == 2
    assert len(day_edges(START_MS, START_MS + 9_000 * DAY_MS, ZONE)) == 367


def test_only_what_is_asked_for_is_read_and_what_is_doubtful_is_none(tmp_path: Path) -> None:
    box = SimulatedBox(tmp_path / "box.sqlite")
    for at, quality in ((-1, "good"), (0, "good"), (1, "uncertain"), (2, "bad")):
        box.insert(
            "reading", at_ms=START_MS + at, device="d", point="p", value=1.5, quality=quality
        )
    box.insert("reading", at_ms=START_MS, device="d", point="other", value=1.0, quality="good")
    with box.connect() as connection:
        found = read_series(
            connection, SCHOOL, [("d", "p")], from_ms=START_MS, until_ms=START_MS + 2
        )
    values = [(reading.at_ms - START_MS, reading.value) for reading in found["d", "p"]]
    assert values == [(-1, 1.5), (0, 1.5), (1, None)]
    assert timedelta(milliseconds=HELD_MS) > timedelta(minutes=15)
