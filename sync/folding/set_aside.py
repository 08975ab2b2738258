"""What was not applied or not taken, why, and how rows set aside are folded after an upgrade."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sync.errors import MalformedError, Reason, reason_text
from sync.folding.correction import MOMENT
from sync.folding.fold import Parked
from sync.folding.merge import fill_sql
from sync.logs.oplog import SCHOOL_FIELD, event_school
from sync.schema import BY_NUMBER
from sync.schema.model import Group, Kind, Lane, Merge, Owner
from sync.segments.body import TableColumns
from sync.segments.columnar import Value, decode_column
from sync.segments.segment import Header, LogName
from sync.store import index_positions

LISTED_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRows:
    """A body of a stored segment, or one table's rows of it, that could not be applied.

    ``table`` is a table's number, 0 for a whole body. ``retriable``: an upgrade may mend it, and
    will try by itself; else the rows stay as evidence. ``reason``: see :func:`parse_reason`.
    """

    log: str
    seq: int
    table: int
    rows: int
    reason: str
    retriable: bool
    parked_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A segment that was refused: by which peer it came, how often, and when last."""

    peer: int
    log: str
    seq: int
    reason: str
    times: int
    refused_ms: int


def read_parked(cursor: sqlite3.Cursor) -> list[ParkedRows]:
    """Return the latest LISTED_MAX, latest first."""
    rows = cursor.execute(
        "SELECT l.origin, l.incarnation, l.audience, l.lane, p.seq, p.table_number, p.rows,"
        " p.reason, p.retriable, p.parked_ms FROM parked p JOIN log l ON l.id = p.log"
        " ORDER BY p.parked_ms DESC, l.id, p.seq, p.body LIMIT ?",
        (LISTED_MAX,),
    ).fetchall()
    return [
        ParkedRows(
            log=str(LogName(origin, incarnation, audience, Lane(lane))),
            seq=seq,
            table=table,
            rows=count,
            reason=reason,
            retriable=bool(retriable),
            parked_ms=parked_ms,
        )
        for origin, incarnation, audience, lane, *parked in rows
        for seq, table, count, reason, retriable, parked_ms in (parked,)
    ]


def read_quarantined(cursor: sqlite3.Cursor) -> list[Quarantined]:
    """Return the latest LISTED_MAX, latest first."""
    rows = cursor.execute(
        "SELECT peer, log, seq, reason, times, refused_ms FROM quarantine"
        " ORDER BY refused_ms DESC, peer, log, seq LIMIT ?",
        (LISTED_MAX,),
    ).fetchall()
    return [
        Quarantined(peer=peer, log=log, seq=seq, reason=reason, times=times, refused_ms=refused_ms)
        for peer, log, seq, reason, times, refused_ms in rows
    ]


def read_due(cursor: sqlite3.Cursor, bodies_max: int) -> list[tuple[int, int, int]]:
    """Return bodies (log, seq, place) of which this version may apply more, in order."""
    return cursor.execute(
        "SELECT DISTINCT log, seq, body FROM parked WHERE due = 1 ORDER BY log, seq, body LIMIT ?",
        (bodies_max,),
    ).fetchall()


def forget_due(cursor: sqlite3.Cursor, body: tuple[int, int, int]) -> None:
    """Drop what stands of a body that is about to be folded again."""
    cursor.execute("DELETE FROM parked WHERE log = ? AND seq = ? AND body = ? AND due = 1", body)


def fill_known(
    cursor: sqlite3.Cursor,
    log_id: int,
    header: Header,
    group: Group,
    tables: Sequence[TableColumns],
) -> list[Parked]:
    """Set the cells of rows that stand from a body whose columns were not all known before.

    A row that was folded without a column ends as one that was folded with it. Tables with two
    writers need none of it: they merge column by column.
    """
    parked = []
    for columns in tables:
        table = BY_NUMBER.get(columns.table)
        if table is None or table.primary_group is not group:
            continue
        if table.kind is Kind.STATE and table.owner is Owner.BOTH:
            continue
        cursor.execute("SAVEPOINT one_fill")
        try:
            rows = decode_column(columns.row_numbers, columns.rows)
            cells = dict(columns.columns)
            known = [
                column
                for column in table.columns
                if column.number in cells
                and column.group is group
                and column.merge is not Merge.KEY
                and column.name not in {MOMENT, table.dedupe}
            ]
            if known:
                index_positions(cursor, [table])
                values = [decode_column(cells[column.number], columns.rows) for column in known]
                schools: Sequence[Value] = [event_school(header.log)] * columns.rows
                if table.kind is Kind.STATE:
                    schools = decode_column(cells[SCHOOL_FIELD], columns.rows)
                cursor.executemany(
                    fill_sql(table.name, tuple(column.name for column in known)),
                    [
                        (*row, school, log_id, number)
                        for school, number, *row in zip(schools, rows, *values, strict=True)
                    ],
                )
        except (KeyError, MalformedError, sqlite3.IntegrityError) as error:
            cursor.execute("ROLLBACK TO one_fill")
            is_conflict = isinstance(error, sqlite3.IntegrityError)
            told_as = Reason.CONFLICTING if is_conflict else Reason.MALFORMED
            reason = reason_text(told_as, str(error))
            parked.append(Parked(columns.table, columns.rows, reason, retriable=False))
        cursor.execute("RELEASE one_fill")
    return parked
