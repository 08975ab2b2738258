"""Segments on a connection: a header is told by how it follows the last one of its log.

Of a segment that follows, its receiver can work out who wrote it, its number, what comes before it
and the digests of its bodies; what cannot be guessed is the signature, the salts and the sealed
bodies. The sender restores each segment itself before it packs it so, and sends it as it is where
not every byte came back; the receiver checks the signature over the bytes that it restored.

A short ``district`` body whose key the receiver said it holds is told by its cells
(:mod:`sync.exchange.body_coding`). One that is sent again, because it was not taken, is told as it
is, and so are all that follow of its log.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from sync.errors import MalformedError, SyncError
from sync.exchange.body_coding import (
    CELLS_MAX,
    CONTENT_BYTES_MAX,
    LogMemory,
    Rows,
    make_content,
    read_content,
)
from sync.exchange.following_header import read_header, restore_segment, tell_header
from sync.exchange.range_coding import BYTES_MAX, Reader, Writer
from sync.schema.model import GROUPS, Group
from sync.segments.sealing import (
    SALT_BYTES,
    UNSEALED,
    DataKey,
    KeyId,
    open_body,
    seal_body,
)
from sync.segments.segment import (
    SEGMENT_BYTES_MAX,
    Header,
    LogName,
    Segment,
    body_context,
    parse_segment,
)
from sync.segments.signing import SIGNATURE_BYTES
from sync.segments.varints import ByteReader, pack_uint

SLOTS = 64
"""Logs of which both ends remember the last segment; the oldest gives way to a new one."""
_MEMORIES = 8
_KEYS_NOTED = 8
_ROWS_MAX = 255
_DISTRICT = GROUPS.index(Group.DISTRICT)

FindKey = Callable[[LogName, KeyId], DataKey | None]
"""Returns the key of a log's ``district`` bodies, or None where this end does not hold it."""


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


class _Memories:
    """What both ends know of the logs whose bodies were told by their cells lately."""

    def __init__(self) -> None:
        self._memories: OrderedDict[LogName, LogMemory] = OrderedDict()

    def of(self, log: LogName) -> LogMemory:
        if log not in self._memories:
            if len(self._memories) >= _MEMORIES:
                self._memories.popitem(last=False)
            self._memories[log] = LogMemory()
        self._memories.move_to_end(log)
        return self._memories[log]


class SegmentPacker:
    """The sending end of one connection; ``peer_keys`` are ids of keys that the peer holds."""

    def __init__(self, find_key: FindKey, peer_keys: set[KeyId]) -> None:
        self._find_key = find_key
        self._peer_keys = peer_keys
        self._slots = _Slots()
        self._memories = _Memories()
        self._cells_left = CELLS_MAX
        self._by_cells: dict[LogName, int] = {}
        self._as_it_is: set[LogName] = set()

    def begin_message(self) -> None:
        """Count anew what a message tells by its cells."""
        self._cells_left = CELLS_MAX

    def pack(self, wire: bytes) -> bytes:
        """Return a segment for :meth:`SegmentUnpacker.unpack`; any bytes may be given."""
        try:
            segment = parse_segment(wire)
        except SyncError:
            return _plain(wire)
        place = self._slots.place(segment.header.log)
        packed = None
        if place is not None:
            packed = self._pack_following(segment, place)
        self._slots.keep(segment)
        return packed or _plain(wire)

    def _pack_following(self, segment: Segment, place: int) -> bytes | None:
        """Return how a segment follows that in ``place``; None if that does not restore it."""
        if segment.is_hollow:
            return None
        before = self._slots.at(place)
        told = tell_header(segment.header, before.header)
        salts = [body.salt for body in segment.header.bodies]
        if told is None:
            return None
        try:
            follows = read_header(ByteReader(told), before.header)
            wire = restore_segment(follows, before, salts, segment.signature, segment.bodies)
        except MalformedError:
            return None
        if wire != segment.wire:
            return None
        rows = self._rows_totell_header(segment)
        if rows is None:
            parts = [pack_uint(2 * place + 1), told]
        else:
            writer = Writer()
            memory = self._memories.of(segment.header.log)
            memory.code_bytes(writer, told)
            memory.code_tables(writer, follows.tables, follows.first_row, rows)
            coded = writer.finish()
            parts = [pack_uint(2 * place + 2), pack_uint(len(coded)), coded]
        told_by_cells = _DISTRICT if rows is not None else None
        bodies = []
        for described, body in zip(segment.header.bodies, segment.bodies, strict=True):
            parts.append(described.salt)
            if described.group != told_by_cells:
                parts.append(pack_uint(described.length))
                bodies.append(body)
        return b"".join((*parts, segment.signature, *bodies))

    def _rows_totell_header(self, segment: Segment) -> list[Rows] | None:
        """Return the rows of a body that the peer can make of them, else None."""
        header = segment.header
        described, body = header.bodies[0], segment.bodies[0]
        is_short = described.length <= CONTENT_BYTES_MAX
        rows = sum(table.rows for table in header.tables)
        key_id = KeyId(described.key_id)
        if described.group != _DISTRICT or not is_short or rows > _ROWS_MAX:
            return None
        if key_id not in self._peer_keys or not self._may_tell_cells(header):
            return None
        key = self._find_key(header.log, key_id)
        if key is None:
            return None
        context = body_context(header.log, header.seq, Group.DISTRICT)
        try:
            tables = read_content(open_body(key, described.salt, context, body))
        except SyncError:
            return None
        if tables is None or (cells := sum(each.cells for each in tables)) > self._cells_left:
            return None
        self._cells_left -= cells
        self._by_cells[header.log] = header.seq
        return tables

    def _may_tell_cells(self, header: Header) -> bool:
        """Tell whether nothing of a log, told so, has come back as not taken."""
        if self._by_cells.get(header.log, 0) >= header.seq:
            self._as_it_is.add(header.log)
        return header.log not in self._as_it_is


