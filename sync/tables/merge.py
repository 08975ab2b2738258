"""The merge rules as SQL and, for tables with two writers, column by column.

The clause for states serves the hub's other store too: ``ON CONFLICT … DO UPDATE … WHERE`` by
(hlc, origin) is alike in SQLite and PostgreSQL.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain

import msgspec

from sync.schema import BY_NAME
from sync.schema.model import Table
from sync.segments.columnar import Value
from sync.tables.bulk_rows import value_marks

TOMBSTONE = "deleted"
"""Merged like a column, under this name."""
_clocks = msgspec.msgpack.Decoder(list[int])


@cache
def insert_event_sql(table_name: str, columns: tuple[str, ...], rows: int = 1) -> str:
    """Add events once, by log position or by the device's own key.

    Parameters are school and log, then row and ``columns`` of each of ``rows``. Of two events with
    one device key the one with the lower (incarnation, row) stays, so that the order of arrival
    does not matter.
    """
    table = BY_NAME[table_name]
    names = ("school", "log", "row", *columns)
    cells = 1 + len(columns)
    values = value_marks(("?1", "?2", *("?" * cells)), 2, cells, rows)
    insert = f"INSERT INTO {table_name} ({', '.join(names)}) VALUES {values}"  # noqa: S608 - names are the schema's
    if table.dedupe not in columns:
        return f"{insert} ON CONFLICT DO NOTHING"
    update = _assignments(table, ("log", "row", *columns))
    mine, theirs = (
        f"((SELECT incarnation FROM log WHERE id = {side}.log), {side}.row)"  # noqa: S608 - names are the schema's
        for side in ("excluded", table_name)
    )
    return (
        f"{insert} ON CONFLICT (school, {table.dedupe}) WHERE {table.dedupe} IS NOT NULL"
        f" DO UPDATE SET {update} WHERE {mine} < {theirs} ON CONFLICT DO NOTHING"
    )


@cache
def upsert_state_sql(table_name: str, columns: tuple[str, ...], rows: int = 1) -> str:
    """Keep the version with the greater (hlc, origin), whole: columns not given become null.

    Should two writes come to one stamp (clamps can bring them there), the later incarnation and
    row decide, so that the order of arrival does not.

    Parameters are origin and log, then school, hlc, deleted, row and ``columns``, keys among them,
    of each of ``rows``.
    """
    table = BY_NAME[table_name]
    own = ("hlc", "origin", "deleted", "log", "row")
    names = ("school", *own, *columns)
    update = _assignments(table, (*own, *columns))
    cells = 4 + len(columns)
    marks = ("?", "?", "?1", "?", "?2", "?", *("?" * len(columns)))
    return (
        f"INSERT INTO {table_name} ({', '.join(names)}) VALUES"  # noqa: S608 - names are the schema's
        f" {value_marks(marks, 2, cells, rows)}"
        f" ON CONFLICT ({', '.join(('school', *table.key))}) DO UPDATE SET {update}"
        f" WHERE (excluded.hlc, excluded.origin) > ({table_name}.hlc, {table_name}.origin)"
        f" OR ((excluded.hlc, excluded.origin) = ({table_name}.hlc, {table_name}.origin)"
        f" AND ({_incarnation('excluded')}, excluded.row)"
        f" > ({_incarnation(table_name)}, {table_name}.row))"
    )


@cache
def fill_sql(table_name: str, columns: tuple[str, ...]) -> str:
    """Set columns of a further group on a row that its segment brought, if it still stands.

    Parameters are ``columns``, then school, log, row.
    """
    fill = ", ".join(f"{name} = ?" for name in columns)
    return f"UPDATE {table_name} SET {fill} WHERE school = ? AND log = ? AND row = ?"  # noqa: S608 - names are the schema's


Clock = tuple[int, int]
"""(hlc, origin): the order in which writes win."""


@dataclass(frozen=True, slots=True)
class Version:
    """A row of a table with two writers: row clock, sparse overrides, values."""

    clock: Clock
    overrides: Mapping[str, Clock]
    values: Mapping[str, Value]
    deleted: bool

    def clock_of(self, column: str) -> Clock:
        return self.overrides.get(column, self.clock)


@dataclass(frozen=True, slots=True)
class Write:
    """One writer's change: only the columns it names; ``deleted`` None leaves the tombstone."""

    clock: Clock
    values: Mapping[str, Value]
    deleted: bool | None = None


def merge_columns(table: Table, before: Version | None, write: Write) -> Version:
    """Return the row after ``write``: per column the greater (hlc, origin) wins.

    Commutative, associative and idempotent, so that the order of arrival does not matter; should
    one clock ever stand for two values, the one that encodes greater wins.
    """
    values: dict[str, Value] = {
        name: before.values[name] if before else None
        for name in table.column_names
        if name not in table.key
    }
    values[TOMBSTONE] = int(before.deleted) if before else 0
    clocks = {name: before.clock_of(name) if before else (0, 0) for name in values}
    written = {name: write.values[name] for name in values if name in write.values}
    if write.deleted is not None:
        written[TOMBSTONE] = int(write.deleted)
    for name, value in written.items():
        if (write.clock, _order(value)) > (clocks[name], _order(values[name])):
            clocks[name], values[name] = write.clock, value
    newest = max(clocks.values())
    return Version(
        clock=newest,
        overrides={name: clock for name, clock in clocks.items() if clock != newest},
        deleted=bool(values.pop(TOMBSTONE)),
        values=values,
    )


def pack_clocks(table: Table, overrides: Mapping[str, Clock]) -> bytes | None:
    """Return overrides as a row holds them, None if there are none.

    That is msgpack ``[bits, hlc, origin, …]``: which columns they are of, by number (bit 0 the
    tombstone's), and the clock of each, by number. So rows whose overrides are of the same columns
    begin with the same bytes.
    """
    if not overrides:
        return None
    numbers = {TOMBSTONE: 0, **table.numbers}
    numbered = sorted((numbers[name], clock) for name, clock in overrides.items())
    bits = sum(1 << number for number, _ in numbered)
    return msgspec.msgpack.encode([bits, *chain.from_iterable(clock for _, clock in numbered)])


def unpack_clocks(table: Table, packed: bytes | None) -> dict[str, Clock]:
    """Return the overrides of the columns that this version knows."""
    if packed is None:
        return {}
    bits, *flat = _clocks.decode(packed)
    clocks = zip(flat[::2], flat[1::2], strict=True)
    names = {0: TOMBSTONE, **{column.number: column.name for column in table.columns}}
    placed = zip((number for number in range(64) if bits >> number & 1), clocks, strict=True)
    return {names[number]: clock for number, clock in placed if number in names}


def clocks_prefix(table: Table, names: Collection[str]) -> bytes:
    """Return what the packed overrides of these columns begin with, and no others."""
    packed = pack_clocks(table, dict.fromkeys(names, (0, 0)))
    return packed[: -2 * len(names)] if packed else b""


def _order(value: Value) -> bytes:
    return msgspec.msgpack.encode(value)


def _incarnation(side: str) -> str:
    return f"(SELECT incarnation FROM log WHERE id = {side}.log)"  # noqa: S608 - names are the schema's


def _assignments(table: Table, given: tuple[str, ...]) -> str:
    """Take what the new row gives; clear the columns of groups that are still to be filled."""
    taken = [f"{name} = excluded.{name}" for name in given if name not in table.key]
    cleared = [f"{name} = NULL" for name in table.column_names if name not in given]
    return ", ".join((*taken, *cleared))
