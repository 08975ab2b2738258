"""Stretches in which a box's wall clock ran evenly, and the correction of those it ran wrong in.

A span says what the wall clock said at one moment of the machine's own clock since its start, and
where each log stood then. Once the true time of one moment of that boot is known, so are those of
all its rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from sqlite3 import Cursor

from sync.clock import AHEAD_MS_MAX
from sync.folding.correction import Correction, apply_once, correction_row, tables_with_moments
from sync.logs.log_state import LogState, log_id_of, read_logs
from sync.logs.oplog import event_school
from sync.node import Node
from sync.schema.model import Lane
from sync.segments.segment import LogName
from sync.tables.definition import index_positions

SLACK_MS = 5_000
"""Rows may be written so long after the moment they tell of."""
RUNS_MAX = 64
"""Corrections of one log for one span; rows that change clocks more often stay as they are."""
_SPANS_KEPT = 256


class Trust(StrEnum):
    """How far the wall clock of a span may be believed."""

    SET = "set"
    UNKNOWN = "unknown"  # it was never set, or says less than what was recorded before
    HUB = "hub"  # wrong, and put right by what the hub said
    CORRECTED = "corrected"  # it was unknown; its rows have been corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From ``since_ms`` of a boot's own clock on, the wall clock said ``wall_ms`` and more."""

    id: int
    since_ms: int
    wall_ms: int
    last_wall_ms: int
    trust: Trust

    @property
    def lead_ms(self) -> int:
        """What the wall clock says when the boot's own clock says 0."""
        return self.wall_ms - self.since_ms


