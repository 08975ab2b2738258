"""Whom the box knows: the hub by its own identity, other boxes by certificates the hub sends."""

import logging
import sqlite3
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from provisioning.certificates import read_certificate
from provisioning.errors import ProvisioningError
from provisioning.identity import Identity
from sync.fold import HUB
from sync.signing import SignerId, signer_id

_log = logging.getLogger(__name__)


class Acquaintances:
    """Implements sync's directory. Each certificate is verified against the pinned root.

    ``reader`` is a read-only connection on the store, used by one thread at a time.
    """

    def __init__(self, identity: Identity, reader: sqlite3.Connection) -> None:
        self._identity = identity
        self._reader = reader
        self._read: set[bytes] = set()
        self._signers: dict[tuple[int, SignerId], Ed25519PublicKey] = {}
        self._sealing: dict[int, list[X25519PublicKey]] = {}
        self._add_keys(HUB, identity.hub.keys.signing, identity.hub.keys.sealing)
        own = identity.binding
        self._add_keys(own.school, own.keys.signing, own.keys.sealing)

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        if (origin, signer) not in self._signers:
            self._read_certificates()
        return self._signers.get((origin, signer))

    def latest_signing_key(self, school: int) -> Ed25519PublicKey | None:
        """Return the signing key of a school's newest box that is known here."""
        self._read_certificates()
        keys = [key for (origin, _), key in self._signers.items() if origin == school]
        return keys[-1] if keys else None

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        if school not in self._sealing:
            self._read_certificates()
        return self._sealing.get(school, [])

    def members(self, audience: str) -> frozenset[int]:
        if audience.startswith("l"):
            rows = self._reader.execute(
                "SELECT school FROM lesson_party WHERE lesson = ? AND deleted = 0",
                (audience[1:],),
            ).fetchall()
            return frozenset(row["school"] for row in rows)
        return frozenset({self._identity.school})

    def _read_certificates(self) -> None:
        rows = self._reader.execute(
            "SELECT certificate FROM box_certificate WHERE deleted = 0 AND coalesce(revoked, 0) = 0"
        ).fetchall()
        for (certificate,) in rows:
            if certificate in self._read:
                continue
            self._read.add(certificate)
            try:
                binding = self._identity.trust.box_binding(read_certificate(certificate))
            except ProvisioningError as error:
                _log.warning("the hub names a box whose certificate does not hold: %s", error)
                continue
            self._add_keys(binding.school, binding.keys.signing, binding.keys.sealing)

    def _add_keys(self, origin: int, signing: bytes, sealing: bytes) -> None:
        public = Ed25519PublicKey.from_public_bytes(signing)
        name = signer_id(public)
        if (origin, name) not in self._signers:
            self._signers[origin, name] = public
            self._sealing.setdefault(origin, []).append(X25519PublicKey.from_public_bytes(sealing))
