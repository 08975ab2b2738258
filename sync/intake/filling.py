"""Cells that were not known when their rows were folded: set on the rows after an upgrade."""

import sqlite3
from collections.abc import Sequence

from sync.errors import MalformedError, Reason, reason_text
from sync.folding.correction import MOMENT
from sync.folding.fold import Parked
from sync.logs.oplog import SCHOOL_FIELD, event_school
from sync.schema import BY_NUMBER
from sync.schema.model import Group, Kind, Merge, Owner
from sync.segments.body import TableColumns
from sync.segments.columnar import Value, decode_column
from sync.segments.segment import Header
from sync.tables.definition import index_positions
from sync.tables.merge import fill_sql


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
