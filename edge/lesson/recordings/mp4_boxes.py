"""The boxes of an ordinary MP4 file's ``moov`` (ISO/IEC 14496-12), without its sample data."""

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from edge.lesson.capture.iso_boxes import BOX, box, full_box, media, movie_header, track_header

MOVIE_TIMESCALE = 90_000
CHAPTERS_MAX = 255
"""As many as a ``chpl`` box counts."""

_TITLE_BYTES_MAX = 255
_LARGE_SIZE = 1  # §4.2: the size follows the type in 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTable:
    """One track: durations and sizes of its samples, and the chunks they lie in.

    ``begins`` is the first sample's time in the movie, in the track's ``timescale``. ``chunks``
    are runs: samples in a chunk, its sample entry's number from 1, and how many such chunks.
    ``syncs`` are the numbers of keyframes, from 1; None when all samples are.
    """

    handler: bytes
    timescale: int
    width: int
    height: int
    entries: Sequence[bytes]
    begins: int
    durations: "array[int]"
    sizes: "array[int]"
    syncs: "array[int] | None"
    chunks: Sequence[tuple[int, int, int]]
    offsets: "array[int]"

    @property
    def duration(self) -> int:
        return sum(self.durations)


def file_type() -> bytes:
    return box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")


def media_data_header(data_bytes: int) -> bytes:
    return BOX.pack(_LARGE_SIZE, b"mdat") + struct.pack(">Q", data_bytes + 16)


def movie(tracks: Sequence[TrackTable], chapters: Sequence[tuple[int, str]]) -> bytes:
    """Return ``moov``; ``chapters`` pairs milliseconds with titles, in order."""
    ends = [_in_movie_time(track.begins + track.duration, track.timescale) for track in tracks]
    traks = [_track(number, track) for number, track in enumerate(tracks, start=1)]
    named = [box(b"udta", _chapter_list(chapters))] if chapters else []
    header = movie_header(MOVIE_TIMESCALE, max(ends, default=0), len(tracks))
    return box(b"moov", header, *traks, *named)


def _track(number: int, track: TrackTable) -> bytes:
    duration = track.duration
    ends = _in_movie_time(track.begins + duration, track.timescale)
    parts = [
        track_header(number, track.handler, (track.width, track.height), ends),
        media(track.handler, track.timescale, duration, _sample_table(track)),
    ]
    if track.begins:
        parts.insert(1, box(b"edts", _edit_list(track, duration)))
    return box(b"trak", *parts)


def _edit_list(track: TrackTable, duration: int) -> bytes:
    """Return an empty edit before the track's first sample (§8.6.6)."""
    empty = _in_movie_time(track.begins, track.timescale)
    shown = _in_movie_time(duration, track.timescale)
    edits = struct.pack(">IiI", empty, -1, 0x10000) + struct.pack(">IiI", shown, 0, 0x10000)
    return full_box(b"elst", 0, struct.pack(">I", 2), edits)


def _sample_table(track: TrackTable) -> bytes:
    durations = array("I")
    for value, run in groupby(track.durations):
        durations.extend((sum(1 for _ in run), value))
    chunks, first = array("I"), 1
    for samples, entry, count in track.chunks:
        chunks.extend((first, samples, entry))
        first += count
    parts = [
        full_box(b"stsd", 0, struct.pack(">I", len(track.entries)), *track.entries),
        _table(b"stts", durations, 2),
        _table(b"stsc", chunks, 3),
        full_box(b"stsz", 0, struct.pack(">II", 0, len(track.sizes)), _wide(track.sizes)),
        _table(b"co64", track.offsets, 1),
    ]
    if track.syncs is not None:
        parts.append(_table(b"stss", track.syncs, 1))
    return box(b"stbl", *parts)


def _table(kind: bytes, numbers: "array[int]", columns: int) -> bytes:
    return full_box(kind, 0, struct.pack(">I", len(numbers) // columns), _wide(numbers))


def _chapter_list(chapters: Sequence[tuple[int, str]]) -> bytes:
    """Return Nero's ``chpl``, which players read: times in 100 ns, titles in UTF-8."""
    rows = []
    for at_ms, title in chapters[:CHAPTERS_MAX]:
        name = title.encode()[:_TITLE_BYTES_MAX].decode("utf-8", "ignore").encode()
        rows.append(struct.pack(">QB", at_ms * 10_000, len(name)) + name)
    return full_box(b"chpl", 1 << 24, bytes(4), bytes((len(rows),)), *rows)


def _in_movie_time(units: int, timescale: int) -> int:
    return units * MOVIE_TIMESCALE // timescale


def _wide(numbers: "array[int]") -> bytes:
    """Return an array's items big-endian."""
    turned = array(numbers.typecode, numbers)
    if sys.byteorder == "little":
        turned.byteswap()
    return turned.tobytes()
