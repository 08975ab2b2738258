"""Rows of tables with two writers, as they stand in SQLite.

Writes come by the hundred and are almost always newer than what stands: then the columns that a
write names simply win, and only the clocks of the others need to be known. Whatever else arrives
goes through :func:`sync.folding.merge.merge_columns`, write by write.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain
from operator import lt

from sync.folding.merge import (
    TOMBSTONE,
    Clock,
    Version,
    Write,
    merge_columns,
    pack_clocks,
    unpack_clocks,
)
from sync.logs.bulk_rows import ROWS_A_STATEMENT, execute_rows, value_marks
from sync.schema import BY_NAME
from sync.schema.model import Table
from sync.segments.columnar import Value

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


def merge_writes(
    cursor: sqlite3.Cursor, table: Table, log_id: int, origin: int, writes: Writes
) -> None:
    """Merge writes into their rows, whatever stands there."""
    # A write that names nothing makes a row, and moves no clock.
    is_plain = bool(writes.values) and all(map(lt, writes.stamps, writes.stamps[1:]))
    count = len(writes.keys)
    last = dict(zip(writes.keys, range(count), strict=True))
    first = dict(zip(reversed(writes.keys), reversed(range(count)), strict=True))
    before = _read_clocks(cursor, table, list(last))
    others = frozenset(_merged_names(table) - writes.values.keys())
    newer: dict[Key, bytes | None] = {}
    for key, place in first.items():
        stands = before.get(key)
        if stands is None:
            newer[key] = _packed_alike(others, (0, 0))
        elif is_plain and (writes.stamps[place], origin) > stands[0]:
            newer[key] = _packed_after(others, *stands)
    if is_plain and newer:
        _win(cursor, table, (origin, log_id), writes, {key: last[key] for key in newer}, newer)
    for place, key in enumerate(writes.keys):
        if is_plain and key in newer:
            continue
        values = {name: column[place] for name, column in writes.values.items()}
        gone = values.pop(TOMBSTONE, None)
        write = Write(
            clock=(writes.stamps[place], origin),
            values=values,
            deleted=None if gone is None else bool(gone),
        )
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
        overrides=unpack_clocks(clocks),
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
            pack_clocks(version.overrides),
            *position,
            *(version.values[name] for name in names),
        ),
    )


def _merged_names(table: Table) -> frozenset[str]:
    return frozenset(table.column_names).difference(table.key) | {TOMBSTONE}


def _read_clocks(
    cursor: sqlite3.Cursor, table: Table, keys: Sequence[Key]
) -> dict[Key, tuple[Clock, bytes | None]]:
    """Return row clock and overrides, still packed, of those rows that stand."""
    found: dict[Key, tuple[Clock, bytes | None]] = {}
    for start in range(0, len(keys), ROWS_A_STATEMENT):
        some = keys[start : start + ROWS_A_STATEMENT]
        cells = list(chain.from_iterable(some))
        asked = _asked_sql(table.name, "place, t.hlc, t.origin, t.clocks", len(some))
        stand = cursor.execute(asked, cells)
        found.update((some[place], ((hlc, origin), clocks)) for place, hlc, origin, clocks in stand)
    return found


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
    places: Mapping[Key, int],
    clocks: Mapping[Key, bytes | None],
) -> None:
    """Store the last of each row's writes; it names what all of them name, and is the newest."""
    columns: list[Sequence[Value]] = [*zip(*places, strict=True)]
    columns.append([writes.stamps[place] for place in places.values()])
    columns.append([clocks[key] for key in places])
    columns.append([writes.rows[place] for place in places.values()])
    columns += [[values[place] for place in places.values()] for values in writes.values.values()]
    execute_rows(cursor, partial(_win_sql, table.name, tuple(writes.values)), mine, columns)


@cache
def _win_sql(table_name: str, named: tuple[str, ...], rows: int) -> str:
    """Parameters are origin and log, then key, hlc, clocks, row and ``named`` of each row."""
    key = ("school", *BY_NAME[table_name].key)
    names = (*key, "hlc", "clocks", "row", *named, "origin", "log")
    cells = len(names) - 2
    update = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return (
        f"INSERT INTO {table_name} ({', '.join(names)}) VALUES"  # noqa: S608 - names are the schema's
        f" {value_marks((*('?' * cells), '?1', '?2'), 2, cells, rows)}"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {update}"
    )


@lru_cache(maxsize=512)
def _packed_alike(names: frozenset[str], clock: Clock) -> bytes | None:
    return pack_clocks(dict.fromkeys(names, clock))


@lru_cache(maxsize=512)
def _names_in(packed: bytes | None) -> frozenset[str]:
    return frozenset(unpack_clocks(packed))


def _packed_after(others: frozenset[str], row: Clock, packed: bytes | None) -> bytes | None:
    """Return the clocks of the columns that a newer write does not name."""
    if _names_in(packed) == others:
        return packed
    overrides = unpack_clocks(packed)
    return pack_clocks({name: overrides.get(name, row) for name in others})
