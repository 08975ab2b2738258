"""One school's part of a roster, sealed to the key of its box: what the district's tool hands out.

    "SNR1" | u32 header length | header | 8-byte signer | 64-byte signature
    | (u32 length | sealed part)…

A fresh data key is wrapped for the box (HPKE, as key grants are); part n, from 0, is the body of a
segment in miniature: msgpack, zstd, ChaCha20-Poly1305 under HKDF(data key, n in 16 bytes), with
district, school, moment and n as associated data. The hub signs the header, which names the hash of
all parts: it can sign what others sealed without being able to read it. Integers are big-endian.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sync.errors import ForgedError, MalformedError, RosterError
from sync.rosters.people import Person, Pupil, StaffMember
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    DataKey,
    KeyId,
    RandomBytes,
    key_id,
    new_data_key,
    open_body,
    recipient_id,
    seal_body,
    unwrap,
    wrap,
)
from sync.segments.segment import compress, decompress
from sync.segments.signing import SIGNATURE_BYTES, SignerId

VERSION = 1
FILE_BYTES_MAX = 4 * 1024 * 1024
PEOPLE_MAX = 20_000
PART_PEOPLE = 200
SUFFIX = ".roster"
CONTEXT = b"schoolnode roster"
MAGIC = b"SNR1"

_PREFIX = struct.Struct(">4sI")
_LENGTH = struct.Struct(">I")
_SIGNER_BYTES = 8
_UNSIGNED = bytes(_SIGNER_BYTES + SIGNATURE_BYTES)
_HEADER_BYTES_MAX = 4096
_PARTS_MAX = 2 * PEOPLE_MAX // PART_PEOPLE

Count = Annotated[int, msgspec.Meta(ge=0, le=PEOPLE_MAX)]
Name = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]


class RosterHeader(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a sealed roster says in clear: whose it is, and how many stand in it."""

    version: int
    district: Annotated[str, msgspec.Meta(max_length=32)]
    school: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    box: Annotated[str, msgspec.Meta(max_length=16)]  # whose key it is sealed to
    recipient: Name
    suite: int
    key: Name
    wrapped: Annotated[bytes, msgspec.Meta(max_length=256)]
    made_ms: Annotated[int, msgspec.Meta(ge=0, le=2**48 - 1)]  # its version: a later one is newer
    pupils: Count
    staff: Count
    classes: Count
    parts: Annotated[int, msgspec.Meta(ge=0, le=_PARTS_MAX)]
    digest: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]  # SHA-256 of all parts


