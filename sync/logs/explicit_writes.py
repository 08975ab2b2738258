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
    cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key], rows: Sequence[Row], *, told: bool
) -> Sequence[Row]:
    """Return rows of a table with two writers as they are written: see the module.

    ``keys`` are those of the rows; ``told``: some say whether they are deleted. Rows that all stand
    and are not deleted are returned as they were given.
    """
    distinct = list(dict.fromkeys(keys))
    if not told and all_stand(cursor, table, distinct):
        return rows
    gone = _deleted(cursor, table, distinct)
    blank: Row = {name: None for name in table.column_names if name not in table.key}
    written: list[Row] = []
    buried = _buried(cursor, table, [key for key in distinct if key not in gone])
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
