"""What waits to be sealed comes back by columns, in the order of its log, within what fits."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sync.clock import HybridClock
from sync.logs.log_state import log_id_of
from sync.logs.oplog import append
from sync.logs.pending_writes import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    forget_writes,
    read_writes,
    restore_writes,
    store_writes,
    unsealed_writes,
)
from sync.logs.unsealed import Batch, collect
from sync.logs.waiting_batches import Waiting
from sync.schema import BY_NAME
from sync.schema.model import Group, Lane
from sync.segments.body import TEXT_MAX, TableColumns
from sync.segments.columnar import Value, decode_column
from sync.segments.segment import LogName
from sync.store import open_store
from sync.tables.definition import index_positions
from sync.tables.row_check import Row
from tests.sync.district import empty_store

NOW = 1_790_000_000_000
ATTENDANCE = LogName(17, 5, "s17", Lane.ATTENDANCE)
SLOT = BY_NAME["timetable_slot"]


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[sqlite3.Cursor]:
    path = tmp_path / "store.db"
    path.write_bytes(empty_store())
    with closing(open_store(path)) as connection:
        yield connection.cursor()


def write(cursor: sqlite3.Cursor, log: LogName, table: str, *rows: Row) -> int:
    log_id = log_id_of(cursor, log)
    append(cursor, HybridClock(lambda: NOW), log_id, log, BY_NAME[table], rows)
    return log_id


def all_of(cursor: sqlite3.Cursor, log: LogName, log_id: int, rows_max: int = 1000) -> Batch:
    batch = collect(cursor, log_id, log, rows_max, (NOW + 1) << 16)
    assert batch is not None
    return batch


def rows_of(columns: TableColumns) -> list[Value]:
    return decode_column(columns.row_numbers, columns.rows)


def test_tables_of_one_lane_are_cut_at_one_row_number(cursor: sqlite3.Cursor) -> None:
    for moment in range(4):
        log_id = write(cursor, ATTENDANCE, "card_tap", {"at_ms": moment, "person": moment})
        write(cursor, ATTENDANCE, "health_check", {"at_ms": moment, "temperature_c": 36.5})
    batch = all_of(cursor, ATTENDANCE, log_id, rows_max=5)
    taps, checks = batch.tables[Group.DISTRICT]
    assert (rows_of(taps), rows_of(checks)) == ([1, 3, 5], [2, 4])
    assert batch.counts == {20: 3, 23: 2}
    assert (batch.first_row, batch.last_row) == (1, 5)
    assert rows_of(batch.tables[Group.HEALTH][0]) == [2, 4]


def test_a_group_carries_only_rows_that_have_something_in_it(cursor: sqlite3.Cursor) -> None:
    rows: list[Row] = [{"at_ms": 1, "person": 5}, {"at_ms": 2, "card": "04:A1"}, {"at_ms": 3}]
    log_id = write(cursor, ATTENDANCE, "card_tap", *rows)
    batch = all_of(cursor, ATTENDANCE, log_id)
    assert rows_of(batch.tables[Group.IDENTITY][0]) == [2]
    assert rows_of(batch.tables[Group.DISTRICT][0]) == [1, 2, 3]


def test_long_texts_are_cut_where_a_receiver_would_have_too_much(cursor: sqlite3.Cursor) -> None:
    text = "x" * 12_000
    rows: list[Row] = [{"at_ms": moment, "room": text} for moment in range(100)]
    log_id = write(cursor, ATTENDANCE, "card_tap", *rows)
    batch = all_of(cursor, ATTENDANCE, log_id)
    assert batch.last_row == TEXT_MAX // 2 // 12_000
    assert batch.counts == {20: batch.last_row}


def test_events_come_in_the_order_of_their_log_whatever_their_moments(
    cursor: sqlite3.Cursor,
) -> None:
    index_positions(cursor, [BY_NAME["card_tap"]])
    rows: list[Row] = [{"at_ms": moment} for moment in (30, 10, 20)]
    log_id = write(cursor, ATTENDANCE, "card_tap", *rows)
    (taps,) = all_of(cursor, ATTENDANCE, log_id).tables[Group.DISTRICT]
    assert decode_column(dict(taps.columns)[1], 3) == [30, 10, 20]
    assert rows_of(taps) == [1, 2, 3]


def test_writes_that_name_different_columns_wait_and_come_back_as_they_were(
    cursor: sqlite3.Cursor,
) -> None:
    log = LogName(17, 5, "s17", SLOT.lane)
    log_id = write(
        cursor,
        log,
        "timetable_slot",
        {"slot": "a", "subject": "语文"},
        {"slot": "b", "teacher": None},
        {"slot": "a", "deleted": 1},
    )
    (slots,) = all_of(cursor, log, log_id).tables[Group.DISTRICT]
    columns = dict(slots.columns)
    numbers = {column.name: column.number for column in SLOT.columns}
    present = decode_column(columns[PRESENT_FIELD], 3)
    slot, subject, teacher = (1 << numbers[name] for name in ("slot", "subject", "teacher"))
    everything = sum(1 << number for number in numbers.values())
    # A new row says that it is not deleted, a deletion names all.
    assert present == [slot | subject | 1, slot | teacher | 1, everything | 1]
    assert decode_column(columns[numbers["subject"]], 3) == ["语文", None, None]
    stamps = decode_column(columns[HLC_FIELD], 3)
    assert stamps == sorted(stamps, key=lambda stamp: int(stamp or 0))
    assert len(set(stamps)) == 3


def slots_waiting(rows: range, stamp: int = 9) -> Waiting:
    count = len(rows)
    return Waiting(
        SLOT,
        rows,
        {
            PRESENT_FIELD: [6] * count,
            DELETED_FIELD: [0] * count,
            HLC_FIELD: range(stamp, stamp + count),
            SCHOOL_FIELD: [17] * count,
            1: [f"slot {row}" for row in rows],
            2: ["3A"] * count,
        },
    )


def waiting_rows(cursor: sqlite3.Cursor, log_id: int, sealed_row: int = 0) -> list[int]:
    parts = unsealed_writes(cursor, log_id, SLOT, sealed_row)
    return [row for part in parts for row in part.rows]


@pytest.mark.parametrize("count", [1, 3, 999, 1000, 1001, 2500])
def test_writes_come_back_as_they_were_stored(cursor: sqlite3.Cursor, count: int) -> None:
    stored = slots_waiting(range(1, 1 + count))
    store_writes(cursor, 4, stored)
    parts = unsealed_writes(cursor, 4, SLOT, 0)
    for number, values in stored.columns.items():
        assert [cell for part in parts for cell in part.columns[number]] == [*values]
    assert waiting_rows(cursor, 4) == [*stored.rows]
    assert waiting_rows(cursor, 4, sealed_row=2) == [*stored.rows[2:]]


def test_as_many_batches_of_writes_are_read_as_hold_the_rows_asked_for(
    cursor: sqlite3.Cursor,
) -> None:
    for first in range(1, 100, 10):
        store_writes(cursor, 4, slots_waiting(range(first, first + 10)))
    # Of the first batch seven are sealed: three of it, ten of the next, two of the third.
    assert [each.first_row for each in read_writes(cursor, 4, SLOT, 7, 15)] == [1, 11, 21]
    assert len(read_writes(cursor, 4, SLOT, 7)) == 10


@pytest.mark.parametrize("sealed", [0, 1, 5, 10, 11, 12, 20])
def test_writes_that_were_sealed_wait_again_and_none_twice(
    cursor: sqlite3.Cursor, sealed: int
) -> None:
    for first in (1, 11):
        store_writes(cursor, 4, slots_waiting(range(first, first + 10)))
    forget_writes(cursor, 4, sealed)
    for rows in (range(1, 8), range(8, 13), range(13, 21)):
        if rows[0] <= sealed:
            restore_writes(cursor, 4, slots_waiting(rows))
    assert waiting_rows(cursor, 4) == [*range(1, 21)]


def test_a_batch_of_writes_that_fills_a_segment_is_sealed_as_it_stands(
    cursor: sqlite3.Cursor,
) -> None:
    log = LogName(17, 5, "s17", SLOT.lane)
    rows: list[Row] = [{"slot": f"s{place}", "subject": "语文"} for place in range(1000)]
    log_id = write(cursor, log, "timetable_slot", *rows[:800])
    write(cursor, log, "timetable_slot", *rows[800:])
    first = all_of(cursor, log, log_id)
    assert (first.first_row, first.last_row, first.counts) == (1, 800, {SLOT.number: 800})
    (slots,) = first.tables[Group.DISTRICT]
    stamps = decode_column(dict(slots.columns)[HLC_FIELD], 800)
    assert first.first_stamp == stamps[0]
    assert max(int(stamp or 0) for stamp in stamps) < first.last_stamp
    cursor.execute("UPDATE log SET sealed_row = 500 WHERE id = ?", (log_id,))
    rest = all_of(cursor, log, log_id)
    assert (rest.first_row, rest.last_row, rest.counts) == (501, 1000, {SLOT.number: 500})
    (slots,) = rest.tables[Group.DISTRICT]
    assert decode_column(dict(slots.columns)[1], 500) == [row["slot"] for row in rows[500:]]


def test_writes_among_events_are_sealed_in_the_order_of_their_log(cursor: sqlite3.Cursor) -> None:
    log = LogName(17, 5, "s17", SLOT.lane)
    for last_row in (0, 2):
        log_id = log_id_of(cursor, log)
        cursor.execute("UPDATE log SET last_row = ? WHERE id = ?", (last_row, log_id))
        write(cursor, log, "lesson_quality", {"at_ms": 1, "lesson": "l1"})
    # As if they had been sealed with the events, and were withdrawn.
    store_writes(cursor, log_id, slots_waiting(range(2, 5, 2)))
    cursor.execute("UPDATE log SET sealed_row = 1, last_row = 4 WHERE id = ?", (log_id,))
    batch = all_of(cursor, log, log_id, rows_max=2)
    assert (batch.first_row, batch.last_row) == (2, 3)
    assert batch.counts == {SLOT.number: 1, BY_NAME["lesson_quality"].number: 1}
