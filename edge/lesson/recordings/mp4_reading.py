"""What an fMP4 segment says of itself: the reading side of ``edge.lesson.capture.fmp4``.

The bytes came over a network: whatever is not one track in that module's layout (ISO/IEC 14496-12,
one ``moof`` with one ``traf`` and one ``trun`` before its ``mdat``) is refused by MalformedError.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge.lesson.capture.iso_boxes import BOX, PICTURE_KIND, SOUND_KIND
from sync.errors import MalformedError

INIT_BYTES_MAX = 64 * 1024
SAMPLES_MAX = 4096
BOXES_MAX = 16
"""Boxes side by side; ours have fewer than half."""
TIMESCALE_MAX = 96_000
"""So that half a day fits in 32 bits."""

_TRUN = struct.Struct(">III")
_TFDT = struct.Struct(">IQ")
_ROW = struct.Struct(">III")
_RUN_FIELDS = 0x701  # data offset; duration, size and flags of each sample
_NOT_SYNC = 0x0001_0000  # §8.8.3.1: sample_is_non_sync_sample
_TIMESCALE_AT, _HANDLER_AT, _SIZE_AT, _ENTRY_AT = 12, 8, 76, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFormat:
    """A track's ``moov``: ``handler`` is ``vide`` or ``soun``, ``entry`` its one sample entry."""

    handler: bytes
    timescale: int
    width: int
    height: int
    entry: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A fragment: (duration, bytes, keyframe) of each sample, whose data begin at ``data_at``."""

    decode_time: int
    rows: tuple[tuple[int, int, bool], ...]
    data_at: int


def read_init(segment: bytes) -> TrackFormat:
    """Return the format of a track's initialisation segment."""
    if len(segment) > INIT_BYTES_MAX:
        raise MalformedError(f"an initialisation segment of {len(segment)} bytes; refuse it")
    track = _only(_only(segment, b"moov"), b"trak")
    media = _only(track, b"mdia")
    header, handler, box = (
        _only(track, b"tkhd"),
        _only(media, b"hdlr"),
        _only(media, b"mdhd"),
    )
    table = _only(_only(_only(media, b"minf"), b"stbl"), b"stsd")
    entry = table[_ENTRY_AT:]
    (timescale,) = _unpack(">I", box, _TIMESCALE_AT)
    kind = handler[_HANDLER_AT : _HANDLER_AT + 4]
    width, height = _unpack(">II", header, _SIZE_AT)
    (entry_bytes,) = _unpack(">I", entry, 0)
    fits = 1 <= timescale <= TIMESCALE_MAX and kind in {PICTURE_KIND, SOUND_KIND}
    if not fits or entry_bytes != len(entry):
        raise MalformedError("an initialisation segment is outside its limits; refuse it")
    return TrackFormat(
        handler=kind, timescale=timescale, width=width >> 16, height=height >> 16, entry=entry
    )


def read_fragment(data: bytes) -> Samples:
    """Return what a fragment's ``moof`` says of its ``mdat``."""
    (moof_at, moof_end), (data_at, end) = pair(data, b"moof", b"mdat")
    traf_at, traf_end = place(data, b"traf", moof_at, moof_end)
    at, stop = place(data, b"tfdt", traf_at, traf_end)
    if stop - at != _TFDT.size:
        raise MalformedError("a fragment says not when it plays; refuse it")
    version, decode_time = _TFDT.unpack_from(data, at)
    at, stop = place(data, b"trun", traf_at, traf_end)
    if stop - at < _TRUN.size:
        raise MalformedError("a fragment ends inside its table of samples; refuse it")
    fields, count, offset = _TRUN.unpack_from(data, at)
    fits = (
        version == 1 << 24
        and fields == _RUN_FIELDS
        and 1 <= count <= SAMPLES_MAX
        and stop - at == _TRUN.size + _ROW.size * count
        and offset == data_at - (moof_at - BOX.size)
    )
    if not fits:
        raise MalformedError("a fragment's table of samples is outside its limits; refuse it")
    rows = tuple(
        (duration, size, not flags & _NOT_SYNC)
        for duration, size, flags in _ROW.iter_unpack(data[at + _TRUN.size : stop])
    )
    if sum(size for _, size, _ in rows) != end - data_at:
        raise MalformedError("a fragment's samples are not what its mdat holds; refuse it")
    return Samples(decode_time=decode_time, rows=rows, data_at=data_at)


def pair(data: bytes, first: bytes, second: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return where the contents of the two boxes that ``data`` is made of begin and end."""
    found = list(_boxes(data, 0, len(data)))
    if [kind for kind, _, _ in found] != [first, second]:
        raise MalformedError("the bytes are no fragment as this program makes them; refuse them")
    (_, head, head_end), (_, body, body_end) = found
    return (head, head_end), (body, body_end)


def place(data: bytes, kind: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the content of the one box of a kind begins and ends."""
    places = [(begin, stop) for found, begin, stop in _boxes(data, at, end) if found == kind]
    if len(places) != 1:
        name = kind.decode("ascii")
        raise MalformedError(f"a segment holds {len(places)} boxes {name} instead of one")
    return places[0]


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, where its content begins, where it ends) of the boxes side by side."""
    for _ in range(BOXES_MAX):
        if at == end:
            return
        if end - at < BOX.size:
            raise MalformedError("a segment ends inside a box; refuse it")
        size, kind = BOX.unpack_from(data, at)
        if not BOX.size <= size <= end - at:
            raise MalformedError("a segment's box is longer or shorter than it says; refuse it")
        yield kind, at + BOX.size, at + size
        at += size
    if at != end:
        raise MalformedError(f"a segment holds more than {BOXES_MAX} boxes; refuse it")


def _only(data: bytes, kind: bytes) -> bytes:
    begin, end = place(data, kind, 0, len(data))
    return data[begin:end]


def _unpack(layout: str, data: bytes, at: int) -> tuple[int, ...]:
    if len(data) < at + struct.calcsize(layout):
        raise MalformedError("a segment ends inside a box; refuse it")
    return struct.unpack_from(layout, data, at)
