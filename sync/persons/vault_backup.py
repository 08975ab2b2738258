"""The vault's backup at the hub: replaced, not appended, and opened only with two things at once.

    "SNV1" | u16 header length | header | u16 wrapped length | wrapped | sealed

``wrapped`` is half of the backup's key, HPKE-sealed to the school's recovery key; the other half
is the hub's share, 32 bytes of chance that the hub holds beside the backup and replaces at each
erasure. The key is HKDF-SHA256(half, share); ChaCha20-Poly1305 with the header as associated
data. So the hub alone opens nothing, and neither does the recovery code with an old backup once
the share of that time is gone everywhere. The box keeps nothing secret for it.
"""

import hashlib
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.errors import ForgedError, MalformedError
from sync.persons.vault import PERSON_MAX, VaultContents
from sync.segments.sealing import (
    KEY_BYTES,
    SUITE_X25519_SHA256_CHACHA20,
    KeyId,
    RandomBytes,
    key_id,
    new_data_key,
    recipient_id,
    unwrap,
    wrap,
)
from sync.segments.signing import sign, verify

BACKUP_BYTES_MAX = 4 * 1024 * 1024
"""About 110,000 persons; more are refused before anything is sent."""
SHARE_BYTES = 32
WIRE_BYTES_MAX = BACKUP_BYTES_MAX + 1024
"""The longest message of the hub's vault shelf: a backup with its share."""

_MAGIC = b"SNV1"
_LENGTH_BYTES = 2
_NONCE = bytes(12)  # each key seals exactly one backup
_RECEIPT_CONTEXT = b"schoolnode vault receipt"

