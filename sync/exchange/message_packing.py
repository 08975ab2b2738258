"""Messages on a connection: what the peer knows already is left out.

One packing belongs to one end of one connection; messages are packed and unpacked in the order in
which they travel. A log is named once and then numbered; cursors are told as steps; a head that is
the last segment the peer sent is told by a bit; segments by :mod:`sync.exchange.segment_packing`.
A message also names keys under which short bodies came and which this end holds: from then on the
peer may tell it their cells.
"""

from collections import OrderedDict

import msgspec

from sync.errors import MalformedError, SyncError
from sync.exchange.body_coding import MAKER_BYTES, maker
from sync.exchange.message import (
    FIRST_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    SEGMENTS_MAX,
    VERSION,
    Message,
    Refusal,
    check_message,
)
from sync.exchange.segment_packing import FindKey, SegmentPacker, SegmentUnpacker
from sync.logs.log_state import HEAD_BYTES, Holding
from sync.schema.model import Lane
from sync.segments.sealing import KeyId
from sync.segments.segment import LogName, check_log_name, parse_segment
from sync.segments.varints import ByteReader, pack_int, pack_uint

TIME_TOLD_EVERY_MS = 600_000
"""The wall clock stands in a message with a whole vector, and then only so often."""
_LOGS_MAX = 8192
_HEADS_MAX = 4096
_AUDIENCE_MAX = 64
_INCARNATION_BYTES = 8
_KEY_ID_BYTES = 8
_KEYS_MAX = 64
_WHOLE, _CREDIT, _WAITING, _RETRY, _NOW, _REFUSED, _HOLDS = (1 << bit for bit in range(7))
_FROZEN, _APPLIED, _HEAD = 1, 2, 4

_refusals = msgspec.msgpack.Decoder(list[Refusal])


class MessagePacking:
    """Both directions of one end of a connection, which finds keys by ``find_key``."""

    def __init__(self, find_key: FindKey = lambda _log, _name: None) -> None:
        self._own = _Told()
        self._peers = _Told()
        self._find_key = find_key
        self._own_keys: set[KeyId] = set()  # that the peer was told of
        self._peer_keys: set[KeyId] = set()
        self._packer = SegmentPacker(find_key, self._peer_keys)
        self._unpacker = SegmentUnpacker(find_key)
        self._sent_heads: OrderedDict[tuple[LogName, int], bytes] = OrderedDict()

    def pack(self, message: Message) -> bytes:
        """Return the next message to the peer."""
        told = self._own
        is_whole = message.complete
        tells_time = is_whole or message.now_ms - told.now_ms >= TIME_TOLD_EVERY_MS
        flags = _WHOLE * is_whole | _NOW * tells_time
        flags |= _CREDIT * (message.credit_bytes != told.credit_bytes)
        flags |= _WAITING * bool(message.waiting_bytes)
        flags |= _RETRY * bool(message.retry_after_ms)
        flags |= _REFUSED * bool(message.refused)
        held = self._keys_to_tell()
        flags |= _HOLDS * bool(held)
        parts = [pack_uint(flags)]
        if is_whole:
            told.begin_anew()
            parts.append(message.incarnation.to_bytes(_INCARNATION_BYTES, "big"))
        parts.append(pack_int(message.taken - told.taken))
        for flag, amount in (
            (_CREDIT, message.credit_bytes),
            (_WAITING, message.waiting_bytes),
            (_RETRY, message.retry_after_ms),
            (_NOW, message.now_ms),
        ):
            if flags & flag:
                parts.append(pack_uint(amount))
        told.taken, told.credit_bytes = message.taken, message.credit_bytes
        if tells_time:
            told.now_ms = message.now_ms
        if held:
            parts += [maker(), pack_uint(len(held)), *held]
        parts.append(pack_uint(len(message.have)))
        parts += [self._pack_holding(holding) for holding in message.have]
        parts.append(pack_uint(len(message.segments)))
        self._packer.begin_message()
        for wire in message.segments:
            parts.append(self._packer.pack(wire))
            self._note_sent(wire)
        if message.refused:
            parts.append(msgspec.msgpack.encode(message.refused))
        return b"".join(parts)

    def unpack(self, data: bytes) -> Message:
        """Return the peer's next message; raises MalformedError for what no peer packs."""
        if len(data) > MESSAGE_BYTES_MAX:
            raise MalformedError(f"a message of {len(data)} bytes; the limit {MESSAGE_BYTES_MAX}")
        reader = ByteReader(data)
        told = self._peers
        flags = reader.uint(2 * _HOLDS - 1)
        incarnation = 0
        if flags & _WHOLE:
            told.begin_anew()
            incarnation = int.from_bytes(reader.take(_INCARNATION_BYTES), "big")
        told.taken += reader.int()
        if flags & _CREDIT:
            told.credit_bytes = reader.uint()
        waiting = reader.uint() if flags & _WAITING else 0
        retry_ms = reader.uint() if flags & _RETRY else 0
        now_ms = reader.uint() if flags & _NOW else 0
        if flags & _HOLDS:
            self._note_keys(reader)
        have = [self._unpack_holding(reader) for _ in range(reader.uint(_LOGS_MAX))]
        self._unpacker.begin_message()
        segments = [self._unpacker.unpack(reader) for _ in range(reader.uint(SEGMENTS_MAX))]
        refused: list[Refusal] = []
        if flags & _REFUSED:
            refused = _unpack_refusals(reader)
        elif not reader.is_at_end:
            raise MalformedError("a message with bytes after its end")
        message = Message(
            version=VERSION,
            incarnation=incarnation,
            have=have,
            segments=segments,
            credit_bytes=told.credit_bytes,
            waiting_bytes=waiting,
            retry_after_ms=retry_ms,
            now_ms=now_ms,
            refused=refused,
            taken=told.taken,
        )
        check_message(message)
        return message

    def _keys_to_tell(self) -> list[KeyId]:
        """Return keys of short bodies that came, which this end holds by now."""
        if len(self._own_keys) >= _KEYS_MAX:
            return []
        found = [
            name
            for name, log in self._unpacker.keys.items()
            if name not in self._own_keys and self._find_key(log, name) is not None
        ]
        self._own_keys.update(found)
        return found

    def _note_keys(self, reader: ByteReader) -> None:
        peers_maker = reader.take(MAKER_BYTES)
        names = [reader.take(_KEY_ID_BYTES) for _ in range(reader.uint(_KEYS_MAX))]
        if peers_maker == maker() and len(self._peer_keys) < _KEYS_MAX:
            self._peer_keys.update(map(KeyId, names))

    def _pack_holding(self, holding: Holding) -> bytes:
        number, name = self._own.number(holding.log)
        stored = self._own.stored.get(holding.log, 0)
        seq, digest = self._unpacker.head(holding.log)
        is_head_known = seq == holding.stored and digest[:HEAD_BYTES] == holding.head
        flags = _FROZEN * holding.frozen | _HEAD * (not is_head_known)
        flags |= _APPLIED * (holding.applied == holding.stored)
        parts = [pack_uint(number << 3 | flags), name, pack_int(holding.stored - stored)]
        if not flags & _APPLIED:
            parts.append(pack_uint(holding.stored - holding.applied))
        if flags & _HEAD:
            parts.append(holding.head)
        self._own.stored[holding.log] = holding.stored
        return b"".join(parts)

    def _unpack_holding(self, reader: ByteReader) -> Holding:
        key = reader.uint(_LOGS_MAX << 3 | 7)
        log = self._peers.log(key >> 3, reader)
        stored = self._peers.stored.get(log, 0) + reader.int()
        applied = stored if key & _APPLIED else stored - reader.uint()
        if key & _HEAD:
            head = reader.take(HEAD_BYTES)
        elif (log, stored) in self._sent_heads:
            head = self._sent_heads[log, stored]
        else:
            raise MalformedError(f"a receipt for {log} segment {stored}, which was not sent")
        self._peers.stored[log] = stored
        return Holding(log, stored, applied, head, frozen=bool(key & _FROZEN))

    def _note_sent(self, wire: bytes) -> None:
        try:
            segment = parse_segment(wire)
        except SyncError:
            return
        header = segment.header
        self._sent_heads[header.log, header.seq] = segment.header_digest[:HEAD_BYTES]
        while len(self._sent_heads) > _HEADS_MAX:
            self._sent_heads.popitem(last=False)


