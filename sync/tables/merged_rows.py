"""Rows of tables with two writers, as they stand in SQLite.

Writes come by the hundred, are almost always newer than what stands, and name what the write
before named: then they win without anything being read. If they name other columns, the clocks of
the rest have to be known. Whatever else arrives goes through
:func:`sync.tables.merge.merge_columns`, write by write.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, count
from operator import lt

import msgspec

from sync.schema import BY_NAME
from sync.schema.model import Table
from sync.segments.columnar import Value
from sync.tables.bulk_rows import ROWS_A_STATEMENT, execute_rows, value_marks
from sync.tables.merge import (
    TOMBSTONE,
    Version,
    Write,
    clocks_prefix,
    merge_columns,
    pack_clocks,
    unpack_clocks,
)

Key = tuple[Value, ...]
"""School and key columns of a row."""


@dataclass(frozen=True, slots=True)
class Writes:
    """Writes of one origin that all name the same columns, in the order of their row numbers.

    ``values`` are the columns named, the tombstone (0 or 1) among them if it is; keys are not.
    """

    keys: Sequence[Key]
    stamps: Sequence[int]
    rows: Sequence[int]
    values: Mapping[str, Sequence[Value]]

    def at(self, places: Sequence[int]) -> "Writes":
        """Return the writes at these places, which rise."""
        return Writes(
            [self.keys[place] for place in places],
            [self.stamps[place] for place in places],
            [self.rows[place] for place in places],
            {name: [cells[place] for place in places] for name, cells in self.values.items()},
        )


def merge_writes(
    cursor: sqlite3.Cursor, table: Table, log_id: int, origin: int, writes: Writes
) -> None:
    """Merge writes into their rows, whatever stands there."""
    # A write that names nothing makes a row, and moves no clock.
    if writes.values and all(map(lt, writes.stamps, writes.stamps[1:])):
        # The last write to a row names what the earlier ones do, and is newer.
        last = dict(zip(writes.keys, count(), strict=False))
        # Neighbours in the table one after the other: two thirds of the time in SQLite.
        ordered = sorted(last.values(), key=writes.keys.__getitem__)
        places = _win(cursor, table, (origin, log_id), writes, ordered)
    else:
        places = range(len(writes.keys))
    for place in places:
        values = {name: column[place] for name, column in writes.values.items()}
        gone = values.pop(TOMBSTONE, None)
        write = Write(
            clock=(writes.stamps[place], origin),
            values=values,
            deleted=None if gone is None else bool(gone),
        )
        key = writes.keys[place]
        merged = merge_columns(table, read_version(cursor, table, key), write)
        write_version(cursor, table, key, merged, (log_id, writes.rows[place]))


def read_version(cursor: sqlite3.Cursor, table: Table, key: Sequence[Value]) -> Version | None:
    """Return the row under ``key``, or None."""
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
        overrides=unpack_clocks(table, clocks),
        values=dict(zip(names, values, strict=True)),
        deleted=bool(deleted),
    )


def write_version(
    cursor: sqlite3.Cursor, table: Table, key: Key, version: Version, position: tuple[int, int]
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
            pack_clocks(table, version.overrides),
            *position,
            *(version.values[name] for name in names),
        ),
    )


def all_stand(cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key]) -> bool:
    """Return whether there are rows under all these distinct keys, and none is deleted."""
    for start in range(0, len(keys), ROWS_A_STATEMENT):
        some = keys[start : start + ROWS_A_STATEMENT]
        counted = _asked_sql(table.name, "count(nullif(t.deleted, 1))", len(some))
        if cursor.execute(counted, list(chain.from_iterable(some))).fetchone() != (len(some),):
            return False
    return True


@cache
def _asked_sql(table_name: str, read: str, rows: int) -> str:
    names = ("school", *BY_NAME[table_name].key)
    asked = ", ".join(f"k{place}" for place in range(len(names)))
    cells = len(names)
    marks = ", ".join(
        f"({place}, {', '.join(f'?{place * cells + cell + 1}' for cell in range(cells))})"
        for place in range(rows)
    )
    # CROSS JOIN: one seek for each key that is asked for, in this order.
    same = " AND ".join(f"t.{name} = k{place}" for place, name in enumerate(names))
    return (
        f"WITH asked (place, {asked}) AS (VALUES {marks})"  # noqa: S608 - names are the schema's
        f" SELECT {read} FROM asked CROSS JOIN {table_name} t ON {same}"
    )


def _win(
    cursor: sqlite3.Cursor,
    table: Table,
    mine: tuple[int, int],
    writes: Writes,
    places: Sequence[int],
) -> Sequence[int]:
    """Store the writes at these places, one a row, that make a row or are newer than theirs.

    Return the places of those that are still to be merged. ``mine`` is (origin, log).
    """
    columns: list[Sequence[Value]] = [*zip(*map(writes.keys.__getitem__, places), strict=True)]
    written = (writes.stamps, writes.rows, *writes.values.values())
    columns += [list(map(values.__getitem__, places)) for values in written]
    sql = partial(_win_alike_sql, table.name, tuple(writes.values))
    if execute_rows(cursor, sql, mine, columns) == len(places):
        return ()
    return _win_others(cursor, table, mine, writes, places)


@cache
def _win_alike_sql(table_name: str, named: tuple[str, ...], rows: int) -> str:
    """Make rows, or update those whose other columns, and no more, have clocks of their own.

    Parameters are origin and log, then key, hlc, row and ``named`` of each row.
    """
    table = BY_NAME[table_name]
    key = ("school", *table.key)
    names = (*key, "hlc", "row", *named)
    others = _other_names(table, named)
    clocks, alike = "NULL", f"{table_name}.clocks IS NULL"
    if others:
        unwritten = pack_clocks(table, dict.fromkeys(others, (0, 0))) or b""
        first = clocks_prefix(table, others).hex()
        clocks = f"x'{unwritten.hex()}'"
        # What follows these bytes is a number, and no number begins with ff.
        alike = f"{table_name}.clocks BETWEEN x'{first}' AND x'{first}ff'"
    update = ", ".join(
        f"{name} = excluded.{name}" for name in (*names[len(key) :], "origin", "log")
    )
    marks = (*("?" * len(names)), "?1", "?2", clocks)
    return (
        f"INSERT INTO {table_name} ({', '.join(names)}, origin, log, clocks) VALUES"  # noqa: S608 - names are the schema's
        f" {value_marks(marks, 2, len(names), rows)}"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {update} WHERE {alike}"
        f" AND (excluded.hlc, excluded.origin) > ({table_name}.hlc, {table_name}.origin)"
    )


def _win_others(
    cursor: sqlite3.Cursor,
    table: Table,
    mine: tuple[int, int],
    writes: Writes,
    places: Sequence[int],
) -> list[int]:
    """Do the same for rows of which some have other columns with clocks of their own."""
    origin, log_id = mine
    others = _other_names(table, tuple(writes.values))
    first = clocks_prefix(table, others)
    keys = list(map(writes.keys.__getitem__, places))
    stand = _read_rows(cursor, table, keys, tuple(writes.values))
    newer: list[tuple[Value, ...]] = []
    rest = []
    for key, place in zip(keys, places, strict=True):
        hlc, writer, clocks, *cells = stand[key]
        clock = writes.stamps[place], origin
        named = [values[place] for values in writes.values.values()]
        is_alike = clocks.startswith(first) if clocks and first else not (clocks or first)
        if clock > (hlc, writer):
            if not is_alike:
                overrides = unpack_clocks(table, clocks)
                after = {name: overrides.get(name, (hlc, writer)) for name in others}
                clocks = pack_clocks(table, after)
            newer.append((*clock, clocks, log_id, writes.rows[place], *named, *key))
        elif not is_alike or (clock == (hlc, writer) and _encoded(cells) != _encoded(named)):
            rest.append(place)
    columns = ("hlc", "origin", "clocks", "log", "row", *writes.values)
    cursor.executemany(
        f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in columns)}"  # noqa: S608 - names are the schema's
        f" WHERE {' AND '.join(f'{name} = ?' for name in ('school', *table.key))}",
        newer,
    )
    return rest


def _read_rows(
    cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key], named: Sequence[str]
) -> dict[Key, tuple[int, int, bytes | None, *tuple[Value, ...]]]:
    """Return row clock, overrides, still packed, and the columns named of rows that stand."""
    found: dict[Key, tuple[int, int, bytes | None, *tuple[Value, ...]]] = {}
    read = ", ".join(f"t.{name}" for name in ("hlc", "origin", "clocks", *named))
    for start in range(0, len(keys), ROWS_A_STATEMENT):
        some = keys[start : start + ROWS_A_STATEMENT]
        asked = _asked_sql(table.name, f"place, {read}", len(some))
        for place, *row in cursor.execute(asked, list(chain.from_iterable(some))):
            found[some[place]] = tuple(row)
    return found


def _other_names(table: Table, named: Collection[str]) -> frozenset[str]:
    """Return what is merged of a table but for these columns."""
    return frozenset({*table.column_names, TOMBSTONE}).difference(table.key, named)


def _encoded(cells: Sequence[Value]) -> bytes:
    # Equal is not the same: 0.0 and -0.0.
    return msgspec.msgpack.encode(cells)