Number = Annotated[int, msgspec.Meta(ge=0, le=2**48 - 1)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Share = Annotated[bytes, msgspec.Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Name = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]


class BackupHeader(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a backup says of itself in clear; it is bound into the seal."""

    school: Number
    number: Number  # of the vault's change it holds; rises
    generation: Number  # of the hub's share it needs
    made_ms: Number
    recovery: Name  # recipient id of the recovery key
    suite: Number
    half: Name  # key id of the wrapped half


class VaultShare(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The hub's half of a backup's key."""

    generation: Number
    share: Share


class ShareWish(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A box's wish for a share of a generation greater than ``after``."""

    after: Number


class VaultCopy(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The backup that the hub holds, with the share it needs."""

    backup: Annotated[bytes, msgspec.Meta(max_length=BACKUP_BYTES_MAX)]
    share: VaultShare


class ShelfState(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What the hub holds of a school's vault; generation 0: nothing, and never did."""

    generation: Number
    number: Number
    digest: bytes  # empty when no backup is held
    stored_ms: Number


class VaultReceipt(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The hub's word, signed, that this backup replaced all before it.

    ``clear_ms`` is when the last of the hub's own backups that may hold an older share expires.
    """

    school: Number
    generation: Number
    number: Number
    digest: Digest
    stored_ms: Number
    clear_ms: Number
    signature: bytes = b""


class _Content(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    persons: list[Annotated[int, msgspec.Meta(ge=1, lt=PERSON_MAX)]]
    keys: bytes
    forgotten: list[Annotated[int, msgspec.Meta(ge=1, lt=PERSON_MAX)]]


_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_header_decoder = msgspec.msgpack.Decoder(BackupHeader)
_content_decoder = msgspec.msgpack.Decoder(_Content)


def seal_backup(
    school: int,
    contents: VaultContents,
    recovery: X25519PublicKey,
    share: VaultShare,
    made_ms: int,
    random_bytes: RandomBytes,
) -> bytes:
    """Return the backup of a vault; raises MalformedError when it is over BACKUP_BYTES_MAX."""
    half = new_data_key(random_bytes)
    header = msgspec.msgpack.encode(
        BackupHeader(
            school=school,
            number=contents.number,
            generation=share.generation,
            made_ms=made_ms,
            recovery=recipient_id(recovery),
            suite=SUITE_X25519_SHA256_CHACHA20,
            half=key_id(half),
        )
    )
    wrapped = wrap(half, recovery, _purpose(school))
    persons = sorted(contents.keys)
    content = msgspec.msgpack.encode(
        _Content(
            persons=persons,
            keys=b"".join(contents.keys[person] for person in persons),
            forgotten=sorted(contents.forgotten),
        )
    )
    sealed = ChaCha20Poly1305(_key(half, share)).encrypt(_NONCE, content, header)
    backup = b"".join((_MAGIC, _length(header), header, _length(wrapped), wrapped, sealed))
    if len(backup) > BACKUP_BYTES_MAX:
        raise MalformedError(
            f"the vault's backup has {len(backup)} bytes; the limit is {BACKUP_BYTES_MAX}: forget"
            " people who left"
        )
    return backup


def read_header(backup: bytes) -> BackupHeader:
    """Return what a backup says of itself, unverified; raises MalformedError."""
    return _parse(backup)[0]


def open_backup(
    backup: bytes, school: int, recovery: X25519PrivateKey, share: VaultShare
) -> VaultContents:
    """Open a backup.

    Raises MalformedError when it is none, ForgedError when it is another school's, was altered, or
    was not sealed to this recovery key under this share.
    """
    header, header_bytes, wrapped, sealed = _parse(backup)
    if header.school != school:
        raise ForgedError(f"the vault's backup is school {header.school}'s; refused")
    half = unwrap(wrapped, header.suite, recovery, _purpose(school), KeyId(header.half))
    try:
        content = ChaCha20Poly1305(_key(half, share)).decrypt(_NONCE, sealed, header_bytes)
    except InvalidTag as error:
        raise ForgedError(
            "the vault's backup was altered, or its share at the hub is another's; refused"
        ) from error
    try:
        found = _content_decoder.decode(content)
    except _FAULTS as error:
        raise MalformedError(f"the vault's backup does not parse: {error}") from error
    if len(found.keys) != KEY_BYTES * len(found.persons):
        raise MalformedError("the vault's backup has not one key a person; refused")
    keys = (found.keys[place : place + KEY_BYTES] for place in range(0, len(found.keys), KEY_BYTES))
    return VaultContents(
        number=header.number,
        keys=dict(zip(found.persons, keys, strict=True)),
        forgotten=frozenset(found.forgotten),
    )


def sign_receipt(receipt: VaultReceipt, hub: Ed25519PrivateKey) -> VaultReceipt:
    signature = sign(hub, _RECEIPT_CONTEXT, _unsigned(receipt))
    return msgspec.structs.replace(receipt, signature=signature)


def check_receipt(receipt: VaultReceipt, hub: Ed25519PublicKey) -> None:
    """Raise ForgedError unless the hub signed this receipt."""
    verify(hub, _RECEIPT_CONTEXT, _unsigned(receipt), receipt.signature)


def backup_digest(backup: bytes) -> bytes:
    return hashlib.sha256(backup).digest()


def _unsigned(receipt: VaultReceipt) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(receipt, signature=b""))


def _parse(backup: bytes) -> tuple[BackupHeader, bytes, bytes, bytes]:
    if len(backup) > BACKUP_BYTES_MAX:
        raise MalformedError(f"a vault backup of {len(backup)} bytes; refused")
    if backup[: len(_MAGIC)] != _MAGIC:
        raise MalformedError("not a vault's backup: it does not begin with SNV1")
    header_bytes, rest = _take(backup[len(_MAGIC) :])
    wrapped, sealed = _take(rest)
    try:
        header = _header_decoder.decode(header_bytes)
    except _FAULTS as error:
        raise MalformedError(f"a vault backup's header does not parse: {error}") from error
    return header, header_bytes, wrapped, sealed


def _take(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:_LENGTH_BYTES])
    end = _LENGTH_BYTES + length
    if len(data) < end or len(data) < _LENGTH_BYTES:
        raise MalformedError("a vault's backup cut off")
    return data[_LENGTH_BYTES:end], data[end:]


def _length(part: bytes) -> bytes:
    return len(part).to_bytes(_LENGTH_BYTES)


def _key(half: bytes, share: VaultShare) -> bytes:
    return HKDF(
        algorithm=hashes.SHA256(), length=KEY_BYTES, salt=b"", info=b"schoolnode vault backup"
    ).derive(half + share.share)


def _purpose(school: int) -> bytes:
    return f"{school}/vault".encode()