class _Told:
    """What one end has told the other so far."""

    def __init__(self) -> None:
        self.taken = 0
        self.credit_bytes = FIRST_BYTES_MAX
        self.now_ms = 0
        self.stored: dict[LogName, int] = {}
        self._logs: list[LogName] = []
        self._numbers: dict[LogName, int] = {}

    def begin_anew(self) -> None:
        """Forget cursors, not names: a whole vector follows."""
        self.taken = 0
        self.stored.clear()

    def number(self, log: LogName) -> tuple[int, bytes]:
        """Return a log's number, and its name if it was not told before."""
        if log in self._numbers:
            return self._numbers[log], b""
        audience = log.audience.encode()
        name = b"".join(
            (
                pack_uint(log.origin),
                log.incarnation.to_bytes(_INCARNATION_BYTES, "big"),
                pack_uint(log.lane),
                pack_uint(len(audience)),
                audience,
            )
        )
        return self._add(log), name

    def log(self, number: int, reader: ByteReader) -> LogName:
        """Return the log of a number; its name follows if it is new."""
        if number < len(self._logs):
            return self._logs[number]
        if number != len(self._logs) or number >= _LOGS_MAX:
            raise MalformedError(f"log number {number} of a connection with {len(self._logs)}")
        origin = reader.uint()
        incarnation = int.from_bytes(reader.take(_INCARNATION_BYTES), "big")
        lane = Lane(reader.uint(max(Lane)))
        try:
            audience = reader.take(reader.uint(_AUDIENCE_MAX)).decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"an audience that is no text: {error}") from error
        log = LogName(origin, incarnation, audience, lane)
        check_log_name(log)
        if log in self._numbers:
            raise MalformedError(f"{log} is named twice")
        self._add(log)
        return log

    def _add(self, log: LogName) -> int:
        number = self._numbers[log] = len(self._logs)
        self._logs.append(log)
        return number


def _unpack_refusals(reader: ByteReader) -> list[Refusal]:
    try:
        return _refusals.decode(reader.rest())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"refusals do not parse: {error}") from error
