"""The schools of the ingest benchmark are real ones, and its ledger finds what is missing."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.arrivals import draw_taps
from benchmarks.hub_ingest import lost_and_doubled
from benchmarks.hub_load import drain
from benchmarks.hub_storm import storm
from benchmarks.real_district import Hub, running_hub, write_hub_config
from benchmarks.school_calls import connected
from benchmarks.school_fleet import School, enrol_schools, fill_schools, opened
from sync.writer import Writer

SCHOOLS = 3


@pytest.mark.timeout(240)  # all its cryptography is real, and other tests run beside it
def test_schools_drain_and_storm_and_the_hub_has_it_all(tmp_path: Path) -> None:
    config = write_hub_config(tmp_path / "hub")
    schools = enrol_schools(config, tmp_path / "schools", SCHOOLS)
    rows = fill_schools(schools, days=0.05)
    with running_hub(tmp_path / "hub") as hub:
        drained = asyncio.run(let_drain(hub, schools, rows))
        more = fill_schools(schools, days=0.1, skip_days=0.05)
        home_s = asyncio.run(let_storm(hub, schools, more))
        ledgers = [
            [(tap.at_ms, tap.person) for tap in draw_taps(school.seed, rows + more)]
            for school in schools
        ]
        held = lost_and_doubled(hub.store, schools, ledgers)
    assert drained == SCHOOLS * rows
    assert len(home_s) == SCHOOLS
    assert held == (0, 0)


async def let_drain(hub: Hub, schools: Sequence[School], rows: int) -> int:
    with opened(schools) as boxes, Writer() as writer:
        async with connected(boxes, writer) as calls:
            phase = await drain(calls, hub, rows)
    assert len(phase.took_s) >= SCHOOLS
    return phase.rows


async def let_storm(hub: Hub, schools: Sequence[School], rows: int) -> list[float]:
    with opened(schools) as boxes, Writer() as writer:
        result = await storm(boxes, writer, hub, rows, lambda _: None)
    await asyncio.sleep(0.25)  # as aiohttp advises: TLS connections end after their session
    return result.home_s


def test_the_ledger_counts_missing_and_repeated_rows_of_each_school(tmp_path: Path) -> None:
    store = tmp_path / "hub.db"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("CREATE TABLE card_tap (school INTEGER, at_ms INTEGER, person INTEGER)")
        connection.executemany(
            "INSERT INTO card_tap VALUES (?, ?, ?)", [(1, 10, 5), (1, 10, 5), (1, 12, 6), (2, 9, 9)]
        )
    schools = [School(1, tmp_path), School(2, tmp_path)]
    ledgers = [[(10, 5), (12, 6), (13, 7)], [(9, 9)]]
    assert lost_and_doubled(store, schools, ledgers) == (1, 1)
