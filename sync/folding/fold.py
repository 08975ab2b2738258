"""The fold: opened bodies become rows, deterministically, whatever the order of arrival."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from sync.errors import MalformedError, OwnershipError, Reason, SyncError, reason_text
from sync.folding.ownership import check_lesson, check_schools, writable_table
from sync.folding.received_writes import ReceivedWrites, merge_received
from sync.folding.told import Told
from sync.logs.oplog import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    event_school,
)
from sync.schema.model import Column, Group, Kind, Owner, Table
from sync.segments.body import TEXT_MAX, TableColumns, text_length
from sync.segments.columnar import Value, decode_column, decode_rising, text_bound
from sync.segments.segment import Header
from sync.tables.bulk_rows import execute_rows, fill_pages
from sync.tables.definition import index_positions
from sync.tables.merge import TOMBSTONE, fill_sql, insert_event_sql, upsert_state_sql

_OWN_FIELDS = frozenset({SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, PRESENT_FIELD})


@dataclass(frozen=True, slots=True)
class Parked:
    """Rows of one table that could not be applied, with the reason as ``reason_text`` writes it.

    ``retriable`` when a version that knows more may apply them.
    """

    table: int
    rows: int
    reason: str
    retriable: bool = True


@dataclass(slots=True)
class Folded:
    """What folding one body did."""

    rows: int = 0
    tables: set[str] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one table in one body; ``cells`` are the columns that are known, by number."""

    log_id: int
    header: Header
    table: Table
    numbers: Sequence[int]
    cells: Mapping[int, list[Value]]

    def by_name(self) -> dict[str, list[Value]]:
        """Return the cells of the table's own columns."""
        return {
            column.name: self.cells[column.number]
            for column in self.table.columns
            if column.number in self.cells
        }

    def integers(self, number: int) -> list[int]:
        if number not in self.cells:
            raise MalformedError("rows without their school, stamp or set of columns")
        values = self.cells[number]
        if set(map(type, values)) != {int}:
            raise MalformedError("something else where a row needs an integer")
        return cast("list[int]", values)


def fold_body(
    cursor: sqlite3.Cursor,
    log_id: int,
    header: Header,
    group: Group,
    tables: list[TableColumns],
    told: Told | None = None,
) -> Folded:
    """Apply one opened body inside the caller's transaction.

    A table this version does not know, or rows their writer does not own, are parked whole; the
    other tables of the body are applied. Columns this version does not know are parked alone.
    """
    folded = Folded()
    for columns in tables:
        cursor.execute("SAVEPOINT one_table")
        try:
            table = writable_table(header, group, columns)
            unknown = _fold_table(cursor, log_id, header, table, group, columns, told)
        except (OwnershipError, MalformedError, sqlite3.IntegrityError) as error:
            cursor.execute("ROLLBACK TO one_table")
            retriable = isinstance(error, OwnershipError)
            told_as = error.reason if isinstance(error, SyncError) else Reason.CONFLICTING
            reason = reason_text(told_as, str(error))
            folded.parked.append(Parked(columns.table, columns.rows, reason, retriable))
        else:
            folded.tables.add(table.name)
            if group is table.primary_group:
                folded.rows += columns.rows
            if unknown:
                reason = reason_text(
                    Reason.COLUMNS_UNKNOWN,
                    f"{table.name} has columns {unknown} that this version does not know yet",
                )
                folded.parked.append(Parked(columns.table, columns.rows, reason))
        cursor.execute("RELEASE one_table")
    return folded


def _fold_table(
    cursor: sqlite3.Cursor,
    log_id: int,
    header: Header,
    table: Table,
    group: Group,
    columns: TableColumns,
    told: Told | None,
) -> list[int]:
    """Apply one table's rows; return the numbers of columns that are not known here."""
    numbers = decode_rising(columns.row_numbers, columns.rows)
    if not header.first_row <= numbers[0] <= numbers[-1] <= header.last_row:
        raise MalformedError("row numbers outside of their segment")
    cells, unknown = _decode_known(table, group, columns)
    rows = _Rows(log_id, header, table, numbers, cells)
    if group is not table.primary_group:
        _fill_group(cursor, rows, group)
        return unknown
    check_lesson(header.log, table, cells)
    if table.kind is Kind.EVENT:
        _add_events(cursor, rows, told)
        return unknown
    return sorted({*unknown, *_put_states(cursor, rows, told)})


