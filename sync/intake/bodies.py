"""Bodies of stored segments become rows, or what of them cannot be applied is parked."""

import sqlite3
from collections.abc import Collection

from sync.clock import HybridClock
from sync.errors import SyncError, reason_of
from sync.folding.clock_return import rise_above_clamps
from sync.folding.fold import Parked, fold_body
from sync.folding.refold import CLOCK_TABLES, News, Refold
from sync.folding.told import Told, read_told
from sync.history.checkpoint import (
    adopted_seq,
    is_part_of_whole,
    is_present_part,
    note_record,
    parts_are_here,
    read_checkpoints,
)
from sync.history.snapshot_part import is_record, unpack_part
from sync.intake.filling import fill_known
from sync.intake.set_aside import park
from sync.keys.keyring import Keyring
from sync.logs.log_state import log_id_of
from sync.logs.stored_segments import StoredBody, read_segment
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import Group, Kind, Lane, Owner
from sync.segments.body import TableColumns, unpack_tables
from sync.segments.sealing import UNSEALED, DataKey
from sync.segments.segment import HUB, Header, LogName

_TWO_WRITERS = frozenset(each.number for each in TABLES if each.owner is Owner.BOTH)


class Bodies:
    """Folds bodies for node ``own``, inside the caller's transaction.

    ``rows`` and ``tables`` are what was folded so far. Whoever uses it calls
    :meth:`heed_clock_news` at the end.
    """

    def __init__(
        self, cursor: sqlite3.Cursor, own: int, keyring: Keyring, clock: HybridClock
    ) -> None:
        self._cursor = cursor
        self._own = own
        self._keyring = keyring
        self._clock = clock
        self._told: dict[int, Told | None] = {}
        self._news = News()
        self.refold = Refold(cursor, keyring, self._fold_parts)
        self.rows = 0
        self.tables: set[str] = set()

    def key(self, body: StoredBody) -> DataKey | None:
        """Return the key of a sealed body; None: not granted to this node."""
        header = body.segment.header
        assert header.bodies[body.place].key_id != UNSEALED
        return self._keyring.key_of(self._cursor, header, body.place)

    def fold(
        self, body: StoredBody, key: DataKey | None, only: Collection[int] | None = None
    ) -> None:
        """Fold a body, or park it or what of it cannot be applied; grants have no ``key``.

        ``only``: the numbers of the tables meant, all when None.
        """
        log_id, segment, place = body
        header = segment.header
        try:
            content = segment.open(place, key)
            if header.log.lane is Lane.SNAPSHOT:
                self._take_part(body, content, only)
                return
            tables = _chosen(unpack_tables(content), only)
        except SyncError as error:
            self._park(body, Parked(0, 0, reason_of(error), retriable=False))
            return
        self._fold_tables(body, log_id, header, tables, self._told_of(log_id, header.log))

    def fold_part(
        self, body: StoredBody, source_id: int, header: Header, tables: list[TableColumns]
    ) -> None:
        """Fold rows of a part into the log they stand in; stamps in parts are those that count."""
        told = self._told_of(source_id, header.log)
        moments = Told(None, told.corrections) if told else None
        self._fold_tables(body, source_id, header, tables, moments)

    def fill(self, body: StoredBody, key: DataKey | None) -> None:
        """Let rows that stand have the cells that were not known when they were folded."""
        row_log, segment, place = body
        header = segment.header
        try:
            content = segment.open(place, key)
            if header.log.lane is Lane.SNAPSHOT:
                if is_record(header):
                    return
                source, tables = unpack_part(header.log, content)
                row_log, header = log_id_of(self._cursor, source.log), source.header(header)
            else:
                tables = unpack_tables(content)
        except SyncError:
            return  # parked as before
        for parked in fill_known(self._cursor, row_log, header, body.group, tables):
            self._park(body, parked)

    def forget_told(self, log_id: int) -> None:
        """Read anew what was said of a log's clock: its segments, or the clamps of it, changed."""
        self._told.pop(log_id, None)

    def heed_clock_news(self) -> None:
        """Let what was folded before its clamp came be as if folded after it."""
        if self._news.clamps:
            if self._own != HUB:
                # First: what waits would lose against what is lifted, and would never be sealed.
                rise_above_clamps(self._cursor, self._clock, self._own)
            news, self._news = self._news, News()
            self.tables |= self.refold.heed(news)

    def _fold_parts(self, origin: int, audience: str) -> None:
        """Fold states of two writers in the parts of the newest checkpoint that is here again."""
        known = read_checkpoints(self._cursor, origin, audience)
        newest = next((each for each in known if parts_are_here(self._cursor, each)), None)
        if newest is None:
            return
        for span in newest.record.states:
            log_id = log_id_of(self._cursor, newest.part_log(span))
            for seq in range(span.first, span.last + 1):
                segment = read_segment(self._cursor, log_id, seq)
                assert segment is not None
                for place in range(len(segment.bodies)):
                    self._fold_part_again(StoredBody(log_id, segment, place))

    def _fold_part_again(self, body: StoredBody) -> None:
        key = None if body.group is Group.GRANT else self.key(body)
        if key is None:
            return
        try:
            source, tables = unpack_part(
                body.segment.header.log, body.segment.open(body.place, key)
            )
        except SyncError:
            return  # parked as before
        both = [each for each in tables if each.table in _TWO_WRITERS]
        if both:
            source_id = log_id_of(self._cursor, source.log)
            self.fold_part(body, source_id, source.header(body.segment.header), both)

    def _take_part(
        self, body: StoredBody, content: bytes, only: Collection[int] | None = None
    ) -> None:
        """Take in a body of a snapshot; raises MalformedError.

        Grants count at once, all else when the whole snapshot is adopted: until then a row may be
        of a branch of its log, a clone's, that is not the one held here. After that, or when it was
        found whole, what is taken could not be read, or was not known, before.
        """
        header, group = body.segment.header, body.group
        if is_record(header):
            if group is Group.DISTRICT:
                note_record(self._cursor, body.log_id, body.segment, content)
            return
        source, tables = unpack_part(header.log, content)
        source_id = log_id_of(self._cursor, source.log)
        # After an upgrade tables may be known that were not when the snapshot was adopted.
        is_taken_over = adopted_seq(self._cursor, source_id) > 0
        is_known = is_taken_over or is_part_of_whole(self._cursor, header)
        if not is_known and group is not Group.GRANT:
            return
        is_adopted = is_taken_over and is_present_part(self._cursor, header)
        fresh = [
            each
            for each in _chosen(tables, only)
            if is_adopted
            or each.table not in BY_NUMBER
            or BY_NUMBER[each.table].kind is Kind.EVENT
            or BY_NUMBER[each.table].primary_group is not group
        ]
        if fresh:
            self.fold_part(body, source_id, source.header(header), fresh)

    def _fold_tables(
        self,
        body: StoredBody,
        row_log: int,
        header: Header,
        tables: list[TableColumns],
        told: Told | None,
    ) -> None:
        """Fold what a body holds into rows of ``row_log``."""
        folded = fold_body(self._cursor, row_log, header, body.group, tables, told)
        self.rows += folded.rows
        self.tables |= folded.tables
        if not folded.tables.isdisjoint(CLOCK_TABLES):
            self._told.clear()
            self._news.note(self._cursor, row_log, header)
        for parked in folded.parked:
            self._park(body, parked)

    def _told_of(self, log_id: int, name: LogName) -> Told | None:
        """Return what was said since of a log's stamps and moments."""
        if self._news.clamps and str(name) in self._news.clamps:
            # What stands of the log stands by what was said before; what follows, by this too.
            self.heed_clock_news()
        if log_id not in self._told:
            self._told[log_id] = read_told(self._cursor, log_id, name)
        return self._told[log_id]

    def _park(self, body: StoredBody, parked: Parked) -> None:
        park(self._cursor, body, parked, self._clock.now_ms())


def _chosen(tables: list[TableColumns], only: Collection[int] | None) -> list[TableColumns]:
    return tables if only is None else [each for each in tables if each.table in only]
