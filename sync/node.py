"""One node of the district: writes rows, seals them into its logs, and takes in its peers'.

All methods block on SQLite and are called from one thread at a time. Chance, time, keys and the
directory of other nodes are arguments, so that a simulation can run many nodes from one seed.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
)

from sync.clock import HybridClock, Stamp
from sync.directory import Directory
from sync.errors import KeyMissingError, MalformedError, RevokedError, RowError
from sync.folding.clock_return import return_clock
from sync.history.bounding import History
from sync.history.membership import heed_eviction
from sync.intake.admission import MayCarry, RecordClamp
from sync.intake.bodies import Bodies
from sync.intake.intake import Imported, Intake
from sync.intake.set_aside import (
    ParkedRows,
    Quarantined,
    read_due,
    read_parked,
    read_quarantined,
)
from sync.keys.key_office import KeyOffice
from sync.keys.keyring import Keyring
from sync.keys.own_keys import KeyPolicy
from sync.keys.recipients import Recipients
from sync.logs import oplog
from sync.logs.audiences import rows_by_audience
from sync.logs.grant_order import last_grant
from sync.logs.incarnation import open_incarnation, read_incarnation
from sync.logs.log_state import LogState, log_id_of, read_logs
from sync.logs.oplog import Row
from sync.logs.sealer import SEGMENTS_MAX, Sealer, SealPolicy
from sync.logs.stored_segments import count_after, read_sizes_after, read_wire
from sync.peers import Peers
from sync.schema.model import Group
from sync.segments.sealing import DataKey, KeyId, RandomBytes
from sync.segments.segment import HUB, LogName, check_log_name
from sync.segments.signing import SignerId, sign, signer_id, verify

__all__ = [
    "Directory",
    "Imported",
    "LogState",
    "Node",
    "NodeKeys",
    "SealPolicy",
]

PARKED_AT_ONCE_MAX = 64
"""Bodies that are folded again in one transaction after an upgrade."""
_ROWS_MAX = 2**63 - 1
_NAMING_KEYS = frozenset({"box_certificate", "lesson_party", "confirmed_recipient"})
"""Tables by which the directory comes to know readers of keys that are granted already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """What a node is: its number (a school's, or 0 for the hub) and its private keys."""

    origin: int
    signing: Ed25519PrivateKey
    sealing: X25519PrivateKey


