"""Taking in a peer's segments: verified, stored, opened and folded, or refused one by one.

A sender with valid keys is not trusted further than its own rows: whatever a segment holds, the
worst it does is to be refused, parked or frozen, and nothing else waits for it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.body import unpack_tables
from sync.clock import HybridClock, Stamp
from sync.errors import ForgedError, ForkError, KeyMissingError, SyncError
from sync.fold import fold_body
from sync.keyring import Keyring
from sync.log_state import LogState, find_log, log_id_of, read_logs
from sync.oplog import event_school
from sync.schema.model import GROUPS, Group
from sync.sealing import UNSEALED, DataKey, KeyId
from sync.segment import FIRST_PREV, HUB, LogName, Segment, parse_segment
from sync.signing import SignerId

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


@dataclass(slots=True)
class Imported:
    """What taking in a peer's segments did."""

    stored: int = 0
    rows: int = 0
    tables: set[str] = field(default_factory=set)
    refused: list[tuple[str, int, str]] = field(default_factory=list)


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
    ) -> None:
        self._cursor = cursor
        self._own = own
        self._directory = directory
        self._keyring = keyring
        self._clock = clock
        self._parsed: dict[tuple[int, int], Segment] = {}
        self.done = Imported()
        self.diverged: list[LogState] = []
        """A school's logs of former incarnations that went on differently elsewhere."""

    def take_in(self, wires: Sequence[bytes], peer: int, may_carry: MayCarry) -> Imported:
        """Store and fold what is new; refusals are counted in ``refused`` and quarantined."""
        touched: dict[int, LogName] = {}
        granters: set[int] = set()
        for wire in wires:
            if len(self.done.refused) >= REFUSALS_MAX:
                break
            log_text, seq = "?", 0
            try:
                segment = parse_segment(wire)
                log_text, seq = str(segment.header.log), segment.header.seq
                log_id = self._store(segment, may_carry)
            except SyncError as error:
                self._refuse(peer, log_text, seq, str(error)[:_REASON_MAX])
                continue
            if log_id is not None:
                self.done.stored += 1
                touched[log_id] = segment.header.log
                self._parsed[log_id, segment.header.seq] = segment
                if self._take_up_grants(log_id, segment):
                    granters.add(segment.header.log.origin)
        for log_id, _ in sorted(touched.items(), key=lambda entry: entry[1].lane):
            self._apply(log_id)
        for origin in sorted(granters):
            for log in read_logs(self._cursor, "WHERE applied < stored AND origin = ?", origin):
                self._apply(log.id)
        self._open_granted()
        return self.done

    def _store(self, segment: Segment, may_carry: MayCarry) -> int | None:
        """Verify and store one segment; return its log's id, or None if it brought nothing new."""
        header = segment.header
        name = header.log
        if (name.origin, name.incarnation) == self._own:
            return None
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
        if header.prev != (log.head if log else FIRST_PREV):
            if log and name.origin == self._own[0] != HUB:
                self.diverged.append(log)
                return None
            raise self._freeze(name, f"segment {header.seq} does not follow what is stored")
        if log and header.first_row <= log.sealed_row:
            raise self._freeze(name, f"segment {header.seq} numbers rows again")
        log_id = log_id_of(self._cursor, name)
        observed = self._clock.observe(Stamp(header.last_stamp))
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
                header.last_stamp if observed else 0,
                self._clock.now_ms(),
                log_id,
            ),
        )
        if name.origin == self._own[0]:
            self._cursor.execute(
                "DELETE FROM pending_write WHERE log = ? AND row <= ?", (log_id, header.last_row)
            )
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
        held = self._cursor.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log.id, segment.header.seq)
        ).fetchone()
        if held is not None and parse_segment(held[0]).header_bytes != segment.header_bytes:
            raise self._freeze(
                log.name, f"two different segments are numbered {segment.header.seq}"
            )

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
        self._fold(log_id, segment, groups.index(Group.GRANT), None)
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
        while segment := self._read_segment(log_id, applied + 1):
            header = segment.header
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
            tables = unpack_tables(segment.open(place, key))
        except SyncError as error:
            self._park(log_id, header.seq, place, 0, str(error))
            return
        folded = fold_body(self._cursor, log_id, header, GROUPS[header.bodies[place].group], tables)
        self.done.rows += folded.rows
        self.done.tables |= folded.tables
        for parked in folded.parked:
            self._park(log_id, header.seq, place, parked.table, parked.reason, parked.rows)

    def _read_segment(self, log_id: int, seq: int) -> Segment | None:
        if (log_id, seq) in self._parsed:
            return self._parsed.pop((log_id, seq))
        found = self._cursor.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log_id, seq)
        ).fetchone()
        return parse_segment(found[0]) if found else None

    def _park(
        self, log_id: int, seq: int, place: int, table: int, reason: str, rows: int = 0
    ) -> None:
        self._cursor.execute(
            "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?)",
            (log_id, seq, place, table, reason[:_REASON_MAX], rows, self._clock.now_ms()),
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
