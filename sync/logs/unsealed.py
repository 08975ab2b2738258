"""Rows that wait to be sealed, by columns, as a segment carries them.

Events wait in batches as they were recorded (:mod:`sync.logs.waiting_batches`), so do writes to
tables with two writers (:mod:`sync.logs.pending_writes`); of other states their table is the queue.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from sync.logs.log_state import LogState
from sync.logs.oplog import event_school
from sync.logs.pending_writes import (
    DELETED_FIELD,
    HLC_FIELD,
    SCHOOL_FIELD,
    read_writes,
    unsealed_writes,
    waits_apart,
)
from sync.logs.waiting_batches import (
    Waiting,
    WaitingBatch,
    encode_group,
    joined,
    read_waiting,
)
from sync.schema import TABLES
from sync.schema.model import GROUPS, Group, Kind, Table
from sync.segments.body import TEXT_MAX, TableColumns, text_length
from sync.segments.columnar import Value, decode_column
from sync.segments.segment import LogName
from sync.tables.definition import index_positions

_TEXT_MAX = TEXT_MAX // 2
"""What one batch's cells may hold; a receiver expands twice as much."""
_FULL_SHARE = 0.75
"""A recorded batch of so much of a segment's rows is sealed as it stands."""
_ROW_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Unsealed rows of one log, ready to be sealed: all of a run of row numbers that still stand.

    A state that was written again before it was sealed leaves its first number without a row.
    """

    tables: dict[Group, list[TableColumns]]
    counts: dict[int, int]  # table number -> rows
    first_row: int
    last_row: int
    first_stamp: int
    last_stamp: int


def collect(
    cursor: sqlite3.Cursor, log_id: int, name: LogName, rows_max: int, stamp: int
) -> Batch | None:
    """Return up to ``rows_max`` unsealed rows of a log, oldest first, or None.

    ``stamp`` is the clock's present stamp: the batch's range reaches up to it at least.
    """
    (sealed_row, last_stamp) = cursor.execute(
        "SELECT sealed_row, last_stamp FROM log WHERE id = ?", (log_id,)
    ).fetchone()
    tables = [table for table in TABLES if table.lane is name.lane]
    found = [
        waiting
        for table in tables
        if not (table.is_by_time or waits_apart(table))
        for waiting in _unsealed(cursor, table, log_id, name, sealed_row, rows_max)
    ]
    batches: list[Waiting | WaitingBatch] = []
    if any(table.is_by_time for table in tables):
        batches = _events(cursor, tables, (log_id, sealed_row), name, rows_max)
    for table in filter(waits_apart, tables):
        batches += read_writes(cursor, log_id, table, sealed_row, rows_max)
    batches.sort(key=lambda each: each.first_row)
    if not found and not batches:
        return None
    # What was clamped, and taken back since, may have stamps that the clock has yet to reach.
    issued = max(stamp, last_stamp)
    whole = _sealed_as_it_stands(batches, found, sealed_row, rows_max)
    if whole is not None:
        stamps = _stamps(whole)
        return Batch(
            tables={group: [columns] for group, columns in whole.groups.items()},
            counts={whole.table.number: whole.count},
            first_row=whole.first_row,
            last_row=whole.last_row,
            first_stamp=min([stamp, *stamps]),
            last_stamp=max([issued, *stamps]),
        )
    found += _by_table(batches, sealed_row)
    numbers = sorted(chain.from_iterable(waiting.rows for waiting in found))
    last_row = _last_within_text(found, numbers[:rows_max])
    taken = sorted(
        (part for waiting in found if (part := waiting.until(last_row)).rows),
        key=lambda each: each.table.number,
    )
    grouped: dict[Group, list[TableColumns]] = {}
    for waiting in taken:
        for group in GROUPS:
            columns = encode_group(waiting, group)
            if columns is not None:
                grouped.setdefault(group, []).append(columns)
    stamps = [
        value
        for waiting in taken
        for value in waiting.columns.get(HLC_FIELD, ())
        if isinstance(value, int) and value
    ]
    return Batch(
        tables={group: grouped[group] for group in GROUPS if group in grouped},
        counts={waiting.table.number: len(waiting.rows) for waiting in taken},
        first_row=numbers[0],
        last_row=last_row,
        first_stamp=min(max(min(stamps, default=stamp), 1), stamp),
        last_stamp=max([issued, *stamps]),
    )


def read_waiting_rows(
    cursor: sqlite3.Cursor, log: LogState, table: Table, last_row: int
) -> list[Waiting]:
    """Return what waits of a table in a log up to a row, events and states as they stand."""
    if last_row <= log.sealed_row or log.last_row <= log.sealed_row:
        return []
    if waits_apart(table):
        parts = unsealed_writes(cursor, log.id, table, log.sealed_row)
    else:
        index_positions(cursor, [table])
        rows_max = last_row - log.sealed_row
        parts = _unsealed(cursor, table, log.id, log.name, log.sealed_row, rows_max)
    return [until for part in parts if (until := part.until(last_row)).rows]


def _events(
    cursor: sqlite3.Cursor,
    tables: Sequence[Table],
    position: tuple[int, int],
    name: LogName,
    rows_max: int,
) -> list[Waiting | WaitingBatch]:
    """Return a log's oldest events behind ``position``, at least ``rows_max`` if there are."""
    log_id, after = position
    events: list[Waiting | WaitingBatch] = []
    count = 0
    while count < rows_max and (entries := read_waiting(cursor, log_id, after, rows_max - count)):
        for entry in entries:
            if isinstance(entry, WaitingBatch):
                count += min(entry.count, entry.last_row - after)
                events.append(entry)
            else:
                by_time = [table for table in tables if table.is_by_time]
                index_positions(cursor, by_time)
                for table in by_time:
                    rows = range(after + 1, entry.last_row + 1)
                    read = _read_events(cursor, table, log_id, name, rows, rows_max)
                    count += sum(len(waiting.rows) for waiting in read)
                    events += read
            after = entry.last_row
    return events


