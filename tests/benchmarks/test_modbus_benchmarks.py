"""What the Modbus benchmarks count, counted from ledgers that are known."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.bus_devices import POINTS_A_UNIT, UNITS
from benchmarks.modbus_faults import _measure, _naive, _ours
from benchmarks.modbus_vs_thingsboard_gateway import Window, late_points

WINDOW = Window(
    wall_s=10.0, cpu_s=0.1, from_ms=100_000, until_ms=110_000, values=1280, peak_rss_mb=60.0
)


def ledger(skipped: set[int], registers: int = POINTS_A_UNIT) -> list[dict[str, object]]:
    """Return reads of so many registers, each unit each second, but for the skipped turns."""
    return [
        {
            "kind": "reply_begun",
            "unit": unit,
            "address": first,
            "count": registers,
            "begun_ms": 95_300 + 1000 * turn,
        }
        for unit in UNITS
        for first in range(0, POINTS_A_UNIT, registers)
        for turn in range(20)
        if turn not in skipped
    ]


def test_points_are_late_alike_however_many_a_read_holds() -> None:
    for registers in (1, POINTS_A_UNIT):
        assert late_points(ledger(set(), registers), WINDOW) == 0
        missed = late_points(ledger({8, 12}, registers), WINDOW)
        assert missed == 2 * len(UNITS) * POINTS_A_UNIT


@pytest.mark.timeout(300)
def test_a_naive_codec_believes_wrong_values_where_the_bus_believes_none(tmp_path: Path) -> None:
    ours = asyncio.run(_measure(tmp_path / "ours", _ours, 200, seed=1))
    assert (ours.wrong, ours.good > 0) == (0, True)

    def is_deceived(seed: int) -> bool:
        return asyncio.run(_measure(tmp_path / f"naive-{seed}", _naive, 800, seed)).wrong > 0

    # On a busy machine it hears so little in time that it may be lucky.
    assert any(is_deceived(seed) for seed in range(1, 6))
