"""What a node asks of whoever knows the district's certificates."""

from collections.abc import Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from sync.segments.signing import SignerId


class Directory(Protocol):
    """Who is who, as far as certificates under the district's root say."""

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        """Return the key of that name if it is certified for ``origin``."""

    def may_speak(self, origin: int, signer: SignerId) -> bool:
        """Tell whether what a signer of ``origin`` brings now counts: certified and not revoked.

        What it signed before stays signed; :meth:`signing_key` names it still.
        """

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        """Return the sealing key that is certified beside that signing key, revoked or not."""

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        """Return the certified sealing keys of a school's boxes, or of the hub (0)."""

    def members(self, audience: str) -> frozenset[int]:
        """Return the schools that an audience comprises, without the hub."""
