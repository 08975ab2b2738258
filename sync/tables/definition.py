"""How a declared table stands in SQLite, and how one of an earlier version is widened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sync.schema.model import Kind, Owner, Table
from sync.tables.merge import pack_clocks, unpack_clocks

if TYPE_CHECKING:
    from sqlite_utils import Database


def ddl(table: Table) -> list[str]:
    """Return the statements that create a table with its indexes."""
    columns = [f"{column.name} {column.type}" for column in table.columns]
    position = ["log INTEGER NOT NULL", "row INTEGER NOT NULL"]
    if table.kind is Kind.EVENT:
        statements = []
        if table.is_by_time:
            # Pages ask by school and moment; a second tree for that costs a third more of a disk.
            columns[table.column_names.index("at_ms")] += " NOT NULL"
            key = "PRIMARY KEY (school, at_ms, log, row)"
        else:
            key = "PRIMARY KEY (school, log, row)"
            if "at_ms" in table.column_names:
                statements.append(f"CREATE INDEX {table.name}_at ON {table.name} (school, at_ms)")
        columns = ["school INTEGER NOT NULL", *position, *columns, key]
        if table.dedupe:
            statements.append(
                f"CREATE UNIQUE INDEX {table.name}_once ON {table.name} (school, {table.dedupe})"
                f" WHERE {table.dedupe} IS NOT NULL"
            )
    else:
        columns = ["school INTEGER NOT NULL", *columns, "hlc INTEGER NOT NULL"]
        columns += ["origin INTEGER NOT NULL", "deleted INTEGER NOT NULL DEFAULT 0", *position]
        if table.owner is Owner.BOTH:
            columns.append("clocks BLOB")
        columns.append(f"PRIMARY KEY ({', '.join(('school', *table.key))})")
        statements = []
        if table.owner is not Owner.BOTH:
            statements.append(_position_index(table))
    # STRICT: what another school's rows claim to be is what they are, or they are refused.
    create = f"CREATE TABLE {table.name} ({', '.join(columns)}) STRICT, WITHOUT ROWID"
    return [create, *statements]


def create_or_widen(database: Database, table: Table) -> None:
    """Create a table, or add the columns that a store of an earlier version does not have."""
    if not database[table.name].exists():
        for statement in ddl(table):
            database.execute(statement)
        return
    known = {column.name for column in database[table.name].columns}
    added = [column for column in table.columns if column.name not in known]
    for column in added:
        database.table(table.name).add_column(column.name, column.type.value)
    if added and table.owner is Owner.BOTH and table.kind is Kind.STATE:
        _unwrite(database, table, [column.name for column in added])


def index_positions(cursor: sqlite3.Cursor, tables: Iterable[Table]) -> None:
    """Make rows of tables that stand by time be found by log and row too.

    Only a restored store, a wrong clock and a hub that reads further groups need that.
    """
    for table in tables:
        if table.is_by_time:
            cursor.execute(_position_index(table))


def _unwrite(database: Database, table: Table, columns: list[str]) -> None:
    """Say of every row that nobody has written these columns yet; else its row clock would."""
    key = ("school", *table.key)
    where = " AND ".join(f"{name} = ?" for name in key)
    rows = database.execute(f"SELECT clocks, {', '.join(key)} FROM {table.name}").fetchall()  # noqa: S608 - names are the schema's
    for clocks, *cells in rows:
        overrides = {**unpack_clocks(table, clocks), **dict.fromkeys(columns, (0, 0))}
        database.execute(
            f"UPDATE {table.name} SET clocks = ? WHERE {where}",  # noqa: S608 - names are the schema's
            [pack_clocks(table, overrides), *cells],
        )


def _position_index(table: Table) -> str:
    return f"CREATE INDEX IF NOT EXISTS {table.name}_position ON {table.name} (log, row)"
