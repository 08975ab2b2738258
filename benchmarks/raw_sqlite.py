"""The ceilings of the sync benchmarks: the same rows put into SQLite with nothing around it.

Two for each kind of row: the fastest table that can hold it, and the very table of a node's store,
with its keys and indexes, which a row has to enter at both ends.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.arrivals import Tap
from sync.logs.oplog import Row
from sync.segments.columnar import Value
from sync.store import open_store

ROWS_A_TRANSACTION = 1000
SCHOOL, LOG = 17, 4
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


def upsert_swaps(path: Path, swaps: Sequence[Row]) -> float:
    """Return edits a second of slots that exist, durable: SQLite's own last writer wins."""
    edits = [(swap["slot"], swap["subject"], swap["teacher"]) for swap in swaps]
    write = (
        "INSERT INTO slot (slot, subject, teacher) VALUES (?, ?, ?) ON CONFLICT (slot)"
        " DO UPDATE SET subject = excluded.subject, teacher = excluded.teacher"
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA synchronous=FULL").close()
        connection.execute(
            "CREATE TABLE slot (slot TEXT PRIMARY KEY, class_group TEXT, room TEXT, subject TEXT,"
            " teacher TEXT, starts_ms INTEGER, ends_ms INTEGER, lesson TEXT) WITHOUT ROWID"
        )
        connection.executemany(write, edits)
        began = time.perf_counter()
        for start in range(0, len(edits), ROWS_A_TRANSACTION):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(write, edits[start : start + ROWS_A_TRANSACTION])
            connection.execute("COMMIT")
        return len(edits) / (time.perf_counter() - began)


def insert_taps_keyed(path: Path, taps: Sequence[Tap]) -> float:
    """Return the same for a node's own table of taps: its keys, its pragmas."""
    rows = [
        (SCHOOL, LOG, row, tap.at_ms, f"card:{tap.reader}", tap.person, tap.reader, None)
        for row, tap in enumerate(taps, start=1)
    ]
    write = (
        "INSERT INTO card_tap (school, log, row, at_ms, device, person, room, card)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    with closing(open_store(path)) as connection:
        return _rows_a_second(connection, write, rows)


def upsert_swaps_keyed(path: Path, swaps: Sequence[Row]) -> float:
    """Return the same for a node's own table of timetable slots, its stamps written along."""
    edits = [
        (SCHOOL, swap["slot"], row, SCHOOL, LOG, row, swap["subject"], swap["teacher"])
        for row, swap in enumerate(swaps, start=1)
    ]
    write = (
        "INSERT INTO timetable_slot (school, slot, hlc, origin, log, row, subject, teacher)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (school, slot) DO UPDATE SET"
        " hlc = excluded.hlc, origin = excluded.origin, log = excluded.log, row = excluded.row,"
        " subject = excluded.subject, teacher = excluded.teacher"
        " WHERE (excluded.hlc, excluded.origin) > (hlc, origin)"
    )
    with closing(open_store(path)) as connection:
        return _rows_a_second(connection, write, edits)


def _rows_a_second(
    connection: sqlite3.Connection, write: str, rows: Sequence[tuple[Value, ...]]
) -> float:
    began = time.perf_counter()
    for start in range(0, len(rows), ROWS_A_TRANSACTION):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(write, rows[start : start + ROWS_A_TRANSACTION])
        connection.execute("COMMIT")
    return len(rows) / (time.perf_counter() - began)