class Node:
    """See the module."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        keys: NodeKeys,
        now_ms: Callable[[], int],
        random_bytes: RandomBytes,
        directory: Directory,
        generation: bytes = b"",
        key_policy: KeyPolicy | None = None,
    ) -> None:
        """Open a node over its store.

        ``generation`` is what a file beside the store says; when it differs from the store's own
        copy, either was restored, and a new incarnation begins before any append.
        """
        self._connection = connection
        self._keys = keys
        self._random_bytes = random_bytes
        self._directory = directory
        (last,) = connection.execute("SELECT coalesce(max(last_stamp), 0) FROM log").fetchone()
        self.clock = HybridClock(now_ms, Stamp(last))
        self._keyring = Keyring(keys.origin, keys.sealing, random_bytes, key_policy)
        self._recipients = Recipients(
            keys.origin, keys.sealing.public_key(), directory, self.record_within
        )
        self._sealer = Sealer(
            connection,
            keys.origin,
            self.clock,
            self._keyring,
            (signer_id(keys.signing.public_key()), keys.signing),
            random_bytes,
            self._recipients,
            self,
        )
        self.keys = KeyOffice(
            self, self.clock, self._keyring, self._recipients, self._sealer.grant_within
        )
        self.history = History(self, self.clock, self._keyring, self._sealer, directory)
        self.peers = Peers(self, connection, self.clock, self._keyring, directory, random_bytes)
        self._full_rows = _ROWS_MAX
        self._tell_full: Callable[[], object] = _tell_nobody
        self._is_full = False
        self._incarnation: int | None = None
        with self.transaction() as cursor:
            self.incarnation = open_incarnation(cursor, keys.origin, generation, random_bytes)

    @property
    def incarnation(self) -> int:
        """The present one; raises sqlite3.Error while the disk does not say, after it failed."""
        if self._incarnation is None:
            self._incarnation = read_incarnation(self._connection.cursor())
        assert self._incarnation is not None
        return self._incarnation

    @incarnation.setter
    def incarnation(self, present: int) -> None:
        self._incarnation = present

    @property
    def origin(self) -> int:
        return self._keys.origin

    def members(self, audience: str) -> frozenset[int]:
        return self._directory.members(audience)

    def truncate_wal(self) -> bool:
        """Empty the store's write-ahead log on the disk; False while a reader needs some of it."""
        (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """One durable transaction; on any error nothing of it stays."""
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")
            self._keyring.forget()
            self._is_full = False
            self._doubt_incarnation(cursor)
            raise
        if self._is_full:
            self._is_full = False
            self._tell_full()

    def _doubt_incarnation(self, cursor: sqlite3.Cursor) -> None:
        """Read it anew: a disk that failed in COMMIT may hold all of the transaction."""
        if self._incarnation is not None:
            self._incarnation = None
            with suppress(sqlite3.Error):
                self._incarnation = read_incarnation(cursor)

    def heed_full(self, rows: int, tell: Callable[[], object]) -> None:
        """Call ``tell`` whenever rows were written to a log in which ``rows`` wait to be sealed.

        It is called in the thread that wrote them, once they are durable.
        """
        self._full_rows, self._tell_full = rows, tell

    def ignore_full(self) -> None:
        """Call nobody any more."""
        self.heed_full(_ROWS_MAX, _tell_nobody)

    def record(self, table: str, rows: Sequence[Row], audience: str | None = None) -> None:
        """Write rows of one table durably; they are visible at once and travel when sealed.

        ``audience`` defaults to what the table says for this node: its own school, or the
        district, or the lesson a row names. Raises KeyError or RowError for rows that their table
        cannot hold; nothing is written then.
        """
        with self.transaction() as cursor:
            self.record_within(cursor, table, rows, audience)

    def record_all(self, rows_by_table: Mapping[str, Sequence[Row]]) -> None:
        """Write rows of several tables in one transaction."""
        with self.transaction() as cursor:
            for table, rows in rows_by_table.items():
                self.record_within(cursor, table, rows)

    def record_within(
        self,
        cursor: sqlite3.Cursor,
        table_name: str,
        rows: Sequence[Row],
        audience: str | None = None,
    ) -> None:
        """Write rows inside a transaction of the caller's."""
        if not rows:
            return
        table = oplog.table_of(table_name)
        by_audience = (
            rows_by_audience(table, rows, self.origin) if audience is None else {audience: rows}
        )
        for reached, reached_rows in by_audience.items():
            name = LogName(self.origin, self.incarnation, reached, table.lane)
            try:
                check_log_name(name)
            except MalformedError as error:
                raise RowError(f"rows of {table_name} cannot be sent: {error}") from error
            log_id = log_id_of(cursor, name)
            waiting = oplog.append(cursor, self.clock, log_id, name, table, reached_rows)
            self._is_full |= waiting >= self._full_rows
        if table_name in _NAMING_KEYS:
            self._recipients.changed = True

    def open_waiting(self) -> int:
        """Fold some of what is stored and can be opened by now; return how much, 0 at the end."""
        with self.transaction() as cursor:
            return self._intake(cursor).open_waiting()

    @property
    def signer(self) -> SignerId:
        return signer_id(self._keys.signing.public_key())

    def district_key(self, log: LogName, name: KeyId) -> DataKey | None:
        """Return the key of a log's ``district`` bodies; None: not granted to this node."""
        scope = (log.origin, log.audience, Group.DISTRICT)
        return self._keyring.key(self._connection.cursor(), scope, name)

    def sign(self, context: bytes, message: bytes) -> bytes:
        """Sign for this node what is no segment; ``context`` keeps purposes apart."""
        return sign(self._keys.signing, context, message)

    def verify(
        self, origin: int, signer: SignerId, context: bytes, message: bytes, signature: bytes
    ) -> None:
        """Check what is no segment, and so counts only of a signer that may speak now.

        Raises KeyMissingError for an unknown signer, ForgedError if it did not sign this,
        RevokedError if it has no say any more.
        """
        public = self._directory.signing_key(origin, signer)
        if public is None:
            raise KeyMissingError(f"signer {signer.hex()} of origin {origin} is not known here")
        verify(public, context, message, signature)
        if not self._directory.may_speak(origin, signer):
            raise RevokedError(
                f"it is signed by box {signer.hex()} of origin {origin}, which was revoked; use"
                " one that a box in service wrote"
            )

    def seal_due(self, policy: SealPolicy, segments_max: int = SEGMENTS_MAX) -> int:
        """Seal what is urgent, full or old enough; return the number of new segments.

        When ``segments_max`` were made, more may be due: send them, and call again.
        """
        self.fold_parked()
        return self._sealer.seal_due(self.incarnation, policy, segments_max)

    def fold_parked(self, bodies_max: int = PARKED_AT_ONCE_MAX) -> int:
        """Fold some of what was parked for want of a newer version; return how many bodies."""
        cursor = self._connection.cursor()
        if not read_due(cursor, 1):
            return 0
        with self.transaction() as cursor:
            return self._intake(cursor).fold_due(bodies_max)

    def parked(self) -> list[ParkedRows]:
        """Return rows that are stored and could not be applied, with reasons, latest first."""
        return read_parked(self._connection.cursor())

    def quarantined(self) -> list[Quarantined]:
        """Return segments that were refused, with reasons, latest first."""
        return read_quarantined(self._connection.cursor())

    def seal_all(self, segments_max: int = SEGMENTS_MAX) -> int:
        """Seal everything that waits, as on reconnecting; return the number of new segments."""
        return self._sealer.seal_all(self.incarnation, segments_max)

    def logs(self) -> list[LogState]:
        return read_logs(self._connection.cursor())

    def import_segments(self, wires: Sequence[bytes], peer: int, may_carry: MayCarry) -> Imported:
        """Take in a peer's segments in one transaction, durable on return.

        What cannot be taken is refused one by one with a reason and hinders nothing else. Segments
        already held are passed over; a gap is left for the peer to fill.
        """
        last = self.clock.last
        try:
            done = self._import(wires, peer, may_carry)
        except BaseException:
            self.clock.resume(last)  # what the store still says was issued
            raise
        # Keys of a former life came back; who lost their grants with it is granted them again.
        if done.tables & _NAMING_KEYS or self.origin in done.granters:
            self._recipients.changed = True
        return done

    def _import(self, wires: Sequence[bytes], peer: int, may_carry: MayCarry) -> Imported:
        with self.transaction() as cursor:
            clamp = partial(self._record_clamp, cursor) if self.origin == HUB else None
            intake = self._intake(cursor, clamp)
            awaited = self.peers.awaited_ends(cursor, peer) if wires else frozenset()
            done = intake.take_in(wires, peer, may_carry)
            self.peers.settle(cursor, peer, intake.diverged, awaited)
            incarnation = self.incarnation
            if peer == HUB:
                refold = Bodies(cursor, self.origin, self._keyring, self.clock).refold
                return_clock(cursor, refold, self.clock, self.origin)
                if "eviction" in done.tables:
                    incarnation = heed_eviction(
                        cursor,
                        self.clock,
                        self._keyring,
                        (self.origin, incarnation),
                        self._random_bytes,
                    )
                if incarnation != self.incarnation:
                    former = read_logs(cursor, "WHERE origin = ?", self.origin)
                    self.peers.let_stand(cursor, former, incarnation)
        self.incarnation = incarnation
        return done

    def _intake(self, cursor: sqlite3.Cursor, record_clamp: RecordClamp | None = None) -> Intake:
        own = (self.origin, self.incarnation)
        return Intake(cursor, own, self._directory, self._keyring, self.clock, record_clamp)

    def _record_clamp(self, cursor: sqlite3.Cursor, row: Row, audience: str) -> None:
        self.record_within(cursor, "clock_clamp", [row], audience)

    def segment(self, log_id: int, seq: int) -> bytes | None:
        """Return one segment's bytes, or None if this node does not hold it."""
        return read_wire(self._connection.cursor(), log_id, seq)

    def last_grant(self, log_id: int, names: Collection[bytes]) -> int:
        """Return the last row of a control log in which one of these keys was granted at first."""
        return last_grant(self._connection.cursor(), log_id, names)

    def segment_sizes(self, log_id: int, after_seq: int) -> list[tuple[int, int]]:
        """Return number and bytes of each segment of a log after ``after_seq``."""
        return read_sizes_after(self._connection.cursor(), log_id, after_seq)

    def remembered(self, name: str) -> int:
        """Return a figure that :meth:`remember` keeps, -1 if there is none."""
        found = self._connection.execute(
            "SELECT value FROM meta WHERE name = ?", (name,)
        ).fetchone()
        return int(found[0]) if found else -1

    def remember(self, name: str, figure: int) -> None:
        with self.transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, figure))

    def waiting_bytes(self, log_id: int, after_seq: int) -> tuple[int, int]:
        """Return how many segments and bytes of a log stand after ``after_seq``."""
        return count_after(self._connection.cursor(), log_id, after_seq)


def _tell_nobody() -> None:
    """Hear that a log is full where nobody seals by that."""
