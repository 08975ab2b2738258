"""Data keys of one node: made, granted to recipients, and found again from the grants.

No data key is stored in clear: every key is also granted to its own maker, so that the rows of
``key_grant`` and the node's X25519 key are all that a restart needs. Grants are opened when a body
names their key, not before: neither a start nor a flood of grants costs more than what is read.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from sync.columnar import Value
from sync.errors import ForgedError, MalformedError
from sync.schema.model import Group
from sync.sealing import (
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
from sync.segment import HUB

EPOCH = 1
_KEYS_MAX = 4096  # in memory; the rest is opened again when needed
_GRANTS_TRIED_MAX = 8


Scope = tuple[int, str, Group]
"""What a key may open: bodies of one origin, audience and group."""


@dataclass(frozen=True, slots=True, order=True)
class KeyPurpose:
    """What a data key is for; it is bound into each grant."""

    origin: int
    audience: str
    group: Group
    epoch: int

    @property
    def scope(self) -> Scope:
        return self.origin, self.audience, self.group

    def __str__(self) -> str:
        return f"{self.origin}/{self.audience}/{self.group}/{self.epoch}"


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

    def __init__(self, origin: int, own: X25519PrivateKey, random_bytes: RandomBytes) -> None:
        self._origin = origin
        self._own = own
        self._own_reader = Reader(origin, own.public_key())
        self.own_id = recipient_id(own.public_key())
        self._random_bytes = random_bytes
        self._opened: dict[tuple[Scope, KeyId], DataKey] = {}
        self._current: dict[KeyPurpose, KeyId] = {}
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
            purpose = _parse_purpose(text)
            if purpose is None or purpose.scope != scope:
                continue
            try:
                key = unwrap(wrapped or b"", suite or 0, self._own, str(purpose).encode(), name)
            except (ForgedError, MalformedError):
                continue
            if len(self._opened) >= _KEYS_MAX:
                self._opened.clear()
            self._opened[scope, name] = key
            return key
        return None

    def current(
        self,
        cursor: sqlite3.Cursor,
        purpose: KeyPurpose,
        readers: Sequence[Reader],
        grant: Grant,
    ) -> tuple[KeyId, DataKey]:
        """Return the key for a purpose, made if there is none, granted to all ``readers``."""
        name, key = self._standing(cursor, purpose) or self._make(purpose)
        self._grant_missing(cursor, purpose, (name, key), [self._own_reader, *readers], grant)
        return name, key

    def grant_again(
        self,
        cursor: sqlite3.Cursor,
        purpose: KeyPurpose,
        readers: Sequence[Reader],
        grant: Grant,
    ) -> None:
        """Grant a standing key to those of ``readers`` that do not have it yet."""
        standing = self._standing(cursor, purpose)
        if standing is not None:
            self._grant_missing(cursor, purpose, standing, readers, grant)

    def purposes(self, cursor: sqlite3.Cursor) -> list[KeyPurpose]:
        """Return what this node has keys of its own making for."""
        rows = cursor.execute(
            "SELECT DISTINCT g.purpose FROM key_grant g JOIN log l ON l.id = g.log"
            " WHERE l.origin = ? AND g.recipient = ? ORDER BY g.purpose",
            (self._origin, self.own_id),
        ).fetchall()
        parsed = [_parse_purpose(text) for (text,) in rows]
        return [each for each in parsed if each is not None and each.origin == self._origin]

    def forget(self) -> None:
        """Drop what is remembered, after a transaction was rolled back: the store knows."""
        self._opened.clear()
        self._current.clear()
        self._granted.clear()

    def _standing(
        self, cursor: sqlite3.Cursor, purpose: KeyPurpose
    ) -> tuple[KeyId, DataKey] | None:
        names = [self._current[purpose]] if purpose in self._current else []
        if not names:
            rows = cursor.execute(
                "SELECT g.key_id FROM key_grant g JOIN log l ON l.id = g.log"
                " WHERE g.purpose = ? AND g.recipient = ? AND l.origin = ? ORDER BY l.id, g.row",
                (str(purpose), self.own_id, self._origin),
            ).fetchall()
            names = [KeyId(name) for (name,) in rows if name]
        for name in names:
            key = self.key(cursor, purpose.scope, name)
            if key is not None:
                self._current[purpose] = name
                return name, key
        return None

    def _make(self, purpose: KeyPurpose) -> tuple[KeyId, DataKey]:
        fresh = new_data_key(self._random_bytes)
        name = key_id(fresh)
        self._opened[purpose.scope, name] = fresh
        self._current[purpose] = name
        return name, fresh

    def _grant_missing(
        self,
        cursor: sqlite3.Cursor,
        purpose: KeyPurpose,
        named: tuple[KeyId, DataKey],
        readers: Sequence[Reader],
        grant: Grant,
    ) -> None:
        name, key = named
        if name not in self._granted:
            rows = cursor.execute(
                "SELECT g.recipient FROM key_grant g JOIN log l ON l.id = g.log"
                " WHERE g.key_id = ? AND l.origin = ?",
                (name, self._origin),
            )
            self._granted[name] = {recipient for (recipient,) in rows}
        granted = self._granted[name]
        rows_by_audience: dict[str, list[GrantRow]] = {}
        for reader in readers:
            recipient = recipient_id(reader.public)
            if recipient not in granted:
                granted.add(recipient)
                audience = self._grant_audience(purpose, reader)
                row = _grant_row(purpose, key, name, recipient, reader.public)
                rows_by_audience.setdefault(audience, []).append(row)
        for audience, missing in rows_by_audience.items():
            grant(audience, missing)

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


def _parse_purpose(text: str | None) -> KeyPurpose | None:
    try:
        origin, audience, group, epoch = (text or "").split("/")
        return KeyPurpose(int(origin), audience, Group(group), int(epoch))
    except ValueError:
        return None
