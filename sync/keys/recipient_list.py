"""The list of recipients that a person looks through: who reads what, and who asks to."""

import sqlite3

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from sync.keys.recipients import (
    SEEN_MAX,
    Recipient,
    RecipientKind,
    Recipients,
    Standing,
    is_key,
    legible,
)
from sync.keys.releases import SEALED_GROUPS
from sync.schema.model import Group
from sync.segments.sealing import RecipientId, recipient_id
from sync.segments.segment import HUB

_LISTED_MAX = 1024


def list_recipients(cursor: sqlite3.Cursor, known: Recipients) -> list[Recipient]:
    """Return everyone who is granted keys, was, or asks to be; those seen first come first."""
    released = known.releases.standing(cursor)
    standings = known.standings(cursor)
    certified = {
        recipient_id(reader.public)
        for school in (HUB, known.origin)
        for reader in known.certified(school)
    }
    listed: dict[RecipientId, Recipient] = {}
    for row in cursor.execute(
        "SELECT recipient, kind, school, name, public, first_ms, decided_ms, who"
        " FROM recipient ORDER BY first_ms, recipient LIMIT ?",
        (_LISTED_MAX,),
    ).fetchall():
        identity, kind_text, school, name, public, first_ms, decided_ms, who = row
        kind = RecipientKind(kind_text)
        decided = standings.get(identity)
        standing = Standing.SEEN if decided is None else decided.standing
        if identity == known.own_id:
            standing = Standing.OWN
        listed[RecipientId(identity)] = Recipient(
            id=RecipientId(identity),
            kind=kind,
            school=school,
            name=name,
            public=public,
            standing=standing,
            first_ms=first_ms,
            decided_ms=decided_ms,
            who=who,
            reads=_reads(kind, standing, released, is_certified=identity in certified),
        )
    for each in (*_published(cursor, known.origin), *_asked_for(cursor, known.origin)):
        listed.setdefault(each.id, each)
    return list(listed.values())


def _published(cursor: sqlite3.Cursor, school: int) -> list[Recipient]:
    """Return recipients of which only rows of the school's logs speak, for a person to judge.

    They come from another box, or from this one before its store was lost.
    """
    rows = cursor.execute(
        "SELECT kind, name, public, at_ms, who, revoked FROM confirmed_recipient"
        " WHERE school = ? AND deleted = 0 AND kind <> 'hub' AND recipient NOT IN"
        " (SELECT recipient FROM recipient WHERE standing <> ?) ORDER BY at_ms LIMIT ?",
        (school, Standing.SEEN, SEEN_MAX),
    ).fetchall()
    return [
        Recipient(
            id=recipient_id(X25519PublicKey.from_public_bytes(public)),
            kind=RecipientKind(kind),
            school=school,
            name=legible(name),
            public=public,
            standing=Standing.REVOKED if revoked else Standing.ELSEWHERE,
            first_ms=at_ms or 0,
            decided_ms=at_ms,
            who=legible(who),
            reads=(),
        )
        for kind, name, public, at_ms, who, revoked in rows
        if kind in {*RecipientKind} and is_key(public)
    ]


def _asked_for(cursor: sqlite3.Cursor, school: int) -> list[Recipient]:
    """Return the escrow keys that the hub proposes."""
    rows = cursor.execute(
        "SELECT subject, public, at_ms FROM key_request"
        " WHERE school = ? AND deleted = 0 AND wish = 'escrow' ORDER BY at_ms LIMIT ?",
        (school, SEEN_MAX),
    ).fetchall()
    return [
        Recipient(
            id=recipient_id(X25519PublicKey.from_public_bytes(public)),
            kind=RecipientKind.ESCROW,
            school=HUB,
            name=legible(subject),
            public=public,
            standing=Standing.SEEN,
            first_ms=at_ms or 0,
            decided_ms=None,
            who=None,
            reads=(),
        )
        for subject, public, at_ms in rows
        if is_key(public)
    ]


def _reads(
    kind: RecipientKind, standing: Standing, released: set[Group], *, is_certified: bool
) -> tuple[Group, ...]:
    everything = (Group.DISTRICT, *SEALED_GROUPS)
    match kind, standing:
        case _, Standing.OWN:
            return everything
        case RecipientKind.HUB, _:
            return (Group.DISTRICT, *(group for group in SEALED_GROUPS if group in released))
        case RecipientKind.BOX, Standing.CONFIRMED if is_certified:
            return everything
        case RecipientKind.BOX, Standing.SEEN if is_certified:
            return (Group.DISTRICT,)
        case RecipientKind.RECOVERY | RecipientKind.ESCROW, Standing.CONFIRMED:
            return everything
        case _:
            return ()
