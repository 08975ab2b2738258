"""The fold: opened bodies become rows, deterministically, whatever the order of arrival."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise

import msgspec

from sync.body import TEXT_MAX, TableColumns, text_length
from sync.columnar import Value, decode_column
from sync.errors import MalformedError, OwnershipError
from sync.merge import Write, fill_sql, insert_event_sql, merge_columns, upsert_state_sql
from sync.merged_rows import read_version, write_version
from sync.oplog import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    event_school,
)
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import Audience, Column, Group, Kind, Owner, Table
from sync.segment import HUB, Header, LogName

__all__ = ["HUB", "Folded", "Parked", "digest_tables", "fold_body"]

_OWN_FIELDS = frozenset({SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, PRESENT_FIELD})
_SCHOOLS = range(2**32)
_REACHED_BY = {"d": Audience.DISTRICT, "s": Audience.SCHOOL, "l": Audience.LESSON}
_TRAVELS_ANYWHERE = "key_grant"  # with the log whose bodies its keys open


@dataclass(frozen=True, slots=True)
class Parked:
    """Rows of one table that could not be applied, with the reason."""

    table: int
    rows: int
    reason: str


@dataclass(slots=True)
class Folded:
    """What folding one body did."""

    rows: int = 0
    tables: set[str] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)


def fold_body(
    cursor: sqlite3.Cursor, log_id: int, header: Header, group: Group, tables: list[TableColumns]
) -> Folded:
    """Apply one opened body inside the caller's transaction.

    A table this version does not know, or rows their writer does not own, are parked whole; the
    other tables of the body are applied. Columns this version does not know are parked alone.
    """
    folded = Folded()
    for columns in tables:
        cursor.execute("SAVEPOINT one_table")
        try:
            table = _writable_table(header, group, columns)
            unknown = _fold_table(cursor, log_id, header, table, group, columns)
        except (OwnershipError, MalformedError, sqlite3.IntegrityError) as error:
            cursor.execute("ROLLBACK TO one_table")
            folded.parked.append(Parked(columns.table, columns.rows, str(error)))
        else:
            folded.tables.add(table.name)
            if group is table.primary_group:
                folded.rows += columns.rows
            if unknown:
                reason = f"{table.name} has columns {unknown} that this version does not know yet"
                folded.parked.append(Parked(columns.table, columns.rows, reason))
        cursor.execute("RELEASE one_table")
    return folded


def digest_tables(
    cursor: sqlite3.Cursor,
    schools: Sequence[int] | None = None,
    groups: Sequence[Group] = tuple(Group),
) -> dict[str, bytes]:
    """Return SHA-256 per table over its rows in key order, free of node-local numbering.

    Two nodes that hold the same segments have the same digests. ``schools`` narrows to the rows
    of these schools, ``groups`` to what both nodes can read.
    """
    digests = {}
    for table in TABLES:
        digest = sha256()
        if table.primary_group in groups:
            for row in _canonical_rows(cursor, table, groups):
                if schools is None or row[0] in schools:
                    digest.update(msgspec.msgpack.encode(tuple(row)))
        digests[table.name] = digest.digest()
    return digests


def _writable_table(header: Header, group: Group, columns: TableColumns) -> Table:
    log = header.log
    table = BY_NUMBER.get(columns.table)
    if table is None:
        raise OwnershipError(
            f"table {columns.table} is not known to this version; kept, and folded after an upgrade"
        )
    allowed = Owner.HUB if log.origin == HUB else Owner.SCHOOL
    if table.owner not in (allowed, Owner.BOTH):
        raise OwnershipError(f"{log} may not write {table.name}, which is the {table.owner}'s")
    reached = _REACHED_BY[log.audience[0]]
    if table.lane is not log.lane or (
        table.audience is not reached and table.name != _TRAVELS_ANYWHERE
    ):
        raise OwnershipError(f"{table.name} does not travel in {log}")
    if not any(column.group is group for column in table.columns):
        raise MalformedError(f"{table.name} has nothing in the group {group}")
    stated = [each for each in header.tables if each.table == columns.table]
    if not stated or columns.rows > stated[0].rows:
        raise MalformedError(
            f"{columns.rows} rows of {table.name}, which the header does not state"
        )
    return table


def _fold_table(
    cursor: sqlite3.Cursor,
    log_id: int,
    header: Header,
    table: Table,
    group: Group,
    columns: TableColumns,
) -> list[int]:
    """Apply one table's rows; return the numbers of columns that are not known here."""
    rows = columns.rows
    numbers = [_integer(value) for value in decode_column(columns.row_numbers, rows)]
    if not header.first_row <= numbers[0] <= numbers[-1] <= header.last_row:
        raise MalformedError("row numbers outside of their segment")
    if not all(before < after for before, after in pairwise(numbers)):
        raise MalformedError("row numbers that do not rise")
    decoded, unknown = _decode_known(table, group, columns)
    known = [column for column in table.columns if column.group is group]
    names = tuple(column.name for column in known)
    nothing: list[Value] = [None] * rows
    values = [decoded.get(column.number, nothing) for column in known]
    if group is not table.primary_group:
        school = event_school(header.log)
        cursor.executemany(
            fill_sql(table.name, names),
            [(*row, school, log_id, number) for number, *row in zip(numbers, *values, strict=True)],
        )
        return unknown
    _check_lesson(header.log, table, dict(zip(names, values, strict=True)))
    if table.kind is Kind.EVENT:
        school = event_school(header.log)
        cursor.executemany(
            insert_event_sql(table.name, names),
            [(school, log_id, number, *row) for number, *row in zip(numbers, *values, strict=True)],
        )
        return unknown
    schools = _owned_schools(header.log, decoded.get(SCHOOL_FIELD, nothing))
    stamps = [_integer(value) for value in decoded.get(HLC_FIELD, nothing)]
    if not all(0 < value <= header.last_stamp for value in stamps):
        raise MalformedError("row stamps outside of their segment")
    deleted = [int(value == 1) for value in decoded.get(DELETED_FIELD, nothing)]
    if table.owner is Owner.BOTH:
        present = [_integer(value) for value in decoded.get(PRESENT_FIELD, nothing)]
        rows_in = zip(numbers, schools, stamps, deleted, present, *values, strict=True)
        for number, *row in rows_in:
            _merge_row(cursor, header.log, table, names, (log_id, number), row)
        return unknown
    origin = header.log.origin
    cursor.executemany(
        upsert_state_sql(table.name, names),
        [
            (school, stamp, origin, gone, log_id, number, *row)
            for school, stamp, gone, number, *row in zip(
                schools, stamps, deleted, numbers, *values, strict=True
            )
        ],
    )
    return unknown