def _decode_known(
    table: Table, group: Group, columns: TableColumns
) -> tuple[dict[int, list[Value]], list[int]]:
    """Return the columns this version knows, by number, and the numbers of the others."""
    declared: dict[int, Column] = {column.number: column for column in table.columns}
    has_own = table.kind is Kind.STATE and group is table.primary_group
    own = _OWN_FIELDS if has_own else frozenset()
    decoded: dict[int, list[Value]] = {}
    unknown = []
    text = 0
    for number, encoded in columns.columns:
        if number in own or (number in declared and declared[number].group is group):
            decoded[number] = decode_column(encoded, columns.rows)
            text += text_bound(encoded, decoded[number])
            if text > TEXT_MAX and sum(map(text_length, decoded.values())) > TEXT_MAX:
                raise MalformedError(f"the cells of {table.name} expand to more than {TEXT_MAX}")
        elif number in declared:
            raise MalformedError(f"column {number} of {table.name} is not of the group {group}")
        else:
            unknown.append(number)
    return decoded, unknown


def _fill_group(cursor: sqlite3.Cursor, rows: _Rows, group: Group) -> None:
    """Set the cells of a further group on rows that stand."""
    index_positions(cursor, [rows.table])
    columns = [column for column in rows.table.columns if column.group is group]
    school = event_school(rows.header.log)
    nothing: list[Value] = [None] * len(rows.numbers)
    values = [rows.cells.get(column.number, nothing) for column in columns]
    cursor.executemany(
        fill_sql(rows.table.name, tuple(column.name for column in columns)),
        [
            (*row, school, rows.log_id, number)
            for number, *row in zip(rows.numbers, *values, strict=True)
        ],
    )


def _add_events(cursor: sqlite3.Cursor, rows: _Rows, told: Told | None) -> None:
    given = rows.by_name()
    if told is not None and "at_ms" in given:
        given["at_ms"] = told.moments(rows.numbers, given["at_ms"])
    execute_rows(
        cursor,
        partial(insert_event_sql, rows.table.name, tuple(given)),
        (event_school(rows.header.log), rows.log_id),
        fill_pages([rows.numbers, *given.values()]),
    )


def _put_states(cursor: sqlite3.Cursor, rows: _Rows, told: Told | None) -> set[int]:
    """Let states win by their stamps; return the numbers of columns named and not known here."""
    table, header = rows.table, rows.header
    given = rows.by_name()
    if any(name not in given or None in given[name] for name in table.key):
        raise MalformedError(f"a row of {table.name} lacks its key")
    schools = rows.integers(SCHOOL_FIELD)
    check_schools(header.log, set(schools))
    stamps = rows.integers(HLC_FIELD)
    if not header.first_stamp <= min(stamps) <= max(stamps) <= header.last_stamp:
        raise MalformedError("row stamps outside of their segment")
    if told is not None:
        stamps = told.stamps(header, stamps)
    deleted = rows.cells.get(DELETED_FIELD, [None] * len(rows.numbers))
    gone = [int(value == 1) for value in deleted]
    if table.owner is Owner.BOTH:
        present = rows.integers(PRESENT_FIELD)
        writes = ReceivedWrites(rows.numbers, schools, stamps, present, {TOMBSTONE: gone, **given})
        return merge_received(cursor, header.log, rows.log_id, table, writes)
    execute_rows(
        cursor,
        partial(upsert_state_sql, table.name, tuple(given)),
        (header.log.origin, rows.log_id),
        [schools, stamps, gone, rows.numbers, *given.values()],
    )
    return set()
