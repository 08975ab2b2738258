"""Taking in a peer's segments: verified, stored, opened and folded, or refused one by one.

A sender with valid keys is not trusted further than its own rows: whatever a segment holds, the
worst it does is to be refused, parked or frozen, and nothing else waits for it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.clock import HybridClock, Stamp
from sync.errors import (
    ForgedError,
    ForkError,
    KeyMissingError,
    MalformedError,
    SyncError,
    reason_of,
)
from sync.folding.clamps import clamp_moment, clamped_stamp
from sync.folding.clock_return import rise_above_clamps
from sync.folding.fold import Folded, Parked, fold_body
from sync.folding.granting import Grants
from sync.folding.refold import CLOCK_TABLES, News, Refold, Told, read_told
from sync.folding.set_aside import fill_known, forget_due, read_due
from sync.history.adoption import Adoption
from sync.history.checkpoint import (
    adopted_seq,
    is_part_of_whole,
    is_present_part,
    note_record,
)
from sync.history.horizon import ended, evicted
from sync.history.snapshot_part import holds_states, is_record, may_be_hollow, unpack_part
from sync.keys.keyring import Keyring
from sync.logs.log_state import LogState, find_log, log_id_of, read_logs
from sync.logs.oplog import Row, event_school
from sync.logs.pending_writes import forget_writes
from sync.logs.waiting_batches import forget_waiting
from sync.schema import BY_NUMBER
from sync.schema.model import GROUPS, Group, Kind, Lane
from sync.segments.body import TableColumns, unpack_tables
from sync.segments.sealing import UNSEALED, DataKey, KeyId
from sync.segments.segment import FIRST_PREV, HUB, Header, LogName, Segment, parse_segment
from sync.segments.signing import SignerId

LOGS_OF_ONE_ORIGIN_MAX = 4096
REFUSALS_MAX = 64
"""After so many refusals in one message the rest of it is passed over."""
OPENED_AT_ONCE_MAX = 64
"""Bodies that waited for a key and are folded with one message; the next goes on with the rest."""
_QUARANTINED_OF_A_PEER_MAX = 200
_REASON_MAX = 300


class SigningKeys(Protocol):
    """The part of the directory that an intake asks."""

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None: ...


MayCarry = Callable[[LogName], bool]
RecordClamp = Callable[[Row, str], None]
"""Writes a row of ``clock_clamp`` for an audience; only the hub does."""


@dataclass(slots=True)
class Imported:
    """What taking in a peer's segments did."""

    stored: int = 0
    rows: int = 0
    tables: set[str] = field(default_factory=set)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    granters: set[int] = field(default_factory=set)
    """Origins that granted this node keys."""


