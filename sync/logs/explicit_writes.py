"""How writes to tables with two writers are written, so that deletes may be forgotten one day.

A delete clears the row; a write to a row that is deleted, or was cleared, names every column; and
one to a row that is not there says that it is not deleted. So it makes no difference to what
follows whether a node still has the tombstone (:mod:`sync.history.tombstones`).
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from sync.schema.model import Table
from sync.tables.merge import TOMBSTONE
from sync.tables.merged_rows import Key, all_stand
from sync.tables.row_check import Row

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


def packed_key(key: Key) -> bytes:
    """Return what ``buried_row`` names a row by."""
    return msgspec.msgpack.encode(key)


def _buried(cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key]) -> set[Key]:
    return {
        key
        for key in keys
        if cursor.execute(
            "SELECT 1 FROM buried_row WHERE table_number = ? AND school = ? AND row_key = ?",
            (table.number, key[0], packed_key(key)),
        ).fetchone()
    }


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
