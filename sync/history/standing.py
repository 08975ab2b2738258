"""Whether a row of a state, as a segment has it, still counts in this node's tables."""

import sqlite3
from dataclasses import dataclass
from enum import Enum, auto

from sync.errors import MalformedError
from sync.history.snapshot_part import StoredRow
from sync.logs.pending_writes import DELETED_FIELD, HLC_FIELD, PRESENT_FIELD, SCHOOL_FIELD
from sync.schema import BY_NUMBER
from sync.schema.model import Kind, Owner, Table
from sync.segments.columnar import Value
from sync.tables.merge import TOMBSTONE
from sync.tables.merged_rows import read_version


class Standing(Enum):
    """What became of a state's version."""

    STANDS = auto()
    SUPERSEDED = auto()
    UNKNOWN = auto()  # no later version explains why it is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """Stamps up to which tombstones, and what they deleted, are left out of the tables.

    In tables with two writers each carries its tombstones on, in its parts, from a stamp on up to
    which the other's writes may still be met that they bury.
    """

    one_writer: int
    two_writers: int
    carried_from: int


def standing_of(
    cursor: sqlite3.Cursor, origin: int, log_id: int, row: StoredRow, purged: Purged
) -> Standing:
    """Judge one row by its table; of what was purged nothing stands but what is carried on.

    Raises MalformedError for a state as no fold would have taken it.
    """
    table = BY_NUMBER[row.table]
    assert table.kind is Kind.STATE
    own = row.cells.get(table.primary_group)
    if own is None:  # only a further group's cells: no row of this table stands on them
        return Standing.SUPERSEDED
    key = (
        own.get(SCHOOL_FIELD),
        *(own.get(column.number) for column in table.columns if column.name in table.key),
    )
    stamp = own.get(HLC_FIELD)
    if not isinstance(stamp, int):
        raise MalformedError(f"row {row.number} of {table.name} is without its stamp")
    if table.owner is Owner.BOTH:
        return _standing_of_write(cursor, table, key, (stamp, origin), own, purged)
    where = " AND ".join(f"{name} = ?" for name in ("school", *table.key))
    found = cursor.execute(
        f"SELECT log, row, hlc, origin, deleted FROM {table.name} WHERE {where}",  # noqa: S608 - names are the schema's
        key,
    ).fetchone()
    if found is None:
        return Standing.SUPERSEDED if stamp <= purged.one_writer else Standing.UNKNOWN
    log, number, hlc, writer, deleted = found
    if deleted and hlc <= purged.one_writer:
        return Standing.SUPERSEDED
    if (log, number) == (log_id, row.number):
        return Standing.STANDS
    return Standing.SUPERSEDED if (hlc, writer) >= (stamp, origin) else Standing.UNKNOWN


def _standing_of_write(
    cursor: sqlite3.Cursor,
    table: Table,
    key: tuple[Value, ...],
    clock: tuple[int, int],
    own: dict[int, Value],
    purged: Purged,
) -> Standing:
    """Judge a write to a table with two writers: it stands while any of its columns does."""
    version = read_version(cursor, table, key)
    if version is None or (version.deleted and version.clock[0] <= purged.two_writers):
        if clock[0] > purged.two_writers:
            return Standing.UNKNOWN
        is_carried = own.get(DELETED_FIELD) == 1 and clock[0] > purged.carried_from
        return Standing.STANDS if is_carried else Standing.SUPERSEDED
    bits = own.get(PRESENT_FIELD)
    if not isinstance(bits, int):
        raise MalformedError(f"a write to {table.name} that does not say of which columns")
    names = [
        column.name
        for column in table.columns
        if bits >> column.number & 1 and column.name not in table.key
    ]
    if bits & 1:
        names.append(TOMBSTONE)
    clocks = [version.clock_of(name) for name in names]
    if any(each == clock for each in clocks):
        return Standing.STANDS
    return Standing.SUPERSEDED if all(each > clock for each in clocks) else Standing.UNKNOWN
