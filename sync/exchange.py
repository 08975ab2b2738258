"""The exchange between two nodes, without any I/O: messages in, messages out.

A message is a msgpack array (:class:`Message`). The caller's first message carries what it holds
of the peer's logs and up to 16 KiB of its own; the answer does the same the other way. Whoever
answers has committed what it took in before it answers, so that ``have`` in a message is the
receipt. More than 16 KiB needs the peer's credit.

``have`` is the whole vector in a session's first message and after a message that went
unanswered, and what changed since in the others. A whole vector comes with the sender's
incarnation: what the receiver holds of the sender's former ones is sent back where the sender
lost it.
"""

import msgspec

from sync.errors import MalformedError
from sync.lanes import LaneTurns
from sync.log_state import HEAD_BYTES, Holding, LogState, holding_of
from sync.node import Imported, Node
from sync.segment import HUB, SEGMENT_BYTES_MAX, LogName, check_log_name

VERSION = 1
FIRST_BYTES_MAX = 16 * 1024
MESSAGE_BYTES_MAX = 1024 * 1024
CREDIT_BYTES = 256 * 1024
HOLD_MESSAGES_MAX = 16
"""A log whose segments the peer does not take is offered again after at most so many messages."""
_SEGMENTS_MAX = 2048
_LOGS_MAX = 8192
_REFUSED_MAX = 64
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
    credit_bytes: int  # how many bytes of segments the sender takes in the next message
    waiting_bytes: int  # how many bytes of segments the sender still holds for the peer
    retry_after_ms: int  # how long the caller is asked to wait before its next message
    now_ms: int  # the sender's wall clock
    refused: list[Refusal]

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
    if message.version != VERSION:
        raise MalformedError(f"sync version {message.version}; this node speaks {VERSION}")
    if len(message.have) > _LOGS_MAX:
        raise MalformedError(f"a message about {len(message.have)} logs; refused")
    if len(message.segments) > _SEGMENTS_MAX or len(message.refused) > _REFUSED_MAX:
        raise MalformedError(f"a message with {len(message.segments)} segments; refused")
    if sum(map(len, message.segments)) > CREDIT_BYTES + SEGMENT_BYTES_MAX:
        raise MalformedError("a message with more segments than any credit; refused")
    _check_amounts(message)
    return message


def _check_amounts(message: Message) -> None:
    if not 0 <= message.incarnation <= _INT63_MAX:
        raise MalformedError("a message of an incarnation that cannot be")
    amounts = (message.credit_bytes, message.waiting_bytes, message.retry_after_ms, message.now_ms)
    if not all(0 <= amount <= _INT48_MAX for amount in amounts):
        raise MalformedError("a message with an amount or moment out of range")
    for holding in message.have:
        check_log_name(holding.log)
        if not 0 <= holding.applied <= holding.stored <= _INT48_MAX:
            raise MalformedError(f"cursors of {holding.log} out of range")
        if len(holding.head) != HEAD_BYTES:
            raise MalformedError(f"a head of {holding.log} of the wrong length")
    if any(max(len(each.log), len(each.reason)) > _TEXT_MAX for each in message.refused):
        raise MalformedError("a refusal with more text than a reason has")


