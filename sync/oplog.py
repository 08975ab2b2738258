"""A node's own logs: rows are numbered as they are written, and wait there to be sealed."""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from sync.body import TEXT_MAX, TableColumns, text_length
from sync.clock import HybridClock, Stamp
from sync.columnar import Value, encode_column
from sync.errors import RowError
from sync.merge import TOMBSTONE, Write, insert_event_sql, merge_columns, upsert_state_sql
from sync.merged_rows import read_version, write_version
from sync.schema import BY_NAME, BY_NUMBER, TABLES
from sync.schema.model import GROUPS, Group, Kind, Owner, Table, Type
from sync.segment import LogName

Row = Mapping[str, Value]
Fields = dict[int, Value]
"""One row by wire numbers: its columns and its own fields."""

SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, PRESENT_FIELD = -1, -2, -3, -4
"""Wire numbers of a row's own fields beside its columns; all travel in the primary group.

PRESENT_FIELD, in tables with two writers, is a bit set of the column numbers that the write
names; bit 0 stands for the tombstone.
"""
ROW_BYTES_MAX = 12 * 1024
"""Texts and bytes of one row: whatever they hold, the row fits a segment of its own."""
_INT64 = range(-(2**63), 2**63)


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
    checked = [_checked(table, row) for row in rows]
    numbered = list(enumerate(checked, start=last_row + 1))
    if table.kind is Kind.EVENT:
        school = event_school(name)
        cursor.executemany(
            insert_event_sql(table.name, table.column_names),
            [
                (school, log_id, number, *(row.get(column) for column in table.column_names))
                for number, row in numbered
            ],
        )
        clock.tick()
    elif table.owner is Owner.BOTH:
        for number, row in numbered:
            _append_write(cursor, clock, (log_id, number), name, table, row)
    else:
        cursor.executemany(
            upsert_state_sql(table.name, table.column_names),
            [
                (
                    row.get("school", name.origin),
                    clock.tick(),
                    name.origin,
                    int(bool(row.get(TOMBSTONE))),
                    log_id,
                    number,
                    *(row.get(column) for column in table.column_names),
                )
                for number, row in numbered
            ],
        )
    cursor.execute(
        "UPDATE log SET last_row = ?, last_stamp = ?,"
        " unsealed_since_ms = coalesce(unsealed_since_ms, ?) WHERE id = ?",
        (last_row + len(rows), clock.last, clock.now_ms(), log_id),
    )


def event_school(name: LogName) -> int:
    """Return whose event it is: the school of the audience, else the origin."""
    return int(name.audience[1:]) if name.audience.startswith("s") else name.origin


def collect(
    cursor: sqlite3.Cursor, log_id: int, name: LogName, rows_max: int, stamp: int
) -> Batch | None:
    """Return up to ``rows_max`` unsealed rows of a log, oldest first, or None.

    ``stamp`` is the clock's present stamp: the upper end of the batch's range.
    """
    (sealed_row, last_stamp) = cursor.execute(
        "SELECT sealed_row, last_stamp FROM log WHERE id = ?", (log_id,)
    ).fetchone()
    found: list[tuple[int, Table, Fields]] = []
    for table in TABLES:
        if table.lane is name.lane:
            found += _unsealed(cursor, table, log_id, name, sealed_row, rows_max)
    found.sort(key=lambda entry: entry[0])
    found = _within_text(found[:rows_max])
    if not found:
        return None
    by_table: dict[int, list[tuple[int, Fields]]] = {}
    for number, table, fields in found:
        by_table.setdefault(table.number, []).append((number, fields))
    grouped: dict[Group, list[TableColumns]] = {}
    for table_number, entries in sorted(by_table.items()):
        for group, columns in _columns_by_group(BY_NUMBER[table_number], entries):
            grouped.setdefault(group, []).append(columns)
    stamps = [fields[HLC_FIELD] for _, _, fields in found if fields.get(HLC_FIELD)]
    lowest = min((value for value in stamps if isinstance(value, int)), default=stamp)
    return Batch(
        tables={group: grouped[group] for group in GROUPS if group in grouped},
        counts={number: len(entries) for number, entries in sorted(by_table.items())},
        first_row=found[0][0],
        last_row=found[-1][0],
        first_stamp=min(max(lowest, 1), stamp),
        last_stamp=max(stamp, last_stamp),
    )


def restore_write(
    cursor: sqlite3.Cursor, position: tuple[int, int], table: Table, fields: Fields
) -> None:
    """Let a write to a table with two writers wait again, at (log, row)."""
    cursor.execute(
        "INSERT INTO pending_write (log, row, table_number, content) VALUES (?, ?, ?, ?)",
        (*position, table.number, msgspec.msgpack.encode(fields)),
    )


def _read_write(content: bytes) -> Fields:
    # What restore_write wrote; msgspec cannot name a union of texts and bytes.
    return cast("Fields", msgspec.msgpack.decode(content, type=dict[int, object]))


def table_of(name: str) -> Table:
    """Return a declared table; raises KeyError with the name for an unknown one."""
    if name not in BY_NAME:
        raise KeyError(f"there is no table {name}")
    return BY_NAME[name]


