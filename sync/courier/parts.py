"""A courier part: segments and receipts from one node to another, in one file on a USB stick.

On the stick::

    "SNC1" | u32 length of manifest | manifest | 64-byte Ed25519 signature | segments, one after
    the other, each u32 length | bytes

The manifest is a msgpack array (:class:`Manifest`); the signature covers its bytes as they stand,
and the SHA-256 in it covers all that follows the signature. Integers are big-endian. Any changed
byte is noticed. A finder reads what a carrier of segments reads: who writes to whom, when, how
many rows of which tables, and which schools' logs the sender holds; no cell of a row.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sync.errors import ForgedError, MalformedError
from sync.logs.log_state import HEAD_BYTES, Holding
from sync.segments.segment import SEGMENT_BYTES_MAX, check_log_name
from sync.segments.signing import SIGNATURE_BYTES, SignerId

VERSION = 1
PART_BYTES_MAX = 8 * 1024 * 1024
"""A file on a stick that is larger is not read."""
SEGMENT_BYTES_A_PART = 3 * 1024 * 1024
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
LOGS_MAX = 65_536
CONTEXT = b"schoolnode courier"

_MAGIC = b"SNC1"
_PREFIX = struct.Struct(">4sI")
_LENGTH = struct.Struct(">I")
_SIGNER_BYTES = 8
_TRIP_BYTES = 8
_DIGEST_BYTES = 32
_DISTRICT_MAX = 128
_PARTS_MAX = 16_384
_ORIGIN_MAX = 2**32 - 1
_INT48_MAX, _INT63_MAX = 2**48 - 1, 2**63 - 1


class Manifest(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What one part is, and from whom to whom."""

    version: int
    district: str
    origin: int
    recipient: int
    signer: bytes
    trip: bytes  # drawn anew for each export; alike in all its parts
    made_ms: int  # by the sender's wall clock
    part: int  # from 1
    parts: int
    incarnation: int  # the sender's
    have: list[Holding]  # the sender's receipts, whole; in the first part only
    segments: int
    digest: bytes  # SHA-256 of all that follows the signature


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was opened: its manifest's signature and its content's hash hold."""

    manifest: Manifest
    segments: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Unproven:
    """A part whose content is what its manifest names, of which nobody has shown who signed it."""

    manifest: Manifest
    manifest_bytes: bytes
    signature: bytes
    segments: tuple[bytes, ...]

    @property
    def signer(self) -> SignerId:
        return SignerId(self.manifest.signer)


def pack_segments(segments: Sequence[bytes]) -> bytes:
    return b"".join(piece for wire in segments for piece in (_LENGTH.pack(len(wire)), wire))


def digest_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def join_part(manifest: bytes, signature: bytes, content: bytes) -> bytes:
    return b"".join((_PREFIX.pack(_MAGIC, len(manifest)), manifest, signature, content))


_decoder = msgspec.msgpack.Decoder(Manifest)


def parse_part(data: bytes) -> Unproven:
    """Parse one file strictly.

    Raises MalformedError for what no sender makes, ForgedError when what follows the manifest is
    not what it names.
    """
    if len(data) > PART_BYTES_MAX:
        raise MalformedError(f"it has {len(data)} bytes; a courier file has at most 8 MiB")
    if len(data) < _PREFIX.size or not data.startswith(_MAGIC):
        raise MalformedError("it is no courier file: it does not begin with SNC1")
    _, length = _PREFIX.unpack_from(data)
    end = _PREFIX.size + length
    start = end + SIGNATURE_BYTES
    if length > MANIFEST_BYTES_MAX or start > len(data):
        raise MalformedError("its manifest is cut off")
    manifest_bytes = data[_PREFIX.size : end]
    try:
        manifest = _decoder.decode(manifest_bytes)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"its manifest does not parse: {error}") from error
    _check(manifest)
    content = data[start:]
    if digest_of(content) != manifest.digest:
        raise ForgedError("its segments were altered or cut off since they were written")
    segments = _split(content)
    if len(segments) != manifest.segments:
        raise MalformedError(f"it holds {len(segments)} segments and states {manifest.segments}")
    return Unproven(manifest, manifest_bytes, data[end:start], segments)


def _split(content: bytes) -> tuple[bytes, ...]:
    segments = []
    place = 0
    while place < len(content):
        if place + _LENGTH.size > len(content):
            raise MalformedError("its last segment is cut off")
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        if not 0 < length <= min(SEGMENT_BYTES_MAX, len(content) - place):
            raise MalformedError(f"a segment of {length} bytes at byte {place} cannot be")
        segments.append(content[place : place + length])
        place += length
    return tuple(segments)


def _check(manifest: Manifest) -> None:
    if manifest.version != VERSION:
        raise MalformedError(
            f"it has courier version {manifest.version}, this node reads {VERSION}; update the"
            " older of both"
        )
    ends = (manifest.origin, manifest.recipient)
    if not all(0 <= end <= _ORIGIN_MAX for end in ends) or ends.count(0) != 1:
        raise MalformedError(f"it goes from {ends[0]} to {ends[1]}: one end must be the hub")
    lengths = (len(manifest.signer), len(manifest.trip), len(manifest.digest))
    if lengths != (_SIGNER_BYTES, _TRIP_BYTES, _DIGEST_BYTES):
        raise MalformedError("a name or hash in its manifest has the wrong length")
    if len(manifest.district) > _DISTRICT_MAX or len(manifest.have) > LOGS_MAX:
        raise MalformedError("its manifest holds more than a manifest does")
    amounts_fit = (
        0 <= manifest.made_ms <= _INT48_MAX
        and 1 <= manifest.part <= manifest.parts <= _PARTS_MAX
        and 0 < manifest.incarnation <= _INT63_MAX
        and manifest.segments >= 0
    )
    if not amounts_fit:
        raise MalformedError("an amount or moment in its manifest is out of range")
    for holding in manifest.have:
        check_log_name(holding.log)
        if not 0 <= holding.applied <= holding.stored <= _INT48_MAX:
            raise MalformedError(f"the receipt of {holding.log} is out of range")
        if len(holding.head) != HEAD_BYTES:
            raise MalformedError(f"the head of {holding.log} has the wrong length")
