"""Tombstones: how a delete is written so that it may be forgotten one day, and when it may.

A delete ends with the checkpoint that leaves it out; every node drops it when it has applied what
that checkpoint covers. Until then it stands, and no digest counts it.

In tables with two writers a delete clears the row; a write to a row that is deleted, or was
cleared, names every column; and one to a row that is not there says that it is not deleted. So it
makes no difference to what follows whether a node still has the tombstone.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from sync.folding.merge import TOMBSTONE
from sync.folding.merged_rows import Key, all_stand
from sync.history.checkpoint import Checkpoint
from sync.logs.log_state import find_log
from sync.logs.row_check import Row
from sync.schema import TABLES
from sync.schema.model import Kind, Owner, Table
from sync.segments.segment import HUB

_KEYS_A_QUERY = 32


def explicit_writes(
    cursor: sqlite3.Cursor, table: Table, origin: int, rows: Sequence[Row]
) -> Sequence[Row]:
    """Return rows of a table with two writers as they are written: see the module.

    A row that stands and is not deleted is written as it is given.
    """
    schools = [row.get("school", origin) for row in rows]
    keys = list(zip(schools, *([row.get(name) for row in rows] for name in table.key), strict=True))
    told = any(TOMBSTONE in row for row in rows)
    if not told and all_stand(cursor, table, list(dict.fromkeys(keys))):
        return rows
    gone = _deleted(cursor, table, list(dict.fromkeys(keys)))
    blank: Row = {name: None for name in table.column_names if name not in table.key}
    written: list[Row] = []
    buried = _buried(cursor, table, [key for key in dict.fromkeys(keys) if key not in gone])
    for key, row in zip(keys, rows, strict=True):
        is_gone = bool(row.get(TOMBSTONE, gone.get(key, False)))
        if is_gone:
            written.append({**row, **blank, TOMBSTONE: 1})
        elif gone.get(key) or key in buried:
            written.append({**blank, **row, TOMBSTONE: 0})
        elif key not in gone:
            written.append({**row, TOMBSTONE: 0})
        else:
            written.append(row)
        gone[key] = is_gone
        buried.discard(key)
    return written


def bury(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
    """Remember which rows with two writers are cleared by a checkpoint of the hub's own.

    Until the school has cleared them too, what is written to them anew names every column.
    """
    for table in TABLES:
        if table.owner is Owner.BOTH and table.kind is Kind.STATE:
            names = ", ".join(("school", *table.key))
            keys = cursor.execute(
                f"SELECT {names} FROM {table.name} WHERE school = ? AND deleted = 1 AND hlc <= ?",  # noqa: S608 - names are the schema's
                (int(checkpoint.audience[1:]), checkpoint.record.purged_both),
            ).fetchall()
            cursor.executemany(
                "INSERT OR REPLACE INTO buried_row VALUES (?, ?, ?, ?)",
                [
                    (table.number, key[0], _packed(key), checkpoint.record.purged_both)
                    for key in keys
                ],
            )


def forget_buried(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
    """Forget what a school has cleared by now, by its own checkpoint."""
    cursor.execute(
        "DELETE FROM buried_row WHERE school = ? AND purged <= ?",
        (checkpoint.origin, checkpoint.record.purged_both),
    )


def drop_tombstones(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> int:
    """Drop what a checkpoint leaves out, where all that it covers was applied; return how many."""
    record = checkpoint.record
    dropped = 0
    for table in TABLES:
        if table.kind is not Kind.STATE:
            continue
        if table.owner is Owner.BOTH:
            # A school leaves out only what the hub's own checkpoint has cleared here before.
            if checkpoint.origin == HUB and checkpoint.audience.startswith("s"):
                dropped += cursor.execute(
                    f"DELETE FROM {table.name} WHERE school = ? AND deleted = 1 AND hlc <= ?",  # noqa: S608 - names are the schema's
                    (int(checkpoint.audience[1:]), record.purged_both),
                ).rowcount
            continue
        for cover in record.covers:
            log = find_log(cursor, checkpoint.source(cover))
            if log is not None and table.lane is cover.lane:
                dropped += cursor.execute(
                    f"DELETE FROM {table.name} WHERE log = ? AND row <= ?"  # noqa: S608 - names are the schema's
                    " AND deleted = 1 AND hlc <= ?",
                    (log.id, cover.last_row, record.purged),
                ).rowcount
    return dropped


def _buried(cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key]) -> set[Key]:
    return {
        key
        for key in keys
        if cursor.execute(
            "SELECT 1 FROM buried_row WHERE table_number = ? AND school = ? AND row_key = ?",
            (table.number, key[0], _packed(key)),
        ).fetchone()
    }


def _packed(key: Key) -> bytes:
    return msgspec.msgpack.encode(key)


def _deleted(cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key]) -> dict[Key, bool]:
    """Return of those rows that there are whether they are deleted."""
    names = ("school", *table.key)
    found: dict[Key, bool] = {}
    for start in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[start : start + _KEYS_A_QUERY]
        marks = ", ".join(f"({', '.join('?' * len(names))})" for _ in some)
        for deleted, *key in cursor.execute(
            f"SELECT deleted, {', '.join(names)} FROM {table.name}"  # noqa: S608 - names are the schema's
            f" WHERE ({', '.join(names)}) IN (VALUES {marks})",
            [cell for asked in some for cell in asked],
        ):
            found[tuple(key)] = bool(deleted)
    return found
