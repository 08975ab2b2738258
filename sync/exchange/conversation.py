"""One end of a connection between two nodes, without any I/O: frames in, frames out.

Both ends may speak at any time. A receipt waits a little for company, unless what it is for was
long, one of several, or not all taken. The caller asks an idle peer whether it is there; a receipt
for what was in no hurry waits for that question, and answers it. Moments are monotonic milliseconds
of the caller's.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from sync.errors import SyncError
from sync.exchange.framing import STREAM_VERSION, frame
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX, Message
from sync.exchange.message_packing import MessagePacking
from sync.exchange.pacing import Pace
from sync.exchange.session import EVERY_LANE, Session
from sync.logs.sealer import URGENT
from sync.node import Imported, Node
from sync.schema.model import Lane
from sync.segments.segment import parse_segment

HEARTBEAT_MS = 30_000
"""A caller that heard nothing for so long asks."""
RECEIPT_MS = 3_000
"""How long a receipt may wait for more to be said with it."""
PATIENT_RECEIPT_MS = HEARTBEAT_MS + 5_000
"""How long it may wait for the caller's question, if what it is for waited to be sealed as well."""
LONG_BYTES = 4 * 1024
"""For more than this the receipt, 34 bytes all in, is owed at once."""

_ASK = b""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a frame brought; ``message`` is None when it only asked or answered a question."""

    message: Message | None
    imported: Imported


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    at_ms: int


class Conversation:
    """See the module; all methods but the properties block on the node's store.

    ``asks``: this end called, and asks when it hears nothing. ``first_bytes_max`` bounds the
    segments that are sent before the peer has said what it holds: 0 after a cut, when it may hold
    more than it could tell.
    """

    def __init__(
        self,
        node: Node,
        peer: int,
        pace: Pace,
        now_ms: int,
        *,
        asks: bool,
        first_bytes_max: int = FIRST_BYTES_MAX,
    ) -> None:
        self._session = Session(node, peer)
        self._packing = MessagePacking(node.district_key)
        self._pace = pace
        self._asks = asks
        self._first_bytes_max = first_bytes_max
        self._has_spoken = False
        self._is_asked = False
        self._heard_ms = self._asked_ms = now_ms
        self._has_heard = False
        self._receipt_due_ms: int | None = None
        self._brought_ms: int | None = None  # when segments last came
        self._has_more_waited = False  # behind these, as the peer said
        self._timed: deque[_Sent] = deque()
        self._long_sent = 0  # the last message whose receipt is owed at once; 0: it came

    @property
    def has_spoken(self) -> bool:
        """Tell whether this end has said what it holds."""
        return self._has_spoken

    @property
    def has_heard(self) -> bool:
        """Tell whether the peer has said what it holds."""
        return self._has_heard

    @property
    def awaits_receipt(self) -> bool:
        """Tell whether a receipt is on its way that the peer owes at once; from any thread."""
        return self._long_sent > 0

    @property
    def under_way(self) -> dict[Lane, int]:
        """Bytes of segments by lane that were sent and not acknowledged yet."""
        return dict(self._session.under_way())

    def silent_ms(self, now_ms: int) -> int:
        """Return for how long nothing has come from the peer."""
        return now_ms - self._heard_ms

    def due_ms(self) -> int | None:
        """Return when :meth:`speak` has something to say at the latest, if nothing happens."""
        due = [] if self._receipt_due_ms is None else [self._receipt_due_ms]
        if self._asks:
            due.append(max(self._heard_ms, self._asked_ms) + HEARTBEAT_MS)
        return min(due, default=None)

    def speak(
        self,
        now_ms: int,
        credit_bytes: int = CREDIT_BYTES,
        retry_after_ms: int = 0,
        lanes: Collection[Lane] = EVERY_LANE,
    ) -> bytes | None:
        """Return bytes to send, or None while there is nothing to say.

        Of segments only those of ``lanes`` are sent. ``credit_bytes`` and ``retry_after_ms`` ask
        the peer to send less, or later.
        """
        session = self._session
        room = self._pace.window_bytes
        if not self._has_heard:
            room = min(room, self._first_bytes_max)
        room -= session.under_way().total()
        is_due = self._receipt_due_ms is not None and now_ms >= self._receipt_due_ms
        wants = is_due or self._is_asked or not self._has_spoken
        if wants or session.can_give(room, lanes):
            room = min(room, self._pace.message_bytes)
            message = session.speak(room, credit_bytes, retry_after_ms, lanes)
            if message is not None:
                return self._send(message, now_ms)
            self._receipt_due_ms = None
        if self._is_asked:
            self._is_asked = False
            return frame(_ASK)
        if self._asks and now_ms >= max(self._heard_ms, self._asked_ms) + HEARTBEAT_MS:
            self._asked_ms = now_ms
            session.note_turn()  # on an idle line there is no other
            return frame(_ASK)
        return None

    def hear(self, content: bytes, now_ms: int) -> Heard:
        """Take in a frame's content; on return what it brought is durable.

        Raises MalformedError for what no peer sends; the connection is then to be closed.
        """
        self._heard_ms = now_ms
        if content == _ASK:
            self._is_asked = not self._asks
            return Heard(None, Imported())
        message = self._packing.unpack(content)
        imported = self._session.hear(message)
        self._has_heard = True
        self._learn(message.taken, now_ms)
        if message.segments or message.complete or self._session.gave_way:
            due_ms = now_ms + self._patience_ms(message, imported, now_ms)
            if self._receipt_due_ms is not None:
                due_ms = min(due_ms, self._receipt_due_ms)
            self._receipt_due_ms = due_ms
        return Heard(message, imported)

    def _patience_ms(self, message: Message, imported: Imported, now_ms: int) -> int:
        """Return how long the receipt for a message may wait, and note when the message came."""
        is_owed = self._receipt_due_ms is not None
        is_burst = (
            is_owed and self._brought_ms is not None and now_ms - self._brought_ms < RECEIPT_MS
        )
        is_awaited = self._has_more_waited or message.waiting_bytes > 0
        if message.segments:
            self._brought_ms = now_ms
            self._has_more_waited = message.waiting_bytes > 0
        is_long = sum(map(len, message.segments)) > LONG_BYTES
        # The sender has to do something about what was not taken.
        is_trouble = imported.stored < len(message.segments) or self._session.gave_way
        if message.complete or is_burst or is_long or is_awaited or is_trouble:
            return 0
        lanes = {_lane(wire) for wire in message.segments}
        if Lane.ALARM in lanes:
            return 0
        # Who asks is not asked itself.
        return RECEIPT_MS if self._asks or lanes & URGENT else PATIENT_RECEIPT_MS

    def _send(self, message: Message, now_ms: int) -> bytes:
        self._receipt_due_ms = None
        self._is_asked = False
        if message.complete:
            self._timed.clear()
            self._long_sent = 0
        if sum(map(len, message.segments)) > LONG_BYTES:
            self._long_sent = self._session.sent
        if message.segments and message.waiting_bytes:
            # Without more behind it the peer may take its time with the receipt.
            self._timed.append(_Sent(self._session.sent, now_ms))
        packed = frame(self._packing.pack(message))
        if not self._has_spoken:
            self._has_spoken = True
            return bytes([STREAM_VERSION]) + packed
        return packed

    def _learn(self, taken: int, now_ms: int) -> None:
        """Fit the window by the messages of which the peer has told."""
        if taken >= self._long_sent:
            self._long_sent = 0
        while self._timed and self._timed[0].number <= taken:
            self._pace.note_passed(self._timed.popleft().at_ms, now_ms)


def _lane(wire: bytes) -> Lane:
    try:
        return parse_segment(wire).header.log.lane
    except SyncError:
        return Lane.CONTROL  # its refusal is not to wait long