def _checked(table: Table, row: Row) -> dict[str, Value]:
    """Return the row as its columns hold it: integers in real columns as reals, NaN as null."""
    checked: dict[str, Value] = {}
    size = 0
    for name, value in row.items():
        kind = table.types.get(name) or _OWN_TYPES.get(name)
        if kind is None:
            raise KeyError(f"table {table.name} has no column {name}")
        checked[name] = value if value is None else _typed(table, name, kind, value)
        if isinstance(value, str):
            size += len(value.encode())
        elif isinstance(value, bytes):
            size += len(value)
    missing = [name for name in table.key if checked.get(name) is None]
    if missing:
        raise KeyError(f"a row of {table.name} lacks its key {', '.join(missing)}")
    if size > ROW_BYTES_MAX:
        raise RowError(
            f"a row of {table.name} holds {size} bytes; the limit is {ROW_BYTES_MAX}: shorten it,"
            " or store large content as a resource"
        )
    return checked


_OWN_TYPES = {"school": Type.INTEGER, TOMBSTONE: Type.INTEGER}


def _typed(table: Table, name: str, kind: Type, value: Value) -> Value:
    match kind, value:
        case Type.INTEGER, int() if value in _INT64:
            return int(value)
        case Type.REAL, int() | float():
            real = float(value)
            return None if math.isnan(real) else real
        case (Type.TEXT, str()) | (Type.BLOB, bytes()):
            return value
        case _:
            shown = f"{type(value).__name__} {value!r:.40}"
            raise RowError(f"{table.name}.{name} is {kind} and cannot hold {shown}; nothing saved")


def _append_write(
    cursor: sqlite3.Cursor,
    clock: HybridClock,
    position: tuple[int, int],
    name: LogName,
    table: Table,
    row: Row,
) -> None:
    school = row.get("school", name.origin)
    values = {column: row[column] for column in table.column_names if column in row}
    deleted = bool(row[TOMBSTONE]) if TOMBSTONE in row else None
    hlc = clock.tick()
    write = Write(clock=(hlc, name.origin), values=values, deleted=deleted)
    key = (school, *(row[column] for column in table.key))
    before = read_version(cursor, table, key)
    write_version(cursor, table, key, merge_columns(table, before, write), position)
    present = sum(1 << column.number for column in table.columns if column.name in values)
    fields: Fields = {
        SCHOOL_FIELD: school,
        HLC_FIELD: hlc,
        DELETED_FIELD: int(deleted or 0),
        PRESENT_FIELD: present | int(deleted is not None),
    }
    for column in table.columns:
        fields[column.number] = values.get(column.name)
    restore_write(cursor, position, table, fields)


def _unsealed(
    cursor: sqlite3.Cursor,
    table: Table,
    log_id: int,
    name: LogName,
    sealed_row: int,
    rows_max: int,
) -> list[tuple[int, Table, Fields]]:
    if table.kind is Kind.STATE and table.owner is Owner.BOTH:
        written = cursor.execute(
            "SELECT row, content FROM pending_write"
            " WHERE log = ? AND row > ? AND table_number = ? ORDER BY row LIMIT ?",
            (log_id, sealed_row, table.number, rows_max),
        ).fetchall()
        return [(row, table, _read_write(content)) for row, content in written]
    numbers = tuple(column.number for column in table.columns)
    selected = ", ".join(table.column_names)
    if table.kind is Kind.EVENT:
        rows = cursor.execute(
            f"SELECT row, {selected} FROM {table.name}"  # noqa: S608 - names are the schema's
            " WHERE school = ? AND log = ? AND row > ? ORDER BY row LIMIT ?",
            (event_school(name), log_id, sealed_row, rows_max),
        ).fetchall()
    else:
        numbers = (SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, *numbers)
        rows = cursor.execute(
            f"SELECT row, school, hlc, deleted, {selected} FROM {table.name}"  # noqa: S608 - names are the schema's
            " WHERE log = ? AND row > ? ORDER BY row LIMIT ?",
            (log_id, sealed_row, rows_max),
        ).fetchall()
    return [(row[0], table, dict(zip(numbers, row[1:], strict=True))) for row in rows]


def _within_text(found: list[tuple[int, Table, Fields]]) -> list[tuple[int, Table, Fields]]:
    """Return as many rows as a receiver expands; at least one."""
    total = 0
    for place, (_, _, fields) in enumerate(found):
        total += text_length(fields.values())
        if total > TEXT_MAX // 2 and place:
            return found[:place]
    return found


def _columns_by_group(
    table: Table, entries: list[tuple[int, Fields]]
) -> list[tuple[Group, TableColumns]]:
    """Split rows into one set of columns a group; other groups carry only rows with values."""
    result = []
    for group in GROUPS:
        numbers = [column.number for column in table.columns if column.group is group]
        if not numbers:
            continue
        kept = entries
        if group is table.primary_group:
            own = sorted(number for number in entries[0][1] if number < 0)
            numbers = [*own, *numbers]
        else:
            kept = [
                entry
                for entry in entries
                if any(entry[1][number] is not None for number in numbers)
            ]
        if not kept:
            continue
        columns = [
            (number, encode_column([fields[number] for _, fields in kept])) for number in numbers
        ]
        result.append(
            (
                group,
                TableColumns(
                    table=table.number,
                    version=table.version,
                    rows=len(kept),
                    row_numbers=encode_column([row for row, _ in kept]),
                    columns=[entry for entry in columns if entry[1] != [0, None, None]],
                ),
            )
        )
    return result
