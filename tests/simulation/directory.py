"""Who is who in the simulated district; a signature that was found good is not computed again.

The hub's segments are verified at each of fifty boxes by the same key.
"""

import random
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.segments.signing import SignerId, signer_id
from tests.sync.district import District


class _Remembering:
    """The part of a public key that verifying uses."""

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public = public
        self._good: set[tuple[bytes, bytes]] = set()

    def verify(self, signature: bytes, data: bytes) -> None:
        if (signature, data) not in self._good:
            self._public.verify(signature, data)
            self._good.add((signature, data))

    def public_bytes_raw(self) -> bytes:
        return self._public.public_bytes_raw()


class Directory(District):
    """A district whose nodes stay who they are, and whose lessons keep their parties."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(Path("nowhere"), chance)
        self._signers: dict[int, tuple[SignerId, _Remembering]] = {}
        self._members: dict[str, frozenset[int]] = {}
        self._members_of = (0, 0)

    def members(self, audience: str) -> frozenset[int]:
        of = len(self.keys), len(self.lessons)
        if of != self._members_of:
            self._members, self._members_of = {}, of
        known = self._members.get(audience)
        if known is None:
            known = self._members[audience] = super().members(audience)
        return known

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        known = self._signers.get(origin)
        if known is None:
            if origin not in self.keys:
                return None
            public = self.keys[origin].signing.public_key()
            known = self._signers[origin] = (signer_id(public), _Remembering(public))
        return cast("Ed25519PublicKey", known[1]) if known[0] == signer else None
