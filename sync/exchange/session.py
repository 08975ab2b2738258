"""The exchange between two nodes, without any I/O: messages in, messages out.

A message (:mod:`sync.exchange.message`) says what its sender holds and brings segments that the
peer lacks. Whoever speaks has committed what it took in before, so that ``have`` in a message is
the receipt. The first message may bring up to 16 KiB of segments; more needs the peer's credit.

Either side may speak at any time (:mod:`sync.exchange.conversation` carries that over a stream),
and several messages may be under way: ``taken`` counts what has come of them.

``have`` is the whole vector in a session's first message, and what changed since in the others. A
whole vector comes with the sender's incarnation: what the receiver holds of the sender's former
ones is sent back where the sender lost it.
"""

from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sync.exchange.grants_ahead import GrantsAhead
from sync.exchange.message import (
    CREDIT_BYTES,
    FIRST_BYTES_MAX,
    LOGS_MAX,
    REFUSED_MAX,
    VERSION,
    Message,
    Refusal,
)
from sync.logs.lanes import LaneTurns
from sync.logs.log_state import Holding, LogState, holding_of
from sync.node import Imported, Node
from sync.schema.model import Lane
from sync.segments.segment import HUB, LogName

EVERY_LANE = frozenset(Lane)
HOLD_MESSAGES_MAX = 16
"""A log whose segments the peer does not take is offered again after at most so many messages."""
_STRIKES_MAX = 16


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A message with segments of which the peer has not said yet that it took it in."""

    number: int
    lanes: Counter[Lane]  # bytes of segments
    offered: dict[int, tuple[int, int]]  # log id -> what the peer had then, and has then

    @property
    def bytes(self) -> int:
        return self.lanes.total()


class Session:
    """One side of an exchange with one peer; all methods block on the node's store.

    Both sides make a new session for each connection.
    """

    def __init__(self, node: Node, peer: int) -> None:
        self._node = node
        self._peer = peer
        self._credit_bytes = FIRST_BYTES_MAX
        self._turns = LaneTurns()
        self._told: dict[LogName, Holding] = {}
        self._told_incarnation = 0  # 0: the peer knows nothing yet
        self._ahead: dict[LogName, Holding] = {}  # what the peer has and this node lacks
        self._sent = 0
        self._taken = 0
        self._under_way: deque[_UnderWay] = deque()
        self._refused: list[Refusal] = []
        self._owes_receipt = False
        self._gave_way = False
        self._peer_incarnation: int | None = None
        self._strikes: dict[int, int] = {}
        self._held: dict[int, int] = {}  # log id -> messages until it is offered again

    @property
    def sent(self) -> int:
        """Return the number of the last message that was composed."""
        return self._sent

    @property
    def gave_way(self) -> bool:
        """Tell whether this node holds less of its logs than it said, and waits for the peer's."""
        return self._gave_way

    def under_way(self) -> Counter[Lane]:
        """Return bytes of segments, by lane, of which the peer has not told yet."""
        return sum((message.lanes for message in self._under_way), Counter[Lane]())

    def can_give(self, bytes_max: int, lanes: Collection[Lane] = EVERY_LANE) -> bool:
        """Tell whether :meth:`speak` would bring segments."""
        if min(bytes_max, self._room()) <= 0:
            return False
        reached = self._reached()
        return any(
            log.stored > max(stored, reached.get(log.id, 0)) and log.name.lane in lanes
            for log, stored in self._lacking().values()
        )

    def speak(
        self,
        bytes_max: int = CREDIT_BYTES,
        credit_bytes: int = CREDIT_BYTES,
        retry_after_ms: int = 0,
        lanes: Collection[Lane] = EVERY_LANE,
    ) -> Message | None:
        """Return the next message, or None while there is nothing to say.

        It brings at most ``bytes_max`` of segments, or one segment, and of these ``lanes`` only.
        ``credit_bytes`` and ``retry_after_ms`` tell the peer to send less, or later.
        """
        owed = self._owes_receipt
        message = self._compose(bytes_max, credit_bytes, retry_after_ms, lanes)
        if owed or message.complete or message.have or message.segments or message.refused:
            return message
        self._sent -= 1
        return None

    def note_turn(self) -> None:
        """Bring nearer when logs that were not taken are offered again: a message, or its like."""
        for log_id in list(self._held):
            self._held[log_id] -= 1
            if self._held[log_id] <= 0:
                del self._held[log_id]

    def hear(self, message: Message) -> Imported:
        """Take in a message; on return what it brought is durable."""
        if message.complete:
            self._peer_incarnation = message.incarnation
            self._taken = 0
        self._taken += 1
        before = self._node.incarnation
        ahead = self._node.peers.note_holdings(self._peer, message.have, complete=message.complete)
        self._gave_way |= self._node.incarnation != before or self._has_taken_back(message.have)
        if message.complete:
            self._ahead.clear()
        room = LOGS_MAX - len(self._ahead)
        self._ahead.update((each.log, each) for each in ahead[:room] if self._may_give(each.log))
        self._judge_offers(message.taken)
        self._credit_bytes = min(message.credit_bytes, CREDIT_BYTES)
        if self._peer == HUB and message.now_ms:
            self._node.clock.hear_hub(message.now_ms)
        imported = self._node.import_segments(message.segments, self._peer, self._peer_carries)
        self._refused += [Refusal(*refusal) for refusal in imported.refused]
        del self._refused[REFUSED_MAX:]
        self._owes_receipt |= bool(message.segments) or self._gave_way
        return imported

    def lacking(self) -> list[tuple[LogState, int]]:
        """Return logs of which the peer lacks something, and what it has of each."""
        return list(self._lacking().values())

    def holdings(self) -> dict[LogName, Holding]:
        """Return what this node holds of the logs that come from this peer."""
        ended = self._node.peers.ended()
        return {
            log.name: holding_of(log, is_ended=(log.name.origin, log.name.incarnation) in ended)
            for log in self._node.peers.logs_from(self._peer)
            if self._peer_carries(log.name)
        }

    def _compose(
        self, bytes_max: int, credit_bytes: int, retry_after_ms: int, lanes: Collection[Lane]
    ) -> Message:
        present = self._node.incarnation
        is_whole = self._told_incarnation != present
        if is_whole:
            # What became of earlier messages is told by the whole vector that answers this one.
            self._sent = 0
            self._under_way.clear()
        self._sent += 1
        segments, waiting = self._choose(min(bytes_max, self._room()), lanes)
        holdings = self.holdings()
        told = {} if is_whole else self._told
        changed = [each for name, each in holdings.items() if told.get(name) != each]
        self._told, self._told_incarnation = holdings, present
        refused, self._refused = self._refused, []
        self._owes_receipt = self._gave_way = False
        return Message(
            version=VERSION,
            incarnation=present if is_whole else 0,
            have=changed,
            segments=segments,
            credit_bytes=credit_bytes,
            waiting_bytes=waiting,
            retry_after_ms=retry_after_ms,
            now_ms=max(0, self._node.clock.now_ms()),
            refused=refused,
            taken=self._taken,
        )

    def _choose(self, bytes_max: int, lanes: Collection[Lane]) -> tuple[list[bytes], int]:
        """Pick segments for the peer, by turns, within ``bytes_max``; also count what waits.

        Behind an alarm only alarms follow in its message.
        """
        self.note_turn()
        lacking = self._lacking()
        reached = self._reached()
        following = {
            log_id: max(stored, reached.get(log_id, 0)) + 1
            for log_id, (_, stored) in lacking.items()
        }
        waiting = sum(
            self._node.waiting_bytes(log_id, seq - 1)[1] for log_id, seq in following.items()
        )
        open_lanes = {
            log_id: log.name.lane for log_id, (log, _) in lacking.items() if log.name.lane in lanes
        }
        begun = dict(following)
        grants = GrantsAhead(self._node, [log for log, _ in lacking.values()])
        chosen: list[bytes] = []
        by_lane: Counter[Lane] = Counter()
        left = bytes_max
        while open_lanes and left > 0:
            asked = self._turns.first(open_lanes)
            if by_lane[Lane.ALARM] and open_lanes[asked] is not Lane.ALARM:
                break  # A message is taken in as a whole, and the hub takes short ones first.
            wire = self._node.segment(asked, following[asked])
            if wire is None:
                del open_lanes[asked]
                continue
            log_id, wire = grants.first(lacking[asked][0].name, asked, wire, following)
            if chosen and len(wire) > left:
                break
            if log_id == asked:  # what had to go ahead takes nobody's turn
                self._turns.charge(asked, open_lanes[asked], len(wire))
            by_lane[lacking[log_id][0].name.lane] += len(wire)
            chosen.append(wire)
            following[log_id] += 1
            left -= len(wire)
        if chosen:
            offered = {
                log_id: (begun[log_id] - 1, seq - 1)
                for log_id, seq in following.items()
                if seq > begun[log_id]
            }
            self._under_way.append(_UnderWay(self._sent, by_lane, offered))
        return chosen, waiting - by_lane.total()

    def _room(self) -> int:
        return self._credit_bytes - sum(message.bytes for message in self._under_way)

    def _reached(self) -> dict[int, int]:
        """Return up to which segment each log is under way, by its id."""
        reached: dict[int, int] = {}
        for message in self._under_way:
            for log_id, (_, last) in message.offered.items():
                reached[log_id] = max(last, reached.get(log_id, 0))
        return reached

    def _lacking(self) -> dict[int, tuple[LogState, int]]:
        """Return logs of which the peer lacks something, by id, with what it has.

        What is given back here, as after a restore, is not to be sent back in turn: what the peer
        said it has of that becomes its receipt as soon as this node has as much.
        """
        lacking = self._node.peers.lacking(self._peer, self._peer_incarnation)
        if any(self._is_caught_up(log) for log, _ in lacking):
            ahead = self._node.peers.note_caught_up(self._peer, self._ahead.values())
            self._ahead = {holding.log: holding for holding in ahead}
            lacking = self._node.peers.lacking(self._peer, self._peer_incarnation)
        return {
            log.id: (log, stored)
            for log, stored in lacking
            if log.id not in self._held and log.name not in self._ahead and self._may_give(log.name)
        }

    def _has_taken_back(self, told: Sequence[Holding]) -> bool:
        """Tell whether this node holds less of these logs of its own now than the peer was told."""
        own = [each.log for each in told if each.log.origin == self._node.origin]
        if self._told.keys().isdisjoint(own):
            return False
        held = self.holdings()
        return any(
            held[name].stored < self._told[name].stored
            for name in own
            if name in held and name in self._told
        )

    def _is_caught_up(self, log: LogState) -> bool:
        ahead = self._ahead.get(log.name)
        return ahead is not None and log.stored >= ahead.stored

    def _judge_offers(self, taken: int) -> None:
        """Hold back logs of which the peer took nothing that it was offered, longer each time.

        ``taken``: so many of this side's messages the peer has taken in.
        """
        cursors: dict[int, tuple[int, int]] | None = None
        while self._under_way and self._under_way[0].number <= taken:
            cursors = cursors or self._node.peers.cursors(self._peer)
            message = self._under_way.popleft()
            learned = False
            for log_id, (had, _) in message.offered.items():
                held = cursors.get(log_id, (0, 0))[0]
                if held > had:
                    self._strikes.pop(log_id, None)
                    learned |= Lane.CONTROL in message.lanes
                elif held == had:  # less: it was set back, and could not take what follows
                    self._strikes[log_id] = min(self._strikes.get(log_id, 0) + 1, _STRIKES_MAX)
                    self._held[log_id] = min(1 << self._strikes[log_id], HOLD_MESSAGES_MAX)
            if learned:
                # The peer may know a signer by now for want of whom it took nothing.
                self._held.clear()

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
