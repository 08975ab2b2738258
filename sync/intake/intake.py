"""Taking in a peer's segments: verified, stored, opened and folded, or refused one by one.

Whatever a segment holds, the worst it does is to be refused, parked or frozen, and nothing else
waits for it. A log is folded in order, up to a segment whose district key or snapshot is missing;
other bodies wait for their keys on their own.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sync.clock import HybridClock
from sync.errors import MalformedError, SyncError, reason_of
from sync.history.adoption import Adoption
from sync.history.checkpoint import adopted_seq
from sync.history.snapshot_part import holds_states, unpack_part
from sync.intake.admission import Admission, MayCarry, RecordClamp, Signers
from sync.intake.bodies import Bodies
from sync.intake.repetitions import let_stand
from sync.intake.set_aside import forget_due, quarantine, read_due
from sync.keys.keyring import Keyring
from sync.logs.log_state import LogState, log_id_of, read_logs
from sync.logs.oplog import event_school
from sync.logs.stored_segments import StoredBody, read_segment
from sync.schema.model import Group, Lane
from sync.segments.segment import Header, LogName, Segment, parse_segment

REFUSALS_MAX = 64
"""After so many refusals in one message the rest of it is passed over."""
OPENED_AT_ONCE_MAX = 64
"""Bodies that waited for a key and are folded with one message; the next goes on with the rest."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What taking in a peer's segments did; ``granters`` are origins that granted this node keys.

    ``refused`` are (log, segment, reason).
    """

    stored: int = 0
    rows: int = 0
    tables: frozenset[str] = frozenset()
    refused: Sequence[tuple[str, int, str]] = ()
    granters: frozenset[int] = frozenset()


class Intake:
    """One message's worth of taking in, inside the caller's transaction.

    ``own`` is (origin, incarnation) of this node.
    """

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        own: tuple[int, int],
        directory: Signers,
        keyring: Keyring,
        clock: HybridClock,
        record_clamp: RecordClamp | None = None,
    ) -> None:
        self._cursor = cursor
        self._own_origin, self._incarnation = own
        self._keyring = keyring
        self._clock = clock
        self._admission = Admission(cursor, own, directory, keyring, clock, record_clamp)
        self._bodies = Bodies(cursor, self._own_origin, keyring, clock)
        self._parsed: dict[tuple[int, int], Segment] = {}
        self._refused: list[tuple[str, int, str]] = []

    @property
    def diverged(self) -> Collection[tuple[LogState, int]]:
        """Return a school's former logs that went on differently elsewhere, and what is alike."""
        return self._admission.diverged.values()

    def take_in(self, wires: Sequence[bytes], peer: int, may_carry: MayCarry) -> Imported:
        """Store and fold what is new; refusals are counted in ``refused`` and quarantined."""
        stored = 0
        touched: dict[int, LogName] = {}
        granters: set[int] = set()
        for segment in self._parse(wires, peer):
            if len(self._refused) >= REFUSALS_MAX:
                break
            log_id = self._store(segment, peer, may_carry)
            if log_id is not None:
                stored += 1
                touched[log_id] = segment.header.log
                if self._take_up_grants(log_id, segment):
                    granters.add(segment.header.log.origin)
        moved = self._admission.moved.values()
        let_stand(self._cursor, self._bodies, moved, self._incarnation)
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
        self._bodies.heed_clock_news()
        return Imported(
            stored,
            self._bodies.rows,
            frozenset(self._bodies.tables),
            self._refused,
            frozenset(granters),
        )

    def open_waiting(self) -> int:
        """Fold what waits and can be opened by now: one log's segments, or some bodies.

        Return how many were folded; 0 when nothing more can be.
        """
        for log in read_logs(self._cursor, "WHERE applied < stored"):
            applied = self._apply(log.id)
            if applied > log.applied:
                self._bodies.heed_clock_news()
                return applied - log.applied
        (before,) = self._cursor.execute("SELECT count(*) FROM unopened").fetchone()
        self._open_granted()
        self._bodies.heed_clock_news()
        (after,) = self._cursor.execute("SELECT count(*) FROM unopened").fetchone()
        return int(before) - int(after)

    def fold_due(self, bodies_max: int) -> int:
        """Fold again what an earlier version could not apply; return how many bodies there were."""
        due = read_due(self._cursor, bodies_max)
        for log_id, seq, place in due:
            forget_due(self._cursor, (log_id, seq, place))
            segment = self._read_segment(log_id, seq)
            # A segment whose bodies went with a checkpoint has its rows in the snapshot.
            if segment is None or place >= len(segment.bodies):
                continue
            body = StoredBody(log_id, segment, place)
            key = None if body.group is Group.GRANT else self._bodies.key(body)
            self._bodies.fold(body, key)
            self._bodies.fill(body, key)
        self._bodies.heed_clock_news()
        return len(due)

    def _parse(self, wires: Sequence[bytes], peer: int) -> list[Segment]:
        """Return a message's segments, control first: nothing else is stored before its grants."""
        parsed = []
        for wire in wires:
            try:
                parsed.append(parse_segment(wire))
            except SyncError as error:
                self._refuse(peer, "?", 0, error)
                if len(self._refused) >= REFUSALS_MAX:
                    break
        return sorted(parsed, key=lambda each: each.header.log.lane is not Lane.CONTROL)

    def _store(self, segment: Segment, peer: int, may_carry: MayCarry) -> int | None:
        """Store a segment or refuse it; return its log's id, or None if it brought nothing new."""
        header = segment.header
        try:
            log_id = self._admission.store(segment, may_carry)
        except SyncError as error:
            self._refuse(peer, str(header.log), header.seq, error)
            return None
        if log_id is not None:
            self._parsed[log_id, header.seq] = segment
            self._bodies.forget_told(log_id)
        return log_id

    def _refuse(self, peer: int, log: str, seq: int, error: SyncError) -> None:
        now_ms = self._clock.now_ms()
        self._refused.append(quarantine(self._cursor, peer, log, seq, reason_of(error), now_ms))

    def _take_up_grants(self, log_id: int, segment: Segment) -> bool:
        """Fold a segment's grants ahead of its turn: earlier segments may wait for these keys.

        Return whether any is for this node. Bodies of the same origin that wait for its key are
        marked; grants from elsewhere open nothing.
        """
        header = segment.header
        body = next((each for each in _bodies_of(log_id, segment) if _is_grant(each)), None)
        if body is None or segment.is_hollow:
            return False
        self._bodies.fold(body, None)
        if header.log.lane is Lane.SNAPSHOT:
            try:
                source, _ = unpack_part(header.log, segment.open(body.place, None))
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

    def _apply(self, log_id: int) -> int:
        """Fold a log's stored segments in order, as far as it goes; return up to which."""
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
            # The content of some came, or comes, with a snapshot.
            is_elsewhere = segment.is_hollow or (header.seq <= adopted and holds_states(header))
            if not is_elsewhere and not self._fold_bodies(log_id, segment):
                break
            applied += 1
        self._cursor.execute("UPDATE log SET applied = ? WHERE id = ?", (applied, log_id))
        return int(applied)

    def _fold_bodies(self, log_id: int, segment: Segment) -> bool:
        """Fold what opens of a segment whose turn it is; False while its district key is missing.

        Its grants were taken up when it came.
        """
        sealed = [
            (body, self._bodies.key(body))
            for body in _bodies_of(log_id, segment)
            if not _is_grant(body)
        ]
        if any(key is None and body.group is Group.DISTRICT for body, key in sealed):
            return False
        for body, key in sealed:
            if key is not None:
                self._bodies.fold(body, key)
                continue
            header = segment.header
            self._cursor.execute(
                "INSERT OR IGNORE INTO unopened (log, seq, body, origin, key_id)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    log_id,
                    header.seq,
                    body.place,
                    header.log.origin,
                    header.bodies[body.place].key_id,
                ),
            )
        return True

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
        if "checkpoint_countersigned" in self._bodies.tables:
            freed.add(self._own_origin)
        return freed

    def _adopt(self, header: Header) -> bool:
        """Take the content of segments without bodies from a snapshot, once it is here."""
        fold = self._bodies.fold_part
        adoption = Adoption(self._cursor, self._own_origin, self._keyring, fold)
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
            body = StoredBody(log_id, segment, place)
            key = self._bodies.key(body)
            if key is None:  # a grant that does not open
                self._cursor.execute(
                    "UPDATE unopened SET granted = 0 WHERE log = ? AND seq = ? AND body = ?",
                    (log_id, seq, place),
                )
                continue
            self._cursor.execute(
                "DELETE FROM unopened WHERE log = ? AND seq = ? AND body = ?", (log_id, seq, place)
            )
            self._bodies.fold(body, key)

    def _read_segment(self, log_id: int, seq: int) -> Segment | None:
        parsed = self._parsed.pop((log_id, seq), None)
        return parsed or read_segment(self._cursor, log_id, seq)


def _bodies_of(log_id: int, segment: Segment) -> Iterator[StoredBody]:
    for place in range(len(segment.header.bodies)):
        yield StoredBody(log_id, segment, place)


def _is_grant(body: StoredBody) -> bool:
    return body.group is Group.GRANT
