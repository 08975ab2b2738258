"""The join code: all a box needs to find its district and prove that it was invited.

``HOST:PORT/`` and 88 characters of Crockford's base32 (https://www.crockford.com/base32.html),
440 bits, most significant first::

    version 4 | SHA-256 of the root's public key 256 | box id 32 | secret 120 | check 28

The check is the head of SHA-256 over ``host:port/`` in lower case and the first 412 bits. Upper
case, every character is one of QR's alphanumeric mode (ISO/IEC 18004, 7.4.4).
"""

import hashlib
import io
import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field

import segno

from provisioning.errors import MistypedCodeError, SetupError

SECRET_BYTES = 15
PIN_BYTES = 32
VERSION = 1
TYPED_CHARACTERS_MAX = 512

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_CHARACTERS = 88
_CHECK_BITS = 28
_GROUP = 4
_SEPARATORS = re.compile(r"[\s\ufeff_.\-\u2010-\u2015]+")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_HOST_CHARACTERS_MAX = 253
_BOX = re.compile(r"[0-9a-f]{8}")
_PORT_MAX = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCode:
    """One invitation, as the box holds it.

    ``host`` is a lower-case name or an address, ``root_pin`` the SHA-256 of the district root's
    SubjectPublicKeyInfo, ``box`` the 8 hex digits the box will be called by.
    """

    host: str
    port: int
    root_pin: bytes
    box: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raise SetupError for a code that no box could read back."""
        if _host(self.host) != self.host or not 0 < self.port <= _PORT_MAX:
            raise SetupError(f"{self.host}:{self.port} is no hub address; name host and port")
        sizes_right = len(self.root_pin) == PIN_BYTES and len(self.secret) == SECRET_BYTES
        if not sizes_right or not _BOX.fullmatch(self.box):
            raise SetupError("a join code needs a 32-byte pin, 8 hex digits and a 15-byte secret")

    def text(self) -> str:
        """Return the code as its QR holds it: upper case, no separators."""
        return f"{self.host}:{self.port}/{self._letters()}".upper()

    def typed(self) -> str:
        """Return the code in groups of four, as a person reads and types it."""
        letters = self._letters()
        groups = [letters[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP)]
        return f"{self.host}:{self.port}/".upper() + "-".join(groups)

    def _letters(self) -> str:
        parts = (VERSION.to_bytes(1), self.root_pin, bytes.fromhex(self.box), self.secret)
        content = int.from_bytes(b"".join(parts))
        number = content << _CHECK_BITS | _check(self.host, self.port, content)
        return "".join(
            _ALPHABET[number >> 5 * place & 31] for place in reversed(range(_CHARACTERS))
        )


def parse_join_code(typed: str) -> JoinCode:
    """Return the code a person typed or a camera read.

    Lower case, full-width forms, spaces, hyphens and look-alikes (O, I, L) are forgiven. Raises
    MistypedCodeError that says what is wrong and repeats nothing of the secret.
    """
    if len(typed) > TYPED_CHARACTERS_MAX:
        raise MistypedCodeError("this text is far longer than a join code; type the code only")
    plain = unicodedata.normalize("NFKC", typed).strip("\ufeff \t\r\n").upper()
    address, slash, written = plain.partition("/")
    if not slash:
        raise MistypedCodeError("the code has no '/' after the hub's address; type it whole")
    host, port = _address(re.sub(r"\s+", "", address))
    content, check = divmod(_number(_SEPARATORS.sub("", written)), 1 << _CHECK_BITS)
    if check != _check(host, port, content):
        raise MistypedCodeError(
            "the code's check does not fit: at least one character is mistyped, "
            "in the hub's address or after it; compare both with the printed code"
        )
    packed = content.to_bytes(52)
    if packed[0] != VERSION:
        raise MistypedCodeError("the code is of a newer kind; update this box's program first")
    return JoinCode(
        host=host,
        port=port,
        root_pin=packed[1:33],
        box=packed[33:37].hex(),
        secret=packed[37:],
    )


def terminal_qr(code: JoinCode) -> str:
    """Return the QR code as lines of half blocks for a terminal."""
    lines = io.StringIO()
    _qr(code).terminal(out=lines, border=2, compact=True)
    return lines.getvalue()


def svg_qr(code: JoinCode) -> str:
    """Return the QR code as one SVG element for a page."""
    drawing: str = _qr(code).svg_inline(scale=4, border=4)
    return drawing


def _qr(code: JoinCode) -> segno.QRCode:
    return segno.make_qr(code.text(), mode="alphanumeric", error="m", boost_error=False)


def _check(host: str, port: int, content: int) -> int:
    covered = f"{host}:{port}/".encode() + content.to_bytes(52)
    return int.from_bytes(hashlib.sha256(covered).digest()) >> 256 - _CHECK_BITS


def _number(letters: str) -> int:
    number = 0
    for place, character in enumerate(letters, start=1):
        value = _VALUES.get(character)
        if value is None:
            raise MistypedCodeError(
                f"character {place} after the '/' is {character!r}, which no code contains; "
                "compare it with the printed code"
            )
        number = number << 5 | value
    if len(letters) != _CHARACTERS:
        raise MistypedCodeError(
            f"the code has {len(letters)} characters after the '/' and should have {_CHARACTERS}; "
            f"{'some are missing' if len(letters) < _CHARACTERS else 'some are too many'}"
        )
    return number


def _address(written: str) -> tuple[str, int]:
    host_text, colon, port_text = written.rpartition(":")
    if not colon:
        raise MistypedCodeError(
            "the hub's address has no ':' and port; it looks like HUB.NAME:8443"
        )
    host = _host(host_text.lower())
    if host is None:
        raise MistypedCodeError("the hub's name before the ':' is no name or address; compare it")
    if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 0 < int(port_text) <= _PORT_MAX:
        raise MistypedCodeError("the port after the hub's name is not a number from 1 to 65535")
    return host, int(port_text)


def _host(text: str) -> str | None:
    """Return the one way to write this host, or None when it is none."""
    if ":" in text:
        try:
            address = ipaddress.IPv6Address(text)
        except ValueError:
            return None
        # A zone is a name on one machine only, so it has no place in a code for another.
        return None if address.scope_id else str(address)
    if len(text) <= _HOST_CHARACTERS_MAX and _HOST_NAME.fullmatch(text):
        return text
    return None
