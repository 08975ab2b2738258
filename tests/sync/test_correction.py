"""What a wrong clock wrote is put right everywhere, once the time is known."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.clock_spans import RUNS_MAX, ClockSpans, Trust
from sync.folding.correction import (
    Correction,
    apply_once,
    corrected_moments,
    correction_row,
    read_corrections,
)
from sync.schema.model import Lane
from sync.segments.columnar import Value
from sync.segments.segment import LogName
from tests.sync.district import District
from tests.sync.test_fold import deliver

BOOT = "7c1c9d0e"
TAPS = "SELECT at_ms FROM card_tap ORDER BY at_ms"
RUNNING_MS = 40_000  # since the machine started, when the node does


@pytest.fixture
def district(tmp_path: Path) -> Iterator[District]:
    made = District(tmp_path, random.Random(5), watchers=frozenset({90, 91}))
    for origin in (0, 17, 90, 91):
        made.add(origin)
    yield made
    for node in made.nodes.values():
        node.close()


def wrong_clock(district: District, wall_ms: int) -> ClockSpans:
    """Let school 17's wall clock say ``wall_ms``, unknown how right."""
    district.skew[17] = wall_ms - district.now
    spans = ClockSpans(district.nodes[17], BOOT)
    spans.begin(RUNNING_MS, wall_ms, Trust.UNKNOWN, 0)
    return spans


def tap(district: District, count: int = 3) -> list[int]:
    """Record taps by the box's clock; return when they really were."""
    really = []
    for _ in range(count):
        district.now += 1000
        at_ms = district.now + district.skew.get(17, 0)
        district.nodes[17].record("card_tap", [{"at_ms": at_ms, "device": "door"}])
        really.append(district.now)
    return really


def moments(district: District, origin: int) -> list[int]:
    return [int(str(at_ms)) for (at_ms,) in district.rows(origin, TAPS)]


def put_right(district: District, spans: ClockSpans, began: int) -> int:
    lead_ms = began - RUNNING_MS
    return spans.correct(lead_ms, "hub", district.now, district.now + district.skew[17])


def test_taps_of_1970_get_their_day_at_the_box_and_at_the_hub(district: District) -> None:
    began = district.now
    spans = wrong_clock(district, 60_000)
    really = tap(district)
    district.exchange(17)
    assert moments(district, 0) != really
    later = tap(district)
    assert put_right(district, spans, began) == 1
    district.skew[17] = 0
    now = tap(district)
    district.exchange(17)
    for origin in (17, 0):
        assert moments(district, origin) == really + later + now
    assert put_right(district, spans, began) == 0  # once


def test_rows_before_and_after_the_wrong_stretch_stay(district: District) -> None:
    before = tap(district)
    began = district.now
    spans = wrong_clock(district, 60_000)
    really = tap(district)
    spans.begin(RUNNING_MS + 9000, 60_000 + 9000, Trust.SET, 60_000 + 9000)
    # Recorded later by a clock that was right.
    district.nodes[17].record("card_tap", [{"at_ms": 70_000, "device": "gate"}])
    put_right(district, spans, began)
    district.exchange(17)
    for origin in (17, 0):
        assert moments(district, origin) == [70_000, *before, *really]


def test_a_clock_that_is_a_little_off_is_left_alone(district: District) -> None:
    began = district.now
    spans = wrong_clock(district, district.now - 60_000)
    tap(district)
    assert put_right(district, spans, began) == 0
    assert district.rows(17, "SELECT * FROM clock_correction") == []


def test_rows_that_change_clocks_all_the_time_cost_a_bounded_number(district: District) -> None:
    began = district.now
    spans = wrong_clock(district, 60_000)
    for place in range(RUNS_MAX + 5):
        tap(district, 1)
        district.nodes[17].record("card_tap", [{"at_ms": began + place, "device": "clocked"}])
    assert put_right(district, spans, began) == RUNS_MAX


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from("tseoc"), max_size=12))
def test_all_come_to_the_same_moments_whatever_comes_first(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: Sequence[str]
) -> None:
    folder = tmp_path_factory.mktemp("correction")
    district = District(folder, random.Random(seed), watchers=frozenset({90, 91}))
    for origin in (0, 17, 90, 91):
        district.add(origin)
    try:
        began = district.now
        spans = wrong_clock(district, 60_000)
        really = tap(district, 2)
        for step in steps:
            match step:
                case "t":
                    really += tap(district, 2)
                case "s":
                    district.seal(17)
                case "e":
                    district.exchange(17)
                case "o":
                    district.reopen(17)
                    spans = ClockSpans(district.nodes[17], BOOT)
                case _:
                    put_right(district, spans, began)
                    spans.begin(
                        RUNNING_MS + district.now - began,
                        60_000 + district.now - began,
                        Trust.UNKNOWN,
                        60_000 + district.now - began,
                    )
        put_right(district, spans, began)
        district.exchange(17)
        assert moments(district, 17) == really
        wires = [*district.wires(0), *district.wires(17)]
        for observer in (90, 91):
            deliver(district.nodes[observer], wires, random.Random(seed + observer))
        for origin in (0, 90, 91):
            assert moments(district, origin) == really
    finally:
        for node in district.nodes.values():
            node.close()


