"""The recovery code: printed once, and all that opens a school's sealed logs when its box is gone.

32 characters of Crockford's base32 (https://www.crockford.com/base32.html), 160 bits, most
significant first::

    version 4 | secret 128 | check 28

The check is the head of SHA-256 over the first 132 bits. The secret is made on the box and never
stored; what is kept is the public half of the X25519 key that HKDF-SHA256 derives from it. 128
bits of chance need no slow derivation.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.errors import RecoveryCodeError
from sync.segments.sealing import RandomBytes

SECRET_BYTES = 16
TYPED_CHARACTERS_MAX = 256
VERSION = 1

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_CHARACTERS = 32
_CHECK_BITS = 28
_GROUP = 4
_SEPARATORS = re.compile(r"[\s\ufeff_.\-\u2010-\u2015]+")


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """One school's code; ``secret`` is SECRET_BYTES of chance."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.secret) == SECRET_BYTES

    def text(self) -> str:
        """Return the code as its QR holds it: upper case, no separators."""
        content = VERSION << 8 * SECRET_BYTES | int.from_bytes(self.secret)
        number = content << _CHECK_BITS | _check(content)
        return "".join(
            _ALPHABET[number >> 5 * place & 31] for place in reversed(range(_CHARACTERS))
        )

    def printed(self) -> str:
        """Return the code in groups of four, as a person reads and types it."""
        letters = self.text()
        return "-".join(letters[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP))

    def key(self) -> X25519PrivateKey:
        """Return the recovery key: a recipient of all the school's data keys and of its vault."""
        derived = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=b"", info=b"schoolnode recovery key"
        ).derive(self.secret)
        return X25519PrivateKey.from_private_bytes(derived)


def new_recovery_code(random_bytes: RandomBytes) -> RecoveryCode:
    return RecoveryCode(random_bytes(SECRET_BYTES))


def parse_recovery_code(typed: str) -> RecoveryCode:
    """Return the code a person typed or a camera read.

    Lower case, full-width forms, spaces, hyphens and look-alikes (O, I, L) are forgiven. Raises
    RecoveryCodeError that says what is wrong and repeats nothing of the secret.
    """
    if len(typed) > TYPED_CHARACTERS_MAX:
        raise RecoveryCodeError("this text is far longer than a recovery code; type the code only")
    letters = _SEPARATORS.sub("", unicodedata.normalize("NFKC", typed)).upper()
    number = 0
    for place, character in enumerate(letters, start=1):
        value = _VALUES.get(character)
        if value is None:
            raise RecoveryCodeError(
                f"character {place} is none that a recovery code contains; compare it with the"
                " printed code"
            )
        number = number << 5 | value
    if len(letters) != _CHARACTERS:
        raise RecoveryCodeError(
            f"a recovery code has {_CHARACTERS} characters and this has {len(letters)}; "
            f"{'some are missing' if len(letters) < _CHARACTERS else 'some are too many'}"
        )
    content, check = divmod(number, 1 << _CHECK_BITS)
    if check != _check(content):
        raise RecoveryCodeError(
            "the recovery code's check does not fit: at least one character is mistyped; compare"
            " it with the printed code"
        )
    if content >> 8 * SECRET_BYTES != VERSION:
        raise RecoveryCodeError("the recovery code is of a newer kind; update this box's program")
    secret = content & (1 << 8 * SECRET_BYTES) - 1
    return RecoveryCode(secret.to_bytes(SECRET_BYTES))


def _check(content: int) -> int:
    packed = content.to_bytes(SECRET_BYTES + 1)
    return int.from_bytes(hashlib.sha256(packed).digest()) >> 256 - _CHECK_BITS
