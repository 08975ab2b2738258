"""Segments on a connection: a header is told by how it follows the last one of its log.

Of a segment that follows, its receiver can work out who wrote it, its number, what comes before it
and the digests of its bodies; what cannot be guessed is the signature, the salts and the sealed
bodies. The sender restores each segment itself before it packs it so, and sends it as it is where
not every byte came back; the receiver checks the signature over the bytes that it restored.
"""

import hashlib

import msgspec

from sync.errors import MalformedError, SyncError
from sync.segments.sealing import SALT_BYTES, UNSEALED
from sync.segments.segment import (
    SEGMENT_BYTES_MAX,
    BodyHeader,
    Header,
    LogName,
    Segment,
    TableHeader,
    frame_segment,
    parse_segment,
)
from sync.segments.signing import SIGNATURE_BYTES
from sync.segments.varints import ByteReader, pack_int, pack_uint

SLOTS = 64
"""Logs of which both ends remember the last segment; the oldest gives way to a new one."""
_STAMP_BITS = 16
_TABLES_MAX, _BODIES_MAX = 64, 8
_SAME_TABLES, _SAME_BODIES, _ALL_ROWS, _NEXT_ROW, _ONE_STAMP = (1 << bit for bit in range(5))


class _Slots:
    """What both ends remember; it changes with each segment, alike on both."""

    def __init__(self) -> None:
        self._slots: list[Segment] = []
        self._place: dict[LogName, int] = {}
        self._next = 0

    def place(self, log: LogName) -> int | None:
        return self._place.get(log)

    def at(self, place: int) -> Segment:
        if place >= len(self._slots):
            raise MalformedError(f"a segment follows number {place}; no such was sent")
        return self._slots[place]

    def keep(self, segment: Segment) -> None:
        log = segment.header.log
        # Only the header is needed again.
        kept = Segment(
            header=segment.header,
            header_bytes=segment.header_bytes,
            signature=b"",
            bodies=(),
            wire=b"",
        )
        place = self._place.get(log)
        if place is None:
            place, self._next = self._next, (self._next + 1) % SLOTS
            if place < len(self._slots):
                del self._place[self._slots[place].header.log]
                self._slots[place] = kept
            else:
                self._slots.append(kept)
            self._place[log] = place
        else:
            self._slots[place] = kept


class SegmentPacker:
    """The sending end of one connection."""

    def __init__(self) -> None:
        self._slots = _Slots()

    def pack(self, wire: bytes) -> bytes:
        """Return a segment for :meth:`SegmentUnpacker.unpack`; any bytes may be given."""
        try:
            segment = parse_segment(wire)
        except SyncError:
            return _plain(wire)
        place = self._slots.place(segment.header.log)
        packed = None
        if place is not None:
            packed = _pack_following(segment, self._slots.at(place))
            if packed is not None:
                packed = pack_uint(place + 1) + packed
        self._slots.keep(segment)
        return packed or _plain(wire)


class SegmentUnpacker:
    """The receiving end."""

    def __init__(self) -> None:
        self._slots = _Slots()

    def unpack(self, reader: ByteReader) -> bytes:
        """Return the next segment's bytes; raises MalformedError for what no packer made."""
        place = reader.uint(SLOTS)
        if place:
            wire = _unpack_following(reader, self._slots.at(place - 1))
            try:
                self._slots.keep(parse_segment(wire))
            except SyncError as error:
                raise MalformedError(f"a packed segment does not come back: {error}") from error
            return wire
        wire = reader.take(reader.uint(2 * SEGMENT_BYTES_MAX))
        try:
            self._slots.keep(parse_segment(wire))
        except SyncError:
            return wire  # refused where segments are taken in, with its reason
        return wire

    def head(self, log: LogName) -> tuple[int, bytes]:
        """Return number and digest of the last segment that came of a log, (0, empty) if none."""
        place = self._slots.place(log)
        if place is None:
            return 0, b""
        segment = self._slots.at(place)
        return segment.header.seq, segment.header_digest


def _plain(wire: bytes) -> bytes:
    return b"".join((pack_uint(0), pack_uint(len(wire)), wire))


def _pack_following(segment: Segment, before: Segment) -> bytes | None:
    """Return how a segment follows ``before``, or None when it cannot be restored from that."""
    header, last = segment.header, before.header
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
    for body in header.bodies:
        parts += [body.salt, pack_uint(body.length)]
    packed = b"".join((*parts, segment.signature, *segment.bodies))
    try:
        is_restored = _unpack_following(ByteReader(packed), before) == segment.wire
    except MalformedError:
        return None
    return packed if is_restored else None


def _unpack_following(reader: ByteReader, before: Segment) -> bytes:
    last = before.header
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
    sizes = [
        (b"" if key_id == UNSEALED else reader.take(SALT_BYTES), reader.uint(SEGMENT_BYTES_MAX))
        for _, key_id in bodies
    ]
    signature = reader.take(SIGNATURE_BYTES)
    sealed = [reader.take(length) for _, length in sizes]
    header = Header(
        log=last.log,
        seq=last.seq + 1,
        prev=before.header_digest,
        signer=last.signer,
        first_row=first_row,
        last_row=first_row + span,
        first_stamp=first_stamp,
        last_stamp=last_stamp,
        tables=[
            TableHeader(table, version, count)
            for (table, version), count in zip(tables, rows, strict=True)
        ],
        bodies=[
            BodyHeader(group, key_id, salt, length, hashlib.sha256(body).digest())
            for (group, key_id), (salt, length), body in zip(bodies, sizes, sealed, strict=True)
        ],
    )
    try:
        return frame_segment(msgspec.msgpack.encode(header), signature, sealed)
    except OverflowError as error:
        raise MalformedError("a packed segment with a number beyond 64 bits") from error
