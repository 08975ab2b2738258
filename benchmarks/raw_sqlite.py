"""The ceiling of the sync benchmarks: the same taps put into SQLite with nothing around it."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.arrivals import Tap

ROWS_A_TRANSACTION = 1000
SETTINGS = "WAL, synchronous=FULL, executemany, 1,000 rows a transaction, one rowid table, no index"


def insert_taps(path: Path, taps: Sequence[Tap]) -> float:
    """Return rows a second of wall clock, durable, rows made beforehand."""
    rows = [(tap.at_ms, f"card:{tap.reader}", tap.person, tap.reader, None) for tap in taps]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA synchronous=FULL").close()
        connection.execute(
            "CREATE TABLE IF NOT EXISTS tap (id INTEGER PRIMARY KEY, at_ms INTEGER, device TEXT,"
            " person INTEGER, room TEXT, card TEXT)"
        )
        began = time.perf_counter()
        for start in range(0, len(rows), ROWS_A_TRANSACTION):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO tap (at_ms, device, person, room, card) VALUES (?, ?, ?, ?, ?)",
                rows[start : start + ROWS_A_TRANSACTION],
            )
            connection.execute("COMMIT")
        return len(rows) / (time.perf_counter() - began)
