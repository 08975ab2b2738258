"""What a person decides about a node's keys: confirm, revoke, release, rotate; and the lists.

Each decision is one durable transaction with its audit row. Grants follow with the next seal.
"""

import sqlite3
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sync.clock import HybridClock
from sync.errors import RecipientError
from sync.keys.keyring import Grant, Keyring
from sync.keys.own_keys import Epoch, KeyPurpose
from sync.keys.recipient_list import list_recipients
from sync.keys.recipients import (
    Recipient,
    RecipientKind,
    Recipients,
    Standing,
    fingerprint,
    is_key,
    legible,
)
from sync.keys.releases import SEALED_GROUPS
from sync.schema.model import Group
from sync.segments.sealing import KeyId, RecipientId, recipient_id
from sync.segments.segment import HUB
from sync.tables.row_check import Row

_REQUESTS_MAX = 64


class Store(Protocol):
    """What deciding needs of its node."""

    @property
    def origin(self) -> int: ...

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...

    def record_within(
        self, cursor: sqlite3.Cursor, table_name: str, rows: list[Row], /
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """One key of this node's own and whom it granted it; ``readers`` are recipient ids."""

    epoch: Epoch
    readers: frozenset[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something the hub asks a person at the school for, in its words."""

    wish: str  # "release" a group, "escrow" …
    subject: str
    fingerprint: str | None
    at_ms: int
    who: str


class KeyOffice:
    """Blocking; called from the node's thread. ``grant_within`` a transaction records grants."""

    def __init__(
        self,
        store: Store,
        clock: HybridClock,
        keyring: Keyring,
        recipients: Recipients,
        grant_within: Callable[[sqlite3.Cursor], Grant],
    ) -> None:
        self._store = store
        self._clock = clock
        self._keyring = keyring
        self._recipients = recipients
        self._grant_within = grant_within

    def recipients(self) -> list[Recipient]:
        """Return everyone who is granted keys of this node, was, or asks to be."""
        with self._store.transaction() as cursor:
            self._recipients.note_seen(cursor, self._clock.now_ms())
            return list_recipients(cursor, self._recipients)

    def undecided(self) -> int:
        """Return how many recipients and wishes of the hub wait for a person's decision."""
        waiting = [
            each
            for each in self.recipients()
            if each.standing in {Standing.ELSEWHERE, Standing.DISPUTED}
            or (each.kind is RecipientKind.BOX and each.standing is Standing.SEEN and each.reads)
        ]
        return len(waiting) + len(self.requests())

    def confirmed(self, kind: RecipientKind, school: int) -> set[bytes]:
        """Return the ids of a school's keys that are confirmed as of that kind, for now."""
        with self._store.transaction() as cursor:
            return {
                identity
                for identity, decided in self._recipients.standings(cursor).items()
                if (decided.kind, decided.school) == (kind, school)
                and decided.standing is Standing.CONFIRMED
            }

    def confirm(
        self, kind: RecipientKind, public: bytes, name: str, who: str, school: int | None = None
    ) -> RecipientId:
        """Let a key read, by a person's word; ``school`` is whose it is, by default this one's.

        Recovery keys and escrow are granted every key of this school, and a further box of it
        the sealed groups too. Raises RecipientError.
        """
        with self._store.transaction() as cursor:
            whose = self._store.origin if school is None else school
            now_ms = self._clock.now_ms()
            self._recipients.confirm(cursor, kind, whose, name, public, who, now_ms)
        self._recipients.changed = True
        return recipient_id(X25519PublicKey.from_public_bytes(public))

    def revoke(self, recipient: RecipientId, who: str) -> None:
        """Grant a key nothing further; what is sealed next begins new epochs without it.

        What it was granted stays readable to it. Raises RecipientError.
        """
        with self._store.transaction() as cursor:
            listed = list_recipients(cursor, self._recipients)
            known = next((each for each in listed if each.id == recipient), None)
            if known is None:
                raise RecipientError(
                    f"no recipient {recipient.hex()} is known here; see: schoolnode keys recipients"
                )
            self._recipients.revoke(cursor, known, who, self._clock.now_ms())
        self._recipients.changed = True

    def release(self, group: Group, who: str, epochs: Collection[int] | None = None) -> int:
        """Let the hub read a sealed group; return how many keys were granted now.

        Without ``epochs``: all that was sealed and all that will be. With them: what those epochs
        sealed; one of them that still stands ends, so that nothing further is let out. Nothing is
        sent again but the grants. Raises RecipientError for a group that is not sealed.
        """
        self._check_sealed(group)
        with self._store.transaction() as cursor:
            now_ms = self._clock.now_ms()
            if epochs is None:
                self._recipients.releases.begin(cursor, group, who, now_ms)
            else:
                self._recipients.releases.note_part(cursor, group, who, now_ms)
            granted = 0
            for purpose, name in self._keyring.held(cursor):
                if purpose.group is group and (epochs is None or purpose.epoch in epochs):
                    granted += self._grant_hub(cursor, purpose, name)
            told = "all epochs" if epochs is None else f"epochs {sorted(epochs)}"
            self._note(cursor, who, f"release {group}", told)
        return granted

    def unrelease(self, group: Group, who: str) -> None:
        """End the release of a group: what is sealed from now on the hub cannot read.

        What was released stays readable to it. Raises RecipientError for a group not released.
        """
        self._check_sealed(group)
        with self._store.transaction() as cursor:
            self._recipients.releases.end(cursor, group, who, self._clock.now_ms())
            self._end(cursor, None, group)
            self._note(cursor, who, f"unrelease {group}", "from the next epoch")

    def released(self) -> set[Group]:
        """Return the groups that the hub reads until further notice."""
        with self._store.transaction() as cursor:
            return self._recipients.releases.standing(cursor)

    def states(self) -> list[KeyState]:
        """Return the keys this node made, by audience, group and epoch."""
        with self._store.transaction() as cursor:
            return [
                KeyState(epoch=each, readers=self._keyring.granted(cursor, each.name))
                for each in self._keyring.own_keys.list_all(cursor)
            ]

    def requests(self) -> list[Request]:
        """Return what the hub asks for and has not got, oldest first; nothing follows from it."""
        with self._store.transaction() as cursor:
            released = self._recipients.releases.standing(cursor)
            read = {each.public for each in list_recipients(cursor, self._recipients) if each.reads}
            rows = cursor.execute(
                "SELECT wish, subject, public, at_ms, who FROM key_request"
                " WHERE school = ? AND deleted = 0 ORDER BY at_ms, request LIMIT ?",
                (self._store.origin, _REQUESTS_MAX),
            ).fetchall()
            return [
                Request(
                    wish=legible(wish),
                    subject=legible(subject),
                    fingerprint=fingerprint(public) if is_key(public) else None,
                    at_ms=at_ms or 0,
                    who=legible(who),
                )
                for wish, subject, public, at_ms, who in rows
                if subject not in released and (public is None or public not in read)
            ]

    def rotate(self, who: str, audience: str | None = None, group: Group | None = None) -> int:
        """End the standing keys of an audience and group, by default all; return how many.

        The next body of each begins the next epoch, granted to those entitled then.
        """
        with self._store.transaction() as cursor:
            ended = self._end(cursor, audience, group)
            what = f"rotate {audience or 'all audiences'} {group or 'all groups'}"
            self._note(cursor, who, what, f"{ended} keys")
        return ended

    def passed_over(self) -> list[tuple[str, str]]:
        """Return (purpose, reason) of grants to this node that it cannot open."""
        with self._store.transaction() as cursor:
            return [
                (purpose, f"sealed with HPKE suite {suite or 0:#x}: update this node to read it")
                for purpose, suite in self._keyring.passed_over(cursor)
            ]

    def take_over(self, private: X25519PrivateKey) -> int:
        """Grant this box what a recovery key was granted; return how many keys.

        For a box rebuilt from its school's logs; the grants of keys known already are not
        repeated. What waited for these keys is folded by ``Node.open_waiting``.
        """
        with self._store.transaction() as cursor:
            found = self._keyring.grant_found(cursor, private, self._grant_within(cursor))
            cursor.executemany(
                "UPDATE unopened SET granted = 1 WHERE origin = ? AND key_id = ?",
                [(self._store.origin, name) for name in found],
            )
        self._recipients.changed = True
        return len(found)

    def _grant_hub(self, cursor: sqlite3.Cursor, purpose: KeyPurpose, name: KeyId) -> int:
        hub, grant = self._recipients.hub(), self._grant_within(cursor)
        return self._keyring.grant_missing(cursor, purpose, name, hub, grant)

    def _end(self, cursor: sqlite3.Cursor, audience: str | None, group: Group | None) -> int:
        standing = [
            each
            for each in self._keyring.own_keys.list_all(cursor)
            if each.ended_ms is None
            and audience in {None, each.purpose.audience}
            and group in {None, each.purpose.group}
        ]
        for each in standing:
            self._keyring.own_keys.end(cursor, each.name, self._clock.now_ms())
        return len(standing)

    def _note(self, cursor: sqlite3.Cursor, who: str, action: str, subject: str) -> None:
        if self._store.origin == HUB:
            return  # a hub's audit rows are about schools
        row: Row = {
            "at_ms": self._clock.now_ms(),
            "who": who,
            "action": action,
            "subject": subject[:200],
        }
        self._store.record_within(cursor, "audit_entry", [row])

    @staticmethod
    def _check_sealed(group: Group) -> None:
        if group not in SEALED_GROUPS:
            raise RecipientError(f"{group} is not released: only health and identity are sealed")
