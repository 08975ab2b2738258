"""A lesson's captions that came after it, sealed with its key: rows of ``caption_track``.

The flagship writes them, all parties read them, and the hub carries what it cannot read. Captions
of one language are zlib-compressed JSON, ``[[from_ms, until_ms, text], …]`` in capture times (Unix
ms), sealed with ChaCha20-Poly1305 (RFC 8439): key = HKDF-SHA256(lesson key, salt = lesson id, info
= "schoolnode captions v1"), associated data = lesson id || 0x00 || language; 12 random bytes of
nonce go before. The sealed bytes are cut into pieces of 8 KB, one row each: ``language`` is the
BCP 47 tag, from the second piece on with a dot and the piece's number; ``pieces`` counts them, and
``digest`` is SHA-256 over the whole.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_sealing import lesson_cipher
from sync.segments.sealing import DataKey, KeyId, RandomBytes, key_id

PIECE_BYTES_MAX = 8 * 1024
PIECES_MAX = 32
TEXT_BYTES_MAX = 2 * 1024 * 1024
_NONCE_BYTES = 12
_LINES = msgspec.json.Decoder(list[tuple[int, int, str]])

CaptionLines = Sequence[tuple[int, int, str]]
"""(from, until, text), capture times in Unix ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One row of ``caption_track``, without its school."""

    lesson: str
    language: str
    digest: bytes
    lesson_key: bytes
    pieces: int
    sealed: bytes

    def row(self) -> dict[str, str | bytes | int]:
        return {
            "lesson": self.lesson,
            "language": self.language,
            "digest": self.digest,
            "lesson_key": self.lesson_key,
            "pieces": self.pieces,
            "sealed": self.sealed,
        }


def seal_captions(
    lesson: str, language: str, lines: CaptionLines, key: DataKey, random_bytes: RandomBytes
) -> list[Piece]:
    """Return the rows of one language's captions; raises MalformedError for too many."""
    packed = zlib.compress(msgspec.json.encode(lines), 9)
    nonce = random_bytes(_NONCE_BYTES)
    sealed = nonce + _cipher(lesson, key).encrypt(nonce, packed, _purpose(lesson, language))
    parts = [sealed[at : at + PIECE_BYTES_MAX] for at in range(0, len(sealed), PIECE_BYTES_MAX)]
    if len(parts) > PIECES_MAX:
        raise MalformedError("these captions are longer than a lesson's; leave some out")
    digest = hashlib.sha256(sealed).digest()
    return [
        Piece(
            lesson=lesson,
            language=language if number == 1 else f"{language}.{number}",
            digest=digest,
            lesson_key=key_id(key),
            pieces=len(parts),
            sealed=part,
        )
        for number, part in enumerate(parts, start=1)
    ]


def open_captions(
    pieces: Iterable[Piece], language: str, keys: Mapping[KeyId, DataKey]
) -> list[tuple[int, int, str]]:
    """Return one language's captions of their rows, in any order.

    Raises KeyMissingError, ForgedError for what was altered or is not whole, MalformedError.
    """
    found = {piece.language: piece for piece in pieces}
    first = found.get(language)
    if first is None:
        return []
    if not 1 <= first.pieces <= PIECES_MAX:
        raise MalformedError("captions in more pieces than a lesson's have; refuse them")
    names = [language, *(f"{language}.{number}" for number in range(2, first.pieces + 1))]
    sealed = b"".join(found[name].sealed for name in names if name in found)
    if hashlib.sha256(sealed).digest() != first.digest:
        raise ForgedError("captions that are not whole; wait for the rest of them")
    key = keys.get(KeyId(first.lesson_key))
    if key is None:
        raise KeyMissingError("the captions are sealed under a key that this box does not hold")
    try:
        packed = _cipher(first.lesson, key).decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _purpose(first.lesson, language)
        )
        text = zlib.decompressobj().decompress(packed, TEXT_BYTES_MAX)
        return _LINES.decode(text)
    except (InvalidTag, ValueError) as error:
        raise ForgedError("captions that were altered; refuse them") from error
    except zlib.error as error:
        raise MalformedError("captions that cannot be read; refuse them") from error


def _cipher(lesson: str, key: DataKey) -> ChaCha20Poly1305:
    return lesson_cipher(key, salt=lesson.encode(), info=b"schoolnode captions v1")


def _purpose(lesson: str, language: str) -> bytes:
    return lesson.encode() + b"\x00" + language.encode()
