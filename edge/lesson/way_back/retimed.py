"""Fragments of another take, put on a track and a time line of ours; not a byte of media changes.

They were made at another school, so their boxes are read strictly (ISO/IEC 14496-12): one ``moof``
of one track with a 64-bit decode time and its ``mdat``; an ``ftyp`` and a ``moov`` of one track.
"""

import struct

from edge.lesson.recordings.mp4_reading import pair, place
from sync.errors import MalformedError

DECODE_TIME_MAX = 2**53 - 1

_WORD = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_MFHD_NUMBER = 4  # ISO/IEC 14496-12 §8.8.5: after version and flags
_TFHD_TRACK = 4  # §8.8.7
_TFDT_TIME = 4  # §8.8.12
_TREX_TRACK = 4  # §8.8.3
_TKHD_TRACK = {0: 12, 1: 20}  # §8.3.2: after version, flags and two times, by version

Place = tuple[int, int]
"""Where a box's content begins and ends."""


def retimed(data: bytes, *, track: int, number: int, decode_time: int) -> bytes:
    """Return a fragment as one of ``track``, decoded at ``decode_time`` of its own timescale.

    ``number`` counts the track's fragments from 0. Raises MalformedError.
    """
    if not 0 <= decode_time <= DECODE_TIME_MAX:
        raise MalformedError("a fragment would stand outside every time line; refuse it")
    moof, _ = pair(data, b"moof", b"mdat")
    numbered, run = place(data, b"mfhd", *moof), place(data, b"traf", *moof)
    header, time = place(data, b"tfhd", *run), place(data, b"tfdt", *run)
    made = bytearray(data)
    _put(made, numbered, _MFHD_NUMBER, _WORD.pack((number + 1) & 0xFFFFFFFF))
    _put(made, header, _TFHD_TRACK, _WORD.pack(track))
    if _version(data, time) != 1:
        raise MalformedError("a fragment's decode time has 32 bits; refuse it")
    _put(made, time, _TFDT_TIME, _TIME.pack(decode_time))
    return bytes(made)


def retracked(segment: bytes, track: int) -> bytes:
    """Return an initialisation segment as that of another track; raises MalformedError."""
    _, moov = pair(segment, b"ftyp", b"moov")
    header = place(segment, b"tkhd", *place(segment, b"trak", *moov))
    defaults = place(segment, b"trex", *place(segment, b"mvex", *moov))
    made = bytearray(segment)
    version = _version(segment, header)
    if version not in _TKHD_TRACK:
        raise MalformedError("an initialisation segment's track header is unknown; refuse it")
    _put(made, header, _TKHD_TRACK[version], _WORD.pack(track))
    _put(made, defaults, _TREX_TRACK, _WORD.pack(track))
    return bytes(made)


def _version(data: bytes, box: Place) -> int:
    """Return a full box's version, -1 for a box that has no room for one."""
    at, end = box
    return data[at] if at < end else -1


def _put(made: bytearray, box: Place, offset: int, field: bytes) -> None:
    at, end = box
    at += offset
    if at + len(field) > end:
        raise MalformedError("a segment ends inside a box; refuse it")
    made[at : at + len(field)] = field