class _Part(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    pupils: list[Pupil]
    staff: list[StaffMember]


@dataclass(frozen=True, slots=True)
class SealedRoster:
    """A sealed roster whose parts are those its header names; nobody has shown who signed it."""

    header: RosterHeader
    header_bytes: bytes
    signer: SignerId
    signature: bytes
    parts: tuple[bytes, ...]

    @property
    def is_signed(self) -> bool:
        return any(self.signer)


@dataclass(frozen=True, slots=True)
class RosterPeople:
    """Everyone of one school's roster."""

    pupils: tuple[Pupil, ...]
    staff: tuple[StaffMember, ...]


_header_decoder = msgspec.msgpack.Decoder(RosterHeader)
_part_decoder = msgspec.msgpack.Decoder(_Part)
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RosterSealer:
    """Seals people as they come; at most PART_PEOPLE of them are ever held in clear."""

    def __init__(
        self,
        recipient: X25519PublicKey,
        address: tuple[str, int, str],
        made_ms: int,
        random_bytes: RandomBytes,
    ) -> None:
        """``address`` is district, school and box."""
        self._recipient = recipient
        self._address = address
        self._made_ms = made_ms
        self._key = new_data_key(random_bytes)
        self._pupils: list[Pupil] = []
        self._staff: list[StaffMember] = []
        self._classes: set[str] = set()
        self._parts: list[bytes] = []
        self.pupils = self.staff = 0

    @property
    def classes(self) -> int:
        return len(self._classes)

    def add(self, person: Person) -> None:
        """Take one person; raises RosterError beyond PEOPLE_MAX."""
        if self.pupils + self.staff >= PEOPLE_MAX:
            raise RosterError(f"more than {PEOPLE_MAX} people in one school; split it")
        match person:
            case Pupil():
                self._pupils.append(person)
                self._classes.add(person.class_group)
                self.pupils += 1
            case StaffMember():
                self._staff.append(person)
                self.staff += 1
        if len(self._pupils) + len(self._staff) == PART_PEOPLE:
            self._seal_part()

    def finish(self) -> bytes:
        """Return the whole file, unsigned; raises RosterError when it is too large."""
        if self._pupils or self._staff:
            self._seal_part()
        content = b"".join(_LENGTH.pack(len(each)) + each for each in self._parts)
        district, school, box = self._address
        header = msgspec.msgpack.encode(
            RosterHeader(
                version=VERSION,
                district=district,
                school=school,
                box=box,
                recipient=recipient_id(self._recipient),
                suite=SUITE_X25519_SHA256_CHACHA20,
                key=key_id(self._key),
                wrapped=wrap(self._key, self._recipient, _purpose(district, school)),
                made_ms=self._made_ms,
                pupils=self.pupils,
                staff=self.staff,
                classes=self.classes,
                parts=len(self._parts),
                digest=hashlib.sha256(content).digest(),
            )
        )
        whole = b"".join((_PREFIX.pack(MAGIC, len(header)), header, _UNSIGNED, content))
        if len(whole) > FILE_BYTES_MAX:
            raise RosterError(f"school {school}'s part has {len(whole)} bytes; split the school")
        return whole

    def _seal_part(self) -> None:
        number = len(self._parts)
        content = compress(msgspec.msgpack.encode(_Part(self._pupils, self._staff)))
        where = _place(self._address[0], self._address[1], self._made_ms, number)
        self._parts.append(seal_body(self._key, _salt(number), where, content))
        self._pupils, self._staff = [], []


def sign_roster(sealed: bytes, signer: SignerId, sign: Callable[[bytes, bytes], bytes]) -> bytes:
    """Return the same file signed; ``sign`` is given context and message.

    Raises MalformedError or ForgedError for what is no sealed roster.
    """
    header = parse_roster(sealed).header_bytes
    end = _PREFIX.size + len(header)
    signature = sign(CONTEXT, header)
    return b"".join((sealed[:end], signer, signature, sealed[end + len(_UNSIGNED) :]))


def parse_roster(data: bytes) -> SealedRoster:
    """Parse a file strictly.

    Raises MalformedError for what no tool makes, ForgedError when its parts are not what its
    header names.
    """
    if len(data) > FILE_BYTES_MAX:
        raise MalformedError(f"a sealed roster of {len(data)} bytes; the limit is 4 MiB")
    if len(data) < _PREFIX.size or not data.startswith(MAGIC):
        raise MalformedError("it is no sealed roster: it does not begin with SNR1")
    _, length = _PREFIX.unpack_from(data)
    end = _PREFIX.size + length
    start = end + len(_UNSIGNED)
    if length > _HEADER_BYTES_MAX or start > len(data):
        raise MalformedError("the sealed roster is cut off; copy it again")
    header_bytes = data[_PREFIX.size : end]
    try:
        header = _header_decoder.decode(header_bytes)
    except _FAULTS as error:
        raise MalformedError(f"the sealed roster's header does not parse: {error}") from error
    if header.version != VERSION:
        raise MalformedError(
            f"the sealed roster has version {header.version}, this program reads {VERSION}; update"
            " the older of both"
        )
    if hashlib.sha256(data[start:]).digest() != header.digest:
        raise ForgedError("the sealed roster was altered or cut off; copy it again")
    return SealedRoster(
        header,
        header_bytes,
        SignerId(data[end : end + _SIGNER_BYTES]),
        data[end + _SIGNER_BYTES : start],
        _split(data[start:], header.parts),
    )


def open_roster(sealed: SealedRoster, private: X25519PrivateKey) -> RosterPeople:
    """Open a roster with the key it was sealed to.

    Raises ForgedError when it was sealed to another key or altered, MalformedError when what was
    sealed is no roster.
    """
    header = sealed.header
    purpose = _purpose(header.district, header.school)
    key = unwrap(header.wrapped, header.suite, private, purpose, KeyId(header.key))
    pupils: list[Pupil] = []
    staff: list[StaffMember] = []
    for number, part in enumerate(sealed.parts):
        found = _open_part(header, key, number, part)
        pupils += found.pupils
        staff += found.staff
    if (len(pupils), len(staff)) != (header.pupils, header.staff):
        raise MalformedError("the sealed roster does not hold as many people as it says; refused")
    return RosterPeople(tuple(pupils), tuple(staff))


def _open_part(header: RosterHeader, key: DataKey, number: int, part: bytes) -> _Part:
    where = _place(header.district, header.school, header.made_ms, number)
    content = decompress(open_body(key, _salt(number), where, part))
    try:
        found = _part_decoder.decode(content)
    except _FAULTS as error:
        raise MalformedError(f"a part of the sealed roster does not parse: {error}") from error
    if len(found.pupils) + len(found.staff) > PART_PEOPLE:
        raise MalformedError("a part of the sealed roster holds too many people; refused")
    return found


def _split(content: bytes, count: int) -> tuple[bytes, ...]:
    parts: list[bytes] = []
    place = 0
    while place < len(content):
        if len(parts) == count or place + _LENGTH.size > len(content):
            raise MalformedError("the sealed roster holds other parts than it says; refused")
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        if not 0 < length <= len(content) - place:
            raise MalformedError("a part of the sealed roster is cut off; copy it again")
        parts.append(content[place : place + length])
        place += length
    if len(parts) != count:
        raise MalformedError("the sealed roster holds other parts than it says; refused")
    return tuple(parts)


def _purpose(district: str, school: int) -> bytes:
    return f"{district}/{school}/roster".encode()


def _place(district: str, school: int, made_ms: int, number: int) -> bytes:
    return msgspec.msgpack.encode([CONTEXT, district, school, made_ms, number])


def _salt(number: int) -> bytes:
    return number.to_bytes(16)
