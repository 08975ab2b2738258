"""How a segment's header follows the last one of its log: what a receiver cannot work out.

Flags, then what they leave open of: first row - last row before, last row - first row, ms since the
last stamp before, the first stamp's counter, last - first stamp, tables, rows, groups and keys.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sync.errors import MalformedError
from sync.segments.sealing import UNSEALED
from sync.segments.segment import BodyHeader, Header, Segment, TableHeader, frame_segment
from sync.segments.varints import ByteReader, pack_int, pack_uint

_STAMP_BITS = 16
_TABLES_MAX, _BODIES_MAX = 64, 8
_SAME_TABLES, _SAME_BODIES, _ALL_ROWS, _NEXT_ROW, _ONE_STAMP = (1 << bit for bit in range(5))


@dataclass(frozen=True, slots=True)
class FollowingHeader:
    """A header but for what its segment's salts, bodies and the header before it tell."""

    first_row: int
    last_row: int
    first_stamp: int
    last_stamp: int
    tables: list[TableHeader]
    bodies: list[tuple[int, bytes]]  # group and key id


def tell_header(header: Header, last: Header) -> bytes | None:
    """Return how a header follows ``last``, or None when it does not."""
    stamp_ms = (header.first_stamp >> _STAMP_BITS) - (last.last_stamp >> _STAMP_BITS)
    if header.first_row <= last.last_row:
        return None
    tables = [(table.table, table.version) for table in header.tables]
    bodies = [(body.group, body.key_id) for body in header.bodies]
    rows = [table.rows for table in header.tables]
    span = header.last_row - header.first_row
    flags = 0
    flags |= _SAME_TABLES * (tables == [(table.table, table.version) for table in last.tables])
    flags |= _SAME_BODIES * (bodies == [(body.group, body.key_id) for body in last.bodies])
    flags |= _ALL_ROWS * (rows == [span + 1])
    flags |= _NEXT_ROW * (header.first_row == last.last_row + 1)
    flags |= _ONE_STAMP * (header.last_stamp == header.first_stamp)
    parts = [pack_uint(flags)]
    if not flags & _NEXT_ROW:
        parts.append(pack_uint(header.first_row - last.last_row))
    parts += [pack_uint(span), pack_int(stamp_ms)]
    parts.append(pack_uint(header.first_stamp & ((1 << _STAMP_BITS) - 1)))
    if not flags & _ONE_STAMP:
        parts.append(pack_uint(header.last_stamp - header.first_stamp))
    if not flags & _SAME_TABLES:
        parts.append(pack_uint(len(tables)))
        parts += [pack_uint(number) for table in tables for number in table]
    if not flags & _ALL_ROWS:
        parts += [pack_uint(count) for count in rows]
    if not flags & _SAME_BODIES:
        parts.append(pack_uint(len(bodies)))
        parts += [pack_uint(group) + key_id for group, key_id in bodies]
    return b"".join(parts)


def read_header(reader: ByteReader, last: Header) -> FollowingHeader:
    flags = reader.uint(2 * _ONE_STAMP - 1)
    first_row = last.last_row + (1 if flags & _NEXT_ROW else reader.uint())
    span = reader.uint()
    stamp_ms = (last.last_stamp >> _STAMP_BITS) + reader.int()
    first_stamp = (stamp_ms << _STAMP_BITS) + reader.uint((1 << _STAMP_BITS) - 1)
    last_stamp = first_stamp + (0 if flags & _ONE_STAMP else reader.uint())
    tables = [(table.table, table.version) for table in last.tables]
    if not flags & _SAME_TABLES:
        tables = [(reader.uint(), reader.uint()) for _ in range(reader.uint(_TABLES_MAX))]
    rows = [span + 1] if flags & _ALL_ROWS else [reader.uint() for _ in tables]
    bodies = [(body.group, body.key_id) for body in last.bodies]
    if not flags & _SAME_BODIES:
        bodies = [
            (reader.uint(), reader.take(len(UNSEALED))) for _ in range(reader.uint(_BODIES_MAX))
        ]
    if len(rows) != len(tables):
        raise MalformedError("a packed segment tells one table's rows and has more tables")
    return FollowingHeader(
        first_row=first_row,
        last_row=first_row + span,
        first_stamp=first_stamp,
        last_stamp=last_stamp,
        tables=[
            TableHeader(table, version, count)
            for (table, version), count in zip(tables, rows, strict=True)
        ],
        bodies=bodies,
    )


def restore_segment(
    told: FollowingHeader,
    before: Segment,
    salts: Sequence[bytes],
    signature: bytes,
    sealed: Sequence[bytes],
) -> bytes:
    last = before.header
    header = Header(
        log=last.log,
        seq=last.seq + 1,
        prev=before.header_digest,
        signer=last.signer,
        first_row=told.first_row,
        last_row=told.last_row,
        first_stamp=told.first_stamp,
        last_stamp=told.last_stamp,
        tables=told.tables,
        bodies=[
            BodyHeader(group, key_id, salt, len(body), hashlib.sha256(body).digest())
            for (group, key_id), salt, body in zip(told.bodies, salts, sealed, strict=True)
        ],
    )
    try:
        return frame_segment(msgspec.msgpack.encode(header), signature, sealed)
    except OverflowError as error:
        raise MalformedError("a packed segment with a number beyond 64 bits") from error
