"""Recipients: who may be granted a school's keys, and what a person there decided of them.

A certificate alone, which the hub issues, lets the hub and the boxes of an audience read
``district``. Sealed groups go to this box, to further boxes of the school, recovery keys and
escrow once a person confirmed them here, and to the hub once they are released. Decisions stand
in a table that no peer writes: the hub could certify a box of its own making whose rows count as
the school's. ``confirmed_recipient`` publishes them; where it alone speaks of a recipient, a
person is asked again.
"""

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from sync.directory import Directory
from sync.errors import RecipientError
from sync.keys.keyring import Reader
from sync.keys.releases import Record, Releases
from sync.schema.model import Group
from sync.segments.columnar import Value
from sync.segments.sealing import KEY_BYTES, DataKey, RecipientId, recipient_id, wrap
from sync.segments.segment import HUB
from sync.tables.row_check import Row

TEXT_MAX = 80
SEEN_MAX = 256
"""Recipients nobody decided of are noted up to here; a flood of certificates fills no disk."""
FINGERPRINT_BYTES = 16


class RecipientKind(StrEnum):
    """What a recipient is to the school."""

    BOX = "box"  # a box of this school
    HUB = "hub"
    RECOVERY = "recovery"  # the key of a recovery code
    ESCROW = "escrow"  # the district's, if the school wants it
    PARTNER = "partner"  # a box of another school, for lessons


class Standing(StrEnum):
    """How this box stands to a recipient."""

    OWN = "own"  # this box itself
    SEEN = "seen"  # nobody here decided: its certificate, if it has one, is all that counts
    CONFIRMED = "confirmed"
    REVOKED = "revoked"
    ELSEWHERE = "elsewhere"  # confirmed at another box of the school or before a restore: ask
    DISPUTED = "disputed"  # confirmed here, revoked elsewhere since: granted nothing, ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One recipient; ``public`` is its raw X25519 key, moments are Unix ms.

    ``reads`` are the groups of which it is granted the keys; lessons' keys are apart.
    """

    id: RecipientId
    kind: RecipientKind
    school: int
    name: str
    public: bytes
    standing: Standing
    first_ms: int
    decided_ms: int | None
    who: str | None
    reads: tuple[Group, ...]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person here decided of a key."""

    kind: RecipientKind
    school: int
    public: bytes
    standing: Standing


def fingerprint(public: bytes) -> str:
    """Return what two people compare: 128 bits of SHA-256 of a raw key, in groups of four."""
    digits = hashlib.sha256(public).digest()[:FINGERPRINT_BYTES].hex()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


