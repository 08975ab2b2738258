"""Sealing, opening and signing a take's records; the layout is in ``sync.lessons.fragment_log``."""

import hashlib
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import (
    BODY_BYTES_MAX,
    EVENTS,
    FILES,
    NUMBER_MAX,
    SIGNATURES,
    TAKE_BYTES,
    TRACK_MAX,
    Header,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    encode_header,
)
from sync.segments.sealing import KEY_BYTES, UNSEALED, DataKey, KeyId, key_id
from sync.segments.signing import SIGNATURE_BYTES, sign, verify

DIGEST_BYTES = 32
GROUP_HASHES_MAX = 1024
GROUP_RANGES_MAX = 32
MEDIA_TYPE_BYTES_MAX = 255

_CONTEXT = b"schoolnode fragment group"
_TAG_BYTES = 16
_CIPHERS_MAX = 256
_FINAL = 1
_COUNTS = struct.Struct(">BB")
_RANGE = struct.Struct(">BBIH")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTimes:
    """Where one fragment stands: ``decode_time`` and ``duration`` in units of ``timescale``."""

    decode_time: int
    duration: int
    timescale: int
    capture_ms: int


@dataclass(frozen=True, slots=True)
class GroupRange:
    """Records ``first`` … ``first + count - 1`` of one stream, as one signature covers them."""

    stream: Stream
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Group:
    """A signature's content: each range with the SHA-256 of its records in order."""

    ranges: tuple[tuple[GroupRange, tuple[bytes, ...]], ...]
    final: bool


def new_take() -> TakeId:
    """Return a fresh id; always from the system's randomness, since a repeat repeats a nonce."""
    return TakeId(secrets.token_bytes(TAKE_BYTES))


def digest(record: Record) -> bytes:
    return hashlib.sha256(record.wire).digest()


class TakeSealer:
    """Numbers, seals and signs the records of one take, which only this object ever writes."""

    def __init__(self, lesson: LessonId, take: TakeId, key: DataKey) -> None:
        self._lesson = lesson
        self._take = take
        self._key = key
        self._key_id = key_id(key)
        self._ciphers: dict[int, ChaCha20Poly1305] = {}
        self._next: dict[Stream, int] = {}

    def use_key(self, key: DataKey) -> None:
        """Seal the records that follow under another key; numbers go on."""
        self._key = key
        self._key_id = key_id(key)
        self._ciphers = {}

    def seal_init(self, track: int, media_type: str, segment: bytes, capture_ms: int) -> Record:
        """Seal a track's initialisation segment; ``media_type`` names its codecs for a player."""
        name = media_type.encode("ascii")
        if not 1 <= len(name) <= MEDIA_TYPE_BYTES_MAX:
            raise ValueError(f"media type of {len(name)} bytes; 1..{MEDIA_TYPE_BYTES_MAX} fit")
        body = bytes((len(name),)) + name + segment
        return self._seal_next(Stream(Kind.INIT, track), body, capture_ms)

    def seal_event(self, body: bytes, capture_ms: int) -> Record:
        """Seal what ``sync.lessons.lesson_events`` encoded."""
        return self._seal_next(EVENTS, body, capture_ms)

    def seal_file(self, body: bytes, capture_ms: int) -> Record:
        """Seal a chunk that ``sync.lessons.materials`` encoded."""
        return self._seal_next(FILES, body, capture_ms)

    def seal_media(
        self, track: int, number: int, data: bytes, times: MediaTimes, *, keyframe: bool
    ) -> Record:
        """Seal one fragment; numbers of a track only rise.

        Raises ValueError for a number already sealed.
        """
        return self._seal(Stream(Kind.MEDIA, track), number, data, times, keyframe=keyframe)

    def _seal_next(self, stream: Stream, body: bytes, capture_ms: int) -> Record:
        times = MediaTimes(decode_time=0, duration=0, timescale=1, capture_ms=capture_ms)
        return self._seal(stream, self._next.get(stream, 0), body, times, keyframe=False)

    def _seal(
        self, stream: Stream, number: int, body: bytes, times: MediaTimes, *, keyframe: bool
    ) -> Record:
        if not self._next.get(stream, 0) <= number <= NUMBER_MAX:
            raise ValueError(f"number {number} was sealed before or is too high: open a new take")
        if len(body) + _TAG_BYTES > BODY_BYTES_MAX or not 1 <= stream.track <= TRACK_MAX:
            raise ValueError(f"{len(body)} bytes for track {stream.track} do not fit a record")
        header = Header(
            lesson=self._lesson,
            take=self._take,
            kind=stream.kind,
            track=stream.track,
            number=number,
            keyframe=keyframe,
            decode_time=times.decode_time,
            duration=times.duration,
            timescale=times.timescale,
            capture_ms=times.capture_ms,
            key_id=self._key_id,
            body_bytes=len(body) + _TAG_BYTES,
        )
        cipher = self._ciphers.get(stream.track)
        if cipher is None:
            cipher = self._ciphers[stream.track] = _track_cipher(
                self._key, self._take, stream.track
            )
        clear = encode_header(header)
        self._next[stream] = number + 1
        return Record(header, clear + cipher.encrypt(_nonce(header), body, clear), len(clear))


