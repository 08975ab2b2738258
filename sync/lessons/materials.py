"""A lesson's materials in its fragment log: files by their SHA-256, in chunks.

A chunk is the opened body of a record of kind FILE, stream (FILE, 1), integers big-endian::

    offset  bytes  field
    0       1      version, 1
    1       32     SHA-256 of the whole file
    33      4      bytes of the whole file, 1..4 MiB
    37      4      offset of this chunk, a multiple of 32 KiB
    41      …      the chunk: 32 KiB, less only at the file's end

Chunks of several files may lie in one take and those of one file in several: a flagship that
restarts goes on in a new take. What a file is called stands in the lesson's events and in the
``resource`` rows.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sync.errors import MalformedError

FILE_BYTES_MAX = 4 * 1024 * 1024
CHUNK_BYTES = 32 * 1024
_HEAD = struct.Struct(">B32sII")
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One stretch of a file; see the module."""

    digest: bytes
    total: int
    offset: int
    data: bytes


def chunks_of(data: bytes) -> Iterator[Chunk]:
    """Yield a file's chunks in order; the file has 1 byte to 4 MiB."""
    digest = hashlib.sha256(data).digest()
    for offset in range(0, len(data), CHUNK_BYTES):
        part = data[offset : offset + CHUNK_BYTES]
        yield Chunk(digest=digest, total=len(data), offset=offset, data=part)


def chunk_count(total: int) -> int:
    """Return in how many chunks a file of ``total`` bytes goes."""
    return -(-total // CHUNK_BYTES)


def encode_chunk(chunk: Chunk) -> bytes:
    return _HEAD.pack(_VERSION, chunk.digest, chunk.total, chunk.offset) + chunk.data


def decode_chunk(body: bytes) -> Chunk:
    """Read an opened chunk; raises MalformedError for what is not exactly one."""
    if len(body) <= _HEAD.size:
        raise MalformedError("a chunk of a file ends inside its head; refuse it")
    version, digest, total, offset = _HEAD.unpack_from(body)
    if version != _VERSION:
        raise MalformedError(f"a file's chunk of version {version}; update this node to read it")
    data = body[_HEAD.size :]
    is_whole = offset % CHUNK_BYTES == 0 and len(data) == min(CHUNK_BYTES, total - offset)
    if not 1 <= total <= FILE_BYTES_MAX or offset >= total or not is_whole:
        raise MalformedError("a file's chunk is outside its limits; refuse it")
    return Chunk(digest=digest, total=total, offset=offset, data=data)
