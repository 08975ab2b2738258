"""Adoption: a node that meets segments without bodies takes their content from the snapshot.

What the checkpoint leaves out of its origin's states goes here too, also where this node had
applied it: of all that is covered, the parts say what counts. So a node that was away for as long
as it may be, or was restored, comes to the same rows as those that saw every change.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence

from sync.history.checkpoint import (
    Checkpoint,
    Span,
    is_countersigned,
    parts_are_here,
    read_checkpoints,
)
from sync.history.coverage import covering_more, is_of_one_branch, last_rows, reached_by
from sync.history.snapshot_part import StoredRow, unpack_part
from sync.history.stored_rows import StoredRows
from sync.keys.keyring import Keyring
from sync.logs.log_state import find_log, log_id_of, read_logs
from sync.logs.pending_writes import (
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    unsealed_writes,
    waits_apart,
)
from sync.logs.stored_segments import StoredBody
from sync.logs.waiting_batches import Waiting
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import GROUPS, Kind, Owner, Table
from sync.segments.body import TableColumns
from sync.segments.columnar import Value
from sync.segments.segment import Header, LogName, Segment
from sync.tables.merge import TOMBSTONE, Version
from sync.tables.merged_rows import read_version, write_version

FoldPart = Callable[[StoredBody, int, Header, list[TableColumns]], None]
"""Folds one body of a part into the log that its rows stand in, by the header of that log; the
tables are what it holds."""


class Adoption:
    """Works in the transaction of one intake."""

    def __init__(
        self, cursor: sqlite3.Cursor, own_origin: int, keyring: Keyring, fold: FoldPart
    ) -> None:
        self._cursor = cursor
        self._own_origin = own_origin
        self._rows = StoredRows(cursor, keyring)
        self._fold = fold

    def adopt(self, name: LogName, seq: int) -> bool:
        """Take over the newest checkpoint that covers a segment; return False if none is whole.

        A school that lost its store takes of its own only what the hub countersigned: by no other
        checkpoint did the hub let bodies go.
        """
        for checkpoint in read_checkpoints(self._cursor, name.origin, name.audience):
            if name.origin == self._own_origin and not is_countersigned(self._cursor, checkpoint):
                continue
            is_covered = reached_by([checkpoint]).get(name, 0) >= seq
            if is_covered and is_of_one_branch(self._cursor, checkpoint):
                if not parts_are_here(self._cursor, checkpoint):
                    return False
                self._take_over(checkpoint)
                return True
        return False

    def _take_over(self, checkpoint: Checkpoint) -> None:
        self._cursor.execute(
            "CREATE TEMP TABLE IF NOT EXISTS kept_row (log INTEGER, table_number INTEGER,"
            " row INTEGER, PRIMARY KEY (log, table_number, row)) WITHOUT ROWID"
        )
        self._cursor.execute("DELETE FROM kept_row")
        self._fold_events(checkpoint)
        writes: set[tuple[object, ...]] = set()
        for log_id, segment in self._parts(checkpoint, checkpoint.record.states):
            for place in range(len(segment.bodies)):
                self._fold_body(log_id, segment, place)
            opened = self._rows.open(log_id, segment)
            self._keep(log_id_of(self._cursor, opened.log), opened.rows)
            writes.update(_writes_of(opened.rows))
        for cover in checkpoint.record.covers:
            log_id = log_id_of(self._cursor, checkpoint.source(cover))
            for table in TABLES:
                if (table.lane, table.kind) == (cover.lane, Kind.STATE):
                    self._sweep(table, log_id, cover.last_row)
            self._cursor.execute(
                "INSERT INTO adopted VALUES (?1, ?2) ON CONFLICT (log) DO UPDATE SET"
                " seq = max(seq, ?2)",
                (log_id, cover.seq),
            )
        writes.update(self._later_writes(checkpoint))
        for table in TABLES:
            if table.owner is Owner.BOTH and table.kind is Kind.STATE:
                self._sweep_writes(table, checkpoint, writes)

    def _fold_events(self, checkpoint: Checkpoint) -> None:
        for log_id, segment in self._parts(checkpoint, checkpoint.record.events):
            for place in range(len(segment.bodies)):
                self._fold_body(log_id, segment, place)

    def _parts(
        self, checkpoint: Checkpoint, spans: Sequence[Span]
    ) -> Iterator[tuple[int, Segment]]:
        for span in spans:
            log = find_log(self._cursor, checkpoint.part_log(span))
            assert log is not None
            for seq in range(span.first, span.last + 1):
                segment = self._rows.segment(log.id, seq)
                assert segment is not None
                yield log.id, segment

    def _fold_body(self, log_id: int, segment: Segment, place: int) -> None:
        """Fold a body of a part if it opens; one that does not waits for its key already."""
        group = GROUPS[segment.header.bodies[place].group]
        content = self._rows.contents(segment).get(group)
        if content is not None:
            source, tables = unpack_part(segment.header.log, content)
            source_id = log_id_of(self._cursor, source.log)
            body = StoredBody(log_id, segment, place)
            self._fold(body, source_id, source.header(segment.header), tables)

    def _keep(self, log_id: int, rows: Sequence[StoredRow]) -> None:
        self._cursor.executemany(
            "INSERT OR IGNORE INTO kept_row VALUES (?, ?, ?)",
            [(log_id, row.table, row.number) for row in rows],
        )

    def _sweep(self, table: Table, log_id: int, last_row: int) -> None:
        """Delete what stands of a log's covered states and is in no part."""
        if table.owner is not Owner.BOTH:
            self._cursor.execute(
                f"DELETE FROM {table.name} WHERE log = ? AND row <= ? AND row NOT IN"  # noqa: S608 - names are the schema's
                " (SELECT row FROM kept_row WHERE log = ? AND table_number = ?)",
                (log_id, last_row, log_id, table.number),
            )

    def _later_writes(self, checkpoint: Checkpoint) -> Iterator[tuple[object, ...]]:
        """Yield the origin's writes to tables with two writers that this one does not cover."""
        covers = reached_by([checkpoint])
        logs = read_logs(
            self._cursor,
            "WHERE origin = ? AND audience = ?",
            checkpoint.origin,
            checkpoint.audience,
        )
        lanes = {table.lane for table in TABLES if table.owner is Owner.BOTH}
        for log in logs:
            if log.name.lane not in lanes:
                continue
            for seq in range(covers.get(log.name, 0) + 1, log.stored + 1):
                segment = self._rows.segment(log.id, seq)
                if segment is not None and not segment.is_hollow:
                    yield from _writes_of(self._rows.open(log.id, segment).rows)
            for table in filter(waits_apart, TABLES):
                for batch in unsealed_writes(self._cursor, log.id, table, log.sealed_row):
                    yield from _writes_of(_stored_rows(batch))
        yield from self._writes_beside(checkpoint)

    def _writes_beside(self, checkpoint: Checkpoint) -> Iterator[tuple[object, ...]]:
        """Yield those of logs, or ends of logs, that are here only by another checkpoint."""
        known = read_checkpoints(self._cursor, checkpoint.origin, checkpoint.audience)
        covered = last_rows([checkpoint])
        for other in covering_more(known, checkpoint):
            if is_of_one_branch(self._cursor, other) and parts_are_here(self._cursor, other):
                for log_id, segment in self._parts(other, other.record.states):
                    opened = self._rows.open(log_id, segment)
                    after = covered.get(opened.log, 0)
                    yield from _writes_of(row for row in opened.rows if row.number > after)

    def _sweep_writes(
        self, table: Table, checkpoint: Checkpoint, writes: set[tuple[object, ...]]
    ) -> None:
        """Take back what stands of the origin's writes and is neither in a part nor later."""
        if not checkpoint.audience.startswith("s"):
            return
        school = int(checkpoint.audience[1:])
        names = ", ".join(("school", *table.key))
        keys = self._cursor.execute(
            f"SELECT log, row, {names} FROM {table.name} WHERE school = ?",  # noqa: S608 - names are the schema's
            (school,),
        ).fetchall()
        for log_id, row, *key in keys:
            version = read_version(self._cursor, table, tuple(key))
            assert version is not None
            kept = _without(version, table, tuple(key), checkpoint.origin, writes)
            if kept is None:
                where = " AND ".join(f"{name} = ?" for name in ("school", *table.key))
                self._cursor.execute(f"DELETE FROM {table.name} WHERE {where}", key)  # noqa: S608 - names are the schema's
            elif kept != version:
                write_version(self._cursor, table, tuple(key), kept, (log_id, row))


