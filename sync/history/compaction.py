"""Making a checkpoint: what still counts of covered segments is copied into a new snapshot.

A checkpoint pays when as much was written since the last as the snapshot would hold: then each
byte is written twice at most over time, and what is stored stays within twice what counts.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from sync.clock import HybridClock
from sync.errors import CheckpointError, NotYetError
from sync.history.checkpoint import (
    VERSION,
    Checkpoint,
    Cover,
    Record,
    Seen,
    Span,
    mark_settled,
    note_record,
    pack_digests,
    pack_record,
    read_checkpoints,
)
from sync.history.coverage import bases, last_rows, reached_by
from sync.history.horizon import Horizon
from sync.history.part_writer import PartWriter
from sync.history.snapshot_part import (
    RECORD_TABLE,
    RowSums,
    StoredRow,
    holds_states,
    may_be_hollow,
)
from sync.history.standing import Purged, Standing, standing_of
from sync.history.stored_rows import StoredRows, stated_sums
from sync.history.tombstones import bury, drop_tombstones
from sync.keys.keyring import Keyring
from sync.logs.log_state import LogState, find_log, read_logs
from sync.logs.receipts import read_receipts
from sync.logs.sealer import Sealer
from sync.schema import BY_NUMBER
from sync.schema.model import Group, Kind, Lane
from sync.segments.segment import HUB, LogName, Segment, parse_segment

SEGMENTS_A_STEP = 4  # of up to 1,000 rows each: some 100 ms at most
_ROWS_MAX = 1 << 62


class Store(Protocol):
    """What making a checkpoint needs of its node."""

    @property
    def origin(self) -> int: ...

    @property
    def incarnation(self) -> int: ...

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...


class Compaction:
    """Makes checkpoints of a node's own logs, some segments a transaction."""

    def __init__(
        self, store: Store, clock: HybridClock, keyring: Keyring, sealer: Sealer, horizon: Horizon
    ) -> None:
        self._store = store
        self._clock = clock
        self._keyring = keyring
        self._sealer = sealer
        self._horizon = horizon

    def gain_bytes(self, cursor: sqlite3.Cursor, audience: str) -> tuple[int, int]:
        """Return how much was written that a checkpoint would cover, and what the last one holds.

        The first are bytes of segments with states since the last, the second of its states.
        """
        former = bases(cursor, self._store.origin, audience)
        since = reached_by(former)
        written = 0
        for log, cut in self._cuts(cursor, audience):
            before = since.get(log.name, 0)
            for (wire,) in cursor.execute(
                "SELECT wire FROM segment WHERE log = ? AND seq > ? AND seq <= ?",
                (log.id, before, cut),
            ):
                segment = parse_segment(wire)
                if holds_states(segment.header) and not segment.is_hollow:
                    written += len(wire)
        held = 0
        for span in [span for each in former for span in each.record.states]:
            (size,) = cursor.execute(
                "SELECT coalesce(sum(length(s.wire)), 0) FROM segment s JOIN log l ON l.id = s.log"
                " WHERE l.origin = ? AND l.incarnation = ? AND l.audience = ? AND l.lane = ?"
                " AND s.seq BETWEEN ? AND ?",
                (
                    self._store.origin,
                    span.incarnation,
                    audience,
                    Lane.SNAPSHOT,
                    span.first,
                    span.last,
                ),
            ).fetchone()
            held += size
        return written, held

    def make(self, audience: str) -> Iterator[None]:
        """Make a checkpoint; yield after each transaction. Raises CheckpointError if it cannot."""
        with self._store.transaction() as cursor:
            former = bases(cursor, self._store.origin, audience)
            last = former[0] if former else None
            newest = read_checkpoints(cursor, self._store.origin, audience)[:1]
            cuts = self._cuts(cursor, audience)
            self._refuse_gaps(cursor, cuts, last)
            covers = [
                Cover(log.name.incarnation, log.name.lane, cut, digest, last_row)
                for log, cut in cuts
                for digest, last_row in [self._head(cursor, log, cut)]
            ]
            seen = self._seen(cursor, audience)
            purged = self._horizon.reach(cursor, audience, covers)
            cleared = self._horizon.cleared(cursor, audience)
            at_ms = self._clock.now_ms()
            name = LogName(self._store.origin, self._store.incarnation, audience, Lane.SNAPSHOT)
            events = PartWriter(self._sealer, name, RowSums(self._event_sums(cursor, last)))
            # Taken last: whatever is written from now on has a greater stamp.
            moment = self._clock.tick()
        since = reached_by(former)
        fresh = [
            (log, seq) for log, cut in cuts for seq in range(since.get(log.name, 0) + 1, cut + 1)
        ]
        yield from self._copy_all(fresh, events, Kind.EVENT, purged)
        reach = {
            LogName(name.origin, cover.incarnation, audience, cover.lane): cover.last_row
            for cover in covers
        }
        yield from self._copy_beside(former, events, Kind.EVENT, purged, reach)
        states = PartWriter(self._sealer, name, RowSums())
        places = self._part_places(last, last.record.states) if last else []
        yield from self._copy_all([*places, *fresh], states, Kind.STATE, purged)
        yield from self._copy_beside(former, states, Kind.STATE, purged, reach)
        record = Record(
            version=VERSION,
            number=newest[0].record.number + 1 if newest else 1,
            at_ms=at_ms,
            stamp=moment,
            covers=covers,
            seen=seen,
            purged=purged.one_writer,
            purged_both=purged.two_writers,
            cleared=cleared,
            events=[*(last.record.events if last else []), *events.spans],
            states=states.spans,
            digests=[],
        )
        sums = {
            group: sorted(events.sums.of_group(group) + states.sums.of_group(group))
            for group in Group
        }
        self._append_record(name, record, sums)
        yield

    def _cuts(self, cursor: sqlite3.Cursor, audience: str) -> list[tuple[LogState, int]]:
        """Return own logs with the segment up to which the hub holds them, or the hub itself."""
        logs = read_logs(
            cursor,
            "WHERE origin = ? AND audience = ? AND lane <> ? AND stored > 0 AND frozen IS NULL",
            self._store.origin,
            audience,
            Lane.SNAPSHOT,
        )
        if self._store.origin == HUB:
            return [(log, log.stored) for log in logs]
        receipts = read_receipts(cursor, HUB)
        held = [
            (log, min(log.applied, receipts[log.id].stored)) for log in logs if log.id in receipts
        ]
        return [(log, cut) for log, cut in held if cut]

    def _refuse_gaps(
        self,
        cursor: sqlite3.Cursor,
        cuts: Sequence[tuple[LogState, int]],
        last: Checkpoint | None,
    ) -> None:
        """See that nothing older may still turn up, and nothing covered is parked."""
        receipts = read_receipts(cursor, HUB) if self._store.origin != HUB else {}
        covered = {log.name for log, _ in cuts}
        for cover in last.record.covers if last else []:
            assert last is not None
            if last.source(cover) not in covered:
                raise CheckpointError(
                    f"{last.source(cover)} is not here whole; it comes back first"
                )
        for log, cut in cuts:
            if log.applied < log.stored:
                raise CheckpointError(f"{log.name} is not applied to its end; once it is")
            if log.id in receipts and receipts[log.id].claimed > log.stored:
                raise CheckpointError(f"the hub holds more of {log.name}; once it is back")
            if cursor.execute(
                "SELECT 1 FROM parked WHERE log = ? AND seq <= ? LIMIT 1", (log.id, cut)
            ).fetchone():
                raise CheckpointError(f"rows of {log.name} are parked; once they are applied")

    def _head(self, cursor: sqlite3.Cursor, log: LogState, seq: int) -> tuple[bytes, int]:
        segment = StoredRows(cursor, self._keyring).segment(log.id, seq)
        assert segment is not None
        return segment.header_digest, segment.header.last_row

    def _seen(self, cursor: sqlite3.Cursor, audience: str) -> list[Seen]:
        """Return what is applied of the other writer's logs.

        Raises NotYetError unless all own rows of that lane are covered: what is written later was
        written knowing that.
        """
        waiting = read_logs(
            cursor,
            "WHERE origin = ? AND audience = ? AND lane = ? AND last_row > sealed_row",
            self._store.origin,
            audience,
            Lane.LESSONS,
        )
        if waiting or any(
            log.name.lane is Lane.LESSONS and cut < log.stored
            for log, cut in self._cuts(cursor, audience)
        ):
            raise NotYetError("lessons' rows are still on their way to the hub")
        others = read_logs(
            cursor,
            "WHERE origin <> ? AND audience = ? AND lane = ? AND applied > 0",
            self._store.origin,
            audience,
            Lane.LESSONS,
        )
        return [
            Seen(log.name.origin, log.name.incarnation, log.name.lane, log.applied)
            for log in others
        ]

    def _event_sums(
        self, cursor: sqlite3.Cursor, last: Checkpoint | None
    ) -> dict[tuple[int, Group], bytes]:
        """Return what the last checkpoint says of the events that are in its parts."""
        if last is None:
            return {}
        return {
            key: digest
            for key, digest in stated_sums(StoredRows(cursor, self._keyring), last).items()
            if BY_NUMBER[key[0]].kind is Kind.EVENT
        }

    def _part_places(
        self, checkpoint: Checkpoint, spans: Sequence[Span]
    ) -> list[tuple[LogState, int]]:
        places = []
        with self._store.transaction() as cursor:
            for span in spans:
                log = find_log(cursor, checkpoint.part_log(span))
                if log is None:
                    raise CheckpointError(
                        "the last snapshot is not here whole; it comes back first"
                    )
                places += [(log, seq) for seq in range(span.first, span.last + 1)]
        return places

    def _copy_all(
        self,
        places: Sequence[tuple[LogState, int]],
        parts: PartWriter,
        kind: Kind,
        purged: Purged,
        between: Callable[[LogName], tuple[int, int]] = lambda _: (0, _ROWS_MAX),
    ) -> Iterator[None]:
        """Copy what still counts of a kind, of each log behind one row and up to another."""
        for start in range(0, len(places), SEGMENTS_A_STEP):
            with self._store.transaction() as cursor:
                rows = StoredRows(cursor, self._keyring)
                for log, seq in places[start : start + SEGMENTS_A_STEP]:
                    segment = rows.segment(log.id, seq)
                    assert segment is not None
                    if may_be_hollow(segment.header):
                        source, kept = self._counting(cursor, rows, (log, segment), kind, purged)
                        after, last = between(source)
                        chosen = [row for row in kept if after < row.number <= last]
                        parts.add(cursor, source, chosen)
            yield
        with self._store.transaction() as cursor:
            parts.finish(cursor)

    def _copy_beside(
        self,
        former: Sequence[Checkpoint],
        parts: PartWriter,
        kind: Kind,
        purged: Purged,
        reach: Mapping[LogName, int],
    ) -> Iterator[None]:
        """Copy, of each but the first, what those before it do not cover, up to row ``reach``.

        What is made covers no row behind it: the former one goes on counting beside, and with each
        further checkpoint its rows would be copied once more.
        """
        for count, each in enumerate(former[1:], start=1):
            spans = each.record.events if kind is Kind.EVENT else each.record.states
            places = self._part_places(each, spans)
            known = last_rows(former[:count])

            def between(log: LogName, known: Mapping[LogName, int] = known) -> tuple[int, int]:
                return known.get(log, 0), reach.get(log, 0)

            yield from self._copy_all(places, parts, kind, purged, between)

    def _counting(
        self,
        cursor: sqlite3.Cursor,
        rows: StoredRows,
        place: tuple[LogState, Segment],
        kind: Kind,
        purged: Purged,
    ) -> tuple[LogName, list[StoredRow]]:
        """Return what still counts of one segment's rows of a kind, and the log they stand in."""
        log, segment = place
        if segment.is_hollow:
            raise CheckpointError(
                f"{log.name} segment {segment.header.seq} has no bodies and no checkpoint for them"
            )
        opened = rows.open(log.id, segment)
        missing = len(segment.header.bodies) - len(opened.groups)
        if missing:
            raise CheckpointError(f"{log.name} segment {segment.header.seq}: a key is missing")
        source = find_log(cursor, opened.log)
        assert source is not None
        kept = []
        for row in opened.rows:
            table = BY_NUMBER.get(row.table)
            if table is None:
                raise CheckpointError(
                    f"{log.name} holds table {row.table}, which is not known here"
                )
            if table.kind is not kind:
                continue
            if kind is Kind.STATE:
                origin = self._store.origin
                if standing_of(cursor, origin, source.id, row, purged) is Standing.SUPERSEDED:
                    continue
            kept.append(row)
        return opened.log, kept

    def _append_record(
        self,
        name: LogName,
        record: Record,
        sums: Mapping[Group, list[tuple[int, bytes]]],
    ) -> None:
        # What travels unsealed, key grants, is counted with what the hub may read.
        open_sums = sorted(sums[Group.DISTRICT] + sums[Group.GRANT])
        content = pack_record(msgspec.structs.replace(record, digests=open_sums))
        contents = {Group.DISTRICT: content}
        for group in (Group.HEALTH, Group.IDENTITY):
            if sums[group]:
                contents[group] = pack_digests(sums[group])
        with self._store.transaction() as cursor:
            segment = self._sealer.append_part(cursor, name, contents, {RECORD_TABLE: 1}, (1, 1))
            if segment is None:
                raise CheckpointError(
                    f"a checkpoint of {len(record.covers)} logs does not fit a segment"
                )
            log = find_log(cursor, name)
            assert log is not None
            note_record(cursor, log.id, segment, content)
            self._settle(cursor, name.audience)

    def _settle(self, cursor: sqlite3.Cursor, audience: str) -> None:
        """Drop the tombstones here before anybody else can know that they are left out."""
        made = read_checkpoints(cursor, self._store.origin, audience)[0]
        if made.record.purged_both and self._store.origin == HUB:
            bury(cursor, made)
        drop_tombstones(cursor, made)
        mark_settled(cursor, made)
