"""Rows on their way into the parts of a snapshot: as many a segment as fit."""

import sqlite3

from sync.history.checkpoint import Span
from sync.history.snapshot_part import RowSums, StoredRow, bodies_of
from sync.logs.pending_writes import HLC_FIELD
from sync.logs.sealer import ROWS_A_SEGMENT_MAX, Sealer
from sync.schema import BY_NUMBER
from sync.segments.body import TEXT_MAX, text_length
from sync.segments.segment import BODY_BYTES_MAX, SEGMENT_BYTES_MAX, LogName, Segment


class PartWriter:
    """Writes rows into one run of segments of a snapshot log.

    Rows wait in memory between transactions, at most a segment's worth and what one more
    segment held.
    """

    def __init__(self, sealer: Sealer, name: LogName, sums: RowSums) -> None:
        self._sealer = sealer
        self._name = name
        self._waiting: list[StoredRow] = []
        self._source: LogName | None = None
        self._first = self._last = 0
        self.sums = sums
        """Of all rows added, and of those that ``sums`` held before."""

    @property
    def spans(self) -> list[Span]:
        """Return where the parts stand; none if there was no row."""
        return [Span(self._name.incarnation, self._first, self._last)] if self._last else []

    def add(self, cursor: sqlite3.Cursor, source: LogName, rows: list[StoredRow]) -> None:
        """Take rows of one log; write what fills whole segments."""
        if self._source != source:
            self.finish(cursor)
            self._source = source
        for row in rows:
            self.sums.add(source, row)
        self._waiting += rows
        self._write(cursor, ROWS_A_SEGMENT_MAX)

    def finish(self, cursor: sqlite3.Cursor) -> None:
        """Write what is left."""
        self._write(cursor, 1)

    def _write(self, cursor: sqlite3.Cursor, rows_min: int) -> None:
        """Write parts while at least ``rows_min`` rows wait."""
        rows_max = ROWS_A_SEGMENT_MAX
        while len(self._waiting) >= rows_min:
            rows = _within_text(self._waiting[:rows_max])
            segment, size = self._append(cursor, rows)
            if segment is None:
                assert len(rows) > 1, f"a row of {size} bytes was taken that no part carries"
                rows_max = max(1, min(len(rows) // 2, rows_max * SEGMENT_BYTES_MAX // size))
                continue
            del self._waiting[: len(rows)]
            self._first = self._first or segment.header.seq
            self._last = segment.header.seq

    def _append(self, cursor: sqlite3.Cursor, rows: list[StoredRow]) -> tuple[Segment | None, int]:
        """Return the segment that holds these rows, None if none can, and how large they are."""
        assert self._source is not None
        contents = bodies_of(self._source, rows)
        counts: dict[int, int] = {}
        for row in sorted(rows, key=lambda each: each.table):
            counts[row.table] = counts.get(row.table, 0) + 1
        sizes = list(map(len, contents.values()))
        if max(sizes) > BODY_BYTES_MAX:
            return None, sum(sizes)
        known = [stamp for row in rows if (stamp := _stamp(row))] or [1]
        stamps = min(known), max(known)
        return self._sealer.append_part(cursor, self._name, contents, counts, stamps), sum(sizes)


def _stamp(row: StoredRow) -> int:
    value = row.cells.get(BY_NUMBER[row.table].primary_group, {}).get(HLC_FIELD)
    return value if isinstance(value, int) else 0


def _within_text(rows: list[StoredRow]) -> list[StoredRow]:
    """Return as many rows as a receiver expands; at least one."""
    total = 0
    for place, row in enumerate(rows):
        total += sum(text_length(cells.values()) for cells in row.cells.values())
        if total > TEXT_MAX // 2 and place:
            return rows[:place]
    return rows
