"""Whom the box knows: the hub by its own identity, other boxes by certificates the hub sends."""

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from provisioning.certificates import BoundKeys, read_certificate
from provisioning.errors import ProvisioningError
from provisioning.identity import Identity
from sync.segments.segment import HUB
from sync.segments.signing import SignerId, signer_id

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Box:
    signing: Ed25519PublicKey
    sealing: X25519PublicKey
    certified_ms: int
    name: str = ""
    revoked: bool = False


class Acquaintances:
    """Implements sync's directory. Each certificate is verified against the pinned root.

    Blocking, for the store's thread; ``reader`` is a read-only connection for it alone.
    """

    def __init__(self, identity: Identity, reader: sqlite3.Connection) -> None:
        self._identity = identity
        self._reader = reader
        own = identity.binding
        self._inborn = {
            HUB: _box(identity.hub.keys, identity.hub.not_before_ms),
            own.school: _box(own.keys, own.not_before_ms, own.box),
        }
        self._certified: dict[bytes, tuple[int, _Box] | None] = {}
        self._signers: dict[tuple[int, SignerId], _Box] = {}

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        box = self._signing_box(origin, signer)
        return box.signing if box is not None else None

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        box = self._signing_box(origin, signer)
        return box.sealing if box is not None else None

    def may_speak(self, origin: int, signer: SignerId) -> bool:
        return any(
            signer_id(box.signing) == signer and not box.revoked for box in self._boxes(origin)
        )

    def latest_signing_key(self, school: int) -> Ed25519PublicKey | None:
        """Return the signing key of the box of a school that was certified last, None for none."""
        standing = [box for box in self._boxes(school) if not box.revoked]
        return standing[-1].signing if standing else None

    def signing_keys(self, school: int) -> Sequence[Ed25519PublicKey]:
        """Return the signing keys of all boxes a school has or had: what they signed stays so."""
        return [box.signing for box in self._boxes(school)]

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        return [box.sealing for box in self._boxes(school) if not box.revoked]

    def box_name(self, school: int, sealing: bytes) -> str | None:
        """Return what the certificate of a sealing key calls its box."""
        for box in self._boxes(school):
            if box.sealing.public_bytes_raw() == sealing:
                return box.name
        return None

    def members(self, audience: str) -> frozenset[int]:
        if audience.startswith("l"):
            rows = self._reader.execute(
                "SELECT school FROM lesson_party WHERE lesson = ? AND deleted = 0",
                (audience[1:],),
            ).fetchall()
            return frozenset(row["school"] for row in rows)
        return frozenset({self._identity.school})

    def _signing_box(self, origin: int, signer: SignerId) -> _Box | None:
        if (origin, signer) not in self._signers:
            # What a box wrote before it was revoked stays what it is.
            for box in self._boxes(origin):
                self._signers[origin, signer_id(box.signing)] = box
        return self._signers.get((origin, signer))

    def _boxes(self, school: int) -> list[_Box]:
        """Return a school's boxes, certified first to last; read anew, as one may join or go."""
        rows = self._reader.execute(
            "SELECT certificate, coalesce(revoked, 0) AS revoked FROM box_certificate"
            " WHERE school = ? AND deleted = 0 AND certificate IS NOT NULL",
            (school,),
        ).fetchall()
        known: dict[bytes, _Box] = {}
        if school in self._inborn:
            known[self._inborn[school].signing.public_bytes_raw()] = self._inborn[school]
        for row in rows:
            box = self._read(row["certificate"], school)
            if box is not None:
                known[box.signing.public_bytes_raw()] = replace(box, revoked=bool(row["revoked"]))
        return sorted(known.values(), key=lambda box: box.certified_ms)

    def _read(self, certificate: bytes, school: int) -> _Box | None:
        """Return what a certificate binds to a school, None when it does not hold."""
        if certificate not in self._certified:
            self._certified[certificate] = None
            try:
                binding = self._identity.trust.box_binding(read_certificate(certificate))
            except ProvisioningError as error:
                _log.warning("the hub names a box whose certificate does not hold: %s", error)
            else:
                box = _box(binding.keys, binding.not_before_ms, binding.box)
                self._certified[certificate] = (binding.school, box)
        found = self._certified[certificate]
        return found[1] if found is not None and found[0] == school else None


def _box(bound: BoundKeys, certified_ms: int, name: str = "") -> _Box:
    return _Box(
        Ed25519PublicKey.from_public_bytes(bound.signing),
        X25519PublicKey.from_public_bytes(bound.sealing),
        certified_ms,
        name,
    )
