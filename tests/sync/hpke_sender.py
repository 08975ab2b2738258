"""RFC 9180 base mode, sender's side, written from the RFC alone to check the library against.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
"""

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0003))


def seal(
    ephemeral: X25519PrivateKey, recipient: X25519PublicKey, info: bytes, aad: bytes, plain: bytes
) -> bytes:
    """Return enc || ciphertext of the first message of a context (§5.1.1, §6.1)."""
    enc = ephemeral.public_key().public_bytes_raw()
    context = enc + recipient.public_bytes_raw()
    secret = _extract(b"", b"eae_prk", ephemeral.exchange(recipient), _KEM_SUITE)
    shared = _expand(secret, b"shared_secret", context, 32, _KEM_SUITE)
    schedule = b"".join(
        (
            b"\x00",
            _extract(b"", b"psk_id_hash", b"", _SUITE),
            _extract(b"", b"info_hash", info, _SUITE),
        )
    )
    secret = _extract(shared, b"secret", b"", _SUITE)
    key = _expand(secret, b"key", schedule, 32, _SUITE)
    nonce = _expand(secret, b"base_nonce", schedule, 12, _SUITE)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, plain, aad)


def _extract(salt: bytes, label: bytes, material: bytes, suite: bytes) -> bytes:
    labelled = b"HPKE-v1" + suite + label + material
    return hmac.digest(salt or bytes(32), labelled, sha256)


def _expand(secret: bytes, label: bytes, info: bytes, length: int, suite: bytes) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    assert length <= sha256().digest_size
    return hmac.digest(secret, labelled + b"\x01", sha256)[:length]
