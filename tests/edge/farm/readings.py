"""Recorded readings in bulk: a season's rows one by one would take a test's time."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing

from tests.edge.pages.simulated_box import SCHOOL, SimulatedBox


def record_readings(
    box: SimulatedBox, device: str, point: str, readings: Iterable[tuple[int, float]]
) -> None:
    """Write good readings (Unix ms, value) as the recorder would."""
    with closing(sqlite3.connect(box.path)) as store, store:
        (last,) = store.execute("SELECT coalesce(max(row), 100000) FROM reading").fetchone()
        rows = [
            (SCHOOL, at_ms, device, point, value, "good", 2, last + place)
            for place, (at_ms, value) in enumerate(readings, start=1)
        ]
        store.executemany(
            "INSERT INTO reading (school, at_ms, device, point, value, quality, log, row)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
