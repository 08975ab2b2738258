"""Chance that libraries draw for themselves, taken from the seed instead."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sync.segments import sealing
from tests.sync import hpke_sender

_library = sealing._SUITE


class _SeededSuite:
    """HPKE whose ephemeral keys come from the seed; only the sender's side differs."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def encrypt(self, plaintext: bytes, public_key: X25519PublicKey, info: bytes) -> bytes:
        ephemeral = X25519PrivateKey.from_private_bytes(self._chance.randbytes(32))
        return hpke_sender.seal(ephemeral, public_key, info, b"", plaintext)

    def decrypt(self, ciphertext: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
        return _library.decrypt(ciphertext, private_key, info=info)


@contextmanager
def seeded_hpke(seed: int) -> Iterator[None]:
    """Let keys be wrapped reproducibly: without it no two runs send the same bytes."""
    sealing._SUITE = _SeededSuite(random.Random(seed))  # type: ignore[assignment]  # the part that sealing uses
    try:
        yield
    finally:
        sealing._SUITE = _library
