"""Sealing: waiting rows of own logs become signed segments, and keys find their readers."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import oplog
from sync.body import pack_tables
from sync.clock import HybridClock
from sync.directory import Directory
from sync.keyring import EPOCH, GrantRow, KeyPurpose, Keyring, Reader
from sync.log_state import LogState, find_log, read_logs
from sync.schema import BY_NUMBER
from sync.schema.model import Group, Lane
from sync.sealing import SALT_BYTES, UNSEALED, DataKey, KeyId, RandomBytes
from sync.segment import (
    FIRST_PREV,
    HUB,
    SEGMENT_BYTES_MAX,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
    parse_segment,
)
from sync.signing import SignerId

ROWS_A_SEGMENT_MAX = 1000
URGENT = frozenset({Lane.ALARM, Lane.CONTROL, Lane.LESSONS})
"""Lanes whose rows are sealed at once."""
_SEGMENTS_A_TRANSACTION = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPolicy:
    """When rows of the patient lanes become a segment."""

    rows: int = 250
    age_ms: int = 30_000


class Store(Protocol):
    """What sealing needs of its node."""

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...

    def record_within(
        self,
        cursor: sqlite3.Cursor,
        table_name: str,
        rows: Sequence[oplog.Row],
        audience: str | None = None,
    ) -> None: ...


class Sealer:
    """Seals the logs of one node; ``readers_changed`` is set when new readers may be known."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        origin: int,
        clock: HybridClock,
        keyring: Keyring,
        signer: tuple[SignerId, Ed25519PrivateKey],
        random_bytes: RandomBytes,
        directory: Directory,
        store: Store,
    ) -> None:
        self._connection = connection
        self._origin = origin
        self._clock = clock
        self._keyring = keyring
        self._signer = signer
        self._random_bytes = random_bytes
        self._directory = directory
        self._store = store
        self.readers_changed = True

    def release(self, group: Group) -> None:
        """Grant the hub the standing keys of a group."""
        with self._store.transaction() as cursor:
            for purpose in self._keyring.purposes(cursor):
                if purpose.group is group:
                    self._grant_again(cursor, purpose, self._readers_of(HUB))

    def seal_due(self, incarnation: int, policy: SealPolicy) -> int:
        """Seal what is urgent, full or old enough; return the number of new segments."""
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
        return self._seal(incarnation, due)

    def seal_all(self, incarnation: int) -> int:
        """Seal everything that waits; return the number of new segments."""
        self._grant_to_new_readers()
        return self._seal(incarnation, self._unsealed(incarnation))

    def _unsealed(self, incarnation: int) -> list[LogState]:
        return read_logs(
            self._connection.cursor(),
            "WHERE origin = ? AND incarnation = ? AND last_row > sealed_row",
            self._origin,
            incarnation,
        )

    def _seal(self, incarnation: int, logs: Sequence[LogState]) -> int:
        made = 0
        # A key made for one log is granted in another: control logs are sealed last.
        for log in sorted(logs, key=lambda each: each.name.lane is Lane.CONTROL):
            made += self._seal_log(log)
        for log in self._unsealed(incarnation):
            if log.name.lane is Lane.CONTROL:
                made += self._seal_log(log)
        return made

    def _seal_log(self, log: LogState) -> int:
        """Seal all that waits in a log, some segments a transaction."""
        made = 0
        rows_max = ROWS_A_SEGMENT_MAX
        while True:
            with self._store.transaction() as cursor:
                for _ in range(_SEGMENTS_A_TRANSACTION):
                    sealed = self._seal_one(cursor, log, rows_max)
                    if not sealed:
                        return made
                    made += 1
                    # Rows of one log are alike: begin where the last segment came to fit.
                    rows_max = min(ROWS_A_SEGMENT_MAX, sealed + sealed // 4 + 1)

    def _seal_one(self, cursor: sqlite3.Cursor, log: LogState, rows_max: int) -> int:
        """Seal one segment of at most ``rows_max`` rows; return how many, 0 if none wait."""
        name = log.name
        while True:
            batch = oplog.collect(cursor, log.id, name, rows_max, self._clock.tick())
            if batch is None:
                # Rows of states that were written again before sealing leave numbers without one.
                cursor.execute(
                    "UPDATE log SET sealed_row = last_row, unsealed_since_ms = NULL WHERE id = ?",
                    (log.id,),
                )
                return 0
            present = find_log(cursor, name)
            assert present is not None
            wire = self._build(cursor, present, batch)
            rows = sum(batch.counts.values())
            if len(wire) <= SEGMENT_BYTES_MAX:
                break
            assert rows > 1, f"a row of {name} was taken that no segment carries"
            rows_max = max(1, min(rows - 1, rows * SEGMENT_BYTES_MAX // len(wire)))
        now_ms = self._clock.now_ms()
        seq = present.stored + 1
        cursor.execute("INSERT INTO segment VALUES (?, ?, ?)", (log.id, seq, wire))
        cursor.execute(
            "DELETE FROM pending_write WHERE log = ? AND row <= ?", (log.id, batch.last_row)
        )
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

    def _build(self, cursor: sqlite3.Cursor, log: LogState, batch: oplog.Batch) -> bytes:
        bodies = []
        for group, tables in batch.tables.items():
            identifier: KeyId = UNSEALED
            key: DataKey | None = None
            if group is not Group.GRANT:
                identifier, key = self._sealing_key(cursor, log.name.audience, group)
            bodies.append(
                PlainBody(group=group, key=key, key_id=identifier, content=pack_tables(tables))
            )
        place = Place(
            log=log.name,
            seq=log.stored + 1,
            prev=log.head if log.stored else FIRST_PREV,
            first_row=batch.first_row,
            last_row=batch.last_row,
            first_stamp=batch.first_stamp,
            last_stamp=batch.last_stamp,
        )
        tables_in = [
            TableHeader(number, BY_NUMBER[number].version, rows)
            for number, rows in batch.counts.items()
        ]
        salt = self._random_bytes(SALT_BYTES)
        return build_segment(place, tables_in, bodies, salt, self._signer)

    def _sealing_key(
        self, cursor: sqlite3.Cursor, audience: str, group: Group
    ) -> tuple[KeyId, DataKey]:
        """Return the data key for a body, granted to whoever may read the group."""
        purpose = KeyPurpose(self._origin, audience, group, EPOCH)
        readers = self._readers(audience) if group is Group.DISTRICT else []
        return self._keyring.current(cursor, purpose, readers, self._recorder(cursor))

    def _readers(self, audience: str) -> list[Reader]:
        schools = sorted({HUB, *self._directory.members(audience)})
        return [reader for school in schools for reader in self._readers_of(school)]

    def _readers_of(self, school: int) -> list[Reader]:
        return [Reader(school, public) for public in self._directory.sealing_keys(school)]

    def _recorder(self, cursor: sqlite3.Cursor) -> Callable[[str, list[GrantRow]], None]:
        return lambda audience, rows: self._store.record_within(cursor, "key_grant", rows, audience)

    def _grant_again(
        self, cursor: sqlite3.Cursor, purpose: KeyPurpose, readers: Sequence[Reader]
    ) -> None:
        self._keyring.grant_again(cursor, purpose, readers, self._recorder(cursor))

    def _grant_to_new_readers(self) -> None:
        """Grant standing keys to boxes that became known, or parties of a lesson, since."""
        if not self.readers_changed:
            return
        with self._store.transaction() as cursor:
            for purpose in self._keyring.purposes(cursor):
                if purpose.group is Group.DISTRICT:
                    self._grant_again(cursor, purpose, self._readers(purpose.audience))
        self.readers_changed = False
