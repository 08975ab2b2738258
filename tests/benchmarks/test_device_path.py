"""Lateness is counted from what the simulated devices wrote down."""

from benchmarks.bus_box import Outcome
from benchmarks.bus_devices import POINTS_A_UNIT, UNITS
from benchmarks.device_path import _late_points

Line = dict[str, object]
WINDOW = Outcome(
    wall_s=10.0, cpu_s=0.1, from_ms=100_000, until_ms=110_000, peak_rss_mb=60.0, unanswered=0
)


def ledger(skipped: set[int]) -> list[Line]:
    """Return a reply of each unit each second, 300 ms into it, but for the skipped turns."""
    return [
        {"kind": "reply_begun", "unit": unit, "begun_ms": 95_300 + 1000 * turn}
        for unit in UNITS
        for turn in range(20)
        if turn not in skipped
    ]


def test_a_bus_that_keeps_its_turns_has_no_late_points() -> None:
    assert _late_points(ledger(set()), WINDOW) == 0


def test_each_missed_turn_makes_a_units_points_late() -> None:
    assert _late_points(ledger({8}), WINDOW) == len(UNITS) * POINTS_A_UNIT
    assert _late_points(ledger({8, 9, 12}), WINDOW) == 3 * len(UNITS) * POINTS_A_UNIT


def test_a_silent_bus_is_late_at_every_turn_of_the_window() -> None:
    assert _late_points([], WINDOW) >= 9 * len(UNITS) * POINTS_A_UNIT


def test_turns_outside_of_the_window_do_not_count() -> None:
    assert _late_points(ledger({1, 18}), WINDOW) == 0
