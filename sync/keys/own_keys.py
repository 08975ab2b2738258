"""The epochs of a node's own data keys: which seals what, since when, and how much it sealed.

They stand in ``own_key``, which no peer writes. A key is never in it, only its name.
"""

import sqlite3
from dataclasses import dataclass

from sync.schema.model import Group
from sync.segments.sealing import KeyId, RecipientId

_EPOCH_MAX = 2**31  # a row of elsewhere that states more does not lift this node's count
_DAY_MS = 86_400_000

Scope = tuple[int, str, Group]
"""What a key may open: bodies of one origin, audience and group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """When a key has sealed long or much enough: it bounds what one leaked key opens."""

    days: int = 90
    bytes: int = 1024 * 1024 * 1024

    def is_over(self, begun_ms: int, sealed_bytes: int, now_ms: int) -> bool:
        # A key from more than a day ahead was begun under a wrong clock: its age is not known.
        age_ms = now_ms - begun_ms
        return not -_DAY_MS <= age_ms < self.days * _DAY_MS or sealed_bytes >= self.bytes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One key that this node made; ``ended_ms`` None: what is sealed next is sealed with it."""

    purpose: KeyPurpose
    name: KeyId
    begun_ms: int
    ended_ms: int | None
    sealed_bytes: int


class OwnKeys:
    """The epochs of node ``origin``, to whose sealing key ``own_id`` each key is granted."""

    def __init__(self, origin: int, own_id: RecipientId) -> None:
        self._origin = origin
        self._own_id = own_id

    def standing(self, cursor: sqlite3.Cursor, scope: Scope, incarnation: int) -> Epoch | None:
        """Return the key that seals a scope in an incarnation, None when there is none."""
        _, audience, group = scope
        found = cursor.execute(
            f"SELECT {_EPOCH_COLUMNS} FROM own_key WHERE audience = ? AND key_group = ?"  # noqa: S608 - constants
            " AND incarnation = ? AND ended_ms IS NULL ORDER BY epoch DESC LIMIT 1",
            (audience, group, incarnation),
        ).fetchone()
        return self._epoch(*found) if found else None

    def last_epoch(self, cursor: sqlite3.Cursor, scope: Scope) -> int:
        """Return the highest epoch known of a scope, also from before a restore; 0 for none."""
        _, audience, group = scope
        (own,) = cursor.execute(
            "SELECT coalesce(max(epoch), 0) FROM own_key WHERE audience = ? AND key_group = ?",
            (audience, group),
        ).fetchone()
        prefix = str(KeyPurpose(*scope, 0)).removesuffix("0")
        (told,) = cursor.execute(
            "SELECT coalesce(max(g.epoch), 0) FROM key_grant g JOIN log l ON l.id = g.log"
            " WHERE g.purpose >= ? AND g.purpose < ? AND g.recipient = ? AND l.origin = ?"
            " AND g.epoch < ?",
            (prefix, prefix + ":", self._own_id, self._origin, _EPOCH_MAX),
        ).fetchone()
        return max(int(own), int(told))

    def begin(
        self,
        cursor: sqlite3.Cursor,
        purpose: KeyPurpose,
        name: KeyId,
        incarnation: int,
        now_ms: int,
    ) -> None:
        """Let a new key be the one that seals its scope; the one before it ends."""
        cursor.execute(
            "UPDATE own_key SET ended_ms = ?"
            " WHERE audience = ? AND key_group = ? AND ended_ms IS NULL",
            (now_ms, purpose.audience, purpose.group),
        )
        cursor.execute(
            "INSERT INTO own_key (key_id, audience, key_group, epoch, incarnation, begun_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (name, purpose.audience, purpose.group, purpose.epoch, incarnation, now_ms),
        )

    def end(self, cursor: sqlite3.Cursor, name: KeyId, now_ms: int) -> None:
        """Seal nothing more with a key; the next body of its scope begins an epoch."""
        cursor.execute(
            "UPDATE own_key SET ended_ms = ? WHERE key_id = ? AND ended_ms IS NULL", (now_ms, name)
        )

    def count(self, cursor: sqlite3.Cursor, name: KeyId, sealed_bytes: int) -> None:
        """Add to what a key has sealed."""
        cursor.execute(
            "UPDATE own_key SET sealed_bytes = sealed_bytes + ? WHERE key_id = ?",
            (sealed_bytes, name),
        )

    def list_all(self, cursor: sqlite3.Cursor) -> list[Epoch]:
        """Return the keys that this node made, by scope and epoch."""
        rows = cursor.execute(
            f"SELECT {_EPOCH_COLUMNS} FROM own_key ORDER BY audience, key_group, epoch, key_id"  # noqa: S608 - constants
        ).fetchall()
        return [self._epoch(*row) for row in rows]

    def _epoch(
        self,
        name: bytes,
        audience: str,
        group: str,
        epoch: int,
        begun_ms: int,
        ended_ms: int | None,
        sealed_bytes: int,
    ) -> Epoch:
        return Epoch(
            purpose=KeyPurpose(self._origin, audience, Group(group), epoch),
            name=KeyId(name),
            begun_ms=begun_ms,
            ended_ms=ended_ms,
            sealed_bytes=sealed_bytes,
        )


def parse_purpose(text: str | None) -> KeyPurpose | None:
    """Return what a grant says its key is for, None when that cannot be."""
    try:
        origin, audience, group, epoch = (text or "").split("/")
        return KeyPurpose(int(origin), audience, Group(group), int(epoch))
    except ValueError:
        return None


_EPOCH_COLUMNS = "key_id, audience, key_group, epoch, begun_ms, ended_ms, sealed_bytes"
