"""Events wait in batches as they were recorded; sealed is what their tables hold."""

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.clock import HybridClock
from sync.logs.log_state import log_id_of
from sync.logs.oplog import append
from sync.logs.unsealed import Batch, collect
from sync.logs.waiting_batches import BATCH_ROWS_MAX, forget_waiting, leave_in_table
from sync.schema import BY_NAME, BY_NUMBER
from sync.schema.model import Group, Kind, Lane
from sync.segments.columnar import Value, decode_column
from sync.segments.segment import LogName
from sync.store import open_store
from sync.tables.row_check import Row
from tests.sync.district import empty_store

NOW = 1_790_000_000_000
LOG = LogName(17, 5, "s17", Lane.ATTENDANCE)


class Gate(StrEnum):
    """A text that is more than a text."""

    SOUTH = "南门"


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[sqlite3.Cursor]:
    path = tmp_path / "store.db"
    path.write_bytes(empty_store())
    with closing(open_store(path)) as connection:
        yield connection.cursor()


def write(cursor: sqlite3.Cursor, table: str, rows: Sequence[Row]) -> int:
    log_id = log_id_of(cursor, LOG)
    append(cursor, HybridClock(lambda: NOW), log_id, LOG, BY_NAME[table], rows)
    return log_id


def taps(count: int, seed: int = 1, first_ms: int = NOW) -> list[Row]:
    chance = random.Random(seed)
    return [
        {
            "at_ms": first_ms + chance.randrange(10**6),
            "device": f"card:gate-{chance.randrange(6)}",
            "person": chance.randrange(500),
            "card": "04:A1" if chance.random() < 0.1 else None,
        }
        for _ in range(count)
    ]


def next_batch(cursor: sqlite3.Cursor, log_id: int, rows_max: int = 1000) -> Batch | None:
    return collect(cursor, log_id, LOG, rows_max, (NOW + 1) << 16)


def seal(cursor: sqlite3.Cursor, log_id: int, batch: Batch) -> None:
    forget_waiting(cursor, log_id, batch.last_row)
    cursor.execute("UPDATE log SET sealed_row = ? WHERE id = ?", (batch.last_row, log_id))


def seal_all(cursor: sqlite3.Cursor, log_id: int, rows_max: int) -> list[Batch]:
    batches = []
    while (batch := next_batch(cursor, log_id, rows_max)) is not None:
        seal(cursor, log_id, batch)
        batches.append(batch)
    return batches


def cells_of(batches: Sequence[Batch]) -> dict[tuple[int, int], dict[int, Value]]:
    """Return what segments of these batches say: cells by table and row, without nulls."""
    cells: dict[tuple[int, int], dict[int, Value]] = {}
    for batch in batches:
        for part in (part for parts in batch.tables.values() for part in parts):
            rows = decode_column(part.row_numbers, part.rows)
            for row in rows:
                assert isinstance(row, int)
                cells.setdefault((part.table, row), {})
            for number, encoded in part.columns:
                for row, value in zip(rows, decode_column(encoded, part.rows), strict=True):
                    if number > 0 and value is not None:
                        assert isinstance(row, int)
                        cells[part.table, row][number] = value
    return cells


def cells_in_tables(cursor: sqlite3.Cursor, log_id: int) -> dict[tuple[int, int], dict[int, Value]]:
    cells = {}
    for name in ("card_tap", "health_check", "attendance_entry"):
        table = BY_NAME[name]
        selected = ", ".join(table.column_names)
        found = cursor.execute(f"SELECT row, {selected} FROM {name} WHERE log = ?", (log_id,))  # noqa: S608 - names are the schema's
        for row, *values in found:
            named = zip(table.columns, values, strict=True)
            cells[table.number, row] = {
                column.number: value for column, value in named if value is not None
            }
    return cells


def test_a_full_batch_is_sealed_as_it_stands_alike_with_what_its_table_holds(
    cursor: sqlite3.Cursor,
) -> None:
    log_id = write(cursor, "card_tap", taps(1000))
    as_it_stands = next_batch(cursor, log_id)
    forget_waiting(cursor, log_id, 1000)
    leave_in_table(cursor, log_id, 1000)
    assert as_it_stands is not None
    assert as_it_stands == next_batch(cursor, log_id)


