"""Boxes that a fragmented MP4 and an ordinary one have in common (ISO/IEC 14496-12)."""

import struct

BOX = struct.Struct(">I4s")
"""A box's size, with these eight bytes, and its type."""
SOUND_KIND = b"soun"
PICTURE_KIND = b"vide"

_UNITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LANGUAGE_UNDETERMINED = 0x55C4


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return BOX.pack(BOX.size + len(body), kind) + body


def full_box(kind: bytes, flags: int, *parts: bytes) -> bytes:
    return box(kind, flags.to_bytes(4, "big"), *parts)


def movie_header(timescale: int, duration: int, last_track: int) -> bytes:
    """Return ``mvhd``; ``duration`` 0 is not known, ``last_track`` the highest number of one."""
    told = (timescale, duration, 0x10000, 0x100, _UNITY_MATRIX, last_track + 1)
    return full_box(b"mvhd", 0, struct.pack(">8xIIIH10x36s24xI", *told))


def track_header(number: int, kind: bytes, size: tuple[int, int], duration: int) -> bytes:
    """Return ``tkhd`` of a track that is shown; ``duration`` is in the movie's timescale."""
    volume = 0x100 if kind == SOUND_KIND else 0
    told = (number, duration, 0, 0, volume, _UNITY_MATRIX, size[0] << 16, size[1] << 16)
    return full_box(b"tkhd", 7, struct.pack(">8xI4xI8x2hh2x36s2I", *told))


def media(kind: bytes, timescale: int, duration: int, sample_table: bytes) -> bytes:
    """Return ``mdia`` of a track whose data lie in the same file."""
    told = (timescale, duration, _LANGUAGE_UNDETERMINED)
    header = full_box(b"smhd", 0, bytes(4))
    if kind == PICTURE_KIND:
        header = full_box(b"vmhd", 1, bytes(8))
    references = full_box(b"dref", 0, struct.pack(">I", 1), full_box(b"url ", 1))
    return box(
        b"mdia",
        full_box(b"mdhd", 0, struct.pack(">8xIIH2x", *told)),
        full_box(b"hdlr", 0, struct.pack(">4x4s12x", kind), b"\0"),
        box(b"minf", header, box(b"dinf", references), sample_table),
    )
