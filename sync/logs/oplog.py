"""A node's own logs: rows are numbered as they are written, and wait there to be sealed."""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import cast

from sync.clock import HybridClock, Stamp
from sync.logs.explicit_writes import explicit_writes
from sync.logs.pending_writes import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    store_writes,
)
from sync.logs.waiting_batches import Waiting, keep_waiting
from sync.schema import BY_NAME
from sync.schema.model import Kind, Owner, Table
from sync.segments.columnar import Value
from sync.segments.segment import LogName
from sync.tables.bulk_rows import execute_rows
from sync.tables.merge import TOMBSTONE, insert_event_sql, upsert_state_sql
from sync.tables.merged_rows import Writes, merge_writes
from sync.tables.row_check import ROW_BYTES_MAX, CheckedRows, Row, checked_rows, places_alike

__all__ = [
    "DELETED_FIELD",
    "HLC_FIELD",
    "PRESENT_FIELD",
    "ROW_BYTES_MAX",
    "SCHOOL_FIELD",
    "Row",
    "append",
    "event_school",
    "table_of",
]


def append(
    cursor: sqlite3.Cursor,
    clock: HybridClock,
    log_id: int,
    name: LogName,
    table: Table,
    rows: Sequence[Row],
) -> int:
    """Write rows into their table and number them in their log, inside the caller's transaction.

    Return how many rows of the log wait to be sealed. A state row may carry ``school`` (for the
    hub's rows; its own number otherwise) and ``deleted``. Raises KeyError for a column the table
    does not have or a key that is missing, RowError for a value that its column cannot hold or a
    row larger than ROW_BYTES_MAX.
    """
    last_row, sealed_row, last_stamp = cursor.execute(
        "SELECT last_row, sealed_row, last_stamp FROM log WHERE id = ?", (log_id,)
    ).fetchone()
    # Another process of this node may have written; its stamps are this node's too.
    clock.resume(Stamp(last_stamp))
    if table.kind is Kind.STATE and table.owner is Owner.BOTH:
        _append_writes(cursor, clock, (log_id, last_row + 1), name, table, rows)
    elif table.kind is Kind.STATE:
        _append_states(
            cursor, clock, (log_id, last_row + 1), name, table, checked_rows(table, rows)
        )
    else:
        _append_events(cursor, (log_id, last_row + 1), name, table, checked_rows(table, rows))
        clock.tick()
    cursor.execute(
        "UPDATE log SET last_row = ?, last_stamp = ?,"
        " unsealed_since_ms = coalesce(unsealed_since_ms, ?) WHERE id = ?",
        (last_row + len(rows), clock.last, clock.now_ms(), log_id),
    )
    waiting: int = last_row + len(rows) - sealed_row
    return waiting


def event_school(name: LogName) -> int:
    """Return whose event it is: the school of the audience, else the origin."""
    return int(name.audience[1:]) if name.audience.startswith("s") else name.origin


def table_of(name: str) -> Table:
    """Return a declared table; raises KeyError with the name for an unknown one."""
    if name not in BY_NAME:
        raise KeyError(f"there is no table {name}")
    return BY_NAME[name]


def _append_events(
    cursor: sqlite3.Cursor,
    position: tuple[int, int],
    name: LogName,
    table: Table,
    checked: CheckedRows,
) -> None:
    log_id, first = position
    numbers = range(first, first + checked.count)
    rows: Sequence[int] = numbers
    columns = {
        column: checked.columns[column]
        for column in table.column_names
        if column in checked.columns
    }
    inserted = execute_rows(
        cursor,
        partial(insert_event_sql, table.name, tuple(columns)),
        (event_school(name), log_id),
        [rows, *columns.values()],
    )
    if not table.is_by_time:
        return
    if inserted < checked.count:
        standing = _standing_rows(cursor, (log_id, numbers), name, table, checked.columns["at_ms"])
        places = [place for place, row in enumerate(numbers) if row in standing]
        rows = [numbers[place] for place in places]
        columns = {
            column: [values[place] for place in places] for column, values in columns.items()
        }
    keep_waiting(cursor, log_id, table, rows, columns, checked.text_max)


def _standing_rows(
    cursor: sqlite3.Cursor,
    position: tuple[int, range],
    name: LogName,
    table: Table,
    moments: Sequence[Value],
) -> set[int]:
    """Return which of the rows that were given are in the table: no device's repetitions."""
    log_id, rows = position
    given = cast("Sequence[int]", moments)  # checked: a row has its moment
    found = cursor.execute(
        f"SELECT row FROM {table.name}"  # noqa: S608 - names are the schema's
        " WHERE school = ? AND at_ms BETWEEN ? AND ? AND log = ? AND row BETWEEN ? AND ?",
        (event_school(name), min(given), max(given), log_id, rows[0], rows[-1]),
    )
    return {row for (row,) in found}


def _append_states(
    cursor: sqlite3.Cursor,
    clock: HybridClock,
    position: tuple[int, int],
    name: LogName,
    table: Table,
    checked: CheckedRows,
) -> None:
    log_id, first = position
    columns = tuple(column for column in table.column_names if column in checked.columns)
    execute_rows(
        cursor,
        partial(upsert_state_sql, table.name, columns),
        (name.origin, log_id),
        [
            _schools(checked, name),
            clock.ticks(checked.count),
            [int(bool(gone)) for gone in checked.column(TOMBSTONE)],
            range(first, first + checked.count),
            *(checked.columns[column] for column in columns),
        ],
    )


def _append_writes(
    cursor: sqlite3.Cursor,
    clock: HybridClock,
    position: tuple[int, int],
    name: LogName,
    table: Table,
    rows: Sequence[Row],
) -> None:
    """Merge writes into their rows, and let them wait to be sealed."""
    log_id, first = position
    numbers = range(first, first + len(rows))
    stamps = clock.ticks(len(rows))
    checked = checked_rows(table, rows)
    schools = _schools(checked, name)
    keys = list(zip(schools, *(checked.columns[column] for column in table.key), strict=True))
    written = explicit_writes(cursor, table, keys, rows, told=TOMBSTONE in checked.names)
    if written is not rows:
        checked = checked_rows(table, written)
    cells = {column.name: checked.column(column.name) for column in table.columns}
    gone: list[Value] = [int(bool(value)) for value in checked.column(TOMBSTONE)]
    merged = {column: cells[column] for column in cells if column not in table.key}
    merged[TOMBSTONE] = gone
    present: list[Value] = [0] * len(rows)
    for places in [range(len(rows))] if checked.are_alike else places_alike(written):
        named = written[places[0]].keys()
        values = {column: merged[column] for column in merged if column in named}
        writes = Writes(keys=keys, stamps=stamps, rows=numbers, values=values)
        bits = sum(1 << table.numbers[column] for column in cells if column in named)
        bits |= TOMBSTONE in named
        if len(places) == len(rows):
            present = [bits] * len(rows)
        else:
            writes = writes.at(places)
            for place in places:
                present[place] = bits
        merge_writes(cursor, table, log_id, name.origin, writes)
    own = {PRESENT_FIELD: present, DELETED_FIELD: gone, HLC_FIELD: stamps, SCHOOL_FIELD: schools}
    columns = {table.numbers[each]: cells[each] for each in cells if each in checked.columns}
    store_writes(cursor, log_id, Waiting(table, numbers, {**own, **columns}))


def _schools(checked: CheckedRows, name: LogName) -> Sequence[Value]:
    """Return whose rows these are, as far as they say it themselves."""
    schools = checked.columns.get("school") or [name.origin] * checked.count
    if None not in schools:
        return schools
    return [name.origin if school is None else school for school in schools]