class ClockSpans:
    """The spans of one boot, in a node's store; blocking."""

    def __init__(self, node: Node, boot: str) -> None:
        self._node = node
        self._boot = boot

    def latest(self) -> Span | None:
        with self._node.transaction() as cursor:
            spans = self._read(cursor)
        return spans[-1] if spans else None

    def begin(self, since_ms: int, wall_ms: int, trust: Trust, last_wall_ms: int) -> None:
        """Begin a span; ``last_wall_ms`` is what the clock of the one before would say now."""
        with self._node.transaction() as cursor:
            cursor.execute(
                "UPDATE clock_span SET last_wall_ms = max(wall_ms, ?)"
                " WHERE id = (SELECT max(id) FROM clock_span) AND boot = ?",
                (last_wall_ms, self._boot),
            )
            cursor.execute(
                "INSERT INTO clock_span (boot, since_ms, wall_ms, last_wall_ms, trust)"
                " VALUES (?, ?, ?, ?, ?)",
                (self._boot, since_ms, wall_ms, wall_ms, trust),
            )
            cursor.execute(
                "INSERT INTO clock_span_log SELECT ?, id, last_row FROM log WHERE origin = ?",
                (cursor.lastrowid, self._node.origin),
            )
            cursor.execute(
                "DELETE FROM clock_span WHERE id <= (SELECT max(id) FROM clock_span) - ?",
                (_SPANS_KEPT,),
            )
            cursor.execute(
                "DELETE FROM clock_span_log WHERE span NOT IN (SELECT id FROM clock_span)"
            )

    def note_running(self, wall_ms: int) -> None:
        """Remember how far the present span's clock has come."""
        with self._node.transaction() as cursor:
            cursor.execute(
                "UPDATE clock_span SET last_wall_ms = max(last_wall_ms, ?)"
                " WHERE id = (SELECT max(id) FROM clock_span WHERE boot = ?)",
                (wall_ms, self._boot),
            )

    def recorded_ms(self) -> int:
        """Return the greatest moment that any clock of this node's is known to have said."""
        with self._node.transaction() as cursor:
            (moment_ms,) = cursor.execute(
                "SELECT coalesce(max(last_wall_ms), 0) FROM clock_span WHERE trust <> ?",
                (Trust.UNKNOWN,),
            ).fetchone()
        return int(moment_ms)

    def correct(self, lead_ms: int, source: str, now_ms: int, last_wall_ms: int) -> int:
        """Correct this boot's rows of unknown time; return how many corrections that took.

        ``lead_ms`` is what a right clock said when the boot's own said 0; ``last_wall_ms`` what
        the present span's says now. Everything that waits is sealed first: what was signed is what
        is corrected.
        """
        while self._node.seal_all():
            pass
        made = 0
        with self._node.transaction() as cursor:
            cursor.execute(
                "UPDATE clock_span SET last_wall_ms = max(last_wall_ms, ?)"
                " WHERE id = (SELECT max(id) FROM clock_span WHERE boot = ?)",
                (last_wall_ms, self._boot),
            )
            spans = self._read(cursor)
            for place, span in enumerate(spans):
                if span.trust is not Trust.UNKNOWN:
                    continue
                following = spans[place + 1].id if place + 1 < len(spans) else None
                offset_ms = lead_ms - span.lead_ms
                if abs(offset_ms) > AHEAD_MS_MAX:
                    made += self._correct(cursor, span, following, offset_ms, source, now_ms)
                cursor.execute(
                    "UPDATE clock_span SET trust = ? WHERE id = ?", (Trust.CORRECTED, span.id)
                )
        return made

    def _correct(
        self,
        cursor: Cursor,
        span: Span,
        following: int | None,
        offset_ms: int,
        source: str,
        now_ms: int,
    ) -> int:
        begins, ends = _positions(cursor, span.id), _positions(cursor, following)
        made = 0
        for log in read_logs(cursor, "WHERE origin = ?", self._node.origin):
            last = min(ends.get(log.id, log.last_row), log.sealed_row)
            for correction in _runs(cursor, log, begins.get(log.id, 0) + 1, last, span, offset_ms):
                row = correction_row(log.name, correction, self._boot, source, now_ms)
                self._node.record_within(cursor, "clock_correction", [row], log.name.audience)
                apply_once(cursor, self._position(cursor, log.name), log.name, correction)
                made += 1
        return made

    def _position(self, cursor: Cursor, corrected: LogName) -> tuple[int, int]:
        """Return (log, row) of the correction that was recorded just now."""
        name = LogName(self._node.origin, self._node.incarnation, corrected.audience, Lane.CONTROL)
        log_id = log_id_of(cursor, name)
        (row,) = cursor.execute("SELECT last_row FROM log WHERE id = ?", (log_id,)).fetchone()
        return log_id, row

    def _read(self, cursor: Cursor) -> list[Span]:
        rows = cursor.execute(
            "SELECT id, since_ms, wall_ms, last_wall_ms, trust FROM clock_span"
            " WHERE boot = ? ORDER BY id",
            (self._boot,),
        ).fetchall()
        return [
            Span(
                id=number,
                since_ms=since_ms,
                wall_ms=wall_ms,
                last_wall_ms=last_wall_ms,
                trust=Trust(trust),
            )
            for number, since_ms, wall_ms, last_wall_ms, trust in rows
        ]


def _positions(cursor: Cursor, span: int | None) -> dict[int, int]:
    if span is None:
        return {}
    return dict(cursor.execute("SELECT log, last_row FROM clock_span_log WHERE span = ?", (span,)))


def _runs(
    cursor: Cursor, log: LogState, first: int, last: int, span: Span, offset_ms: int
) -> Iterator[Correction]:
    """Yield runs of a log's events whose moments the span's clock told."""
    window = range(span.wall_ms - SLACK_MS, span.last_wall_ms + SLACK_MS + 1)
    moments: list[tuple[int, int]] = []
    tables = tables_with_moments(log.name.lane)
    if first <= last:
        index_positions(cursor, tables)
    for table in tables:
        moments += cursor.execute(
            f"SELECT row, at_ms FROM {table.name} WHERE school = ? AND log = ?"  # noqa: S608 - names are the schema's
            " AND row BETWEEN ? AND ? AND at_ms IS NOT NULL",
            (event_school(log.name), log.id, first, last),
        ).fetchall()
    runs: Sequence[tuple[bool, list[int]]] = [
        (told, [row for row, _ in rows])
        for told, rows in groupby(sorted(moments), key=lambda each: each[1] in window)
    ]
    chosen = [rows for told, rows in runs if told]
    for rows in chosen[:RUNS_MAX]:
        yield Correction(rows[0], rows[-1], offset_ms)
