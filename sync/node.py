"""One node of the district: writes rows, seals them into its logs, and takes in its peers'.

All methods block on SQLite and are called from one thread at a time. Chance, time, keys and the
directory of other nodes are arguments, so that a simulation can run many nodes from one seed.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from operator import contains

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
from sync.folding.intake import Imported, Intake, MayCarry
from sync.folding.set_aside import (
    ParkedRows,
    Quarantined,
    read_due,
    read_parked,
    read_quarantined,
)
from sync.history.bounding import History
from sync.history.horizon import ended
from sync.history.membership import heed_eviction, note_heard, note_return
from sync.keys.key_office import KeyOffice
from sync.keys.keyring import Keyring
from sync.keys.own_keys import KeyPolicy
from sync.keys.recipients import Recipient, RecipientKind, Recipients
from sync.logs import oplog
from sync.logs.grant_order import last_grant
from sync.logs.incarnation import (
    begin_incarnation,
    give_way,
    heed,
    open_incarnation,
    reissue_settled,
)
from sync.logs.log_state import Holding, LogState, find_log, log_id_of, read_logs
from sync.logs.oplog import Row
from sync.logs.receipts import (
    Verdict,
    compare,
    forget_unnamed,
    note_agreed,
    note_claim,
    read_receipts,
)
from sync.logs.sealer import SEGMENTS_MAX, Sealer, SealPolicy
from sync.schema.model import Audience, Group, Table
from sync.segments.sealing import DataKey, KeyId, RandomBytes, RecipientId
from sync.segments.segment import (
    HUB,
    LogName,
    check_log_name,
)
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
        recipients = Recipients(
            keys.origin, keys.sealing.public_key(), directory, self.record_within
        )
        self._sealer = Sealer(
            connection,
            keys.origin,
            self.clock,
            self._keyring,
            (signer_id(keys.signing.public_key()), keys.signing),
            random_bytes,
            recipients,
            self,
        )
        self.keys = KeyOffice(self, self.clock, self._keyring, recipients, self._sealer)
        self.history = History(self, self.clock, self._keyring, self._sealer, directory)
        self._full_rows = _ROWS_MAX
        self._tell_full: Callable[[], object] = _tell_nobody
        self._is_full = False
        with self.transaction() as cursor:
            self._incarnation = open_incarnation(cursor, keys.origin, generation, random_bytes)

    @property
    def origin(self) -> int:
        return self._keys.origin

    @property
    def incarnation(self) -> int:
        return self._incarnation

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
            raise
        if self._is_full:
            self._is_full = False
            self._tell_full()

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
        for reached, reached_rows in self._by_audience(table, rows, audience).items():
            name = LogName(self.origin, self._incarnation, reached, table.lane)
            try:
                check_log_name(name)
            except MalformedError as error:
                raise RowError(f"rows of {table_name} cannot be sent: {error}") from error
            log_id = log_id_of(cursor, name)
            waiting = oplog.append(cursor, self.clock, log_id, name, table, reached_rows)
            self._is_full |= waiting >= self._full_rows
        if table_name in _NAMING_KEYS:
            self._sealer.readers_changed = True

    def release(self, group: Group, who: str = "") -> None:
        """Let the hub read a group from now on, with all that was sealed; see ``keys``."""
        self.keys.release(group, who)

    def recipients(self) -> list[Recipient]:
        """Return everyone who is granted this node's keys, was, or asks to be."""
        return self.keys.recipients()

    def confirm_recipient(self, kind: str, public: bytes, name: str, who: str) -> RecipientId:
        """Let a key read, by a person's word; raises RecipientError or ValueError for the kind."""
        return self.keys.confirm(RecipientKind(kind), public, name, who)

    def revoke_recipient(self, recipient: RecipientId, who: str) -> None:
        """Grant a key nothing further; raises RecipientError."""
        self.keys.revoke(recipient, who)

    def take_over(self, private: X25519PrivateKey) -> int:
        """Grant this box what a recovery key was granted; return how many keys."""
        return self.keys.take_over(private)

    def open_waiting(self) -> int:
        """Fold some of what is stored and can be opened by now; return how much, 0 at the end."""
        own = (self.origin, self._incarnation)
        with self.transaction() as cursor:
            intake = Intake(cursor, own, self._directory, self._keyring, self.clock)
            return intake.open_waiting()

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
        return self._sealer.seal_due(self._incarnation, policy, segments_max)

    def fold_parked(self, bodies_max: int = PARKED_AT_ONCE_MAX) -> int:
        """Fold some of what was parked for want of a newer version; return how many bodies."""
        cursor = self._connection.cursor()
        if not read_due(cursor, 1):
            return 0
        own = (self.origin, self._incarnation)
        with self.transaction() as cursor:
            intake = Intake(cursor, own, self._directory, self._keyring, self.clock)
            return intake.fold_due(bodies_max)

    def parked(self) -> list[ParkedRows]:
        """Return rows that are stored and could not be applied, with reasons, latest first."""
        return read_parked(self._connection.cursor())

    def quarantined(self) -> list[Quarantined]:
        """Return segments that were refused, with reasons, latest first."""
        return read_quarantined(self._connection.cursor())

    def seal_all(self, segments_max: int = SEGMENTS_MAX) -> int:
        """Seal everything that waits, as on reconnecting; return the number of new segments."""
        return self._sealer.seal_all(self._incarnation, segments_max)

    def logs(self) -> list[LogState]:
        return read_logs(self._connection.cursor())

    def logs_from(self, peer: int) -> list[LogState]:
        """Return logs that a peer may bring: its own, what a hub passes on, this node's former."""
        former = "(origin = ? AND incarnation <> ?)"
        brought = "origin <> ?" if peer == HUB else "origin = ?"
        return read_logs(
            self._connection.cursor(),
            f"WHERE {former} OR {brought}",
            self.origin,
            self._incarnation,
            self.origin if peer == HUB else peer,
        )

    def ended(self) -> frozenset[tuple[int, int]]:
        """Return (origin, incarnation) of which nothing more is taken: evicted before, and back."""
        return ended(self._connection.cursor()) if self.origin == HUB else frozenset()

    def lacking(self, peer: int, peer_incarnation: int | None) -> list[tuple[LogState, int]]:
        """Return logs of which a peer has not all, and what it has, by its own word.

        Of the peer's own logs only those of other incarnations than its present one are meant,
        and none while that is not known.
        """
        cursor = self._connection.cursor()
        held = "coalesce((SELECT stored FROM peer_cursor WHERE peer = ?1 AND log = id), 0)"
        former = "origin = ?1 AND incarnation <> ?2"
        if peer == HUB:
            given = f"(origin = ?3 OR ({former}))"
        else:
            reached = "(audience IN ('d', 's' || ?1) OR audience GLOB 'l*') AND origin <> ?1"
            given = f"(({reached}) OR ({former})) AND ?3 = {HUB}"
        where = f"WHERE {given} AND stored > {held}"
        logs = read_logs(cursor, where, peer, peer_incarnation, self.origin)
        receipts = read_receipts(cursor, peer)
        return [(log, receipts[log.id].stored if log.id in receipts else 0) for log in logs]

    def import_segments(self, wires: Sequence[bytes], peer: int, may_carry: MayCarry) -> Imported:
        """Take in a peer's segments in one transaction, durable on return.

        What cannot be taken is refused one by one with a reason and hinders nothing else. Segments
        already held are passed over; a gap is left for the peer to fill.
        """
        own = (self.origin, self._incarnation)
        last = self.clock.last
        try:
            done = self._import(wires, peer, may_carry, own)
        except BaseException:
            self.clock.resume(last)  # what the store still says was issued
            raise
        # Keys of a former life came back; who lost their grants with it is granted them again.
        if done.tables & _NAMING_KEYS or self.origin in done.granters:
            self._sealer.readers_changed = True
        return done

    def _import(
        self, wires: Sequence[bytes], peer: int, may_carry: MayCarry, own: tuple[int, int]
    ) -> Imported:
        with self.transaction() as cursor:
            clamp = partial(self._record_clamp, cursor) if self.origin == HUB else None
            intake = Intake(cursor, own, self._directory, self._keyring, self.clock, clamp)
            done = intake.take_in(wires, peer, may_carry)
            receipts = read_receipts(cursor, peer) if intake.diverged else {}
            for log, alike in intake.diverged.values():
                # What follows is another than the peer's, whatever an older receipt said.
                told = receipts[log.id].stored if log.id in receipts else 0
                agreed = min(told, alike)
                now_ms = self.clock.now_ms()
                give_way(cursor, self._keyring, log, agreed, self._incarnation, now_ms)
            incarnation = self._incarnation
            if peer == HUB:
                return_clock(cursor, self.clock, self.origin)
                if "eviction" in done.tables:
                    incarnation = heed_eviction(
                        cursor,
                        self.clock,
                        self._keyring,
                        (self.origin, incarnation),
                        self._random_bytes,
                    )
        self._incarnation = incarnation
        return done

    def _record_clamp(self, cursor: sqlite3.Cursor, row: Row, audience: str) -> None:
        self.record_within(cursor, "clock_clamp", [row], audience)

    def segments_for(self, log_id: int, after_seq: int, bytes_max: int) -> list[tuple[int, bytes]]:
        """Return whole segments of a log after ``after_seq``, as many as fit ``bytes_max``.

        The first is returned whatever its size, so that a small credit never stalls a log.
        """
        chosen: list[tuple[int, bytes]] = []
        total = 0
        rows = self._connection.execute(
            "SELECT seq, wire FROM segment WHERE log = ? AND seq > ? ORDER BY seq",
            (log_id, after_seq),
        )
        for seq, wire in rows:
            total += len(wire)
            if chosen and total > bytes_max:
                break
            chosen.append((seq, wire))
        rows.close()
        return chosen

    def segment(self, log_id: int, seq: int) -> bytes | None:
        """Return one segment's bytes, or None if this node does not hold it."""
        found = self._connection.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log_id, seq)
        ).fetchone()
        return found[0] if found else None

    def last_grant(self, log_id: int, names: Collection[bytes]) -> int:
        """Return the last row of a control log in which one of these keys was granted at first."""
        return last_grant(self._connection.cursor(), log_id, names)

    def segment_sizes(self, log_id: int, after_seq: int) -> list[tuple[int, int]]:
        """Return number and bytes of each segment of a log after ``after_seq``."""
        return self._connection.execute(
            "SELECT seq, length(wire) FROM segment WHERE log = ? AND seq > ? ORDER BY seq",
            (log_id, after_seq),
        ).fetchall()

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
        row: tuple[int, int] = self._connection.execute(
            "SELECT count(*), coalesce(sum(length(wire)), 0) FROM segment"
            " WHERE log = ? AND seq > ?",
            (log_id, after_seq),
        ).fetchone()
        return row

    def peer_cursors(self, peer: int) -> dict[int, tuple[int, int]]:
        """Return what a peer last said it holds: log id -> (stored, applied)."""
        receipts = read_receipts(self._connection.cursor(), peer)
        return {log: (receipt.stored, receipt.applied) for log, receipt in receipts.items()}

    def note_holdings(self, peer: int, told: Sequence[Holding], *, complete: bool) -> list[Holding]:
        """Remember what a peer says it holds; return what of that this node does not hold.

        With a ``complete`` vector the peer holds nothing of the logs it does not name. When a
        school's hub holds more of its present logs than itself, or something else, the school
        begins a new incarnation and reissues what was not acknowledged.
        """
        incarnation = self._incarnation
        now_ms = self.clock.now_ms()
        with self.transaction() as cursor:
            contradictions, ahead = self._note_all(cursor, peer, told, complete=complete)
            note_heard(cursor, peer, now_ms)
            if self.origin == HUB:
                note_return(cursor, self, peer, now_ms)
            if self.origin != HUB == peer:
                chance = self._random_bytes
                is_shared = self._shares_incarnation(cursor, told)
                incarnation = heed(
                    cursor, self._keyring, contradictions, incarnation, chance, now_ms
                )
                if is_shared and incarnation == self._incarnation:
                    incarnation = begin_incarnation(cursor, chance)
            if complete or peer == HUB:
                former = self._former_unsealed(cursor, peer, incarnation)
                reissue_settled(cursor, former, peer, incarnation, now_ms)
        self._incarnation = incarnation
        return ahead

    def note_caught_up(self, peer: int, ahead: Iterable[Holding]) -> list[Holding]:
        """Take what a peer said it holds as its receipts, now that this node holds as much.

        ``ahead`` is what :meth:`note_holdings` returned; what of it is lacking still is returned.
        """
        lacking = []
        with self.transaction() as cursor:
            for holding in ahead:
                log = find_log(cursor, holding.log)
                verdict = compare(cursor, log, holding) if log is not None else Verdict.AHEAD
                if verdict is Verdict.AHEAD:
                    lacking.append(holding)
                elif log is not None and verdict is Verdict.AGREES:
                    note_agreed(cursor, peer, log, holding, self.clock.now_ms())
        return lacking

    def _note_all(
        self, cursor: sqlite3.Cursor, peer: int, told: Sequence[Holding], *, complete: bool
    ) -> tuple[list[tuple[LogState, Verdict, int]], list[Holding]]:
        """Write receipts; return own logs that end otherwise at the peer, and what is ahead."""
        now_ms = self.clock.now_ms()
        named = set()
        contradictions = []
        ahead = []
        before = read_receipts(cursor, peer)
        for holding in told:
            log = find_log(cursor, holding.log)
            if log is None:
                ahead.append(holding)
                continue
            named.add(log.id)
            is_own = log.name.origin == self.origin
            verdict = compare(cursor, log, holding) if is_own else Verdict.AGREES
            if verdict is Verdict.AHEAD:
                ahead.append(holding)
            agreed = before[log.id].stored if log.id in before else 0
            if verdict is Verdict.AGREES:
                agreed = holding.stored
                note_agreed(cursor, peer, log, holding, now_ms)
            else:
                if verdict is Verdict.DIVERGED:
                    # An older receipt is from before the peer was restored and went on otherwise.
                    agreed = min(agreed, holding.stored - 1)
                note_claim(cursor, peer, log, holding, now_ms)
            if is_own and (verdict is not Verdict.AGREES or holding.frozen):
                contradictions.append((log, verdict, agreed))
        if complete:
            forget_unnamed(cursor, peer, named)
        return contradictions, ahead

    def _shares_incarnation(self, cursor: sqlite3.Cursor, told: Sequence[Holding]) -> bool:
        """Tell whether the hub holds logs of this incarnation that are unknown here: a clone's."""
        present = self.origin, self._incarnation
        return any(
            holding.stored and find_log(cursor, holding.log) is None
            for holding in told
            if (holding.log.origin, holding.log.incarnation) == present
        )

    def _former_unsealed(
        self, cursor: sqlite3.Cursor, peer: int, incarnation: int
    ) -> list[LogState]:
        """Return former logs with unsealed rows of which the peer would hold an end."""
        logs = read_logs(
            cursor,
            "WHERE origin = ? AND incarnation <> ? AND last_row > sealed_row",
            self.origin,
            incarnation,
        )
        reached = [(log, self._directory.members(log.name.audience)) for log in logs]
        return [log for log, members in reached if peer == HUB or peer in members or not members]

    def _by_audience(
        self, table: Table, rows: Sequence[Row], audience: str | None
    ) -> Mapping[str, Sequence[Row]]:
        if audience is not None:
            return {audience: rows}
        is_one = table.audience is Audience.DISTRICT or (
            table.audience is Audience.SCHOOL and not any(map(contains, rows, repeat("school")))
        )
        if is_one:
            return {self._audience_of(table.audience, rows[0]): rows}
        by_audience: dict[str, list[Row]] = {}
        for row in rows:
            by_audience.setdefault(self._audience_of(table.audience, row), []).append(row)
        return by_audience

    def _audience_of(self, audience: Audience, row: Row) -> str:
        match audience:
            case Audience.DISTRICT:
                return "d"
            case Audience.SCHOOL:
                return f"s{row.get('school', self.origin)!s}"
            case Audience.LESSON:
                return f"l{row['lesson']!s}"


def _tell_nobody() -> None:
    """Hear that a log is full where nobody seals by that."""