def test_a_school_corrects_nobody_elses_rows(district: District) -> None:
    district.add(18)
    tap(district)
    district.exchange(17)
    before = moments(district, 0)
    name = LogName(17, district.nodes[17].incarnation, "s17", Lane.ATTENDANCE)
    row = correction_row(name, Correction(1, 100, 5_000_000), BOOT, "hub", 0)
    district.nodes[18].record("clock_correction", [row])
    district.exchange(18)
    assert moments(district, 0) == before


@pytest.mark.parametrize(
    "row",
    [
        {"offset_ms": 2**62},
        {"offset_ms": None},
        {"lane": 99},
        {"incarnation": -1},
        {"first_row": None},
        {"first_row": 9, "last_row": 1},
    ],
)
def test_a_correction_that_cannot_be_changes_nothing(
    district: District, row: dict[str, int | None]
) -> None:
    tap(district)
    name = LogName(17, district.nodes[17].incarnation, "s17", Lane.ATTENDANCE)
    honest = correction_row(name, Correction(1, 3, 5000), BOOT, "hub", 0)
    district.nodes[17].record("clock_correction", [{**honest, **row}])
    before = moments(district, 17)
    district.exchange(17)
    tap(district, 1)
    district.exchange(17)
    assert moments(district, 0)[:3] == before


@given(
    rows=st.lists(st.integers(1, 9), unique=True, min_size=1),
    corrections=st.lists(
        st.builds(Correction, st.integers(1, 9), st.integers(1, 9), st.integers(-(10**9), 10**9)),
        max_size=4,
    ),
)
def test_a_moment_moves_by_all_corrections_that_name_its_row(
    rows: list[int], corrections: list[Correction]
) -> None:
    told = [1_790_000_000_000 + row for row in rows]
    for row, before, after in zip(
        rows, told, corrected_moments(corrections, rows, told), strict=True
    ):
        naming = [each for each in corrections if row in range(each.first_row, each.last_row + 1)]
        assert after == before + sum(each.offset_ms for each in naming)


@pytest.mark.parametrize("moment", [None, "noon", 2**63 - 5])
def test_what_no_clock_ever_said_is_left_alone(moment: Value) -> None:
    assert corrected_moments([Correction(1, 9, 10)], [3], [moment]) == [moment]


def test_corrections_are_read_by_their_log_alone(district: District) -> None:
    began = district.now
    spans = wrong_clock(district, 60_000)
    tap(district)
    put_right(district, spans, began)
    cursor = district.nodes[17]._connection.cursor()
    incarnation = district.nodes[17].incarnation
    (found,) = read_corrections(cursor, LogName(17, incarnation, "s17", Lane.ATTENDANCE))
    assert (found.first_row, found.last_row) == (1, 3)
    for other in (
        LogName(17, incarnation + 1, "s17", Lane.ATTENDANCE),
        LogName(17, incarnation, "s17", Lane.BULK),
        LogName(17, incarnation, "lL1", Lane.ATTENDANCE),
    ):
        assert read_corrections(cursor, other) == ()


def test_one_correction_moves_what_stands_once(district: District) -> None:
    tap(district, 2)
    district.exchange(17)
    before = district.rows(0, TAPS)
    hub = district.nodes[0]
    (log,) = [
        log for log in hub.logs() if (log.name.origin, log.name.lane) == (17, Lane.ATTENDANCE)
    ]
    for _ in range(2):
        with hub.transaction() as cursor:
            apply_once(cursor, (log.id, 9), log.name, Correction(1, 2, 1000))
    assert district.rows(0, TAPS) == [(int(str(at_ms)) + 1000,) for (at_ms,) in before]