class FragmentOpener:
    """Opens records of one lesson with the lesson keys a box holds."""

    def __init__(self, lesson: LessonId, keys: Mapping[KeyId, DataKey]) -> None:
        """``keys`` is read at each opening: a key that arrives later opens what comes later."""
        self._lesson = lesson
        self._keys = keys
        self._ciphers: dict[tuple[KeyId, TakeId, int], ChaCha20Poly1305] = {}

    def open(self, record: Record) -> bytes:
        """Return the opened body of any record but a signature.

        Raises KeyMissingError when the box lacks the key, ForgedError when the record was altered
        or belongs to another lesson.
        """
        header = record.header
        if header.lesson != self._lesson:
            raise ForgedError(f"a fragment of {header.lesson} arrived as one of {self._lesson}")
        key = self._keys.get(header.key_id)
        if key is None:
            raise KeyMissingError(
                f"lesson {self._lesson} is sealed under key {header.key_id.hex()}, which this box "
                "does not hold; ask the flagship to grant it"
            )
        name = (header.key_id, header.take, header.track)
        cipher = self._ciphers.get(name)
        if cipher is None:
            cipher = _track_cipher(key, header.take, header.track)
        try:
            opened = cipher.decrypt(_nonce(header), record.body, record.associated)
        except InvalidTag as error:
            raise ForgedError(
                f"fragment {header.number} of track {header.track} was altered; refuse it"
            ) from error
        if len(self._ciphers) < _CIPHERS_MAX:
            self._ciphers[name] = cipher
        return opened


def split_init(opened: bytes) -> tuple[str, bytes]:
    """Return (media type, ``ftyp`` + ``moov``) of an opened init; raises MalformedError."""
    end = 1 + opened[0] if opened else 0
    name = opened[1:end]
    if (
        not name
        or len(opened) <= end
        or not name.isascii()
        or not name.decode("ascii").isprintable()
    ):
        raise MalformedError("an init record names no media type or holds no segment; refuse it")
    return name.decode("ascii"), opened[end:]


def sign_group(
    lesson: LessonId,
    take: TakeId,
    number: int,
    group: Group,
    capture_ms: int,
    private: Ed25519PrivateKey,
) -> Record:
    """Return signature ``number`` of a take; ``capture_ms`` is that of its newest record.

    The group is one of :func:`groups_of`, whose limits the format has.
    """
    parts = [_COUNTS.pack(_FINAL if group.final else 0, len(group.ranges))]
    parts += [
        _RANGE.pack(covered.stream.kind, covered.stream.track, covered.first, covered.count)
        for covered, _ in group.ranges
    ]
    parts += [one for _, digests in group.ranges for one in digests]
    body = b"".join(parts)
    header = Header(
        lesson=lesson,
        take=take,
        kind=Kind.SIGNATURE,
        track=SIGNATURES.track,
        number=number,
        keyframe=False,
        decode_time=0,
        duration=0,
        timescale=1,
        capture_ms=capture_ms,
        key_id=UNSEALED,
        body_bytes=len(body) + SIGNATURE_BYTES,
    )
    clear = encode_header(header)
    return Record(header, clear + body + sign(private, _CONTEXT, clear + body), len(clear))


