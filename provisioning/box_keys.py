"""The private keys of a box, made on the box and never leaving it."""

from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from provisioning.certificates import BoundKeys
from provisioning.errors import IdentityDamagedError


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxKeys:
    """TLS and LAN page keys (P-256), the signing key (Ed25519) and the sealing key (X25519)."""

    tls: ec.EllipticCurvePrivateKey = field(repr=False)
    page: ec.EllipticCurvePrivateKey = field(repr=False)
    signing: ed25519.Ed25519PrivateKey = field(repr=False)
    sealing: x25519.X25519PrivateKey = field(repr=False)

    def bound(self) -> BoundKeys:
        return bound_keys(self.signing, self.sealing)


class _StoredKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    tls: bytes
    page: bytes
    signing: bytes
    sealing: bytes

    def __repr__(self) -> str:
        return "_StoredKeys(…)"


def new_box_keys() -> BoxKeys:
    return BoxKeys(
        tls=new_tls_key(),
        page=new_tls_key(),
        signing=ed25519.Ed25519PrivateKey.generate(),
        sealing=x25519.X25519PrivateKey.generate(),
    )


def new_tls_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def bound_keys(signing: ed25519.Ed25519PrivateKey, sealing: x25519.X25519PrivateKey) -> BoundKeys:
    return BoundKeys(
        signing.public_key().public_bytes_raw(), sealing.public_key().public_bytes_raw()
    )


def private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def pack_keys(keys: BoxKeys) -> bytes:
    """Return the keys as one JSON text of PKCS #8 DER, to be kept while a claim is under way."""
    return msgspec.json.encode(
        _StoredKeys(
            tls=_private_der(keys.tls),
            page=_private_der(keys.page),
            signing=_private_der(keys.signing),
            sealing=_private_der(keys.sealing),
        )
    )


def unpack_keys(stored: bytes) -> BoxKeys:
    """Return what ``pack_keys`` packed; raise IdentityDamagedError for anything else."""
    try:
        record = msgspec.json.decode(stored, type=_StoredKeys)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IdentityDamagedError(
            "the keys of the unfinished claim are unreadable; ask for a new join code"
        ) from error
    return BoxKeys(
        tls=p256_private(record.tls),
        page=p256_private(record.page),
        signing=ed25519_private(record.signing),
        sealing=x25519_private(record.sealing),
    )


def p256_private(encoded: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key in PEM or DER; raise IdentityDamagedError for any other content."""
    key = _private_key(encoded)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityDamagedError("a stored key is not on P-256; restore it")
    return key


def ed25519_private(encoded: bytes) -> ed25519.Ed25519PrivateKey:
    """Return the Ed25519 key in PEM or DER; raise IdentityDamagedError for any other content."""
    key = _private_key(encoded)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise IdentityDamagedError("the stored signing key is not Ed25519; restore it")
    return key


def x25519_private(encoded: bytes) -> x25519.X25519PrivateKey:
    """Return the X25519 key in PEM or DER; raise IdentityDamagedError for any other content."""
    key = _private_key(encoded)
    if not isinstance(key, x25519.X25519PrivateKey):
        raise IdentityDamagedError("the stored sealing key is not X25519; restore it")
    return key


def _private_key(encoded: bytes) -> PrivateKeyTypes:
    try:
        if encoded.startswith(b"-----"):
            return serialization.load_pem_private_key(encoded, None)
        return serialization.load_der_private_key(encoded, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityDamagedError("a stored private key is unreadable; restore it") from error


def _private_der(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