@pytest.mark.parametrize("rows_max", [300, 1000])
def test_a_batch_is_cut_where_a_segment_ends(cursor: sqlite3.Cursor, rows_max: int) -> None:
    log_id = write(cursor, "card_tap", taps(BATCH_ROWS_MAX + 7))
    write(cursor, "card_tap", taps(5, seed=2))
    batches = seal_all(cursor, log_id, rows_max)
    assert [sum(batch.counts.values()) for batch in batches][:-1] == [rows_max] * (1011 // rows_max)
    assert cells_of(batches) == cells_in_tables(cursor, log_id)


records = st.lists(
    st.tuples(
        st.sampled_from(["card_tap", "health_check", "attendance_entry"]),
        st.integers(min_value=1, max_value=40),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(written=records, rows_max=st.integers(min_value=1, max_value=60))
def test_what_is_sealed_is_what_the_tables_hold_however_it_was_recorded(
    tmp_path: Path, written: list[tuple[str, int, bool]], rows_max: int
) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(empty_store())
    with closing(open_store(path)) as connection:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = OFF")  # what is asked here is not lost power
        log_id = log_id_of(cursor, LOG)
        batches = []
        for number, (table, count, seals) in enumerate(written):
            rows = taps(count, seed=number)
            if table == "health_check":
                rows = [{"at_ms": row["at_ms"], "temperature_c": 36.5} for row in rows]
            if table == "attendance_entry":
                rows = [{"day": "d", "slot": "1", "person": row["person"]} for row in rows]
            write(cursor, table, rows)
            if seals and (batch := next_batch(cursor, log_id, rows_max)) is not None:
                seal(cursor, log_id, batch)
                batches.append(batch)
        batches += seal_all(cursor, log_id, rows_max)
        sealed = cells_of(batches)
        standing = cells_in_tables(cursor, log_id)
        # A state that was written again after it was sealed has left its number.
        again = {
            key for key in sealed.keys() - standing.keys() if BY_NUMBER[key[0]].kind is Kind.STATE
        }
        assert {key: cells for key, cells in sealed.items() if key not in again} == standing
        ends = [(batch.first_row, batch.last_row) for batch in batches]
        assert all(before[1] < after[0] for before, after in pairwise(ends))
        assert all(sum(batch.counts.values()) <= rows_max for batch in batches)
        assert cursor.execute("SELECT count(*) FROM waiting_batch").fetchone() == (0,)


def test_what_a_device_repeats_is_not_sealed_again(cursor: sqlite3.Cursor) -> None:
    def pushed(*keys: str) -> list[Row]:
        return [{"at_ms": NOW + place, "device_key": key} for place, key in enumerate(keys)]

    log_id = write(cursor, "card_tap", pushed("a", "b", "a"))
    write(cursor, "card_tap", pushed("b", "c"))
    write(cursor, "card_tap", pushed("a", "c"))
    sealed = cells_of(seal_all(cursor, log_id, 1000))
    assert {row for _, row in sealed} == {1, 2, 5}
    assert sealed == cells_in_tables(cursor, log_id)


def test_a_text_of_another_class_is_sealed_as_a_text(cursor: sqlite3.Cursor) -> None:
    log_id = write(cursor, "card_tap", [{"at_ms": NOW, "room": Gate.SOUTH}])
    ((_, cells),) = cells_of(seal_all(cursor, log_id, 1000)).items()
    assert {type(value) for value in cells.values()} == {int, str}
    assert "南门" in cells.values()


def test_what_an_earlier_version_left_unsealed_is_sealed_before_what_comes_after(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    with closing(open_store(path)) as connection:
        log_id = write(connection.cursor(), "card_tap", taps(7))
        write(connection.cursor(), "health_check", [{"at_ms": NOW, "temperature_c": 36.5}])
        connection.executescript(
            """DROP TABLE waiting_batch;
            CREATE INDEX card_tap_position ON card_tap (log, row);
            DELETE FROM _sqlite_migrations WHERE name = 'waiting_batches';
            PRAGMA user_version=1"""
        )
    with closing(open_store(path)) as connection:
        cursor = connection.cursor()
        indexes = {name for (name,) in cursor.execute("SELECT name FROM sqlite_schema")}
        assert "card_tap_position" not in indexes
        write(cursor, "card_tap", taps(3, seed=2))
        batches = seal_all(cursor, log_id, 1000)
        assert [batch.counts for batch in batches] == [{20: 10, 23: 1}]
        assert cells_of(batches) == cells_in_tables(cursor, log_id)


def test_batches_of_a_table_that_is_not_known_any_more_stop_nothing(cursor: sqlite3.Cursor) -> None:
    log_id = write(cursor, "card_tap", taps(2))
    cursor.execute("UPDATE waiting_batch SET table_number = 9999")
    write(cursor, "card_tap", taps(2, seed=2))
    batch = next_batch(cursor, log_id)
    assert batch is not None
    assert (batch.first_row, batch.last_row) == (3, 4)


def test_identity_waits_apart_from_what_the_hub_may_read(cursor: sqlite3.Cursor) -> None:
    log_id = write(cursor, "card_tap", [{"at_ms": NOW, "card": "04:A1"}, {"at_ms": NOW + 1}])
    batch = next_batch(cursor, log_id)
    assert batch is not None
    assert [part.rows for part in batch.tables[Group.IDENTITY]] == [1]
