"""The fragment log's wire: what one record of a lesson's take looks like, byte for byte.

A lesson is a set of takes; a take is an append-only log of records. The same record bytes travel
live, lie in every recording and are fetched for catch-up; nobody re-encodes them. Integers are
big-endian. A record is its clear header and its body::

    offset  bytes  field
    0       2      magic, ASCII "SF"
    2       1      version, 1
    3       1      kind: 0 media, 1 init, 2 signature, 3 event, 4 file
    4       1      track: 1..15 for media and init (``sync.lessons.tracks``), 1 for event and
                   file, 0 for signature; odd = picture, even = sound
    5       1      flags: bit 0 keyframe (media only); other bits zero
    6       1      n, length of the lesson's id, 1..48
    7       n      lesson id, ASCII, [A-Za-z0-9][A-Za-z0-9._-]*
    7+n     8      take id, random, one per capture start
    15+n    8      number, contiguous from 0 within (take, kind, track), at most 2^20 - 1
    23+n    8      decode time in units of the timescale, at most 2^53 - 1
    31+n    4      duration in units of the timescale
    35+n    4      timescale in Hz, 1..10,000,000
    39+n    8      capture time, Unix milliseconds, at most 2^53 - 1
    47+n    8      id of the lesson key (``sync.segments.sealing.key_id``); zeros for signature
    55+n    4      length of the body in bytes, 1..4 MiB
    59+n    …      body

Media, init, event and file bodies are sealed with ChaCha20-Poly1305 (RFC 8439): key =
HKDF-SHA256(lesson key, salt = take id, info = "schoolnode fragment v1" || track as one byte),
nonce = kind as 4 bytes || number as 8 bytes (for media therefore the plain fragment number),
associated data = the whole header, tag appended. A take is never resumed, so no key and nonce ever
meet twice. Opened:

- media: one ``moof`` + ``mdat`` of one track.
- init: 1 byte m, m bytes of ASCII media type (``video/mp4; codecs="avc1.42E01F"``), then
  ``ftyp`` + ``moov`` of that track alone.
- event: what happens beside picture and sound, as ``sync.lessons.lesson_events`` has it. Decode
  time and duration are 0; a take of events has no media.
- file: a chunk of a slide, as ``sync.lessons.materials`` has it; times and takes as for events.

A signature's body is clear, so that the hub too can hold fragments against it. It covers a group
of pictures, hashes being SHA-256 over whole records::

    0       1      flags: bit 0 = this is the take's last signature
    1       1      r, count of ranges, 1..32 (0 only in a last signature)
    2       8r     ranges: kind (1), track (1), first number (4), count of records (2, from 1)
    2+8r    32h    the hashes of all records of all ranges in order; h <= 1024 together
    …       64     Ed25519 by the flagship over "schoolnode fragment group" || 0x00 || header ||
                   the body up to here

A take is *settled* once its last signature and all numbered before it are there: what none
covers is then no part of it, and every node gives it up. The flagship sent it live, lost it with
its power before it was durable, and does not vouch for it.
"""

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NewType

from sync.errors import MalformedError
from sync.segments.sealing import UNSEALED, KeyId

LessonId = NewType("LessonId", str)
TakeId = NewType("TakeId", bytes)

LESSON_BYTES_MAX = 48
TAKE_BYTES = 8
TRACK_MAX = 15
NUMBER_MAX = 2**20 - 1  # 11 hours at 25 a second; bounds every index built over numbers
TIMESCALE_MAX = 10_000_000
TIME_MAX = 2**53 - 1  # what a browser's number holds exactly
BODY_BYTES_MAX = 4 * 1024 * 1024

_MAGIC = b"SF"
_VERSION = 1
_KEYFRAME = 1
_START = struct.Struct(">2sBBBBB")
_REST = struct.Struct(">8sQQIIQ8sI")
HEADER_BYTES_MAX = _START.size + LESSON_BYTES_MAX + _REST.size
RECORD_BYTES_MAX = HEADER_BYTES_MAX + BODY_BYTES_MAX

_LESSON_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}", re.ASCII)


class Kind(IntEnum):
    """What a record carries."""

    MEDIA = 0
    INIT = 1
    SIGNATURE = 2
    EVENT = 3
    FILE = 4


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """One contiguous numbering within a take."""

    kind: Kind
    track: int