def _sealed_as_it_stands(
    batches: Sequence[Waiting | WaitingBatch],
    others: Sequence[Waiting],
    sealed_row: int,
    rows_max: int,
) -> WaitingBatch | None:
    """Return the first batch if it makes a segment of its own."""
    if not batches or not isinstance(batches[0], WaitingBatch):
        return None
    first, rest = batches[0], batches[1:]
    is_first = sealed_row < first.first_row and all(
        first.last_row < other.first_row for other in (*rest, *others)
    )
    is_full = first.count >= rows_max * _FULL_SHARE or not (rest or others)
    fits = first.is_packed and first.count <= rows_max and first.text_max <= _TEXT_MAX
    return first if is_first and is_full and fits else None


def _stamps(batch: WaitingBatch) -> list[int]:
    """Return the stamps of a batch's rows; events have none."""
    columns = dict(batch.groups[batch.table.primary_group].columns)
    if HLC_FIELD not in columns:
        return []
    stamps = decode_column(columns[HLC_FIELD], batch.count)
    return [each for each in stamps if isinstance(each, int)]


def _by_table(batches: Iterable[Waiting | WaitingBatch], sealed_row: int) -> list[Waiting]:
    parts: dict[int, list[Waiting]] = {}
    for each in batches:
        waiting = each.decoded() if isinstance(each, WaitingBatch) else each
        parts.setdefault(waiting.table.number, []).append(waiting.after(sealed_row))
    return [joined(each) for each in parts.values()]


def _unsealed(
    cursor: sqlite3.Cursor,
    table: Table,
    log_id: int,
    name: LogName,
    sealed_row: int,
    rows_max: int,
) -> list[Waiting]:
    """Return one table's part, none if nothing waits there."""
    if table.kind is Kind.EVENT:
        rows = range(sealed_row + 1, _ROW_MAX)
        return _read_events(cursor, table, log_id, name, rows, rows_max)
    numbers = [SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD]
    numbers += [column.number for column in table.columns]
    found = cursor.execute(
        f"SELECT row, school, hlc, deleted, {', '.join(table.column_names)} FROM {table.name}"  # noqa: S608 - names are the schema's
        " WHERE log = ? AND row > ? ORDER BY row LIMIT ?",
        (log_id, sealed_row, rows_max),
    ).fetchall()
    return _by_columns(table, numbers, found)


def _read_events(
    cursor: sqlite3.Cursor,
    table: Table,
    log_id: int,
    name: LogName,
    rows: range,
    rows_max: int,
) -> list[Waiting]:
    found = cursor.execute(
        f"SELECT row, {', '.join(table.column_names)} FROM {table.name}"  # noqa: S608 - names are the schema's
        " WHERE school = ? AND log = ? AND row BETWEEN ? AND ? ORDER BY row LIMIT ?",
        (event_school(name), log_id, rows.start, rows.stop - 1, rows_max),
    ).fetchall()
    return _by_columns(table, [column.number for column in table.columns], found)


def _by_columns(
    table: Table, numbers: Sequence[int], found: Sequence[tuple[int | Value, ...]]
) -> list[Waiting]:
    if not found:
        return []
    places, *columns = zip(*found, strict=True)
    return [Waiting(table, places, dict(zip(numbers, columns, strict=True)))]


def _last_within_text(found: Sequence[Waiting], numbers: Sequence[int]) -> int:
    """Return the last row of as many as a receiver expands; at least one."""
    texts = [
        (waiting.rows, waiting.columns[number])
        for waiting in found
        for number in waiting.columns
        if number >= 0 and waiting.table.holds_text(number)
    ]
    total = sum(text_length(values) for _, values in texts)
    if total <= _TEXT_MAX:
        return numbers[-1]
    lengths = dict.fromkeys(numbers, 0)
    for rows, values in texts:
        for row, value in zip(rows, values, strict=True):
            if row in lengths and isinstance(value, str | bytes):
                lengths[row] += len(value)
    fitting = bisect_right(list(accumulate(lengths.values())), _TEXT_MAX)
    return numbers[max(fitting, 1) - 1]
