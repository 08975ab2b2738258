"""Rows of tables with two writers, as they stand in SQLite."""

import sqlite3
from collections.abc import Sequence

from sync.columnar import Value
from sync.merge import Version, pack_clocks, unpack_clocks
from sync.schema.model import Table


def read_version(cursor: sqlite3.Cursor, table: Table, key: Sequence[Value]) -> Version | None:
    """Return the row under ``key`` (school, key columns), or None."""
    where = " AND ".join(f"{name} = ?" for name in ("school", *table.key))
    names = [name for name in table.column_names if name not in table.key]
    found = cursor.execute(
        f"SELECT hlc, origin, deleted, clocks, {', '.join(names)} FROM {table.name} WHERE {where}",  # noqa: S608 - names are the schema's
        tuple(key),
    ).fetchone()
    if found is None:
        return None
    hlc, origin, deleted, clocks, *values = found
    return Version(
        clock=(hlc, origin),
        overrides=unpack_clocks(clocks),
        values=dict(zip(names, values, strict=True)),
        deleted=bool(deleted),
    )


def write_version(
    cursor: sqlite3.Cursor,
    table: Table,
    key: Sequence[Value],
    version: Version,
    position: tuple[int, int],
) -> None:
    """Store a merged row; ``position`` is (log, row) of the write that last touched it."""
    names = list(version.values)
    columns = ["school", *table.key, "hlc", "origin", "deleted", "clocks", "log", "row", *names]
    cursor.execute(
        f"INSERT OR REPLACE INTO {table.name} ({', '.join(columns)})"  # noqa: S608 - names are the schema's
        f" VALUES ({', '.join('?' * len(columns))})",
        (
            *key,
            *version.clock,
            int(version.deleted),
            pack_clocks(version.overrides),
            *position,
            *(version.values[name] for name in names),
        ),
    )
