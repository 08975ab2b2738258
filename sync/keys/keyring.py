"""Data keys of one node: made, granted to recipients, ended, and found again from the grants.

No data key is stored in clear: every key is also granted to its own maker, so that the rows of
``key_grant`` and the node's X25519 key are all that a restart needs. Grants are opened when a body
names their key, not before: neither a start nor a flood of grants costs more than what is read.

Which key this node seals with stands in :mod:`sync.keys.own_keys`, and whom it granted what in a
table of its own likewise: a grant row can come from whoever is certified for the origin, and would
otherwise choose this node's key or hide that somebody lacks it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from sync.errors import ForgedError, MalformedError
from sync.keys.own_keys import KeyPolicy, KeyPurpose, OwnKeys, Scope, parse_purpose
from sync.schema.model import GROUPS
from sync.segments.columnar import Value
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    DataKey,
    KeyId,
    RandomBytes,
    RecipientId,
    key_id,
    new_data_key,
    recipient_id,
    unwrap,
    wrap,
)
from sync.segments.segment import HUB, Header

_KEYS_MAX = 4096  # in memory; the rest is opened again when needed
_GRANTS_TRIED_MAX = 8


@dataclass(frozen=True, slots=True)
class Reader:
    """Someone a key is granted to: a school's number, or the hub's, and one sealing key."""

    origin: int
    public: X25519PublicKey


GrantRow = dict[str, Value]
Grant = Callable[[str, list[GrantRow]], None]
"""Records rows of ``key_grant`` for an audience, in the transaction of whoever seals."""


class Keyring:
    """Opens grants addressed to ``own``, the key of node ``origin``."""

    def __init__(
        self,
        origin: int,
        own: X25519PrivateKey,
        random_bytes: RandomBytes,
        policy: KeyPolicy | None = None,
    ) -> None:
        self._origin = origin
        self._own = own
        self._own_reader = Reader(origin, own.public_key())
        self.own_id = recipient_id(own.public_key())
        self._random_bytes = random_bytes
        self._policy = policy or KeyPolicy()
        self.own_keys = OwnKeys(origin, self.own_id)
        self._opened: dict[tuple[Scope, KeyId], DataKey] = {}
        self._granted: dict[KeyId, set[bytes]] = {}

    def key(self, cursor: sqlite3.Cursor, scope: Scope, name: KeyId) -> DataKey | None:
        """Return the key of that name if the scope's origin granted it to this node for it.

        Whoever forges a grant harms only itself: others' grants are not looked at.
        """
        found = self._opened.get((scope, name))
        if found is not None:
            return found
        grants = cursor.execute(
            "SELECT g.purpose, g.suite, g.wrapped FROM key_grant g JOIN log l ON l.id = g.log"
            " WHERE g.key_id = ? AND g.recipient = ? AND l.origin = ? LIMIT ?",
            (name, self.own_id, scope[0], _GRANTS_TRIED_MAX),
        ).fetchall()
        for text, suite, wrapped in grants:
            purpose = parse_purpose(text)
            if purpose is None or purpose.scope != scope:
                continue
            try:
                key = unwrap(wrapped or b"", suite or 0, self._own, str(purpose).encode(), name)
            except (ForgedError, MalformedError):
                continue
            self._keep(scope, name, key)
            return key
        return None

    def key_of(self, cursor: sqlite3.Cursor, header: Header, place: int) -> DataKey | None:
        """Return the key of one sealed body of a segment; None: not granted to this node."""
        body = header.bodies[place]
        scope = (header.log.origin, header.log.audience, GROUPS[body.group])
        return self.key(cursor, scope, KeyId(body.key_id))

    def current(
        self,
        cursor: sqlite3.Cursor,
        scope: Scope,
        incarnation: int,
        readers: Sequence[Reader],
        grant: Grant,
        now_ms: int,
    ) -> tuple[KeyId, DataKey]:
        """Return the key that seals a scope now, granted to this node and all ``readers``.

        It is a new epoch's when there was none in this incarnation (a restored node no longer
        knows which keys it ended), when the policy says so, or when somebody was granted the last
        who is not among ``readers`` any more.
        """
        standing = self.own_keys.standing(cursor, scope, incarnation)
        if standing is not None:
            key = self.key(cursor, scope, standing.name)
            entitled = {recipient_id(reader.public) for reader in readers} | {self.own_id}
            is_over = self._policy.is_over(standing.begun_ms, standing.sealed_bytes, now_ms)
            is_leaked = bool(self._granted_of(cursor, standing.name) - entitled)
            if key is not None and not is_over and not is_leaked:
                self.grant_missing(cursor, standing.purpose, standing.name, readers, grant)
                return standing.name, key
        purpose = KeyPurpose(*scope, self.own_keys.last_epoch(cursor, scope) + 1)
        key = new_data_key(self._random_bytes)
        name = key_id(key)
        self.own_keys.begin(cursor, purpose, name, incarnation, now_ms)
        self._keep(scope, name, key)
        self.grant_missing(cursor, purpose, name, [self._own_reader, *readers], grant)
        return name, key

    def grant_missing(
        self,
        cursor: sqlite3.Cursor,
        purpose: KeyPurpose,
        name: KeyId,
        readers: Sequence[Reader],
        grant: Grant,
    ) -> int:
        """Grant a key to those of ``readers`` that do not have it yet; return how many."""
        granted = self._granted_of(cursor, name)
        missing = {
            recipient: reader
            for reader in readers
            if (recipient := recipient_id(reader.public)) not in granted
        }
        key = self.key(cursor, purpose.scope, name) if missing else None
        if key is None:
            return 0
        rows_by_audience: dict[str, list[GrantRow]] = {}
        for recipient, reader in missing.items():
            audience = self._grant_audience(purpose, reader)
            row = _grant_row(purpose, key, name, recipient, reader.public)
            rows_by_audience.setdefault(audience, []).append(row)
        for audience, rows in rows_by_audience.items():
            grant(audience, rows)
        cursor.executemany(
            "INSERT OR IGNORE INTO own_grant VALUES (?, ?)",
            [(name, recipient) for recipient in missing],
        )
        granted.update(missing)
        return len(missing)

    def grant_found(
        self, cursor: sqlite3.Cursor, private: X25519PrivateKey, grant: Grant
    ) -> list[KeyId]:
        """Grant this node the keys of its origin that were granted to ``private``; return them.

        What is forged, or of a suite this version does not speak, is passed over.
        """
        rows = cursor.execute(
            "SELECT g.key_id, g.purpose, g.suite, g.wrapped FROM key_grant g"
            " JOIN log l ON l.id = g.log WHERE g.recipient = ? AND l.origin = ?"
            " ORDER BY g.purpose, l.id, g.row",
            (recipient_id(private.public_key()), self._origin),
        ).fetchall()
        found: list[KeyId] = []
        for name, text, suite, wrapped in rows:
            purpose = parse_purpose(text)
            if purpose is None or purpose.origin != self._origin or not name:
                continue
            if self.key(cursor, purpose.scope, KeyId(name)) is not None:
                continue
            try:
                key = unwrap(
                    wrapped or b"", suite or 0, private, str(purpose).encode(), KeyId(name)
                )
            except (ForgedError, MalformedError):
                continue
            self._keep(purpose.scope, KeyId(name), key)
            if self.grant_missing(cursor, purpose, KeyId(name), [self._own_reader], grant):
                found.append(KeyId(name))
        return found

    def held(self, cursor: sqlite3.Cursor) -> list[tuple[KeyPurpose, KeyId]]:
        """Return the keys of this origin's bodies that are granted to this node, by purpose.

        Beside those of its own making they may be a former box's; none is opened.
        """
        rows = cursor.execute(
            "SELECT DISTINCT g.purpose, g.key_id FROM key_grant g JOIN log l ON l.id = g.log"
            " WHERE l.origin = ? AND g.recipient = ? ORDER BY g.purpose, g.key_id",
            (self._origin, self.own_id),
        ).fetchall()
        parsed = [(parse_purpose(text), KeyId(name)) for text, name in rows if name]
        return [
            (purpose, name)
            for purpose, name in parsed
            if purpose is not None and purpose.origin == self._origin
        ]

    def granted(self, cursor: sqlite3.Cursor, name: KeyId) -> frozenset[bytes]:
        """Return whom this node granted a key, as recipient ids."""
        return frozenset(self._granted_of(cursor, name))

    def passed_over(self, cursor: sqlite3.Cursor) -> list[tuple[str, int]]:
        """Return (purpose, HPKE suite) of grants to this node that its version cannot open."""
        return cursor.execute(
            "SELECT DISTINCT purpose, suite FROM key_grant WHERE recipient = ? AND suite <> ?"
            " ORDER BY purpose LIMIT ?",
            (self.own_id, SUITE_X25519_SHA256_CHACHA20, _KEYS_MAX),
        ).fetchall()

    def forget(self) -> None:
        """Drop what is remembered, after a transaction was rolled back: the store knows."""
        self._opened.clear()
        self._granted.clear()

    def _keep(self, scope: Scope, name: KeyId, key: DataKey) -> None:
        if len(self._opened) >= _KEYS_MAX:
            self._opened.clear()
        self._opened[scope, name] = key

    def _granted_of(self, cursor: sqlite3.Cursor, name: KeyId) -> set[bytes]:
        """Return whom this node granted a key; of a former box's keys, whom anyone did."""
        if name not in self._granted:
            if len(self._granted) >= _KEYS_MAX:
                self._granted.clear()
            rows = cursor.execute(
                "SELECT recipient FROM own_grant WHERE key_id = ?1 UNION"
                " SELECT g.recipient FROM key_grant g JOIN log l ON l.id = g.log"
                " WHERE g.key_id = ?1 AND l.origin = ?2 AND g.recipient IS NOT NULL"
                " AND NOT EXISTS (SELECT 1 FROM own_key WHERE key_id = ?1)",
                (name, self._origin),
            )
            self._granted[name] = {recipient for (recipient,) in rows}
        return self._granted[name]

    def _grant_audience(self, purpose: KeyPurpose, reader: Reader) -> str:
        """Return whom a grant is sent to.

        The hub's grants go to the school they are for: with the district's key in the district's
        log, every school would load the grants of all others.
        """
        if self._origin == HUB != reader.origin:
            return f"s{reader.origin}"
        return purpose.audience


def _grant_row(
    purpose: KeyPurpose,
    key: DataKey,
    name: KeyId,
    recipient: RecipientId,
    public: X25519PublicKey,
) -> GrantRow:
    return {
        "key_id": name,
        "purpose": str(purpose),
        "epoch": purpose.epoch,
        "recipient": recipient,
        "suite": SUITE_X25519_SHA256_CHACHA20,
        "wrapped": wrap(key, public, str(purpose).encode()),
    }
