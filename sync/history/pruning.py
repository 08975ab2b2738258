"""Letting go of what checkpoints replace: bodies of segments, parts of former snapshots.

Headers and signatures stay. A segment of which something is parked keeps its bodies.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from sync.history.checkpoint import Checkpoint, read_checkpoints
from sync.history.coverage import covering_more
from sync.history.snapshot_part import may_be_hollow
from sync.logs.log_state import find_log, read_logs
from sync.schema.model import Lane
from sync.segments.segment import parse_segment

SEGMENTS_A_STEP = 256


class Store(Protocol):
    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...


class Pruning:
    """Drops bodies by a checkpoint that was verified here, some a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def prune(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Yield after each transaction."""
        with self._store.transaction() as cursor:
            ranges = [*_covered(cursor, checkpoint), *_former_parts(cursor, checkpoint)]
        for log_id, first, last in ranges:
            for start in range(first, last + 1, SEGMENTS_A_STEP):
                with self._store.transaction() as cursor:
                    _empty(cursor, log_id, start, min(last, start + SEGMENTS_A_STEP - 1))
                yield


_Range = tuple[int, int, int]
"""Log number, first and last segment."""


def _covered(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> Iterator[_Range]:
    for cover in checkpoint.record.covers:
        log = find_log(cursor, checkpoint.source(cover))
        if log is not None:
            yield log.id, 1, cover.seq


def _former_parts(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> Iterator[_Range]:
    """Yield what is no part of this checkpoint in its snapshot log, and in former ones.

    Whatever stands behind the record, or in a log with a later one, belongs to the next; parts of
    checkpoints that cover what this one does not stay.
    """
    known = read_checkpoints(cursor, checkpoint.origin, checkpoint.audience)
    standing = [checkpoint, *covering_more(known, checkpoint)]
    logs = read_logs(
        cursor,
        "WHERE origin = ?1 AND audience = ?2 AND lane = ?3 AND (id = ?4 OR ?5 >"
        " (SELECT max(number) FROM checkpoint WHERE checkpoint.log = log.id))",
        checkpoint.origin,
        checkpoint.audience,
        Lane.SNAPSHOT,
        checkpoint.snapshot.id,
        checkpoint.record.number,
    )
    for log in logs:
        last = checkpoint.seq - 1 if log.id == checkpoint.snapshot.id else log.stored
        kept = [
            (span.first, span.last)
            for each in standing
            for span in each.record.spans
            if span.incarnation == log.name.incarnation
        ]
        kept += [(each.seq, each.seq) for each in standing if each.snapshot.id == log.id]
        after = 0
        for first, end in sorted([*kept, (last + 1, last + 1)]):
            if after < last and first > after + 1:
                yield log.id, after + 1, first - 1
            after = max(after, end)


def _empty(cursor: sqlite3.Cursor, log_id: int, first: int, last: int) -> None:
    """Let go of the bodies that may go, of segments from ``first`` to ``last``."""
    wires = cursor.execute(
        "SELECT seq, wire FROM segment WHERE log = ?1 AND seq BETWEEN ?2 AND ?3"
        " AND seq NOT IN (SELECT seq FROM parked WHERE log = ?1)",
        (log_id, first, last),
    ).fetchall()
    for seq, wire in wires:
        segment = parse_segment(wire)
        if not segment.is_hollow and may_be_hollow(segment.header):
            cursor.execute(
                "UPDATE segment SET wire = ? WHERE log = ? AND seq = ?",
                (segment.hollow(), log_id, seq),
            )
            cursor.execute("DELETE FROM unopened WHERE log = ? AND seq = ?", (log_id, seq))
