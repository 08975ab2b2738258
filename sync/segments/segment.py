"""A segment: the signed, sealed unit of a log and of resume.

On the wire::

    "SNS1" | u16 length of header | header | 64-byte Ed25519 signature | bodies, in header order

A segment whose bodies a checkpoint lets go (:mod:`sync.history.checkpoint`) keeps the rest::

    "SNH1" | u16 length of header | header | 64-byte Ed25519 signature

The header is a msgpack array (:class:`Header`); the signature covers its bytes as they stand. A
body is msgpack (:mod:`sync.segments.columnar`), zstd, then ChaCha20-Poly1305
(:mod:`sync.segments.sealing`); its associated data is :func:`body_context`. Integers are
big-endian. Receivers hash and verify the bytes they received and never encode a header again.
"""

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from sync.errors import ForgedError, MalformedError
from sync.schema.model import GROUPS, Group, Lane
from sync.segments.body import ROWS_MAX
from sync.segments.body_dictionary import BODY_DICTIONARY
from sync.segments.sealing import SALT_BYTES, UNSEALED, DataKey, KeyId, open_body, seal_body
from sync.segments.signing import SIGNATURE_BYTES, SignerId, sign, verify

SEGMENT_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 1024 * 1024
"""A body whose frame states more is refused before decompressing."""
ZSTD_LEVEL = 9  # bodies of a few KiB: level 9 costs 0.3 ms and saves 6 % over level 3

SHORT_BODY_BYTES_MAX = 4096
"""Longer bodies repeat enough in themselves; searching the dictionary too would cost more."""
_DICTIONARY = zstandard.ZstdCompressionDict(
    BODY_DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT
)

