"""What two nodes say to each other: messages, as both ends mean them, and their bounds."""

import msgspec

from sync.errors import MalformedError
from sync.logs.log_state import HEAD_BYTES, Holding
from sync.segments.segment import SEGMENT_BYTES_MAX, check_log_name

VERSION = 1
FIRST_BYTES_MAX = 16 * 1024
MESSAGE_BYTES_MAX = 1024 * 1024
CREDIT_BYTES = 256 * 1024
SEGMENTS_MAX = 2048
LOGS_MAX = 8192
REFUSED_MAX = 64
_TEXT_MAX = 512
_INT48_MAX, _INT63_MAX = 2**48 - 1, 2**63 - 1


class Refusal(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A segment that was not taken, and why, for the sender's operator."""

    log: str
    seq: int
    reason: str


class Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    incarnation: int  # the sender's, when have is its whole vector; 0 when it tells changes
    have: list[Holding]
    segments: list[bytes]
    credit_bytes: int  # how many bytes of segments may be under way to the sender
    waiting_bytes: int  # how many bytes of segments the sender still holds for the peer
    retry_after_ms: int  # how long the receiver is asked to wait with what is not urgent
    now_ms: int  # the sender's wall clock; 0: not told
    refused: list[Refusal]
    taken: int  # messages taken in of the receiver's, since and with its last whole vector

    @property
    def complete(self) -> bool:
        return self.incarnation != 0


_decoder = msgspec.msgpack.Decoder(Message)


def parse_message(data: bytes) -> Message:
    """Parse strictly; raises MalformedError."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise MalformedError(f"a message of {len(data)} bytes; the limit is {MESSAGE_BYTES_MAX}")
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"a sync message does not parse: {error}") from error
    check_message(message)
    return message


def check_message(message: Message) -> None:
    """Raise MalformedError for a message beyond its bounds."""
    if message.version != VERSION:
        raise MalformedError(f"sync version {message.version}; this node speaks {VERSION}")
    if len(message.have) > LOGS_MAX:
        raise MalformedError(f"a message about {len(message.have)} logs; refused")
    if len(message.segments) > SEGMENTS_MAX or len(message.refused) > REFUSED_MAX:
        raise MalformedError(f"a message with {len(message.segments)} segments; refused")
    if sum(map(len, message.segments)) > CREDIT_BYTES + SEGMENT_BYTES_MAX:
        raise MalformedError("a message with more segments than any credit; refused")
    _check_amounts(message)


def _check_amounts(message: Message) -> None:
    if not 0 <= message.incarnation <= _INT63_MAX:
        raise MalformedError("a message of an incarnation that cannot be")
    amounts = (message.credit_bytes, message.waiting_bytes, message.retry_after_ms, message.now_ms)
    if not all(0 <= amount <= _INT48_MAX for amount in (*amounts, message.taken)):
        raise MalformedError("a message with an amount or moment out of range")
    for holding in message.have:
        check_log_name(holding.log)
        if not 0 <= holding.applied <= holding.stored <= _INT48_MAX:
            raise MalformedError(f"cursors of {holding.log} out of range")
        if len(holding.head) != HEAD_BYTES:
            raise MalformedError(f"a head of {holding.log} of the wrong length")
    if any(max(len(each.log), len(each.reason)) > _TEXT_MAX for each in message.refused):
        raise MalformedError("a refusal with more text than a reason has")
