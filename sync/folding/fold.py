"""The fold: opened bodies become rows, deterministically, whatever the order of arrival."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Protocol, cast

import msgspec

from sync.errors import (
    MalformedError,
    OwnershipError,
    Reason,
    SyncError,
    UnknownTableError,
    reason_text,
)
from sync.folding.merge import (
    TOMBSTONE,
    fill_sql,
    insert_event_sql,
    unpack_clocks,
    upsert_state_sql,
)
from sync.folding.merged_rows import Writes, merge_writes
from sync.logs.bulk_rows import execute_rows, fill_pages
from sync.logs.oplog import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    event_school,
)
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import Audience, Column, Group, Kind, Owner, Table, Type
from sync.segments.body import TEXT_MAX, TableColumns, text_length
from sync.segments.columnar import Value, decode_column, decode_rising, text_bound
from sync.segments.segment import HUB, Header, LogName
from sync.store import index_positions

__all__ = ["HUB", "Folded", "Parked", "digest_tables", "fold_body"]

_OWN_FIELDS = frozenset({SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, PRESENT_FIELD})
_SCHOOLS = range(2**32)
_HELD_AS = {Type.INTEGER: int, Type.REAL: float, Type.TEXT: str, Type.BLOB: bytes}
_REACHED_BY = {"d": Audience.DISTRICT, "s": Audience.SCHOOL, "l": Audience.LESSON}
_TRAVEL_ANYWHERE = frozenset({"key_grant", "clock_clamp", "clock_correction"})
"""Tables whose rows go with the log that they tell something of."""


class Told(Protocol):
    """What was said of a log's clock since its rows were sealed."""

    def stamps(self, header: Header, stamps: Sequence[int]) -> list[int]:
        """Return the stamps that count, of one table's rows in their order in the segment."""

    def moments(self, rows: Sequence[int], moments: Sequence[Value]) -> list[Value]:
        """Return the moments that count, of events with these row numbers."""


@dataclass(frozen=True, slots=True)
class Parked:
    """Rows of one table that could not be applied, with the reason as ``reason_text`` writes it.

    ``retriable`` when a version that knows more may apply them.
    """

    table: int
    rows: int
    reason: str
    retriable: bool = True


@dataclass(slots=True)
class Folded:
    """What folding one body did."""

    rows: int = 0
    tables: set[str] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)