class Intake:
    """One message's worth of taking in, inside the caller's transaction.

    ``own`` is (origin, incarnation) of this node: what it writes itself comes from nobody.
    """

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        own: tuple[int, int],
        directory: SigningKeys,
        keyring: Keyring,
        clock: HybridClock,
        record_clamp: RecordClamp | None = None,
    ) -> None:
        self._cursor = cursor
        self._own = own
        self._directory = directory
        self._keyring = keyring
        self._clock = clock
        self._record_clamp = record_clamp
        self._told: dict[int, Told | None] = {}
        self._news = News()
        self._parsed: dict[tuple[int, int], Segment] = {}
        self._grants = Grants(cursor)
        self._evicted = evicted(cursor) if own[0] == HUB else frozenset()
        self._ended = ended(cursor) if own[0] == HUB else frozenset()
        self.done = Imported()
        self.diverged: dict[int, tuple[LogState, int]] = {}
        """A school's former logs that went on differently elsewhere, and the last segment alike."""

    def take_in(self, wires: Sequence[bytes], peer: int, may_carry: MayCarry) -> Imported:
        """Store and fold what is new; refusals are counted in ``refused`` and quarantined."""
        touched: dict[int, LogName] = {}
        granters: set[int] = set()
        for segment in self._parse(wires, peer):
            if len(self.done.refused) >= REFUSALS_MAX:
                break
            header = segment.header
            try:
                log_id = self._store(segment, may_carry)
            except SyncError as error:
                self._refuse(peer, str(header.log), header.seq, reason_of(error)[:_REASON_MAX])
                continue
            if log_id is not None:
                self.done.stored += 1
                touched[log_id] = header.log
                self._parsed[log_id, header.seq] = segment
                if self._take_up_grants(log_id, segment):
                    granters.add(header.log.origin)
                    self.done.granters.add(header.log.origin)
        for log_id, _ in sorted(touched.items(), key=lambda entry: entry[1].lane):
            self._apply(log_id)
        waiting = granters | self._freeing(touched.values())
        tried: set[int] = set()
        while waiting:
            # One log's key or snapshot may have come with another that is gone through after it.
            tried |= waiting
            waiting = {origin for origin in sorted(waiting) if self._apply_waiting(origin)}
            waiting |= self._freeing(()) - tried
        self._open_granted()
        self._heed_clock_news()
        return self.done

    def _parse(self, wires: Sequence[bytes], peer: int) -> list[Segment]:
        """Return a message's segments, control first: nothing else is stored before its grants."""
        parsed = []
        for wire in wires:
            try:
                parsed.append(parse_segment(wire))
            except SyncError as error:
                self._refuse(peer, "?", 0, reason_of(error)[:_REASON_MAX])
                if len(self.done.refused) >= REFUSALS_MAX:
                    break
        return sorted(parsed, key=lambda each: each.header.log.lane is not Lane.CONTROL)

    def open_waiting(self) -> int:
        """Fold what waits and can be opened by now: one log's segments, or some bodies.

        Return how many were folded; 0 when nothing more can be.
        """
        for log in read_logs(self._cursor, "WHERE applied < stored"):
            self._apply(log.id)
            (applied,) = self._cursor.execute(
                "SELECT applied FROM log WHERE id = ?", (log.id,)
            ).fetchone()
            if applied > log.applied:
                self._heed_clock_news()
                return int(applied) - log.applied
        (before,) = self._cursor.execute("SELECT count(*) FROM unopened").fetchone()
        self._open_granted()
        self._heed_clock_news()
        (after,) = self._cursor.execute("SELECT count(*) FROM unopened").fetchone()
        return int(before) - int(after)

    def _store(self, segment: Segment, may_carry: MayCarry) -> int | None:
        """Verify and store one segment; return its log's id, or None if it brought nothing new."""
        header = segment.header
        name = header.log
        if (name.origin, name.incarnation) == self._own or name.origin in self._evicted:
            return None
        _check_bodies(segment)
        if not may_carry(name):
            raise ForgedError(f"{name} does not belong to this peer; refused")
        log = find_log(self._cursor, name)
        if header.seq > (log.stored if log else 0) + 1:
            return None
        self._verify(segment)
        if log is None:
            self._check_room(name.origin)
        elif log.frozen or header.seq <= log.stored:
            self._check_fork(log, segment)
            return None
        if not self._follows(log, segment):
            return None
        log_id = log_id_of(self._cursor, name)
        self._grants.note(name)
        self._told.pop(log_id, None)
        last_stamp = self._observe(segment, log.last_stamp if log else 0)
        self._cursor.execute(
            "INSERT INTO segment VALUES (?, ?, ?)", (log_id, header.seq, segment.wire)
        )
        self._cursor.execute(
            "UPDATE log SET stored = ?, head = ?, last_row = max(last_row, ?), sealed_row = ?,"
            " last_stamp = max(last_stamp, ?), stored_ms = ? WHERE id = ?",
            (
                header.seq,
                segment.header_digest,
                header.last_row,
                header.last_row,
                last_stamp,
                self._clock.now_ms(),
                log_id,
            ),
        )
        if name.origin == self._own[0]:
            forget_writes(self._cursor, log_id, header.last_row)
            forget_waiting(self._cursor, log_id, header.last_row)
        return log_id

    def _follows(self, log: LogState | None, segment: Segment) -> bool:
        """Tell whether a segment may stand behind what is stored; raises ForkError."""
        header = segment.header
        name = header.log
        if (name.origin, name.incarnation) in self._ended:
            raise ForkError(
                f"{name} ended before segment {header.seq}: school {name.origin} was evicted, and"
                " has written anew what had not come"
            )
        if header.prev != (log.head if log else FIRST_PREV):
            if log and name.origin == self._own[0] != HUB:
                self._note_divergence(log, log.stored - 1)
                return False
            raise self._freeze(name, f"segment {header.seq} does not follow what is stored")
        if log and header.first_row <= log.sealed_row:
            raise self._freeze(name, f"segment {header.seq} numbers rows again")
        return self._grants.may_store(segment)

    def _observe(self, segment: Segment, log_stamp: int) -> int:
        """Take a segment's stamps into account; return the greatest that counts for its log.

        At the hub, stamps from the future are clamped before anything is folded or passed on. Not
        those of a segment without bodies: its rows stand in a snapshot as they counted before.
        """
        header = segment.header
        if self._clock.observe(Stamp(header.last_stamp)):
            return header.last_stamp
        if header.log.origin == self._own[0] == HUB:
            # Nobody clamps what a hub stamped before it lost its store: it goes on behind that.
            self._clock.resume(Stamp(header.last_stamp))
            return header.last_stamp
        if self._record_clamp is None or header.log.origin == HUB or segment.is_hollow:
            return 0
        moment_ms = clamp_moment(self._clock, header, log_stamp)
        if moment_ms is None:
            return 0
        row: Row = {
            "at_ms": self._clock.now_ms(),
            "clamped_log": str(header.log),
            "clamped_seq": header.seq,
            "clamped_ms": moment_ms,
        }
        self._record_clamp(row, header.log.audience)
        self._told.clear()
        return clamped_stamp(moment_ms)

    def _verify(self, segment: Segment) -> None:
        header = segment.header
        signing = self._directory.signing_key(header.log.origin, SignerId(header.signer))
        if signing is None:
            raise KeyMissingError(
                f"signer {header.signer.hex()} of origin {header.log.origin} is not known here;"
                " its segments are taken once its certificate has arrived"
            )
        segment.verify(signing)

    def _check_room(self, origin: int) -> None:
        (count,) = self._cursor.execute(
            "SELECT count(*) FROM log WHERE origin = ?", (origin,)
        ).fetchone()
        if count >= LOGS_OF_ONE_ORIGIN_MAX:
            raise ForgedError(f"origin {origin} opened {count} logs; further ones are refused")

    def _check_fork(self, log: LogState, segment: Segment) -> None:
        if log.frozen:
            raise ForkError(f"{log.name} is frozen: {log.frozen}")
        held = self._cursor.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log.id, segment.header.seq)
        ).fetchone()
        if held is not None and parse_segment(held[0]).header_bytes != segment.header_bytes:
            if log.name.origin == self._own[0] != HUB:
                self._note_divergence(log, segment.header.seq - 1)
                return
            raise self._freeze(
                log.name, f"two different segments are numbered {segment.header.seq}"
            )

    def _note_divergence(self, log: LogState, alike: int) -> None:
        """Note that a former log of this school's went on differently after segment ``alike``."""
        _, lowest = self.diverged.get(log.id, (log, alike))
        self.diverged[log.id] = log, min(alike, lowest)

    def _freeze(self, name: LogName, reason: str) -> ForkError:
        self._cursor.execute(
            "UPDATE log SET frozen = ? WHERE origin = ? AND incarnation = ? AND audience = ?"
            " AND lane = ?",
            (reason, name.origin, name.incarnation, name.audience, name.lane),
        )
        return ForkError(f"{name} is frozen: {reason}; its origin opens a new incarnation")

    def _take_up_grants(self, log_id: int, segment: Segment) -> bool:
        """Fold a segment's grants ahead of its turn: earlier segments may wait for these keys.

        Return whether any is for this node. Bodies of the same origin that wait for its key are
        marked; grants from elsewhere open nothing.
        """
        header = segment.header
        groups = [GROUPS[body.group] for body in header.bodies]
        if Group.GRANT not in groups:
            return False
        place = groups.index(Group.GRANT)
        if segment.is_hollow:
            return False
        self._fold(log_id, segment, place, None)
        if header.log.lane is Lane.SNAPSHOT:
            try:
                source, _ = unpack_part(header.log, segment.open(place, None))
            except MalformedError:
                return False  # parked by the fold
            log_id, header = log_id_of(self._cursor, source.log), source.header(header)
        names = self._cursor.execute(
            "SELECT DISTINCT key_id FROM key_grant"
            " WHERE school = ? AND log = ? AND row BETWEEN ? AND ? AND recipient = ?",
            (
                event_school(header.log),
                log_id,
                header.first_row,
                header.last_row,
                self._keyring.own_id,
            ),
        ).fetchall()
        self._cursor.executemany(
            "UPDATE unopened SET granted = 1 WHERE origin = ? AND key_id = ?",
            [(header.log.origin, name) for (name,) in names],
        )
        return bool(names)

    def _apply(self, log_id: int) -> None:
        """Fold a log's stored segments in order, up to one whose district key is missing."""
        (applied,) = self._cursor.execute(
            "SELECT applied FROM log WHERE id = ?", (log_id,)
        ).fetchone()
        adopted = adopted_seq(self._cursor, log_id)
        while segment := self._read_segment(log_id, applied + 1):
            header = segment.header
            if segment.is_hollow and header.log.lane is not Lane.SNAPSHOT and header.seq > adopted:
                if not self._adopt(header):
                    break
                adopted = adopted_seq(self._cursor, log_id)
            if segment.is_hollow or (header.seq <= adopted and holds_states(header)):
                applied += 1  # its content came, or comes, with a snapshot
                continue
            groups = [GROUPS[body.group] for body in header.bodies]
            keys = [
                self._key(segment, place, group) if group is not Group.GRANT else None
                for place, group in enumerate(groups)
            ]
            if Group.DISTRICT in groups and keys[groups.index(Group.DISTRICT)] is None:
                break
            for place, (group, key) in enumerate(zip(groups, keys, strict=True)):
                if key is not None:
                    self._fold(log_id, segment, place, key)
                elif group is not Group.GRANT:
                    self._cursor.execute(
                        "INSERT OR IGNORE INTO unopened (log, seq, body, origin, key_id)"
                        " VALUES (?, ?, ?, ?, ?)",
                        (
                            log_id,
                            header.seq,
                            place,
                            header.log.origin,
                            header.bodies[place].key_id,
                        ),
                    )
            applied += 1
        self._cursor.execute("UPDATE log SET applied = ? WHERE id = ?", (applied, log_id))

    def _apply_waiting(self, origin: int) -> bool:
        """Go through what waits of an origin; tell whether any of it got further."""
        before = read_logs(self._cursor, "WHERE applied < stored AND origin = ?", origin)
        for log in before:
            self._apply(log.id)
        after = read_logs(self._cursor, "WHERE applied < stored AND origin = ?", origin)
        return [(log.id, log.applied) for log in before] != [(log.id, log.applied) for log in after]

    def _freeing(self, touched: Iterable[LogName]) -> set[int]:
        """Return origins whose logs may have waited for a snapshot that is here now."""
        freed = {name.origin for name in touched if name.lane is Lane.SNAPSHOT}
        return freed | ({self._own[0]} if "checkpoint_countersigned" in self.done.tables else set())

    def _adopt(self, header: Header) -> bool:
        """Take the content of segments without bodies from a snapshot, once it is here."""
        adoption = Adoption(self._cursor, self._own[0], self._keyring, self._fold_part)
        return adoption.adopt(header.log, header.seq)

    def _open_granted(self) -> None:
        """Fold bodies whose key was granted since, oldest first in each log, some at a time."""
        waiting = self._cursor.execute(
            "SELECT log, seq, body FROM unopened WHERE granted = 1 ORDER BY log, seq, body LIMIT ?",
            (OPENED_AT_ONCE_MAX,),
        ).fetchall()
        for log_id, seq, place in waiting:
            segment = self._read_segment(log_id, seq)
            assert segment is not None
            group = GROUPS[segment.header.bodies[place].group]
            key = self._key(segment, place, group)
            if key is None:  # a grant that does not open
                self._cursor.execute(
                    "UPDATE unopened SET granted = 0 WHERE log = ? AND seq = ? AND body = ?",
                    (log_id, seq, place),
                )
                continue
            self._cursor.execute(
                "DELETE FROM unopened WHERE log = ? AND seq = ? AND body = ?", (log_id, seq, place)
            )
            self._fold(log_id, segment, place, key)

    def _key(self, segment: Segment, place: int, group: Group) -> DataKey | None:
        log = segment.header.log
        name = KeyId(segment.header.bodies[place].key_id)
        assert name != UNSEALED
        return self._keyring.key(self._cursor, (log.origin, log.audience, group), name)

    def _fold(self, log_id: int, segment: Segment, place: int, key: DataKey | None) -> None:
        """Fold one body, or park it or what of it cannot be applied."""
        header = segment.header
        try:
            content = segment.open(place, key)
            if header.log.lane is Lane.SNAPSHOT:
                self._take_part(log_id, segment, place, content)
                return
            tables = unpack_tables(content)
        except SyncError as error:
            self._park(log_id, header.seq, place, Parked(0, 0, reason_of(error), retriable=False))
            return
        group = GROUPS[header.bodies[place].group]
        told = self._told_of(log_id, header.log)
        folded = fold_body(self._cursor, log_id, header, group, tables, told)
        self._note_folded(log_id, header, folded)
        for parked in folded.parked:
            self._park(log_id, header.seq, place, parked)

    def fold_due(self, bodies_max: int) -> int:
        """Fold again what an earlier version could not apply; return how many bodies there were."""
        due = read_due(self._cursor, bodies_max)
        for log_id, seq, place in due:
            forget_due(self._cursor, (log_id, seq, place))
            segment = self._read_segment(log_id, seq)
            # A segment whose bodies went with a checkpoint has its rows in the snapshot.
            if segment is None or place >= len(segment.bodies):
                continue
            group = GROUPS[segment.header.bodies[place].group]
            key = None if group is Group.GRANT else self._key(segment, place, group)
            self._fold(log_id, segment, place, key)
            self._fill(log_id, segment, place, key)
        self._heed_clock_news()
        return len(due)

    def _fill(self, log_id: int, segment: Segment, place: int, key: DataKey | None) -> None:
        """Let rows that stand have the cells that were not known when they were folded."""
        header, row_log = segment.header, log_id
        group = GROUPS[header.bodies[place].group]
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
        for parked in fill_known(self._cursor, row_log, header, group, tables):
            self._park(log_id, segment.header.seq, place, parked)

    def _take_part(self, log_id: int, segment: Segment, place: int, content: bytes) -> None:
        """Take in a body of a snapshot; raises MalformedError.

        Grants count at once, all else when the whole snapshot is adopted: until then a row may be
        of a branch of its log, a clone's, that is not the one held here. After that, or when it was
        found whole, what is taken could not be read, or was not known, before.
        """
        header = segment.header
        group = GROUPS[header.bodies[place].group]
        if is_record(header):
            if group is Group.DISTRICT:
                note_record(self._cursor, log_id, segment, content)
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
            for each in tables
            if is_adopted
            or each.table not in BY_NUMBER
            or BY_NUMBER[each.table].kind is Kind.EVENT
            or BY_NUMBER[each.table].primary_group is not group
        ]
        if fresh:
            self._fold_part(log_id, segment, place, source_id, source.header(header), fresh)

    def _fold_part(
        self,
        log_id: int,
        segment: Segment,
        place: int,
        source_id: int,
        header: Header,
        tables: list[TableColumns],
    ) -> None:
        """Fold rows of a part into the log they stand in; stamps in parts are those that count."""
        group = GROUPS[segment.header.bodies[place].group]
        told = self._told_of(source_id, header.log)
        moments = Told(None, told.corrections) if told else None
        folded = fold_body(self._cursor, source_id, header, group, tables, moments)
        self._note_folded(source_id, header, folded)
        for parked in folded.parked:
            self._park(log_id, segment.header.seq, place, parked)

    def _note_folded(self, log_id: int, header: Header, folded: Folded) -> None:
        self.done.rows += folded.rows
        self.done.tables |= folded.tables
        if not folded.tables.isdisjoint(CLOCK_TABLES):
            self._told.clear()
            self._news.note(self._cursor, log_id, header)

    def _told_of(self, log_id: int, name: LogName) -> Told | None:
        """Return what was said since of a log's stamps and moments."""
        if self._news.clamps and str(name) in self._news.clamps:
            # What stands of the log stands by what was said before; what follows, by this too.
            self._heed_clock_news()
        if log_id not in self._told:
            self._told[log_id] = read_told(self._cursor, log_id, name)
        return self._told[log_id]

    def _heed_clock_news(self) -> None:
        """Let what was folded before its clamp came be as if folded after it."""
        if self._news.clamps:
            if self._own[0] != HUB:
                # First: what waits would lose against what is lifted, and would never be sealed.
                rise_above_clamps(self._cursor, self._clock, self._own[0])
            self.done.tables |= Refold(self._cursor, self._keyring).heed(self._news)
            self._news = News()

    def _read_segment(self, log_id: int, seq: int) -> Segment | None:
        if (log_id, seq) in self._parsed:
            return self._parsed.pop((log_id, seq))
        found = self._cursor.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log_id, seq)
        ).fetchone()
        return parse_segment(found[0]) if found else None

    def _park(self, log_id: int, seq: int, place: int, parked: Parked) -> None:
        self._cursor.execute(
            "INSERT OR REPLACE INTO parked"
            " (log, seq, body, table_number, reason, rows, parked_ms, retriable)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                log_id,
                seq,
                place,
                parked.table,
                parked.reason[:_REASON_MAX],
                parked.rows,
                self._clock.now_ms(),
                parked.retriable,
            ),
        )

    def _refuse(self, peer: int, log: str, seq: int, reason: str) -> None:
        self.done.refused.append((log, seq, reason))
        self._cursor.execute(
            "INSERT INTO quarantine (peer, log, seq, reason, times, refused_ms)"
            " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (peer, log, seq) DO UPDATE SET"
            " reason = excluded.reason, times = times + 1, refused_ms = excluded.refused_ms",
            (peer, log, seq, reason, self._clock.now_ms()),
        )
        self._cursor.execute(
            "DELETE FROM quarantine WHERE peer = ?1 AND (log, seq) NOT IN (SELECT log, seq"
            " FROM quarantine WHERE peer = ?1 ORDER BY refused_ms DESC LIMIT ?2)",
            (peer, _QUARANTINED_OF_A_PEER_MAX),
        )


def _check_bodies(segment: Segment) -> None:
    """See that only a segment comes without bodies whose rows can be superseded."""
    header = segment.header
    if segment.is_hollow and not may_be_hollow(header):
        raise ForgedError(
            f"{header.log} segment {header.seq} lacks bodies that no checkpoint drops"
        )
