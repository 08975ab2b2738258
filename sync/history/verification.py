"""Whether a checkpoint may replace what it covers: nothing that counts here would be lost.

Every row of every body that would go is looked for: it is in a part with the same cells, or a
later version stands in this node's tables. The parts' digests must be those that the record
states, and the heads those that this node holds. The origin checks this for all groups by reading
back what it wrote, the hub for what it can open.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from sync.errors import CheckpointError, NotYetError
from sync.history.checkpoint import Checkpoint, Span, parts_are_here, read_checkpoints
from sync.history.coverage import covering_more, is_of_one_branch, last_rows, reached_by
from sync.history.snapshot_part import RowSums, StoredRow, cells_digest, may_be_hollow
from sync.history.standing import Purged, Standing, standing_of
from sync.history.stored_rows import StoredRows, stated_sums
from sync.keys.keyring import Keyring
from sync.logs.log_state import LogState, find_log
from sync.schema import BY_NUMBER
from sync.schema.model import Group, Kind
from sync.segments.segment import LogName, Segment

SEGMENTS_A_STEP = 4  # of up to 1,000 rows each: some 100 ms at most
PART_ROWS_DDL = (
    "CREATE TEMP TABLE IF NOT EXISTS part_row (data_group TEXT, log INTEGER,"
    " table_number INTEGER, row INTEGER, digest BLOB,"
    " PRIMARY KEY (data_group, log, table_number, row)) WITHOUT ROWID"
)
"""When it is made, SQLite parses each statement of the connection anew."""


class Store(Protocol):
    @property
    def origin(self) -> int: ...

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...


class Verification:
    """Verifies checkpoints of any origin, some segments a transaction."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def verify(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Yield after each transaction; return when it holds.

        Raises NotYetError while something is under way, CheckpointError for one that would lose a
        row, SyncError for parts that are damaged.
        """
        with self._store.transaction() as cursor:
            self._check_heads(cursor, checkpoint)
            before = self._verified_before(cursor, checkpoint)
            beside = self._replaced_beside(cursor, checkpoint, before)
            goes_on = before is not None and _goes_on(checkpoint, before)
            cursor.execute(PART_ROWS_DDL)
            cursor.execute("DELETE FROM part_row")
            sums = RowSums(self._sums_taken_over(cursor, before if goes_on else None))
        yield
        old = before.record.events if before and goes_on else []
        fresh = checkpoint.record.events[len(old) :] + checkpoint.record.states
        opened: set[Group] = set()
        yield from self._walk(
            [(checkpoint.part_log(span), seq) for span in fresh for seq in _seqs(span)],
            lambda cursor, rows, log, segment: self._take_part(
                cursor, rows, log, segment, sums, opened
            ),
        )
        with self._store.transaction() as cursor:
            self._compare(StoredRows(cursor, self._keyring), checkpoint, sums, opened)
        yield
        # The origin knows all its groups: a further box of it, or a stolen one, may have left some
        # out of the parts.
        is_own = checkpoint.origin == self._store.origin
        groups = set(Group) if is_own else opened | {Group.DISTRICT, Group.GRANT}
        replaced = [before, *beside] if before else []
        covered, known = last_rows([checkpoint]), last_rows(replaced)

        def goes(log: LogName, row: int) -> bool:
            """Tell whether a row goes by this one: what former ones cover beyond it stays."""
            return not covered.get(log, 0) < row <= known.get(log, 0)

        yield from self._walk(
            self._going(checkpoint, replaced),
            lambda cursor, rows, log, segment: self._look_up(
                cursor, rows, (log, segment), checkpoint, groups, goes
            ),
        )
        # Whose events it goes on from are not gone through again.
        taken_over = last_rows(replaced[:1]) if goes_on else {}
        yield from self._walk(
            [
                (each.part_log(span), seq)
                for each in (beside if goes_on else replaced)
                for span in each.record.events
                for seq in _seqs(span)
            ],
            lambda cursor, rows, log, segment: self._look_up(
                cursor,
                rows,
                (log, segment),
                checkpoint,
                groups,
                lambda source, row: goes(source, row) and row > taken_over.get(source, 0),
            ),
        )

    def _check_heads(self, cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
        rows = StoredRows(cursor, self._keyring)
        for cover in checkpoint.record.covers:
            name = checkpoint.source(cover)
            log = find_log(cursor, name)
            if log is None or log.applied < cover.seq:
                raise NotYetError(f"{name} is not applied up to segment {cover.seq} yet")
            segment = rows.segment(log.id, cover.seq)
            assert segment is not None
            if (segment.header_digest, segment.header.last_row) != (cover.head, cover.last_row):
                raise CheckpointError(
                    f"segment {cover.seq} of {name} is another here than the checkpoint says"
                )
        if not parts_are_here(cursor, checkpoint):
            raise NotYetError("parts of the snapshot are still under way")

    def _verified_before(self, cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> Checkpoint | None:
        """Return the last checkpoint that was verified, if it is of the logs held here."""
        for each in read_checkpoints(cursor, checkpoint.origin, checkpoint.audience):
            is_former = each.record.number < checkpoint.record.number
            if is_former and each.verified_ms is not None:
                is_ours = _goes_on(checkpoint, each) or is_of_one_branch(cursor, each)
                return each if is_ours else None
        return None

    def _replaced_beside(
        self, cursor: sqlite3.Cursor, checkpoint: Checkpoint, before: Checkpoint | None
    ) -> list[Checkpoint]:
        """Return what counted beside the last one that was verified, and goes by this one."""
        if before is None:
            return []
        known = read_checkpoints(cursor, checkpoint.origin, checkpoint.audience)
        former = [
            each
            for each in known
            if each.record.number < checkpoint.record.number
            and is_of_one_branch(cursor, each)
            and parts_are_here(cursor, each)
        ]
        return [
            each for each in covering_more(former, before) if not covering_more([each], checkpoint)
        ]

    def _sums_taken_over(
        self, cursor: sqlite3.Cursor, before: Checkpoint | None
    ) -> Mapping[tuple[int, Group], bytes]:
        if before is None:
            return {}
        stated = stated_sums(StoredRows(cursor, self._keyring), before)
        return {
            key: digest
            for key, digest in stated.items()
            if key[0] in BY_NUMBER and BY_NUMBER[key[0]].kind is Kind.EVENT
        }

    def _walk(
        self,
        places: list[tuple[LogName, int]],
        visit: Callable[[sqlite3.Cursor, StoredRows, LogState, Segment], None],
    ) -> Iterator[None]:
        for start in range(0, len(places), SEGMENTS_A_STEP):
            with self._store.transaction() as cursor:
                rows = StoredRows(cursor, self._keyring)
                for name, seq in places[start : start + SEGMENTS_A_STEP]:
                    log = find_log(cursor, name)
                    segment = rows.segment(log.id, seq) if log else None
                    if log is not None and segment is not None:
                        visit(cursor, rows, log, segment)
            yield

    def _take_part(
        self,
        cursor: sqlite3.Cursor,
        rows: StoredRows,
        log: LogState,
        segment: Segment,
        sums: RowSums,
        opened: set[Group],
    ) -> None:
        if rows.parked(log.id, segment.header.seq):
            raise NotYetError(f"rows of part {segment.header.seq} are parked")
        part = rows.open(log.id, segment)
        opened |= part.groups
        source = find_log(cursor, part.log)
        if source is None:
            raise CheckpointError(f"{log.name} holds rows of {part.log}, which is not known")
        for row in part.rows:
            sums.add(part.log, row)
            for group in row.cells:
                cursor.execute(
                    "INSERT OR REPLACE INTO part_row VALUES (?, ?, ?, ?, ?)",
                    (group, source.id, row.table, row.number, cells_digest(part.log, row, group)),
                )

    def _compare(
        self, rows: StoredRows, checkpoint: Checkpoint, sums: RowSums, opened: set[Group]
    ) -> None:
        stated = stated_sums(rows, checkpoint)
        for group in Group:
            said = {table: digest for (table, its), digest in stated.items() if its is group}
            found = dict(sums.of_group(group))
            if (group in opened or group is Group.DISTRICT) and said != found:
                tables = sorted(
                    table
                    for table in said.keys() | found.keys()
                    if said.get(table) != found.get(table)
                )
                raise CheckpointError(
                    f"the parts do not hold what the checkpoint states of {group}, tables {tables}"
                )

    def _going(
        self, checkpoint: Checkpoint, replaced: Sequence[Checkpoint]
    ) -> list[tuple[LogName, int]]:
        """Return the segments whose bodies would go by this checkpoint, not by those before."""
        since = reached_by(replaced)
        covered = [
            (checkpoint.source(cover), seq)
            for cover in checkpoint.record.covers
            for seq in range(since.get(checkpoint.source(cover), 0) + 1, cover.seq + 1)
        ]
        former = [
            (each.part_log(span), seq)
            for each in replaced
            for span in each.record.states
            for seq in _seqs(span)
        ]
        return [*covered, *former]

    def _look_up(
        self,
        cursor: sqlite3.Cursor,
        rows: StoredRows,
        place: tuple[LogState, Segment],
        checkpoint: Checkpoint,
        groups: set[Group],
        goes: Callable[[LogName, int], bool],
    ) -> None:
        """Find each row of a segment that would go; raises CheckpointError for one that is lost."""
        log, segment = place
        may_go = may_be_hollow(segment.header) and not segment.is_hollow
        if not may_go or rows.parked(log.id, segment.header.seq):
            return
        opened = rows.open(log.id, segment)
        source = find_log(cursor, opened.log)
        assert source is not None
        record = checkpoint.record
        purged = Purged(
            one_writer=record.purged,
            two_writers=record.purged_both,
            carried_from=record.purged_both,
        )
        for row in opened.rows:
            if not goes(opened.log, row.number) or _is_in_part(
                cursor, opened.log, source.id, row, groups
            ):
                continue
            table = BY_NUMBER.get(row.table)
            if (
                table is None
                or table.kind is not Kind.STATE
                or standing_of(cursor, checkpoint.origin, source.id, row, purged)
                is not Standing.SUPERSEDED
            ):
                raise CheckpointError(
                    f"row {row.number} of {opened.log}, of"
                    f" {table.name if table else f'table {row.table}'}, would be lost"
                )


def _goes_on(checkpoint: Checkpoint, former: Checkpoint) -> bool:
    """Tell whether a checkpoint has the events of a former one where that had them."""
    events = former.record.events
    return checkpoint.record.events[: len(events)] == events


def _is_in_part(
    cursor: sqlite3.Cursor, log: LogName, log_id: int, row: StoredRow, groups: set[Group]
) -> bool:
    """Tell whether a part has the row with the same cells, in each group that could be opened.

    Where a part's group cannot be opened, the origin alone answers for it.
    """
    return all(
        cursor.execute(
            "SELECT 1 FROM part_row WHERE data_group = ? AND log = ? AND table_number = ?"
            " AND row = ? AND digest = ?",
            (group, log_id, row.table, row.number, cells_digest(log, row, group)),
        ).fetchone()
        for group in row.cells
        if group in groups
    )


def _seqs(span: Span) -> range:
    return range(span.first, span.last + 1)
