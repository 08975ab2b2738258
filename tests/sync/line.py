"""A connection without a network between a school and its hub, pumped by the test."""

from collections import Counter, deque
from dataclasses import dataclass, field

from sync.exchange.conversation import RECEIPT_MS, Conversation
from sync.exchange.framing import FrameReader
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX, Message
from sync.exchange.pacing import Pace
from sync.schema.model import Lane
from sync.segments.segment import parse_segment
from tests.sync.district import District


@dataclass
class Line:
    """A connection between a school and the hub; what is under way stands in ``lines``."""

    district: District
    school: int = 17
    paces: tuple[Pace, Pace] = field(default_factory=lambda: (Pace(), Pace()))
    first_bytes_max: int = FIRST_BYTES_MAX
    now_ms: int = 0
    heard: list[tuple[str, Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        nodes = self.district.nodes
        self.edge = Conversation(
            nodes[self.school],
            0,
            self.paces[0],
            self.now_ms,
            asks=True,
            first_bytes_max=self.first_bytes_max,
        )
        self.hub = Conversation(nodes[0], self.school, self.paces[1], self.now_ms, asks=False)
        self.lines: dict[str, deque[bytes]] = {"up": deque(), "down": deque()}
        self._readers = {"up": FrameReader(), "down": FrameReader()}
        self.bytes: Counter[str] = Counter()

    def speak(self, direction: str, lanes: frozenset[Lane] = frozenset(Lane)) -> int:
        """Let one end say all it has to; return how many frames that were."""
        speaker = self.edge if direction == "up" else self.hub
        said = 0
        while (data := speaker.speak(self.now_ms, CREDIT_BYTES, 0, lanes)) is not None:
            self.lines[direction].append(data)
            self.bytes[direction] += len(data)
            said += 1
        return said

    def pass_on(self, direction: str) -> None:
        """Let the oldest of what is under way arrive."""
        listener = self.hub if direction == "up" else self.edge
        for content in self._readers[direction].feed(self.lines[direction].popleft()):
            message = listener.hear(content, self.now_ms).message
            if message is not None:
                self.heard.append((direction, message))

    def pass_all_on(self, direction: str) -> None:
        while self.lines[direction]:
            self.pass_on(direction)

    def cut(self) -> "Line":
        """Return the next connection, begun as a box begins it; what was under way is lost."""
        is_asked_first = self.first_bytes_max == 0 and not self.edge.has_heard
        may_hold_more = bool(self.edge.under_way) or is_asked_first
        first_bytes_max = 0 if may_hold_more else FIRST_BYTES_MAX
        return Line(self.district, self.school, self.paces, first_bytes_max, self.now_ms)

    def settle(self, rounds: int = 200) -> None:
        """Let both speak and hear until neither has anything to say."""
        for _ in range(rounds):
            self.now_ms += 50
            said = sum(self.speak(direction) for direction in ("up", "down"))
            for direction in ("up", "down"):
                self.pass_all_on(direction)
            if not said:
                self.now_ms += RECEIPT_MS
                if not self.speak("up") + self.speak("down"):
                    return
        raise AssertionError(f"not quiet after {rounds} rounds")


def lanes_of(message: Message) -> list[Lane]:
    return [parse_segment(wire).header.log.lane for wire in message.segments]
