"""A node's unsealed writes to tables with two writers: their rows hold the merge, not the write.

They wait as they were recorded, in batches of encoded columns, as events do
(:mod:`sync.logs.waiting_batches`). A table's batches in a log do not overlap; of the oldest some
rows may have been sealed already.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from sync.logs.log_state import LogState
from sync.logs.waiting_batches import BATCH_ROWS_MAX, Waiting, WaitingBatch, encode_group
from sync.schema import TABLES
from sync.schema.model import Kind, Owner, Table
from sync.segments.body import TableColumns, text_length

SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, PRESENT_FIELD = -1, -2, -3, -4
"""Wire numbers of a row's own fields beside its columns; all travel in the primary group.

PRESENT_FIELD, in tables with two writers, is a bit set of the column numbers that the write
names; bit 0 stands for the tombstone.
"""
ALL_ROWS = 2**63
_decoder = msgspec.msgpack.Decoder(TableColumns)


def waits_apart(table: Table) -> bool:
    """Tell whether a table's unsealed writes wait here, and not in the table."""
    return table.kind is Kind.STATE and table.owner is Owner.BOTH


def store_writes(cursor: sqlite3.Cursor, log_id: int, waiting: Waiting) -> None:
    """Let writes of one log to one table wait; their own fields are among the columns."""
    table = waiting.table
    for start in range(0, len(waiting.rows), BATCH_ROWS_MAX):
        batch = waiting.part(start, start + BATCH_ROWS_MAX)
        texts = [values for number, values in batch.columns.items() if table.holds_text(number)]
        # Tables with two writers have one group: what one of them cannot read is never merged.
        columns = encode_group(batch, table.primary_group)
        cursor.execute(
            "INSERT INTO waiting_write VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                log_id,
                batch.rows[-1],
                batch.rows[0],
                len(batch.rows),
                sum(map(text_length, texts)),
                table.number,
                msgspec.msgpack.encode(columns),
            ),
        )


def restore_writes(cursor: sqlite3.Cursor, log_id: int, waiting: Waiting) -> None:
    """Let writes that were sealed wait again, under their row numbers in the log.

    Those of a batch that was not sealed to its end are still in it.
    """
    (held,) = cursor.execute(
        "SELECT min(first_row) FROM waiting_write"
        " WHERE log = ? AND table_number = ? AND last_row >= ?",
        (log_id, waiting.table.number, waiting.rows[0]),
    ).fetchone()
    store_writes(cursor, log_id, waiting if held is None else waiting.until(held - 1))


def read_writes(
    cursor: sqlite3.Cursor, log_id: int, table: Table, after_row: int, rows_max: int = ALL_ROWS
) -> list[WaitingBatch]:
    """Return the oldest batches with rows above ``after_row``, until they hold ``rows_max``."""
    batches: list[WaitingBatch] = []
    rows = 0
    found = cursor.execute(
        "SELECT last_row, first_row, count, text, content FROM waiting_write"
        " WHERE log = ? AND last_row > ? AND table_number = ? ORDER BY last_row",
        (log_id, after_row, table.number),
    )
    for last_row, first_row, count, text, content in found:
        groups = {table.primary_group: _decoder.decode(content)}
        batches.append(WaitingBatch(table, first_row, last_row, count, text, groups))
        rows += count - max(0, after_row - first_row + 1)
        if rows >= rows_max:
            break
    return batches


def unsealed_writes(
    cursor: sqlite3.Cursor, log_id: int, table: Table, sealed_row: int
) -> list[Waiting]:
    """Return all that waits of a log for a table, by columns."""
    batches = read_writes(cursor, log_id, table, sealed_row)
    return [batch.decoded().after(sealed_row) for batch in batches]


def move_writes(
    cursor: sqlite3.Cursor, log: LogState, to_log_id: int, numbers: Mapping[int, int]
) -> None:
    """Let some of what waits in a log wait in another, under ``numbers`` there by those here.

    It is left here as well, for :func:`forget_writes`.
    """
    for table in filter(waits_apart, TABLES):
        for waiting in unsealed_writes(cursor, log.id, table, log.sealed_row):
            moved = waiting.at([place for place, row in enumerate(waiting.rows) if row in numbers])
            if moved.rows:
                rows = [numbers[row] for row in moved.rows]
                store_writes(cursor, to_log_id, replace(moved, rows=rows))


def forget_writes(cursor: sqlite3.Cursor, log_id: int, last_row: int) -> None:
    """Drop batches that end at or below a row: they are sealed."""
    cursor.execute("DELETE FROM waiting_write WHERE log = ? AND last_row <= ?", (log_id, last_row))
