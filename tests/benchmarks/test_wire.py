"""The bytes that the wire benchmark tells are those that passed."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import wire
from benchmarks.real_district import running_hub


def test_a_days_bytes_are_those_of_its_segments_and_receipts_whatever_its_heartbeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "TAPS_A_DAY", 60)
    monkeypatch.setattr(wire, "BACKLOG_ROWS", 200)
    with running_hub(tmp_path / "hub") as hub:
        cost = asyncio.run(wire.measure_wire(hub, 1, tmp_path / "box", seed=1, runs=1))
    for day, heartbeat in zip(cost.connected_day, cost.heartbeat_bytes, strict=True):
        assert 0 < heartbeat < 200
        assert day.question_bytes % heartbeat == 0
        assert 10 * day.rows < day.passed_bytes < 2 * day.segment_bytes
