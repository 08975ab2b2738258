"""Fragments of another take, put on a track and a time line of ours; not a byte of media changes.

They were made at another school, so their boxes are read strictly (ISO/IEC 14496-12): one ``moof``
of one track with a 64-bit decode time and its ``mdat``; an ``ftyp`` and a ``moov`` of one track.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sync.errors import MalformedError

BOXES_MAX = 16
"""Boxes side by side; ours have fewer than half."""
DECODE_TIME_MAX = 2**53 - 1

_BOX = struct.Struct(">I4s")
_WORD = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_MFHD_NUMBER = 12  # ISO/IEC 14496-12 §8.8.5: after version and flags
_TFHD_TRACK = 12  # §8.8.7
_TFDT_TIME = 12  # §8.8.12
_TREX_TRACK = 12  # §8.8.3
_TKHD_TRACK = {0: 20, 1: 28}  # §8.3.2: after version, flags and two times, by version


@dataclass(frozen=True, slots=True)
class _Found:
    """A box within the whole: where it begins and ends."""

    kind: bytes
    first: int
    end: int


def retimed(data: bytes, *, track: int, number: int, decode_time: int) -> bytes:
    """Return a fragment as one of ``track``, decoded at ``decode_time`` of its own timescale.

    ``number`` counts the track's fragments from 0. Raises MalformedError.
    """
    if not 0 <= decode_time <= DECODE_TIME_MAX:
        raise MalformedError("a fragment would stand outside every time line; refuse it")
    moof, mdat = _exactly(data, 0, len(data), (b"moof", b"mdat"))
    assert mdat.end == len(data)
    within = _boxes(data, moof.first + _BOX.size, moof.end)
    numbered, run = _one(within, b"mfhd"), _one(within, b"traf")
    parts = _boxes(data, run.first + _BOX.size, run.end)
    header, time = _one(parts, b"tfhd"), _one(parts, b"tfdt")
    made = bytearray(data)
    _put(made, numbered, _MFHD_NUMBER, _WORD.pack((number + 1) & 0xFFFFFFFF))
    _put(made, header, _TFHD_TRACK, _WORD.pack(track))
    if _version(data, time) != 1:
        raise MalformedError("a fragment's decode time has 32 bits; refuse it")
    _put(made, time, _TFDT_TIME, _TIME.pack(decode_time))
    return bytes(made)


def retracked(segment: bytes, track: int) -> bytes:
    """Return an initialisation segment as that of another track; raises MalformedError."""
    _, moov = _exactly(segment, 0, len(segment), (b"ftyp", b"moov"))
    within = _boxes(segment, moov.first + _BOX.size, moov.end)
    trak, mvex = _one(within, b"trak"), _one(within, b"mvex")
    header = _one(_boxes(segment, trak.first + _BOX.size, trak.end), b"tkhd")
    defaults = _one(_boxes(segment, mvex.first + _BOX.size, mvex.end), b"trex")
    made = bytearray(segment)
    version = _version(segment, header)
    if version not in _TKHD_TRACK:
        raise MalformedError("an initialisation segment's track header is unknown; refuse it")
    _put(made, header, _TKHD_TRACK[version], _WORD.pack(track))
    _put(made, defaults, _TREX_TRACK, _WORD.pack(track))
    return bytes(made)


def _boxes(data: bytes, at: int, end: int) -> list[_Found]:
    """Return the boxes that fill ``data[at:end]``."""
    return list(_walk(data, at, end))


def _walk(data: bytes, at: int, end: int) -> Iterator[_Found]:
    count = 0
    while at < end:
        count += 1
        if end - at < _BOX.size or count > BOXES_MAX:
            raise MalformedError("a fragment's boxes do not fit one another; refuse it")
        size, kind = _BOX.unpack_from(data, at)
        if not _BOX.size <= size <= end - at:
            raise MalformedError("a fragment's boxes do not fit one another; refuse it")
        yield _Found(kind, at, at + size)
        at += size


def _exactly(data: bytes, at: int, end: int, kinds: tuple[bytes, bytes]) -> tuple[_Found, _Found]:
    found = _boxes(data, at, end)
    if tuple(box.kind for box in found) != kinds:
        raise MalformedError("the bytes are no fragment as this program makes them; refuse them")
    return found[0], found[1]


def _one(found: list[_Found], kind: bytes) -> _Found:
    named = [box for box in found if box.kind == kind]
    if len(named) != 1:
        raise MalformedError(f"a fragment has {len(named)} boxes {kind.decode()}; refuse it")
    return named[0]


def _version(data: bytes, box: _Found) -> int:
    """Return a full box's version, -1 for a box that has no room for one."""
    at = box.first + _BOX.size
    return data[at] if at < box.end else -1


def _put(made: bytearray, box: _Found, offset: int, field: bytes) -> None:
    at = box.first + offset
    if at + len(field) > box.end:
        raise MalformedError(f"a fragment's box {box.kind.decode()} is too short; refuse it")
    made[at : at + len(field)] = field