def _decode_known(
    table: Table, group: Group, columns: TableColumns
) -> tuple[dict[int, list[Value]], list[int]]:
    """Return the columns this version knows, by number, and the numbers of the others."""
    declared: dict[int, Column] = {column.number: column for column in table.columns}
    has_own = table.kind is Kind.STATE and group is table.primary_group
    own = _OWN_FIELDS if has_own else frozenset()
    decoded: dict[int, list[Value]] = {}
    unknown = []
    text = 0
    for number, encoded in columns.columns:
        if number in own or (number in declared and declared[number].group is group):
            decoded[number] = decode_column(encoded, columns.rows)
            text += text_length(decoded[number])
            if text > TEXT_MAX:
                raise MalformedError(f"the cells of {table.name} expand to more than {TEXT_MAX}")
        elif number in declared:
            raise MalformedError(f"column {number} of {table.name} is not of the group {group}")
        else:
            unknown.append(number)
    return decoded, unknown


def _check_lesson(log: LogName, table: Table, values: dict[str, list[Value]]) -> None:
    """See that a lesson's rows stand in that lesson's log, where its parties get them."""
    if table.audience is not Audience.LESSON:
        return
    if any(lesson != log.audience[1:] for lesson in values["lesson"]):
        raise OwnershipError(f"{log} holds rows of {table.name} for another lesson")


def _merge_row(
    cursor: sqlite3.Cursor,
    log: LogName,
    table: Table,
    names: tuple[str, ...],
    position: tuple[int, int],
    row: list[Value],
) -> None:
    school, stamp, deleted, present, *values = row
    given = dict(zip(names, values, strict=True))
    key = (school, *(given[name] for name in table.key))
    if None in key:
        raise MalformedError(f"a row of {table.name} lacks its key")
    bits = _integer(present)
    written = {
        column.name: given[column.name] for column in table.columns if bits >> column.number & 1
    }
    write = Write(
        clock=(_integer(stamp), log.origin),
        values=written,
        deleted=deleted == 1 if bits & 1 else None,
    )
    before = read_version(cursor, table, key)
    write_version(cursor, table, key, merge_columns(table, before, write), position)


def _owned_schools(log: LogName, schools: list[Value]) -> list[int]:
    owned = [_integer(school) for school in schools]
    if log.origin != HUB and any(school != log.origin for school in owned):
        raise OwnershipError(f"{log} writes rows of another school; parked, nothing was changed")
    if any(school not in _SCHOOLS for school in owned):
        raise MalformedError(f"{log} writes rows of a school that cannot be")
    if log.audience.startswith("s") and any(school != event_school(log) for school in owned):
        raise OwnershipError(f"{log} writes rows of a school that it does not reach")
    return owned


def _canonical_rows(
    cursor: sqlite3.Cursor, table: Table, groups: Sequence[Group]
) -> Iterator[tuple[object, ...]]:
    read = [f"t.{column.name}" for column in table.columns if column.group in groups]
    if table.kind is Kind.EVENT:
        yield from cursor.execute(
            "SELECT t.school, l.origin, l.incarnation, l.audience, l.lane, t.row,"  # noqa: S608 - names are the schema's
            f" {', '.join(read)} FROM {table.name} t JOIN log l ON l.id = t.log"
            " ORDER BY 1, 2, 3, 4, 5, 6"
        )
        return
    if table.owner is Owner.BOTH:
        read.append("t.clocks")
    key = ", ".join(f"t.{name}" for name in ("school", *table.key))
    yield from cursor.execute(
        f"SELECT t.school, t.hlc, t.origin, t.deleted, {', '.join(read)}"  # noqa: S608 - names are the schema's
        f" FROM {table.name} t ORDER BY {key}"
    )


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise MalformedError(f"{type(value).__name__} where a row needs an integer")
    return value
