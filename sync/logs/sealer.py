"""Sealing: waiting rows of own logs become signed segments, and keys find their readers."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.clock import HybridClock
from sync.keys.keyring import Grant, Keyring, Reader
from sync.keys.own_keys import KeyPurpose, Scope
from sync.keys.recipients import Recipients
from sync.logs.grant_order import GRANT, are_grants_waiting, let_grants_lead
from sync.logs.log_state import LogState, find_log, log_id_of, read_logs
from sync.logs.oplog import Row
from sync.logs.pending_writes import forget_writes
from sync.logs.stored_segments import store_wire
from sync.logs.unsealed import Batch, collect
from sync.logs.waiting_batches import forget_waiting
from sync.schema import BY_NUMBER
from sync.schema.model import Group, Lane
from sync.segments.body import pack_tables
from sync.segments.sealing import SALT_BYTES, UNSEALED, DataKey, KeyId, RandomBytes
from sync.segments.segment import (
    FIRST_PREV,
    SEGMENT_BYTES_MAX,
    LogName,
    Place,
    PlainBody,
    Segment,
    TableHeader,
    build_segment,
    parse_segment,
)
from sync.segments.signing import SignerId

ROWS_A_SEGMENT_MAX = 1000
URGENT = frozenset({Lane.ALARM, Lane.CONTROL, Lane.LESSONS})
"""Lanes whose rows are sealed at once."""
_SEGMENTS_A_TRANSACTION = 32
SEGMENTS_MAX = 2**31
"""No bound: all that waits."""
_KEYS_A_TRANSACTION = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPolicy:
    """When rows of the patient lanes become a segment."""

    rows: int = ROWS_A_SEGMENT_MAX
    age_ms: int = 60_000


class Store(Protocol):
    """What sealing needs of its node."""

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...

    def record_within(
        self,
        cursor: sqlite3.Cursor,
        table_name: str,
        rows: Sequence[Row],
        audience: str | None = None,
    ) -> None: ...


class Sealer:
    """Seals the logs of one node."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        origin: int,
        clock: HybridClock,
        keyring: Keyring,
        signer: tuple[SignerId, Ed25519PrivateKey],
        random_bytes: RandomBytes,
        recipients: Recipients,
        store: Store,
    ) -> None:
        self._connection = connection
        self._origin = origin
        self._clock = clock
        self._keyring = keyring
        self._signer = signer
        self._random_bytes = random_bytes
        self._recipients = recipients
        self._store = store

    def seal_due(
        self, incarnation: int, policy: SealPolicy, segments_max: int = SEGMENTS_MAX
    ) -> int:
        """Seal what is urgent, full or old enough; return the number of new segments.

        ``segments_max``, or a few more, let a caller send meanwhile, and call again.
        """
        self._grant_to_new_readers()
        due = []
        now_ms = self._clock.now_ms()
        for log in self._unsealed(incarnation):
            waiting = log.last_row - log.sealed_row
            since_ms = now_ms if log.unsealed_since_ms is None else log.unsealed_since_ms
            # Rows from after now_ms waited while the wall clock was set back: they are old.
            is_old = not 0 <= now_ms - since_ms < policy.age_ms
            if log.name.lane in URGENT or waiting >= policy.rows or is_old:
                due.append(log)
        return self._seal(incarnation, due, segments_max)

    def seal_all(self, incarnation: int, segments_max: int = SEGMENTS_MAX) -> int:
        """Seal everything that waits; return the number of new segments, as above."""
        self._grant_to_new_readers()
        return self._seal(incarnation, self._unsealed(incarnation), segments_max)

    def _unsealed(self, incarnation: int) -> list[LogState]:
        return read_logs(
            self._connection.cursor(),
            "WHERE origin = ? AND incarnation = ? AND last_row > sealed_row",
            self._origin,
            incarnation,
        )

    def _seal(self, incarnation: int, logs: Sequence[LogState], segments_max: int) -> int:
        if not logs:
            return 0
        made = 0
        # A key made for one log is granted in another: control logs are sealed last, and always.
        # The others go by lane: an alarm waits for nothing that ``segments_max`` puts off.
        for log in sorted(logs, key=lambda each: (each.name.lane is Lane.CONTROL, each.name.lane)):
            if made < segments_max or log.name.lane is Lane.CONTROL:
                made += self._seal_log(log, max(segments_max - made, 1))
        for log in self._unsealed(incarnation):
            if log.name.lane is Lane.CONTROL:
                made += self._seal_log(log, max(segments_max - made, 1))
        return made

    def _seal_log(self, log: LogState, segments_max: int) -> int:
        """Seal what waits in a log, some segments a transaction."""
        made = 0
        rows_max = ROWS_A_SEGMENT_MAX
        while made < segments_max:
            with self._store.transaction() as cursor:
                for _ in range(min(_SEGMENTS_A_TRANSACTION, segments_max - made)):
                    sealed = self._seal_one(cursor, log, rows_max)
                    if not sealed:
                        return made
                    made += 1
                    # Rows of one log are alike: begin where the last segment came to fit.
                    rows_max = min(ROWS_A_SEGMENT_MAX, sealed + sealed // 4 + 1)
        return made

    def _seal_one(self, cursor: sqlite3.Cursor, log: LogState, rows_max: int) -> int:
        """Seal one segment of at most ``rows_max`` rows; return how many, 0 if none wait."""
        name = log.name
        while True:
            batch = collect(cursor, log.id, name, rows_max, self._clock.tick())
            if batch is None:
                # Rows of states that were written again before sealing leave numbers without one.
                cursor.execute(
                    "UPDATE log SET sealed_row = last_row, unsealed_since_ms = NULL WHERE id = ?",
                    (log.id,),
                )
                forget_waiting(cursor, log.id, log.last_row)
                return 0
            present = find_log(cursor, name)
            assert present is not None
            if name.lane is Lane.CONTROL and self._goes_before_grants(cursor, present, batch):
                # Alone: a segment of grants, which are events, keeps its bodies for good.
                waiting = let_grants_lead(cursor, present)
                while waiting > 0:
                    waiting -= self._seal_one(cursor, log, waiting)
                continue
            wire = self._build(cursor, present, batch)
            rows = sum(batch.counts.values())
            if len(wire) <= SEGMENT_BYTES_MAX:
                break
            assert rows > 1, f"a row of {name} was taken that no segment carries"
            rows_max = max(1, min(rows - 1, rows * SEGMENT_BYTES_MAX // len(wire)))
        now_ms = self._clock.now_ms()
        seq = present.stored + 1
        store_wire(cursor, log.id, seq, wire)
        forget_writes(cursor, log.id, batch.last_row)
        forget_waiting(cursor, log.id, batch.last_row)
        cursor.execute(
            "UPDATE log SET stored = ?1, applied = ?1, head = ?2, sealed_row = ?3,"
            " last_stamp = max(last_stamp, ?4), stored_ms = ?5,"
            " unsealed_since_ms = CASE WHEN last_row > ?3 THEN ?5 END WHERE id = ?6",
            (
                seq,
                parse_segment(wire).header_digest,
                batch.last_row,
                batch.last_stamp,
                now_ms,
                log.id,
            ),
        )
        return rows

    def _goes_before_grants(self, cursor: sqlite3.Cursor, log: LogState, batch: Batch) -> bool:
        """Tell whether a grant, maybe of a key that seals a batch, would stand behind it."""
        for group in batch.tables:
            if group is not Group.GRANT:
                self._sealing_key(cursor, log.name, group)
        is_sealed = batch.counts.keys() != {GRANT}
        return is_sealed and are_grants_waiting(cursor, log, batch.last_row)

    def _build(self, cursor: sqlite3.Cursor, log: LogState, batch: Batch) -> bytes:
        contents = {group: pack_tables(tables) for group, tables in batch.tables.items()}
        place = Place(
            log=log.name,
            seq=log.stored + 1,
            prev=log.head if log.stored else FIRST_PREV,
            first_row=batch.first_row,
            last_row=batch.last_row,
            first_stamp=batch.first_stamp,
            last_stamp=batch.last_stamp,
        )
        return self._seal_bodies(cursor, place, contents, batch.counts)

    def _seal_bodies(
        self,
        cursor: sqlite3.Cursor,
        place: Place,
        contents: Mapping[Group, bytes],
        counts: Mapping[int, int],
    ) -> bytes:
        """Return a segment of these bodies, which hold ``counts`` rows by table number."""
        bodies = []
        for group, content in contents.items():
            identifier: KeyId = UNSEALED
            key: DataKey | None = None
            if group is not Group.GRANT:
                identifier, key = self._sealing_key(cursor, place.log, group)
                self._keyring.own_keys.count(cursor, identifier, len(content))
            bodies.append(PlainBody(group=group, key=key, key_id=identifier, content=content))
        tables_in = [
            TableHeader(number, BY_NUMBER[number].version if number in BY_NUMBER else 1, rows)
            for number, rows in counts.items()
        ]
        salt = self._random_bytes(SALT_BYTES)
        return build_segment(place, tables_in, bodies, salt, self._signer)

    def append_part(
        self,
        cursor: sqlite3.Cursor,
        name: LogName,
        contents: Mapping[Group, bytes],
        counts: Mapping[int, int],
        stamps: tuple[int, int],
    ) -> Segment | None:
        """Append a segment to a snapshot log; return it, or None if it would be too large.

        ``counts`` are rows by table number, rising; ``stamps`` are the least and the greatest of
        the rows of ``contents``.
        """
        log_id = log_id_of(cursor, name)
        (log,) = read_logs(cursor, "WHERE id = ?", log_id)
        first_stamp, greatest = stamps
        issued = self._clock.tick()
        # Rows of a store that was lost may have stamps that this one's clock has yet to reach.
        last_stamp = max(issued, greatest)
        place = Place(
            log=name,
            seq=log.stored + 1,
            prev=log.head if log.stored else FIRST_PREV,
            first_row=log.last_row + 1,
            last_row=log.last_row + sum(counts.values()),
            first_stamp=min(max(first_stamp, 1), last_stamp),
            last_stamp=last_stamp,
        )
        wire = self._seal_bodies(cursor, place, contents, counts)
        if len(wire) > SEGMENT_BYTES_MAX:
            return None
        segment = parse_segment(wire)
        store_wire(cursor, log_id, place.seq, wire)
        cursor.execute(
            "UPDATE log SET stored = ?1, applied = ?1, head = ?2, last_row = ?3, sealed_row = ?3,"
            " last_stamp = max(last_stamp, ?4), stored_ms = ?5 WHERE id = ?6",
            (
                place.seq,
                segment.header_digest,
                place.last_row,
                issued,
                self._clock.now_ms(),
                log_id,
            ),
        )
        return segment

    def _sealing_key(
        self, cursor: sqlite3.Cursor, log: LogName, group: Group
    ) -> tuple[KeyId, DataKey]:
        """Return the data key for a body, granted to whoever may read the group now."""
        scope: Scope = (self._origin, log.audience, group)
        readers = self._recipients.readers(cursor, log.audience, group)
        return self._keyring.current(
            cursor,
            scope,
            log.incarnation,
            readers,
            self.grant_within(cursor),
            self._clock.now_ms(),
        )

    def grant_within(self, cursor: sqlite3.Cursor) -> Grant:
        """Return what records grants in the cursor's transaction."""
        return lambda audience, rows: self._store.record_within(cursor, "key_grant", rows, audience)

    def _grant_to_new_readers(self) -> None:
        """Grant keys to those who may read them since, such as new boxes and lessons' parties.

        A store of many keys is gone through in several transactions.
        """
        if not self._recipients.changed:
            return
        with self._store.transaction() as cursor:
            self._recipients.note_seen(cursor, self._clock.now_ms())
            held = self._keyring.held(cursor)
        for start in range(0, len(held), _KEYS_A_TRANSACTION):
            with self._store.transaction() as cursor:
                self._grant_missing(cursor, held[start : start + _KEYS_A_TRANSACTION])
        self._recipients.changed = False

    def _grant_missing(
        self, cursor: sqlite3.Cursor, keys: Sequence[tuple[KeyPurpose, KeyId]]
    ) -> None:
        readers: dict[tuple[str, Group], list[Reader]] = {}
        for purpose, name in keys:
            scope = purpose.audience, purpose.group
            if scope not in readers:
                readers[scope] = self._recipients.readers(cursor, *scope)
            grant = self.grant_within(cursor)
            self._keyring.grant_missing(cursor, purpose, name, readers[scope], grant)
