"""Ed25519 signatures over exactly the bytes that were received or will be sent."""

import hashlib
from typing import NewType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from sync.errors import ForgedError

SignerId = NewType("SignerId", bytes)
"""First 8 bytes of SHA-256 of the raw public key: a name to look a key up by, never a proof."""

SIGNATURE_BYTES = 64


def signer_id(public: Ed25519PublicKey) -> SignerId:
    return SignerId(hashlib.sha256(public.public_bytes_raw()).digest()[:8])


def sign(private: Ed25519PrivateKey, context: bytes, message: bytes) -> bytes:
    """Return a 64-byte signature; ``context`` keeps one purpose's signature out of another."""
    return private.sign(context + b"\x00" + message)


def verify(public: Ed25519PublicKey, context: bytes, message: bytes, signature: bytes) -> None:
    """Raise ForgedError unless ``signature`` is by ``public`` over this message and context."""
    try:
        public.verify(signature, context + b"\x00" + message)
    except InvalidSignature as error:
        name = signer_id(public).hex()
        raise ForgedError(f"the signature is not by signer {name}; refuse the bytes") from error