class Session:
    """One side of an exchange with one peer.

    The side that calls uses :meth:`request` and :meth:`receive_answer` and makes a new session for
    each connection; the side that answers uses :meth:`answer` and may keep its session. All block
    on the node's store.
    """

    def __init__(self, node: Node, peer: int) -> None:
        self._node = node
        self._peer = peer
        self._credit_bytes = FIRST_BYTES_MAX
        self._turns = LaneTurns()
        self._told: dict[LogName, Holding] = {}
        self._told_incarnation = 0  # 0: the peer knows nothing yet
        self._is_answered = False
        self._peer_incarnation: int | None = None
        self._offered: dict[int, int] = {}  # log id -> what the peer had when offered more
        self._strikes: dict[int, int] = {}
        self._held: dict[int, int] = {}  # log id -> messages until it is offered again

    def request(self, bytes_max: int = CREDIT_BYTES) -> bytes:
        """Return the next message to send.

        On a slow link ``bytes_max`` keeps it short, so that an alarm does not wait behind it.
        """
        if not self._is_answered:
            self._forget_unseen()
        self._is_answered = False
        return self._compose(Imported(), min(bytes_max, self._credit_bytes), CREDIT_BYTES, 0)

    def receive_answer(self, data: bytes) -> tuple[Imported, Message]:
        """Take in an answer; on return what it brought is durable."""
        message = parse_message(data)
        imported = self._take_in(message)
        self._is_answered = True
        return imported, message

    def answer(
        self, data: bytes, credit_bytes: int = CREDIT_BYTES, retry_after_ms: int = 0
    ) -> tuple[bytes, Imported, Message]:
        """Take in a request, commit, and return the answer.

        ``credit_bytes`` and ``retry_after_ms`` tell a caller to send less, or later.
        """
        message = parse_message(data)
        if message.complete:
            self._forget_unseen()
        imported = self._take_in(message)
        answer = self._compose(imported, self._credit_bytes, credit_bytes, retry_after_ms)
        return answer, imported, message

    def to_send_bytes(self) -> int:
        """Return how many bytes of sealed segments the peer lacks and will be offered next."""
        return sum(
            self._node.waiting_bytes(log.id, stored)[1] for log, stored in self._lacking().values()
        )

    def _take_in(self, message: Message) -> Imported:
        self._node.note_holdings(self._peer, message.have, complete=message.complete)
        if message.complete:
            self._peer_incarnation = message.incarnation
        self._judge_offers()
        self._credit_bytes = min(message.credit_bytes, CREDIT_BYTES)
        return self._node.import_segments(message.segments, self._peer, self._peer_carries)

    def _compose(
        self, imported: Imported, bytes_max: int, credit_bytes: int, retry_after_ms: int
    ) -> bytes:
        segments, waiting = self._choose(bytes_max)
        holdings = {
            log.name: holding_of(log)
            for log in self._node.logs_from(self._peer)
            if self._peer_carries(log.name)
        }
        present = self._node.incarnation
        is_whole = self._told_incarnation != present
        told = {} if is_whole else self._told
        changed = [each for name, each in holdings.items() if told.get(name) != each]
        self._told, self._told_incarnation = holdings, present
        return msgspec.msgpack.encode(
            Message(
                version=VERSION,
                incarnation=present if is_whole else 0,
                have=changed,
                segments=segments,
                credit_bytes=credit_bytes,
                waiting_bytes=waiting,
                retry_after_ms=retry_after_ms,
                now_ms=max(0, self._node.clock.now_ms()),
                refused=[Refusal(*refusal) for refusal in imported.refused[:_REFUSED_MAX]],
            )
        )

    def _choose(self, bytes_max: int) -> tuple[list[bytes], int]:
        """Pick segments for the peer, by turns, within ``bytes_max``; also count what waits."""
        for log_id in list(self._held):
            self._held[log_id] -= 1
            if self._held[log_id] <= 0:
                del self._held[log_id]
        lacking = self._lacking()
        waiting = sum(
            self._node.waiting_bytes(log.id, stored)[1] for log, stored in lacking.values()
        )
        following = {log_id: stored + 1 for log_id, (_, stored) in lacking.items()}
        lanes = {log_id: log.name.lane for log_id, (log, _) in lacking.items()}
        chosen: list[bytes] = []
        left = bytes_max
        while lanes and left > 0:
            log_id = self._turns.first(lanes)
            wire = self._node.segment(log_id, following[log_id])
            if wire is None:
                del lanes[log_id]
                continue
            if chosen and len(wire) > left:
                break
            self._turns.charge(log_id, lanes[log_id], len(wire))
            self._offered.setdefault(log_id, following[log_id] - 1)
            chosen.append(wire)
            following[log_id] += 1
            left -= len(wire)
        return chosen, waiting - sum(map(len, chosen))

    def _lacking(self) -> dict[int, tuple[LogState, int]]:
        """Return logs of which the peer lacks something, by id, with what it has."""
        return {
            log.id: (log, stored)
            for log, stored in self._node.lacking(self._peer, self._peer_incarnation)
            if log.id not in self._held and self._may_give(log.name)
        }

    def _forget_unseen(self) -> None:
        """Tell everything again: the peer may not have seen the last message."""
        self._told_incarnation = 0
        self._offered.clear()

    def _judge_offers(self) -> None:
        """Hold back logs of which the peer took nothing that it was offered, longer each time."""
        cursors = self._node.peer_cursors(self._peer)
        for log_id, had in self._offered.items():
            if cursors.get(log_id, (0, 0))[0] > had:
                self._strikes.pop(log_id, None)
            else:
                self._strikes[log_id] = self._strikes.get(log_id, 0) + 1
                self._held[log_id] = min(1 << self._strikes[log_id], HOLD_MESSAGES_MAX)
        self._offered.clear()

    def _may_give(self, name: LogName) -> bool:
        """Tell whether the peer may have a log of which it lacks something."""
        if HUB in {self._peer, name.origin} and name.origin in {self._node.origin, self._peer}:
            return self._peer == HUB or self._peer in self._node.members(name.audience)
        if name.origin == self._peer:
            return True
        members = self._node.members(name.audience)
        return self._node.origin == HUB and {name.origin, self._peer} <= members

    def _peer_carries(self, name: LogName) -> bool:
        """Tell whether this log comes to this node from this peer."""
        if name.origin == self._node.origin:
            # The missing end of a former incarnation, after this node was restored.
            return name.incarnation != self._node.incarnation and (
                self._peer == HUB or self._peer in self._node.members(name.audience)
            )
        if self._peer == HUB:
            return not name.audience.startswith("s") or name.audience == f"s{self._node.origin}"
        return name.origin == self._peer and name.audience != "d"