SIGNATURES = Stream(Kind.SIGNATURE, 0)
EVENTS = Stream(Kind.EVENT, 1)
FILES = Stream(Kind.FILE, 1)
STREAMS_MAX = 2 * TRACK_MAX + 3
"""Of a take: media and inits of each track, and one each of signatures, events and files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A record's clear part; see the module for each field's unit and limit."""

    lesson: LessonId
    take: TakeId
    kind: Kind
    track: int
    number: int
    keyframe: bool
    decode_time: int
    duration: int
    timescale: int
    capture_ms: int
    key_id: KeyId
    body_bytes: int

    @property
    def stream(self) -> Stream:
        return Stream(self.kind, self.track)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: the parsed header and exactly the bytes that were received or will be sent."""

    header: Header
    wire: bytes
    header_bytes: int

    @property
    def associated(self) -> bytes:
        return self.wire[: self.header_bytes]

    @property
    def body(self) -> bytes:
        return self.wire[self.header_bytes :]


def is_sound(track: int) -> bool:
    return track % 2 == 0


def parse_lesson_id(text: str) -> LessonId:
    """Raise MalformedError unless ``text`` is 1..48 of ``[A-Za-z0-9._-]``, not led by a mark."""
    if _LESSON_ID.fullmatch(text) is None:
        raise MalformedError(f"{text[:64]!r} is no lesson id; use letters, digits and . _ -")
    return LessonId(text)


def parse_take_id(text: str) -> TakeId:
    """Read the 16 lower-case hexadecimal digits that name a take in addresses and folders."""
    if len(text) != 2 * TAKE_BYTES or not set(text) <= set("0123456789abcdef"):
        raise MalformedError(f"{text[:64]!r} is no take id; it has 16 hexadecimal digits")
    return TakeId(bytes.fromhex(text))


def encode_header(header: Header) -> bytes:
    lesson = header.lesson.encode("ascii")
    return (
        _START.pack(
            _MAGIC,
            _VERSION,
            header.kind,
            header.track,
            _KEYFRAME if header.keyframe else 0,
            len(lesson),
        )
        + lesson
        + _REST.pack(
            header.take,
            header.number,
            header.decode_time,
            header.duration,
            header.timescale,
            header.capture_ms,
            header.key_id,
            header.body_bytes,
        )
    )


def parse_header(data: bytes) -> tuple[Header, int]:
    """Return the header at the start of ``data`` and its length in bytes.

    Raises MalformedError for whatever is not exactly the module's layout and limits.
    """
    if len(data) < _START.size:
        raise MalformedError("a fragment record ends inside its header; refuse it")
    magic, version, kind, track, flags, lesson_bytes = _START.unpack_from(data)
    if magic != _MAGIC:
        raise MalformedError("the bytes are no fragment record; refuse them")
    if version != _VERSION:
        raise MalformedError(f"fragment record of version {version}; update this node to read it")
    header_bytes = _START.size + lesson_bytes + _REST.size
    if len(data) < header_bytes:
        raise MalformedError("a fragment record ends inside its header; refuse it")
    lesson = data[_START.size : _START.size + lesson_bytes].decode("latin-1")
    rest = _REST.unpack_from(data, _START.size + lesson_bytes)
    take, number, decode_time, duration, timescale, capture_ms, key, body_bytes = rest
    if kind not in frozenset(Kind):
        raise MalformedError(f"fragment record of kind {kind}; update this node to read it")
    signature = kind == Kind.SIGNATURE
    is_within_limits = (
        (track == 0 if signature else 1 <= track <= TRACK_MAX)
        and (kind not in (Kind.EVENT, Kind.FILE) or track == EVENTS.track)
        and (flags == 0 or (flags == _KEYFRAME and kind == Kind.MEDIA))
        and number <= NUMBER_MAX
        and decode_time <= TIME_MAX
        and 1 <= timescale <= TIMESCALE_MAX
        and capture_ms <= TIME_MAX
        and (key == UNSEALED) == signature
        and 1 <= body_bytes <= BODY_BYTES_MAX
    )
    if not is_within_limits:
        raise MalformedError("a fragment record's header is outside its limits; refuse it")
    header = Header(
        lesson=parse_lesson_id(lesson),
        take=TakeId(take),
        kind=Kind(kind),
        track=track,
        number=number,
        keyframe=flags == _KEYFRAME,
        decode_time=decode_time,
        duration=duration,
        timescale=timescale,
        capture_ms=capture_ms,
        key_id=KeyId(key),
        body_bytes=body_bytes,
    )
    return header, header_bytes


def parse_record(data: bytes) -> Record:
    """Read exactly one record; raises MalformedError, also for a byte too many or too few."""
    header, header_bytes = parse_header(data)
    if len(data) != header_bytes + header.body_bytes:
        raise MalformedError("a fragment record is longer or shorter than it says; refuse it")
    return Record(header, data, header_bytes)