def _stored_rows(batch: Waiting) -> Iterator[StoredRow]:
    for place, row in enumerate(batch.rows):
        cells = {number: values[place] for number, values in batch.columns.items()}
        yield StoredRow(batch.table.number, row, {batch.table.primary_group: cells})


def _writes_of(rows: Iterable[StoredRow]) -> Iterator[tuple[object, ...]]:
    """Yield (table, column, stamp, school, key…) of each column that writes name."""
    for row in rows:
        table = BY_NUMBER.get(row.table)
        if table is None or table.owner is not Owner.BOTH or table.kind is not Kind.STATE:
            continue
        own = row.cells.get(table.primary_group, {})
        bits = own.get(PRESENT_FIELD)
        numbers = {column.name: column.number for column in table.columns}
        key = (own.get(SCHOOL_FIELD), *(own.get(numbers[name]) for name in table.key))
        for name, number in (*numbers.items(), (TOMBSTONE, 0)):
            if isinstance(bits, int) and bits >> number & 1:
                yield (table.number, name, own.get(HLC_FIELD), *key)


def _without(
    version: Version,
    table: Table,
    key: tuple[Value, ...],
    origin: int,
    writes: set[tuple[object, ...]],
) -> Version | None:
    """Return a row without the writes of an origin that are not among ``writes``."""
    clocks = {}
    values: dict[str, Value] = {}
    for name in (*version.values, TOMBSTONE):
        hlc, writer = version.clock_of(name)
        is_void = hlc and writer == origin and (table.number, name, hlc, *key) not in writes
        clocks[name] = (0, 0) if is_void else (hlc, writer)
        value = int(version.deleted) if name == TOMBSTONE else version.values[name]
        values[name] = None if is_void else value
    newest = max(clocks.values())
    if newest == (0, 0):
        return None
    return Version(
        clock=newest,
        overrides={name: clock for name, clock in clocks.items() if clock != newest},
        deleted=bool(values.pop(TOMBSTONE)),
        values=values,
    )