class Recipients:
    """Decides who reads what is sealed under keys of node ``origin``, whose own key is ``own``.

    ``changed``: there may be readers who lack grants; whoever seals grants them, and resets it.
    """

    def __init__(
        self, origin: int, own: X25519PublicKey, directory: Directory, record: Record
    ) -> None:
        self._origin = origin
        self._own_id = recipient_id(own)
        self._directory = directory
        self._record = record
        self.releases = Releases(origin, directory, record)
        self.changed = True

    def readers(self, cursor: sqlite3.Cursor, audience: str, group: Group) -> list[Reader]:
        """Return whom the keys of an audience's group are granted to, beside this node itself."""
        standings = self.standings(cursor)
        kept = [
            Reader(self._origin, X25519PublicKey.from_public_bytes(decided.public))
            for decided in standings.values()
            if decided.standing is Standing.CONFIRMED
            and decided.kind in (RecipientKind.RECOVERY, RecipientKind.ESCROW)
        ]
        if group is Group.DISTRICT:
            schools = sorted({HUB, *self._directory.members(audience)})
            refused = {
                name
                for name, decided in standings.items()
                if decided.standing is not Standing.CONFIRMED
            }
            certified = [
                reader
                for school in schools
                for reader in self.certified(school)
                if school != self._origin or recipient_id(reader.public) not in refused
            ]
            return [*certified, *kept]
        boxes = [
            reader
            for reader in self.certified(self._origin)
            if (decided := standings.get(recipient_id(reader.public)))
            and decided.standing is Standing.CONFIRMED
        ]
        hub = self.hub() if group in self.releases.standing(cursor) else []
        return [*boxes, *hub, *kept]

    def hub(self) -> list[Reader]:
        return self.certified(HUB)

    def certified(self, school: int) -> list[Reader]:
        return [Reader(school, public) for public in self._directory.sealing_keys(school)]

    @property
    def own_id(self) -> RecipientId:
        return self._own_id

    @property
    def origin(self) -> int:
        return self._origin

    def note_seen(self, cursor: sqlite3.Cursor, now_ms: int) -> None:
        """Remember when certified boxes of this school, and the hub, were first seen."""
        if self._origin == HUB:
            return
        (count,) = cursor.execute("SELECT count(*) FROM recipient").fetchone()
        for kind, school in ((RecipientKind.HUB, HUB), (RecipientKind.BOX, self._origin)):
            for reader in self.certified(school)[: max(0, SEEN_MAX - count)]:
                self._see(cursor, kind, school, reader.public.public_bytes_raw(), now_ms)
                count += 1

    def confirm(
        self,
        cursor: sqlite3.Cursor,
        kind: RecipientKind,
        school: int,
        name: str,
        public: bytes,
        who: str,
        now_ms: int,
    ) -> None:
        """Write down that a person let a key read; raises RecipientError when it may not."""
        self._check(kind, school, public, name, who)
        self._see(cursor, kind, school, public, now_ms)
        self._decide(cursor, public, Standing.CONFIRMED, (kind, school, name), who, now_ms)

    def revoke(self, cursor: sqlite3.Cursor, known: "Recipient", who: str, now_ms: int) -> None:
        """Write down that a key is granted nothing further; raises RecipientError."""
        if known.kind is RecipientKind.HUB:
            raise RecipientError(
                "the hub reads the group district by its certificate; what was released to it"
                " ends with: schoolnode keys unrelease GROUP"
            )
        if known.id == self._own_id:
            raise RecipientError("this is the box's own key; the district revokes a lost box")
        about = (known.kind, known.school, known.name)
        self._see(cursor, known.kind, known.school, known.public, now_ms)
        self._decide(cursor, known.public, Standing.REVOKED, about, who, now_ms)

    def standings(self, cursor: sqlite3.Cursor) -> dict[bytes, Decided]:
        """Return what was decided here, by recipient."""
        rows = cursor.execute(
            "SELECT r.recipient, r.kind, r.school, r.public, r.standing, c.recipient IS NOT NULL"
            " FROM recipient r LEFT JOIN confirmed_recipient c ON c.school = ?"
            " AND c.recipient = r.recipient AND c.revoked = 1 AND c.hlc > r.decided_hlc"
            " WHERE r.standing <> ?",
            (self._origin, Standing.SEEN),
        ).fetchall()
        return {
            identity: Decided(
                RecipientKind(kind),
                school,
                public,
                Standing.DISPUTED
                if disputed and standing == Standing.CONFIRMED
                else Standing(standing),
            )
            for identity, kind, school, public, standing, disputed in rows
        }

    def _see(
        self, cursor: sqlite3.Cursor, kind: RecipientKind, school: int, public: bytes, now_ms: int
    ) -> None:
        identity = recipient_id(X25519PublicKey.from_public_bytes(public))
        cursor.execute(
            "INSERT OR IGNORE INTO recipient"
            " (recipient, kind, school, name, public, first_ms, standing)"
            " VALUES (?, ?, ?, '', ?, ?, ?)",
            (identity, kind, school, public, now_ms, Standing.SEEN),
        )

    def _decide(
        self,
        cursor: sqlite3.Cursor,
        public: bytes,
        standing: Standing,
        about: tuple[RecipientKind, int, str],
        who: str,
        now_ms: int,
    ) -> None:
        kind, school, name = about
        identity = recipient_id(X25519PublicKey.from_public_bytes(public))
        row: dict[str, Value] = {
            "recipient": identity,
            "kind": kind,
            "name": name,
            "public": public,
            "at_ms": now_ms,
            "who": who,
            "revoked": int(standing is Standing.REVOKED),
        }
        self._record(cursor, "confirmed_recipient", [row])
        verb = "revoke" if standing is Standing.REVOKED else "confirm"
        audit: Row = {
            "at_ms": now_ms,
            "who": who,
            "action": f"{verb} {kind} {name}".strip(),
            "subject": fingerprint(public),
        }
        self._record(cursor, "audit_entry", [audit])
        cursor.execute(
            "UPDATE recipient SET kind = ?, school = ?, name = ?, standing = ?, decided_ms = ?,"
            " who = ?, decided_hlc = (SELECT hlc FROM confirmed_recipient WHERE school = ?"
            " AND recipient = ?) WHERE recipient = ?",
            (kind, school, name, standing, now_ms, who, self._origin, identity, identity),
        )

    def _check(self, kind: RecipientKind, school: int, public: bytes, name: str, who: str) -> None:
        if self._origin == HUB:
            raise RecipientError("a hub confirms nobody; a person at the school does")
        if not (who and all(legible(each) == each for each in (name, who))):
            raise RecipientError(
                f"name who decides, and what, in at most {TEXT_MAX} printable characters"
            )
        if not is_key(public):
            raise RecipientError(f"no X25519 key of {KEY_BYTES} bytes; compare the key again")
        key = X25519PublicKey.from_public_bytes(public)
        try:
            wrap(DataKey(bytes(KEY_BYTES)), key, b"a trial")
        except ValueError as error:  # a point of small order: whatever is wrapped, all can open
            raise RecipientError("nothing can be sealed to this key; refuse it") from error
        shown = fingerprint(public)
        theirs = {recipient_id(reader.public) for reader in self.certified(school)}
        match kind:
            case RecipientKind.HUB:
                raise RecipientError("the hub is not confirmed: release a group to it instead")
            case RecipientKind.BOX if school != self._origin or recipient_id(key) not in theirs:
                raise RecipientError(f"no box of this school has the key {shown}; has it enrolled?")
            case RecipientKind.PARTNER if school in {HUB, self._origin}:
                raise RecipientError("a partner is a box of another school")
            case RecipientKind.PARTNER if recipient_id(key) not in theirs:
                raise RecipientError(f"school {school} has no key {shown}; compare it again")
        known = {recipient_id(reader.public) for reader in self.certified(HUB)} | {self._own_id}
        if recipient_id(key) in known:
            raise RecipientError(f"{shown} is this box's own key or the hub's; refuse it")


def follow_stamps(cursor: sqlite3.Cursor, moved: Mapping[int, int]) -> None:
    """Let decisions go by the stamps that their published rows have now; keys are the former.

    Else a decision that was written by a clock far ahead would count as newer than what ends it.
    """
    for table, key in (("recipient", "recipient"), ("released_group", "key_group")):
        decided = cursor.execute(
            f"SELECT decided_hlc, {key} FROM {table} WHERE decided_hlc IS NOT NULL"  # noqa: S608 - constants
        ).fetchall()
        cursor.executemany(
            f"UPDATE {table} SET decided_hlc = ? WHERE {key} = ?",  # noqa: S608 - constants
            [(moved[hlc], whose) for hlc, whose in decided if hlc in moved],
        )


def legible(text: str | None) -> str:
    """Return a peer's text as it may be shown: short, and without what steers a terminal."""
    return "".join(each for each in (text or "")[:TEXT_MAX] if each.isprintable())


def is_key(public: bytes | None) -> bool:
    return public is not None and len(public) == KEY_BYTES
