"""A node's own logs: rows are numbered as they are written, and wait there to be sealed."""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sync.clock import HybridClock, Stamp
from sync.folding.merge import TOMBSTONE, insert_event_sql, upsert_state_sql
from sync.folding.merged_rows import Writes, merge_writes
from sync.history.tombstones import explicit_writes
from sync.logs.bulk_rows import execute_rows
from sync.logs.pending_writes import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    store_writes,
)
from sync.logs.row_check import ROW_BYTES_MAX, CheckedRows, Row, checked_rows, places_alike
from sync.schema import BY_NAME
from sync.schema.model import Kind, Owner, Table
from sync.segments.columnar import Value
from sync.segments.segment import LogName

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
) -> None:
    """Write rows into their table and number them in their log, inside the caller's transaction.

    A state row may carry ``school`` (for the hub's rows; its own number otherwise) and
    ``deleted``. Raises KeyError for a column the table does not have or a key that is missing,
    RowError for a value that its column cannot hold or a row larger than ROW_BYTES_MAX.
    """
    last_row, last_stamp = cursor.execute(
        "SELECT last_row, last_stamp FROM log WHERE id = ?", (log_id,)
    ).fetchone()
    # Another process of this node may have written; its stamps are this node's too.
    clock.resume(Stamp(last_stamp))
    if table.kind is Kind.STATE and table.owner is Owner.BOTH:
        written = explicit_writes(cursor, table, name.origin, rows)
        stamps = clock.ticks(len(written))
        for places in places_alike(written):
            positions = _Positions(
                log_id,
                [last_row + 1 + place for place in places],
                [stamps[place] for place in places],
            )
            alike = [written[place] for place in places]
            _append_writes(cursor, positions, name, table, checked_rows(table, alike), alike[0])
    elif table.kind is Kind.STATE:
        _append_states(
            cursor, clock, (log_id, last_row + 1), name, table, checked_rows(table, rows)
        )
    else:
        checked = checked_rows(table, rows)
        columns = tuple(column for column in table.column_names if column in checked.columns)
        execute_rows(
            cursor,
            partial(insert_event_sql, table.name, columns),
            (event_school(name), log_id),
            [
                range(last_row + 1, last_row + 1 + checked.count),
                *(checked.columns[column] for column in columns),
            ],
        )
        clock.tick()
    cursor.execute(
        "UPDATE log SET last_row = ?, last_stamp = ?,"
        " unsealed_since_ms = coalesce(unsealed_since_ms, ?) WHERE id = ?",
        (last_row + len(rows), clock.last, clock.now_ms(), log_id),
    )


def event_school(name: LogName) -> int:
    """Return whose event it is: the school of the audience, else the origin."""
    return int(name.audience[1:]) if name.audience.startswith("s") else name.origin


def table_of(name: str) -> Table:
    """Return a declared table; raises KeyError with the name for an unknown one."""
    if name not in BY_NAME:
        raise KeyError(f"there is no table {name}")
    return BY_NAME[name]


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


@dataclass(frozen=True, slots=True)
class _Positions:
    """Where rows stand in their log, and when they were written."""

    log_id: int
    rows: Sequence[int]
    stamps: Sequence[int]


def _append_writes(
    cursor: sqlite3.Cursor,
    at: _Positions,
    name: LogName,
    table: Table,
    checked: CheckedRows,
    named: Collection[str],
) -> None:
    """Write rows that all name the same columns, and let the writes wait to be sealed."""
    schools = _schools(checked, name)
    # In the order of their numbers, as they were declared.
    written = {
        column: checked.column(column.name) for column in table.columns if column.name in named
    }
    values = {
        column.name: cells for column, cells in written.items() if column.name not in table.key
    }
    gone: list[Value] = [int(bool(value)) for value in checked.column(TOMBSTONE)]
    if TOMBSTONE in named:
        values[TOMBSTONE] = gone
    keys = list(zip(schools, *(checked.columns[column] for column in table.key), strict=True))
    writes = Writes(keys=keys, stamps=at.stamps, rows=at.rows, values=values)
    merge_writes(cursor, table, at.log_id, name.origin, writes)
    present = sum(1 << column.number for column in written) | int(TOMBSTONE in named)
    cells = [schools, at.stamps, gone, *written.values()]
    store_writes(cursor, (at.log_id, table), at.rows, present, cells)


def _schools(checked: CheckedRows, name: LogName) -> Sequence[Value]:
    """Return whose rows these are, as far as they say it themselves."""
    return checked.columns.get("school") or [name.origin] * checked.count