def verify_group(record: Record, public: Ed25519PublicKey) -> Group:
    """Return what a signature covers; raises ForgedError or MalformedError."""
    if record.header.kind is not Kind.SIGNATURE or record.header.body_bytes <= SIGNATURE_BYTES:
        raise MalformedError("the record holds no signature; refuse it")
    signed, signature = record.wire[:-SIGNATURE_BYTES], record.wire[-SIGNATURE_BYTES:]
    verify(public, _CONTEXT, signed, signature)
    return parse_group(record)


def parse_group(record: Record) -> Group:
    """Read a signature's content without verifying it: for the hub's index and stored records."""
    body = record.body[:-SIGNATURE_BYTES]
    if len(body) < _COUNTS.size:
        raise MalformedError("a signature record ends inside its counts; refuse it")
    flags, range_count = _COUNTS.unpack_from(body)
    hashes_at = _COUNTS.size + _RANGE.size * range_count
    final = flags == _FINAL
    if flags > _FINAL or range_count > GROUP_RANGES_MAX or len(body) < hashes_at:
        raise MalformedError("a signature record is outside its limits; refuse it")
    if range_count == 0 and not final:
        raise MalformedError("a signature record covers nothing; refuse it")
    ranges: list[tuple[GroupRange, tuple[bytes, ...]]] = []
    at = hashes_at
    for kind, track, first, count in _RANGE.iter_unpack(body[_COUNTS.size : hashes_at]):
        within = (
            kind in (Kind.MEDIA, Kind.INIT, Kind.EVENT, Kind.FILE)
            and 1 <= track <= TRACK_MAX
            and 1 <= count <= GROUP_HASHES_MAX
            and first + count - 1 <= NUMBER_MAX
        )
        end = at + DIGEST_BYTES * count
        if not within or end > len(body):
            raise MalformedError("a signature record's range is outside its limits; refuse it")
        digests = tuple(
            body[at + k : at + k + DIGEST_BYTES] for k in range(0, end - at, DIGEST_BYTES)
        )
        ranges.append((GroupRange(Stream(Kind(kind), track), first, count), digests))
        at = end
    if at != len(body) or at - hashes_at > DIGEST_BYTES * GROUP_HASHES_MAX:
        raise MalformedError("a signature record holds more than its ranges say; refuse it")
    return Group(tuple(ranges), final)


def groups_of(records: Sequence[tuple[Stream, int, bytes]], *, final: bool) -> list[Group]:
    """Order (stream, number, digest) of unsigned records into as few groups as the format allows.

    A stream's numbers may have holes (a torn recording); each run becomes a range. With ``final``
    the last group says so, and there is one even for no records.
    """
    groups: list[list[tuple[GroupRange, tuple[bytes, ...]]]] = [[]]
    room = GROUP_HASHES_MAX
    for first, digests in _runs(sorted(records)):
        stream, number = first
        rest = digests
        while rest:
            if room == 0 or len(groups[-1]) == GROUP_RANGES_MAX:
                groups.append([])
                room = GROUP_HASHES_MAX
            part, rest = rest[:room], rest[room:]
            groups[-1].append((GroupRange(stream, number, len(part)), tuple(part)))
            number += len(part)
            room -= len(part)
    last = len(groups) - 1
    return [
        Group(tuple(ranges), final=final and index == last)
        for index, ranges in enumerate(groups)
        if ranges or final
    ]


def lesson_cipher(key: DataKey, *, salt: bytes, info: bytes) -> ChaCha20Poly1305:
    """Return the cipher for one use of a lesson's key (RFC 5869, RFC 8439)."""
    derived = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)
    return ChaCha20Poly1305(derived)


def _runs(
    ordered: Sequence[tuple[Stream, int, bytes]],
) -> list[tuple[tuple[Stream, int], list[bytes]]]:
    runs: list[tuple[tuple[Stream, int], list[bytes]]] = []
    expected: tuple[Stream, int] | None = None
    for stream, number, one in ordered:
        if (stream, number) == expected:
            runs[-1][1].append(one)
        else:
            runs.append(((stream, number), [one]))
        expected = (stream, number + 1)
    return runs


def _track_cipher(key: DataKey, take: TakeId, track: int) -> ChaCha20Poly1305:
    return lesson_cipher(key, salt=take, info=b"schoolnode fragment v1" + bytes((track,)))


def _nonce(header: Header) -> bytes:
    return header.kind.to_bytes(4, "big") + header.number.to_bytes(8, "big")