class SegmentUnpacker:
    """The receiving end."""

    def __init__(self, find_key: FindKey) -> None:
        self._find_key = find_key
        self._slots = _Slots()
        self._memories = _Memories()
        self._cells_left = CELLS_MAX
        self.keys: OrderedDict[KeyId, LogName] = OrderedDict()
        """Keys of the short bodies that came last, and a log of each."""

    def begin_message(self) -> None:
        """Count anew what a message tells by its cells."""
        self._cells_left = CELLS_MAX

    def unpack(self, reader: ByteReader) -> bytes:
        """Return the next segment's bytes; raises MalformedError for what no packer made."""
        place = reader.uint(2 * SLOTS)
        if place:
            before = self._slots.at((place - 1) // 2)
            is_told_by_cells = place % 2 == 0
            wire = (
                self._unpack_cells(reader, before)
                if is_told_by_cells
                else _unpack_following(reader, before)
            )
            try:
                self._keep(parse_segment(wire))
            except SyncError as error:
                raise MalformedError(f"a packed segment does not come back: {error}") from error
            return wire
        wire = reader.take(reader.uint(2 * SEGMENT_BYTES_MAX))
        try:
            self._keep(parse_segment(wire))
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

    def _keep(self, segment: Segment) -> None:
        self._slots.keep(segment)
        body = segment.header.bodies[0]
        if body.group == _DISTRICT and body.length <= CONTENT_BYTES_MAX:
            self.keys[KeyId(body.key_id)] = segment.header.log
            while len(self.keys) > _KEYS_NOTED:
                self.keys.popitem(last=False)

    def _unpack_cells(self, reader: ByteReader, before: Segment) -> bytes:
        log, seq = before.header.log, before.header.seq + 1
        coded = Reader(reader.take(reader.uint(BYTES_MAX)))
        memory = self._memories.of(log)
        follows = read_header(ByteReader(memory.code_bytes(coded, None)), before.header)
        tables = memory.code_tables(
            coded, follows.tables, follows.first_row, None, self._cells_left
        )
        coded.finish()
        self._cells_left -= sum(each.cells for each in tables)
        if not follows.bodies or follows.bodies[0][0] != _DISTRICT:
            raise MalformedError("a segment told by its cells without a body of them")
        key = self._find_key(log, KeyId(follows.bodies[0][1]))
        if key is None:
            raise MalformedError("a segment told by its cells under a key that is not held")
        sizes = [(_take_salt(reader, follows.bodies[0][1]), 0)]
        sizes += _take_sizes(reader, follows.bodies[1:])
        signature = reader.take(SIGNATURE_BYTES)
        salts = [salt for salt, _ in sizes]
        context = body_context(log, seq, Group.DISTRICT)
        bodies = [seal_body(key, salts[0], context, make_content(tables))]
        bodies += [reader.take(length) for _, length in sizes[1:]]
        return restore_segment(follows, before, salts, signature, bodies)


def _plain(wire: bytes) -> bytes:
    return b"".join((pack_uint(0), pack_uint(len(wire)), wire))


def _unpack_following(reader: ByteReader, before: Segment) -> bytes:
    follows = read_header(reader, before.header)
    sizes = _take_sizes(reader, follows.bodies)
    signature = reader.take(SIGNATURE_BYTES)
    bodies = [reader.take(length) for _, length in sizes]
    return restore_segment(follows, before, [salt for salt, _ in sizes], signature, bodies)


def _take_sizes(reader: ByteReader, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[bytes, int]]:
    """Return salt and length of each body."""
    return [(_take_salt(reader, key_id), reader.uint(SEGMENT_BYTES_MAX)) for _, key_id in bodies]


def _take_salt(reader: ByteReader, key_id: bytes) -> bytes:
    return b"" if key_id == UNSEALED else reader.take(SALT_BYTES)
