"""Digests of what the tables hold, by which two stores are compared."""

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec

from sync.schema import TABLES
from sync.schema.model import Group, Kind, Owner, Table
from sync.tables.merge import TOMBSTONE, unpack_clocks


def digest_tables(
    cursor: sqlite3.Cursor,
    schools: Sequence[int] | None = None,
    groups: Sequence[Group] = tuple(Group),
) -> dict[str, bytes]:
    """Return SHA-256 per table over its rows in key order, free of node-local numbering.

    Two nodes that hold the same segments have the same digests, whether or not either dropped
    tombstones already: rows that are deleted do not count. ``schools`` narrows to the rows
    of these schools, ``groups`` to what both nodes can read.
    """
    digests = {}
    for table in TABLES:
        digest = sha256()
        if table.primary_group in groups:
            for row in _canonical_rows(cursor, table, groups, schools):
                digest.update(msgspec.msgpack.encode(tuple(row)))
        digests[table.name] = digest.digest()
    return digests


def _canonical_rows(
    cursor: sqlite3.Cursor,
    table: Table,
    groups: Sequence[Group],
    schools: Sequence[int] | None,
) -> Iterator[tuple[object, ...]]:
    # Numbers, so that a hub reads one school's rows by their key and passes over all others.
    where = (
        "" if schools is None else f" WHERE t.school IN ({', '.join(str(int(s)) for s in schools)})"
    )
    read = [f"t.{column.name}" for column in table.columns if column.group in groups]
    if table.kind is Kind.EVENT:
        yield from cursor.execute(
            "SELECT t.school, l.origin, l.incarnation, l.audience, l.lane, t.row,"  # noqa: S608 - names are the schema's
            f" {', '.join(read)} FROM {table.name} t JOIN log l ON l.id = t.log"
            f"{where} ORDER BY 1, 2, 3, 4, 5, 6"
        )
        return
    where = f"{where} AND t.deleted = 0" if where else " WHERE t.deleted = 0"
    if table.owner is Owner.BOTH:
        read.append("t.clocks")
    key = ", ".join(f"t.{name}" for name in ("school", *table.key))
    rows = cursor.execute(
        f"SELECT t.school, t.hlc, t.origin, {', '.join(read)}"  # noqa: S608 - names are the schema's
        f" FROM {table.name} t{where} ORDER BY {key}"
    )
    if table.owner is not Owner.BOTH:
        yield from rows
        return
    names = [column.name for column in table.columns if column.group in groups]
    for *cells, clocks in rows:
        # A cell that is null has no clock that matters: a tombstone may have been dropped on it.
        filled = {name for name, cell in zip(names, cells[3:], strict=True) if cell is not None} | {
            TOMBSTONE
        }
        overrides = {
            name: clock
            for name, clock in sorted(unpack_clocks(table, clocks).items())
            if name in filled
        }
        yield (*cells, overrides)
