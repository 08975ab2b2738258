"""Which segments of a peer's may be stored, and what their arrival does to the log they stand in.

A sender with valid keys is not trusted further than its own rows: a segment that may not stand is
refused with a reason, one that contradicts what is stored freezes its log and no other.
"""

import sqlite3
from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.clock import HybridClock, Stamp
from sync.errors import ForgedError, ForkError, KeyMissingError
from sync.folding.clamps import clamp_moment, clamped_stamp, read_clamps
from sync.history.horizon import ended, evicted
from sync.history.snapshot_part import may_be_hollow
from sync.intake.granting import Grants, SealingKeys
from sync.intake.own_rows import make_room
from sync.keys.keyring import Keyring
from sync.logs.log_state import LogState, find_log, log_id_of, read_logs
from sync.logs.oplog import Row
from sync.logs.pending_writes import forget_writes
from sync.logs.stored_segments import read_segment, store_wire
from sync.logs.waiting_batches import forget_waiting
from sync.segments.segment import FIRST_PREV, HUB, LogName, Segment
from sync.segments.signing import SignerId

LOGS_OF_ONE_ORIGIN_MAX = 4096


class Signers(SealingKeys, Protocol):
    """The part of the directory that judges signatures, and knows their boxes."""

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None: ...


MayCarry = Callable[[LogName], bool]
RecordClamp = Callable[[Row, str], None]
"""Writes a row of ``clock_clamp`` for an audience; only the hub does."""


class Admission:
    """Judges and stores the segments of one message, inside the caller's transaction.

    ``own`` is (origin, incarnation) of this node: what it writes itself comes from nobody.
    """

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        own: tuple[int, int],
        directory: Signers,
        keyring: Keyring,
        clock: HybridClock,
        record_clamp: RecordClamp | None,
    ) -> None:
        self._cursor = cursor
        self._own = own
        self._directory = directory
        self._keyring = keyring
        self._clock = clock
        self._record_clamp = record_clamp
        self._grants = Grants(cursor, directory)
        self._evicted = evicted(cursor) if own[0] == HUB else frozenset()
        self._ended = ended(cursor) if own[0] == HUB else frozenset()
        self.diverged: dict[int, tuple[LogState, int]] = {}
        """A school's former logs that went on differently elsewhere, and the last segment alike."""
        self.moved: dict[int, LogState] = {}
        """Former logs of which rows that waited may have made room for what came."""

    def store(self, segment: Segment, may_carry: MayCarry) -> int | None:
        """Verify and store one segment; return its log's id, or None if it brought nothing new.

        Raises SyncError for one that is refused.
        """
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
        if name.origin == self._own[0] and log is not None:
            present, now_ms = self._own[1], self._clock.now_ms()
            if make_room(self._cursor, self._keyring, log, segment, present, now_ms):
                self.moved[log.id] = log
        log_id = log_id_of(self._cursor, name)
        last_stamp = self._observe(segment)
        store_wire(self._cursor, log_id, header.seq, segment.wire)
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
        held = read_segment(self._cursor, log.id, segment.header.seq)
        if held is not None and held.header_bytes != segment.header_bytes:
            if log.name.origin == self._own[0] != HUB:
                self._note_divergence(log, segment.header.seq - 1)
                return
            raise self._freeze(
                log.name, f"two different segments are numbered {segment.header.seq}"
            )

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

    def _observe(self, segment: Segment) -> int:
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
        moment_ms = clamp_moment(self._clock, header, self._reached(header.log))
        if moment_ms is None:
            return 0
        row: Row = {
            "at_ms": self._clock.now_ms(),
            "clamped_log": str(header.log),
            "clamped_seq": header.seq,
            "clamped_ms": moment_ms,
        }
        self._record_clamp(row, header.log.audience)
        return clamped_stamp(moment_ms)

    def _reached(self, name: LogName) -> int:
        """Return a stamp that none exceeds in the logs of this origin, audience and lane.

        A new incarnation clamped below the former would lose against what it was written over.
        """
        logs = read_logs(
            self._cursor,
            "WHERE origin = ? AND audience = ? AND lane = ?",
            name.origin,
            name.audience,
            name.lane,
        )
        clamps = [(log, read_clamps(self._cursor, log.id, log.name)) for log in logs]
        lifted = [clamped.reached(log.stored) for log, clamped in clamps if clamped is not None]
        return max([0, *lifted, *(log.last_stamp for log in logs)])


def _check_bodies(segment: Segment) -> None:
    """See that only a segment comes without bodies whose rows can be superseded."""
    header = segment.header
    if segment.is_hollow and not may_be_hollow(header):
        raise ForgedError(
            f"{header.log} segment {header.seq} lacks bodies that no checkpoint drops"
        )
