"""A session whose two sides take turns, one answer for each request: short to write in a test."""

import msgspec

from sync.exchange.message import CREDIT_BYTES, Message, parse_message
from sync.exchange.session import EVERY_LANE, Session
from sync.node import Imported, Node


class TurnSession(Session):
    """Requests and answers as bytes; after one that was lost the whole vector is told again."""

    def __init__(self, node: Node, peer: int) -> None:
        super().__init__(node, peer)
        self._is_answered = False

    def request(self, bytes_max: int = CREDIT_BYTES) -> bytes:
        if not self._is_answered:
            self._told_incarnation = 0
        self._is_answered = False
        return msgspec.msgpack.encode(self._compose(bytes_max, CREDIT_BYTES, 0, EVERY_LANE))

    def receive_answer(self, data: bytes) -> tuple[Imported, Message]:
        message = parse_message(data)
        imported = self.hear(message)
        self._is_answered = True
        return imported, message

    def answer(
        self, data: bytes, credit_bytes: int = CREDIT_BYTES, retry_after_ms: int = 0
    ) -> tuple[bytes, Imported, Message]:
        message = parse_message(data)
        if message.complete:
            # The peer may not have seen the last answer.
            self._told_incarnation = 0
        imported = self.hear(message)
        answer = self._compose(CREDIT_BYTES, credit_bytes, retry_after_ms, EVERY_LANE)
        return msgspec.msgpack.encode(answer), imported, message

    def to_send_bytes(self) -> int:
        """Return how many bytes of sealed segments the peer lacks and will be offered next."""
        return sum(
            self._node.waiting_bytes(log.id, stored)[1] for log, stored in self._lacking().values()
        )
