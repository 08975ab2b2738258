"""The world of one seed: virtual time, machines, and the messages between them."""

import heapq
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sync.errors import MalformedError
from sync.exchange.message import Message
from sync.exchange.message_packing import MessagePacking
from sync.exchange.session import Session
from sync.logs.log_state import Holding
from sync.node import Node, SealPolicy
from sync.segments.segment import HUB, parse_segment
from tests.simulation.directory import Directory
from tests.simulation.ledger import Ledger
from tests.simulation.machine import DownError, Machine
from tests.sync.district import District, new_keys

HEARTBEAT_MS = 15_000
SILENCE_MS = 20_000
RETRY_MS = 5_000
POLICY = SealPolicy(rows=40, age_ms=20_000)
_TRACE = 80
_WIRES_KEPT = 400


@dataclass(eq=False)
class End:
    """One end of a line: a session of a node that may have been started again since."""

    machine: Machine
    node: Node
    session: Session
    packing: MessagePacking
    speaks_until_ms: int = 0


Alter = Callable[[Message, MessagePacking], bytes]
"""What a hostile box sends in the place of a message, by the packing of its end."""


@dataclass(eq=False)
class Line:
    """One connection between a box and the hub."""

    machine: Machine
    edge: End
    desk: End
    is_open: bool = True


@dataclass
class Link:
    """What a box has of the network just now."""

    up: bool = True
    lost: float = 0.0  # share of messages at which the line ends
    late_ms: int = 50  # how long one may take
    line: Line | None = None


