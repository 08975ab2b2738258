"""The key hierarchy: recipients' X25519 keys > data keys > segment keys, and sealed bodies.

A data key belongs to one (origin, audience, group, epoch) and is wrapped for each recipient by
HPKE base mode (RFC 9180), X25519 / HKDF-SHA256 / ChaCha20-Poly1305. A body is sealed under a key
of its own, HKDF(data key, 16 random bytes of that segment): a restored backup that reuses a
sequence number thereby never reuses a key and nonce.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.errors import ForgedError, MalformedError

DataKey = NewType("DataKey", bytes)
KeyId = NewType("KeyId", bytes)
RecipientId = NewType("RecipientId", bytes)
RandomBytes = Callable[[int], bytes]
"""Cryptographic chance: ``os.urandom`` in the programs, seeded in the simulation."""

SUITE_X25519_SHA256_CHACHA20 = 0x0020_0001_0003  # kem, kdf, aead ids of RFC 9180 §7
KEY_BYTES = 32
SALT_BYTES = 16
UNSEALED = KeyId(bytes(8))
"""Key id of a body that is not sealed because its rows are (key grants)."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_NONCE = bytes(12)  # each key seals exactly one message


def new_data_key(random_bytes: RandomBytes) -> DataKey:
    return DataKey(random_bytes(KEY_BYTES))


def key_id(key: DataKey) -> KeyId:
    """Return the key's 8-byte name; checked on unwrap, since the cipher commits to no key."""
    return KeyId(_derive(key, salt=b"", info=b"schoolnode key id", length=8))


def recipient_id(public: X25519PublicKey) -> RecipientId:
    return RecipientId(hashlib.sha256(public.public_bytes_raw()).digest()[:8])


def wrap(key: DataKey, recipient: X25519PublicKey, purpose: bytes) -> bytes:
    """Seal a key to one recipient; ``purpose`` binds it to one school and use (RFC 9180 §5.1)."""
    return _SUITE.encrypt(key, recipient, info=b"schoolnode key grant\x00" + purpose)


def unwrap(
    wrapped: bytes, suite: int, private: X25519PrivateKey, purpose: bytes, expected: KeyId
) -> DataKey:
    """Open a wrapped key.

    Raises MalformedError for a suite this version does not speak, ForgedError if it was not
    wrapped for this key and purpose or does not have the id it claims.
    """
    if suite != SUITE_X25519_SHA256_CHACHA20:
        raise MalformedError(f"key grant with HPKE suite {suite:#x}; update this node to read it")
    try:
        opened = _SUITE.decrypt(wrapped, private, info=b"schoolnode key grant\x00" + purpose)
    except (InvalidTag, ValueError) as error:
        raise ForgedError("the key grant does not open with this node's key") from error
    key = DataKey(opened)
    if len(key) != KEY_BYTES or not hmac.compare_digest(key_id(key), expected):
        raise ForgedError("the key grant holds another key than it names")
    return key


def seal_body(key: DataKey, salt: bytes, context: bytes, body: bytes) -> bytes:
    """Seal one body; ``context`` is associated data: where the body stands."""
    return ChaCha20Poly1305(_segment_key(key, salt)).encrypt(_NONCE, body, context)


def open_body(key: DataKey, salt: bytes, context: bytes, sealed: bytes) -> bytes:
    """Raise ForgedError unless ``sealed`` was made by :func:`seal_body` with the same arguments."""
    try:
        return ChaCha20Poly1305(_segment_key(key, salt)).decrypt(_NONCE, sealed, context)
    except InvalidTag as error:
        raise ForgedError("a body does not open with the key it names; refuse it") from error


def _segment_key(key: DataKey, salt: bytes) -> bytes:
    return _derive(key, salt=salt, info=b"schoolnode segment body", length=KEY_BYTES)


def _derive(key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(key)