def fold_body(
    cursor: sqlite3.Cursor,
    log_id: int,
    header: Header,
    group: Group,
    tables: list[TableColumns],
    told: Told | None = None,
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
            unknown = _fold_table(cursor, log_id, header, table, group, columns, told)
        except (OwnershipError, MalformedError, sqlite3.IntegrityError) as error:
            cursor.execute("ROLLBACK TO one_table")
            retriable = isinstance(error, OwnershipError)
            told_as = error.reason if isinstance(error, SyncError) else Reason.CONFLICTING
            reason = reason_text(told_as, str(error))
            folded.parked.append(Parked(columns.table, columns.rows, reason, retriable))
        else:
            folded.tables.add(table.name)
            if group is table.primary_group:
                folded.rows += columns.rows
            if unknown:
                reason = reason_text(
                    Reason.COLUMNS_UNKNOWN,
                    f"{table.name} has columns {unknown} that this version does not know yet",
                )
                folded.parked.append(Parked(columns.table, columns.rows, reason))
        cursor.execute("RELEASE one_table")
    return folded


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


def _writable_table(header: Header, group: Group, columns: TableColumns) -> Table:
    log = header.log
    table = BY_NUMBER.get(columns.table)
    if table is None:
        raise UnknownTableError(
            f"table {columns.table} is not known to this version; kept, and folded after an upgrade"
        )
    allowed = Owner.HUB if log.origin == HUB else Owner.SCHOOL
    if table.owner not in (allowed, Owner.BOTH):
        raise OwnershipError(f"{log} may not write {table.name}, which is the {table.owner}'s")
    reached = _REACHED_BY[log.audience[0]]
    if table.lane is not log.lane or (
        table.audience is not reached and table.name not in _TRAVEL_ANYWHERE
    ):
        raise OwnershipError(f"{table.name} does not travel in {log}")
    if not any(column.group is group for column in table.columns):
        raise OwnershipError(f"{table.name} has nothing in the group {group}")
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
    told: Told | None,
) -> list[int]:
    """Apply one table's rows; return the numbers of columns that are not known here."""
    rows = columns.rows
    numbers = decode_rising(columns.row_numbers, rows)
    if not header.first_row <= numbers[0] <= numbers[-1] <= header.last_row:
        raise MalformedError("row numbers outside of their segment")
    decoded, unknown = _decode_known(table, group, columns)
    if group is not table.primary_group:
        index_positions(cursor, [table])
        known = [column for column in table.columns if column.group is group]
        school = event_school(header.log)
        nothing: list[Value] = [None] * rows
        values = [decoded.get(column.number, nothing) for column in known]
        cursor.executemany(
            fill_sql(table.name, tuple(column.name for column in known)),
            [(*row, school, log_id, number) for number, *row in zip(numbers, *values, strict=True)],
        )
        return unknown
    given = {
        column.name: decoded[column.number] for column in table.columns if column.number in decoded
    }
    _check_lesson(header.log, table, given)
    if table.kind is Kind.EVENT:
        if told is not None and "at_ms" in given:
            given["at_ms"] = told.moments(numbers, given["at_ms"])
        execute_rows(
            cursor,
            partial(insert_event_sql, table.name, tuple(given)),
            (event_school(header.log), log_id),
            fill_pages([numbers, *given.values()]),
        )
        return unknown
    if any(name not in given or None in given[name] for name in table.key):
        raise MalformedError(f"a row of {table.name} lacks its key")
    schools = _owned_schools(header.log, _own_field(decoded, SCHOOL_FIELD))
    stamps = _own_field(decoded, HLC_FIELD)
    if not header.first_stamp <= min(stamps) <= max(stamps) <= header.last_stamp:
        raise MalformedError("row stamps outside of their segment")
    if told is not None:
        stamps = told.stamps(header, stamps)
    gone = [int(value == 1) for value in decoded.get(DELETED_FIELD, [None] * rows)]
    if table.owner is Owner.BOTH:
        own: dict[str, Sequence[Value]] = {TOMBSTONE: gone, **given}
        present = _own_field(decoded, PRESENT_FIELD)
        writes = _Received(numbers, schools, stamps, present, own)
        _merge(cursor, header.log, log_id, table, writes)
        return sorted({*unknown, *_unknown_in(table, present)})
    execute_rows(
        cursor,
        partial(upsert_state_sql, table.name, tuple(given)),
        (header.log.origin, log_id),
        [schools, stamps, gone, numbers, *given.values()],
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
            text += text_bound(encoded, decoded[number])
            if text > TEXT_MAX and sum(map(text_length, decoded.values())) > TEXT_MAX:
                raise MalformedError(f"the cells of {table.name} expand to more than {TEXT_MAX}")
        elif number in declared:
            raise MalformedError(f"column {number} of {table.name} is not of the group {group}")
        else:
            unknown.append(number)
    return decoded, unknown


def _check_lesson(log: LogName, table: Table, given: Mapping[str, Sequence[Value]]) -> None:
    """See that a lesson's rows stand in that lesson's log, where its parties get them."""
    if table.audience is not Audience.LESSON:
        return
    if set(given.get("lesson", (None,))) != {log.audience[1:]}:
        raise OwnershipError(f"{log} holds rows of {table.name} for another lesson")


@dataclass(frozen=True, slots=True)
class _Received:
    """Writes to a table with two writers; ``present`` are sets of the columns that each names."""

    rows: Sequence[int]
    schools: list[int]
    stamps: list[int]
    present: list[int]
    given: Mapping[str, Sequence[Value]]


def _merge(
    cursor: sqlite3.Cursor, log: LogName, log_id: int, table: Table, received: _Received
) -> None:
    """Merge writes, those that name the same columns at once; the order makes no difference."""
    nothing: list[Value] = [None] * len(received.rows)
    keys = list(
        zip(
            received.schools,
            *(_exact(table, name, received.given) for name in table.key),
            strict=True,
        )
    )
    places: dict[int, list[int]] = {}
    if len(set(received.present)) == 1:
        places[received.present[0]] = [*range(len(keys))]
    else:
        for place, bits in enumerate(received.present):
            places.setdefault(bits, []).append(place)
    for bits, chosen in places.items():
        named = [
            column.name
            for column in table.columns
            if bits >> column.number & 1 and column.name not in table.key
        ]
        if bits & 1:
            named.append(TOMBSTONE)
        cells = {name: received.given.get(name, nothing) for name in named}
        writes = Writes(keys, received.stamps, received.rows, cells)
        if len(chosen) < len(keys):
            writes = writes.at(chosen)
        merge_writes(cursor, table, log_id, log.origin, writes)


def _unknown_in(table: Table, present: Sequence[int]) -> set[int]:
    """Return numbers of columns that writes name and this version does not know, cleared ones too.

    A column that all rows of a body clear is not in it.
    """
    known = {0, *table.numbers.values()}
    return {
        number
        for bits in set(present)
        for number in range(bits.bit_length())
        if bits >> number & 1 and number not in known
    }


def _exact(table: Table, name: str, given: Mapping[str, Sequence[Value]]) -> Sequence[Value]:
    """Return a key column whose cells are what SQLite holds, so that equal keys are one key."""
    if set(map(type, given[name])) != {_HELD_AS[table.types[name]]}:
        raise MalformedError(f"{table.name}.{name} holds a key that is not {table.types[name]}")
    return given[name]


def _own_field(decoded: Mapping[int, list[Value]], number: int) -> list[int]:
    if number not in decoded:
        raise MalformedError("rows without their school, stamp or set of columns")
    return _integers(decoded[number])


def _owned_schools(log: LogName, schools: list[int]) -> list[int]:
    named = set(schools)
    if log.origin != HUB and named != {log.origin}:
        raise OwnershipError(f"{log} writes rows of another school; parked, nothing was changed")
    if any(school not in _SCHOOLS for school in named):
        raise MalformedError(f"{log} writes rows of a school that cannot be")
    if log.audience.startswith("s") and named != {event_school(log)}:
        raise OwnershipError(f"{log} writes rows of a school that it does not reach")
    return schools


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


def _integers(values: list[Value]) -> list[int]:
    if set(map(type, values)) != {int}:
        raise MalformedError("something else where a row needs an integer")
    return cast("list[int]", values)