_MAGIC = b"SNS1"
HOLLOW_MAGIC = b"SNH1"
_CONTEXT = b"schoolnode segment"
_PREFIX = struct.Struct(">4sH")
_SCHOOL_MAX = 2**32 - 1
_INT63_MAX = 2**63 - 1
_PLACE_MAX = 2**48 - 1  # of segments and rows in a log
_VERSION_MAX = 2**16 - 1
# The lesson ids of sync.lessons.fragment_log; a school's number is written one way only.
_AUDIENCE = re.compile(r"d|s(?:0|[1-9][0-9]{0,9})|l[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
HUB = 0
"""The origin that is the district's hub; schools count from 1."""
FIRST_PREV = bytes(32)


class LogName(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, order=True):
    """A log: one writer's rows for one audience in one lane.

    ``origin`` is a school's number, 0 for the hub. ``audience`` is ``s<school>``, ``l<lesson>``
    or ``d``.
    """

    origin: int
    incarnation: int
    audience: str
    lane: Lane

    def __str__(self) -> str:
        return f"{self.origin}/{self.incarnation:016x}/{self.audience}/{self.lane.name.lower()}"


class BodyHeader(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    group: int  # index into sync.schema.model.GROUPS
    key_id: bytes
    salt: bytes
    length: int
    digest: bytes  # SHA-256 of the sealed body


class TableHeader(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    table: int
    version: int
    rows: int


class Header(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What everyone who carries the segment may know."""

    log: LogName
    seq: int  # contiguous from 1
    prev: bytes  # SHA-256 of the previous header's bytes; zeros before the first
    signer: bytes
    first_row: int  # log row numbers, first and last; never reused, may have gaps
    last_row: int
    first_stamp: int
    last_stamp: int
    tables: list[TableHeader]
    bodies: list[BodyHeader]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainBody:
    """What one group holds of a segment, before sealing."""

    group: Group
    key: DataKey | None  # None: rows that are sealed already (Group.GRANT)
    key_id: KeyId
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A parsed segment; its bodies' hashes hold, its signature is not yet verified.

    A hollow one has no bodies any more: what still counts of them is in a snapshot.
    """

    header: Header
    header_bytes: bytes
    signature: bytes
    bodies: tuple[bytes, ...]
    wire: bytes

    @property
    def header_digest(self) -> bytes:
        return hashlib.sha256(self.header_bytes).digest()

    @property
    def is_hollow(self) -> bool:
        return not self.bodies

    def hollow(self) -> bytes:
        """Return the segment as it travels and is stored without its bodies."""
        prefix = _PREFIX.pack(HOLLOW_MAGIC, len(self.header_bytes))
        return b"".join((prefix, self.header_bytes, self.signature))

    def verify(self, public: Ed25519PublicKey) -> None:
        """Raise ForgedError unless ``public`` signed this header."""
        verify(public, _CONTEXT, self.header_bytes, self.signature)

    def open(self, place: int, key: DataKey | None) -> bytes:
        """Return body ``place`` in clear.

        Raises ForgedError when the key does not open it, MalformedError when it is larger than
        BODY_BYTES_MAX or no zstd frame, and for a hollow segment.
        """
        if self.is_hollow:
            raise MalformedError(f"{self.header.log} segment {self.header.seq} has no bodies left")
        described = self.header.bodies[place]
        packed = self.bodies[place]
        if key is not None:
            context = body_context(self.header.log, self.header.seq, GROUPS[described.group])
            packed = open_body(key, described.salt, context, packed)
        elif GROUPS[described.group] is not Group.GRANT:
            raise ForgedError("only key grants may travel unsealed; refuse the segment")
        return decompress(packed)


def body_context(log: LogName, seq: int, group: Group) -> bytes:
    return msgspec.msgpack.encode([log, seq, group])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a new segment stands in its log."""

    log: LogName
    seq: int
    prev: bytes
    first_row: int
    last_row: int
    first_stamp: int
    last_stamp: int


def build_segment(
    place: Place,
    tables: list[TableHeader],
    bodies: list[PlainBody],
    salt: bytes,
    signer: tuple[SignerId, Ed25519PrivateKey],
) -> bytes:
    """Seal, sign and frame; ``salt`` is SALT_BYTES of fresh chance, derived once a body."""
    described = []
    sealed = []
    for body in bodies:
        packed = compress(body.content)
        own_salt = b""
        if body.key is not None:
            own_salt = hashlib.sha256(salt + body.group.encode()).digest()[:SALT_BYTES]
            context = body_context(place.log, place.seq, body.group)
            packed = seal_body(body.key, own_salt, context, packed)
        described.append(
            BodyHeader(
                group=GROUPS.index(body.group),
                key_id=body.key_id,
                salt=own_salt,
                length=len(packed),
                digest=hashlib.sha256(packed).digest(),
            )
        )
        sealed.append(packed)
    signer_name, private = signer
    header = msgspec.msgpack.encode(
        Header(
            log=place.log,
            seq=place.seq,
            prev=place.prev,
            signer=signer_name,
            first_row=place.first_row,
            last_row=place.last_row,
            first_stamp=place.first_stamp,
            last_stamp=place.last_stamp,
            tables=tables,
            bodies=described,
        )
    )
    signature = sign(private, _CONTEXT, header)
    return frame_segment(header, signature, sealed)


def frame_segment(header: bytes, signature: bytes, bodies: Sequence[bytes]) -> bytes:
    """Return a segment as it travels and is stored, from its parts as they stand."""
    return b"".join((_PREFIX.pack(_MAGIC, len(header)), header, signature, *bodies))


_header_decoder = msgspec.msgpack.Decoder(Header)


def parse_segment(wire: bytes) -> Segment:
    """Parse one whole segment strictly.

    Raises MalformedError for anything :func:`build_segment` could not have made, ForgedError when
    a body is not the one its header names.
    """
    if len(wire) > SEGMENT_BYTES_MAX:
        raise MalformedError(f"a segment of {len(wire)} bytes; the limit is {SEGMENT_BYTES_MAX}")
    if len(wire) < _PREFIX.size:
        raise MalformedError("a segment shorter than its prefix")
    magic, header_length = _PREFIX.unpack_from(wire)
    if magic not in {_MAGIC, HOLLOW_MAGIC}:
        raise MalformedError("not a segment: it begins with neither SNS1 nor SNH1")
    header_end = _PREFIX.size + header_length
    header_bytes = wire[_PREFIX.size : header_end]
    offset = header_end + SIGNATURE_BYTES
    if offset > len(wire):
        raise MalformedError("a segment cut off in its header")
    try:
        header = _header_decoder.decode(header_bytes)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"a segment header does not parse: {error}") from error
    _check_header(header)
    bodies = []
    for described in header.bodies if magic == _MAGIC else ():
        body = wire[offset : offset + described.length]
        offset += described.length
        if hashlib.sha256(body).digest() != described.digest:
            raise ForgedError(f"a body of {header.log} segment {header.seq} was altered")
        bodies.append(body)
    if offset != len(wire):
        raise MalformedError("a segment with bytes after its last body")
    return Segment(
        header=header,
        header_bytes=header_bytes,
        signature=wire[header_end : header_end + SIGNATURE_BYTES],
        bodies=tuple(bodies),
        wire=wire,
    )


def compress(content: bytes) -> bytes:
    """Return one zstd frame that states its size; short content refers to the dictionary."""
    is_short = len(content) <= SHORT_BODY_BYTES_MAX
    dictionary = _DICTIONARY if is_short else None
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, dict_data=dictionary).compress(content)


def decompress(packed: bytes) -> bytes:
    """Return the content of exactly one zstd frame that states its size.

    Raises MalformedError for anything else, and for more than BODY_BYTES_MAX bytes before any is
    made.
    """
    try:
        stated = zstandard.frame_content_size(packed)
        if not 0 <= stated <= BODY_BYTES_MAX:
            raise MalformedError(f"a body of {stated} bytes; the limit is {BODY_BYTES_MAX}")
        # allow_extra_data: nothing may hide behind the frame.
        opener = zstandard.ZstdDecompressor(dict_data=_DICTIONARY)
        return opener.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedError(f"a body does not decompress: {error}") from error


def check_log_name(log: LogName) -> None:
    """Raise MalformedError unless this can be the name of a log."""
    if not 0 <= log.origin <= _SCHOOL_MAX or not 0 < log.incarnation <= _INT63_MAX:
        raise MalformedError("a log name out of range")
    if _AUDIENCE.fullmatch(log.audience) is None:
        raise MalformedError(f"{log.audience[:64]!r} is no audience: d, s<school> or l<lesson>")
    if log.audience.startswith("s"):
        school = int(log.audience[1:])
        if school > _SCHOOL_MAX or log.origin not in {HUB, school}:
            raise MalformedError(f"origin {log.origin} has no log for school {school}")


def _check_header(header: Header) -> None:
    log = header.log
    check_log_name(log)
    stamps_rise = 0 < header.first_stamp <= header.last_stamp <= _INT63_MAX
    rows_rise = 0 < header.first_row <= header.last_row <= _PLACE_MAX
    if not (1 <= header.seq <= _PLACE_MAX and stamps_rise and rows_rise):
        raise MalformedError(f"{log}: sequence, rows or stamps out of range")
    if len(header.prev) != len(FIRST_PREV) or len(header.signer) != len(UNSEALED):
        raise MalformedError(f"{log}: a hash or signer of the wrong length")
    if (header.seq == 1) != (header.prev == FIRST_PREV):
        raise MalformedError(f"{log} segment {header.seq}: only the first follows nothing")
    numbers = [table.table for table in header.tables]
    if not numbers or not all(before < after for before, after in pairwise(numbers)):
        raise MalformedError(f"{log}: tables out of order")
    if not all(
        table.rows > 0 and 0 < table.version <= _VERSION_MAX and 0 < table.table <= _VERSION_MAX
        for table in header.tables
    ):
        raise MalformedError(f"{log}: a table's rows, number or version out of range")
    rows = sum(table.rows for table in header.tables)
    if rows > min(ROWS_MAX, header.last_row - header.first_row + 1):
        raise MalformedError(f"{log}: {rows} rows do not fit the row numbers given")
    _check_bodies(header)


def _check_bodies(header: Header) -> None:
    log = header.log
    groups = [body.group for body in header.bodies]
    if (
        not groups
        or sorted(set(groups)) != groups
        or not 0 <= groups[0] <= groups[-1] < len(GROUPS)
    ):
        raise MalformedError(f"{log}: bodies out of order")
    for body in header.bodies:
        unsealed = GROUPS[body.group] is Group.GRANT
        if body.length < 1 or len(body.key_id) != len(UNSEALED):
            raise MalformedError(f"{log}: a body header out of range")
        if unsealed != (body.key_id == UNSEALED) or len(body.salt) != (
            0 if unsealed else SALT_BYTES
        ):
            raise MalformedError(f"{log}: a body's key does not fit its group")