@dataclass
class World:
    """Machines by name: ``0`` is the hub, ``17`` a box, ``17b`` its clone."""

    seed: int
    schools: int
    chance: random.Random = field(init=False)
    district: District = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    machines: dict[str, Machine] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    alter: dict[str, Alter] = field(default_factory=dict)
    """What hostile boxes make of their own messages."""
    hostile: set[int] = field(default_factory=set)
    """Schools of whose boxes one is hostile: nothing is promised to them."""
    unsteady: set[int] = field(default_factory=set)
    """Schools of which a disk went back in time, and no program was told."""
    wires: "deque[tuple[int, bytes]]" = field(default_factory=lambda: deque(maxlen=_WIRES_KEPT))
    """Segments that passed, with whose connection they came by."""
    trace: "deque[str]" = field(default_factory=lambda: deque(maxlen=_TRACE))
    steps: int = 0
    logs: int = 0
    messages: int = 0
    _events: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1 << 62)))

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.district = Directory(random.Random(self.seed ^ 0x5EED))
        for origin in (HUB, *range(1, self.schools + 1)):
            self.add_machine(str(origin), origin)

    @property
    def hub(self) -> Machine:
        return self.machines["0"]

    def boxes(self) -> list[Machine]:
        return [each for each in self.machines.values() if each.origin != HUB]

    def add_machine(self, name: str, origin: int) -> Machine:
        if origin not in self.district.keys:
            self.district.keys[origin] = new_keys(origin, self.district.chance)
        machine = Machine(
            name=name,
            origin=origin,
            district=self.district,
            chance=random.Random(f"{self.seed}/{name}"),
            checkpoint_pages=self.chance.choice((8, 40, 1000)),
        )
        self.machines[name] = machine
        if origin != HUB:
            self.links[name] = Link()
        return machine

    def note(self, text: str) -> None:
        self.trace.append(f"{self.district.now - 1_790_000_000_000:>9} ms  {text}")

    def after(self, delay_ms: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.district.now + delay_ms, next(self._numbers), what))

    def run(self, until_ms: int, check: Callable[[], None]) -> None:
        """Let events happen, in order, up to a moment; ``check`` follows each."""
        while self._events and self._events[0][0] <= until_ms:
            at_ms, _, what = heapq.heappop(self._events)
            self.district.now = max(self.district.now, at_ms)
            what()
            self.steps += 1
            check()
        self.district.now = max(self.district.now, until_ms)

    def clear(self) -> None:
        """Forget what was to happen: the storm is over."""
        self._events.clear()

    def start(self, machine: Machine) -> None:
        """Boot a machine; one that fails is tried again."""
        if machine.node is not None:
            return
        try:
            machine.boot()
            self.note(f"{machine.name} is up")
        except (DownError, sqlite3.Error) as error:
            self.note(f"{machine.name} does not start: {error}")
            self.after(RETRY_MS, lambda: self.start(machine))

    def went_down(self, machine: Machine) -> None:
        """Note it, and let someone switch the machine on again."""
        self.note(f"{machine.name} is down")
        for link in self.links.values():
            if link.line is not None and machine in {link.line.machine, self.hub}:
                self.close(link.line)
        self.after(self.chance.randrange(1_000, 30_000), lambda: self.start(machine))

    # The network -----------------------------------------------------------------------------

    def keep_connected(self, machine: Machine) -> None:
        """Let a box hold a line to its hub from now on, and both ends speak now and then."""

        def tick() -> None:
            line = self.links[machine.name].line
            if line is None:
                self._connect(machine)
            else:
                self.speak(line, line.edge)
                self.speak(line, line.desk)
            self.after(1 + self.chance.randrange(2 * HEARTBEAT_MS), tick)

        self.after(self.chance.randrange(HEARTBEAT_MS), tick)

    def connect(self, machine: Machine) -> Line:
        """Return a new line; connecting, a box seals what waited."""
        with machine.at_work() as node:
            node.seal_all()
            edge = _end(machine, node, HUB)
        with self.hub.at_work() as node:
            desk = _end(self.hub, node, machine.origin)
        return Line(machine, edge, desk)

    def _connect(self, machine: Machine) -> None:
        link = self.links[machine.name]
        if not link.up or machine.node is None or self.hub.node is None:
            return
        try:
            link.line = self.connect(machine)
        except sqlite3.Error as error:
            self.note(f"{machine.name} cannot connect: {error}")
        except DownError:
            self.went_down(machine)
        else:
            self.speak(link.line, link.line.edge)

    def speak(self, line: Line, end: End) -> None:
        """Let one end of a line say what it has to say, if it has."""
        if not line.is_open or end.machine.node is not end.node:
            return
        data = self.compose(line, end)
        if data is not None:
            self._carry(line, end, data)

    def compose(self, line: Line, end: End) -> bytes | None:
        """Return an end's next message, packed, None when it has none or its machine fails."""
        alter = self.alter.get(line.machine.name) if end is line.edge else None
        try:
            with end.machine.at_work():
                message = end.session.speak()
                data = None if message is None else (alter or _pack)(message, end.packing)
        except sqlite3.Error as error:
            self.note(f"{end.machine.name} cannot speak: {error}")
            self.close(line)
            return None
        except DownError:
            self.went_down(end.machine)
            self.close(line)
            return None
        if message is not None and alter is None:
            peer = HUB if end is line.edge else line.machine.origin
            self.watch(end.machine, peer, message.segments, message.have)
        return data

    def _carry(self, line: Line, end: End, data: bytes) -> None:
        """Bring a message over; messages of one line neither overtake nor get lost, lines end."""
        link = self.links[line.machine.name]
        arrives_ms = 1 + self.chance.randrange(link.late_ms)
        end.speaks_until_ms = max(self.district.now + arrives_ms, end.speaks_until_ms + 1)
        delay_ms = end.speaks_until_ms - self.district.now
        if not link.up or self.chance.random() < link.lost:
            self.note(f"{line.machine.name}'s line is gone")
            line.is_open = False
            self.after(self.chance.randrange(SILENCE_MS), lambda: self.close(line))
            if self.chance.random() < 0.5:
                return
            # It stands in the receiver's buffer, and is read after the box has called again.
            delay_ms += self.chance.randrange(SILENCE_MS)
        other = line.desk if end is line.edge else line.edge
        self.after(delay_ms, lambda: self._arrive(line, other, data))

    def _arrive(self, line: Line, end: End, data: bytes) -> None:
        if end.machine.node is end.node and self.hear(line, end, data):
            self.after(1 + self.chance.randrange(3_000), lambda: self.speak(line, end))

    def hear(self, line: Line, end: End, data: bytes) -> bool:
        """Let an end take a packed message in; return whether it did."""
        self.messages += 1
        try:
            with end.machine.at_work():
                imported = end.session.hear(end.packing.unpack(data))
        except MalformedError as error:
            if line.machine.origin not in self.hostile:
                raise
            self.note(f"the hub cannot read {line.machine.name}: {error}")
            self.close(line)
            return False
        except sqlite3.Error as error:
            self.note(f"{end.machine.name} cannot take a message in: {error}")
            self.close(line)
            return False
        except DownError:
            self.went_down(end.machine)
            self.close(line)
            return False
        if imported.stored or imported.refused:
            direction = "<" if end is line.desk else ">"
            refused = [f"{log} {seq}: {reason}" for log, seq, reason in imported.refused]
            self.note(f"hub {direction} {line.machine.name}: {imported.stored} stored {refused}")
        return True

    def close(self, line: Line) -> None:
        """Let the box notice that its line is gone."""
        line.is_open = False
        link = self.links[line.machine.name]
        if link.line is line:
            link.line = None

    def bring(self, machine: Machine, peer: int, wires: Sequence[bytes]) -> None:
        """Hand a machine segments by another way than the exchange."""
        with machine.at_work() as node:
            imported = node.import_segments(wires, peer, lambda name: name.origin == peer)
        self.note(f"{machine.name} was brought {len(wires)}, stored {imported.stored}")

    def watch(
        self, sender: Machine, peer: int, segments: Sequence[bytes], have: Sequence[Holding]
    ) -> None:
        """Read off what a machine sends what it carries, and what it says the sender holds."""
        if sender.origin in self.hostile:
            return
        for wire in segments:
            segment = parse_segment(wire)
            self.ledger.see_segment(sender, segment)
            self.wires.append((peer or sender.origin, wire))
        self.ledger.see_vector(sender, peer, have)


def _end(machine: Machine, node: Node, peer: int) -> End:
    return End(machine, node, Session(node, peer), MessagePacking(node.district_key))


def _pack(message: Message, packing: MessagePacking) -> bytes:
    return packing.pack(message)
