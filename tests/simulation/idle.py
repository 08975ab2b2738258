"""Lines that are up while nothing happens: whatever stands then stands until somebody pulls a plug.

Boxes and hub speak as the product does, by conversations and packed frames. No device writes, no
line is made anew; there is only time, with the questions that it brings.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sync.exchange.conversation import HEARTBEAT_MS, Conversation
from sync.exchange.framing import FrameReader
from sync.exchange.pacing import Pace
from sync.history.bounding import History, HistoryPolicy
from sync.segments.segment import HUB
from tests.simulation.books import Books, BrokenInvariantError, cursors, waits_for_twin
from tests.simulation.machine import Machine
from tests.simulation.world import World

QUIET_MS = 40 * HEARTBEAT_MS
"""After so long on an idle line nothing may be left."""
_PASS_MS = 40


@dataclass(eq=False)
class _Voice:
    """One end of a line, and what arrives there."""

    machine: Machine
    conversation: Conversation
    reader: FrameReader = field(default_factory=FrameReader)


@dataclass(eq=False)
class _Line:
    world: World
    machine: Machine
    edge: _Voice
    desk: _Voice

    def speak(self) -> bool:
        """Let both ends say what they have to say; return whether they had anything."""
        said = False
        for voice, other in ((self.edge, self.desk), (self.desk, self.edge)):
            with voice.machine.at_work():
                data = voice.conversation.speak(self.world.district.now)
            if data is not None:
                said = True
                self.world.district.now += _PASS_MS
                self._hear(other, voice, data)
        return said

    def due_ms(self) -> int:
        moments = (voice.conversation.due_ms() for voice in (self.edge, self.desk))
        return min(moment for moment in moments if moment is not None)

    def _hear(self, voice: _Voice, sender: _Voice, data: bytes) -> None:
        for content in voice.reader.feed(data):
            with voice.machine.at_work():
                heard = voice.conversation.hear(content, self.world.district.now)
            if heard.message is not None:
                self.world.messages += 1
                peer = HUB if voice is self.desk else self.machine.origin
                told = heard.message
                self.world.watch(sender.machine, peer, told.segments, told.have)
            for log, seq, reason in heard.imported.refused:
                self.world.note(f"{voice.machine.name} refused {log} {seq}: {reason}")


def be_idle(world: World, books: Books, absent: int | None = None) -> None:
    """Hold a line to each honest box, but one, until nothing lacks or is unacknowledged.

    Raises BrokenInvariantError when something still is after QUIET_MS. A box that lost its disk
    while its hub went back in time waits for the hub's hourly round besides: of its own it takes
    only what the hub countersigned.
    """
    # Of twins, who have one certificate, the hub lets one speak at a time.
    boxes = {each.origin: each for each in reversed(world.boxes())}
    silent = frozenset(each.origin for each in world.boxes() if boxes[each.origin] is not each)
    honest = [boxes[origin] for origin in sorted(boxes) if origin not in {absent, *world.hostile}]
    lines = [_connect(world, each) for each in honest]
    until_ms = world.district.now + QUIET_MS
    awake = lines
    while True:
        while awake:
            books.seal(world.hub)
            before = world.hub.written()
            spoke = []
            for line in awake:
                books.seal(line.machine)
                if line.speak():
                    spoke.append(line)
            awake = lines if world.hub.written() != before else spoke
        standing = next(filter(None, (_standing(books, line, silent) for line in lines)), "")
        if not standing:
            return
        due_ms = min(line.due_ms() for line in lines)
        if due_ms > until_ms:
            if not countersigns(world.hub):
                raise BrokenInvariantError(f"on an idle line, for long: {standing}")
            until_ms = due_ms + QUIET_MS
        world.district.now = max(world.district.now, due_ms)
        awake = [line for line in lines if line.due_ms() <= world.district.now]


def countersigns(hub: Machine) -> bool:
    """Let the hub go its hourly round; return whether it countersigned any school's checkpoint."""
    with hub.at_work() as node:
        before = _countersigned(node.history)
        for _ in node.history.steps(HistoryPolicy()):
            pass
        return _countersigned(node.history) > before


def _countersigned(history: History) -> set[tuple[int, str, int]]:
    return {
        (each.origin, each.audience, each.number)
        for each in history.states()
        if each.countersigned and each.origin != HUB
    }


def _connect(world: World, machine: Machine) -> _Line:
    now_ms = world.district.now
    with machine.at_work() as node:
        edge = _Voice(machine, Conversation(node, HUB, Pace(), now_ms, asks=True))
    with world.hub.at_work() as node:
        talk = Conversation(node, machine.origin, Pace(), now_ms, asks=False)
        desk = _Voice(world.hub, talk)
    return _Line(world, machine, edge, desk)


def _standing(books: Books, line: _Line, silent: AbstractSet[int]) -> str:
    """Return what is still under way between a box and the hub, or nothing.

    Of schools in ``silent`` a further box stands without a line.
    """
    world, machine = line.world, line.machine
    hub = world.hub
    lacking = books.lacking(machine, silent)
    if lacking or machine.origin in silent:
        return lacking  # of twins the hub hears now one, now the other
    ours, theirs = books.logs(machine), books.logs(hub)
    told_here, told_there = books.told(machine, HUB), books.told(hub, machine.origin)
    for name in sorted(ours.keys() & theirs.keys()):
        here, there = ours[name], theirs[name]
        if here.frozen or there.frozen or name.origin in world.hostile:
            continue
        if waits_for_twin(name, machine, here, there, silent):
            continue  # what the hub is told ahead of it is no receipt yet
        if name.origin == machine.origin and told_here.get(here.id) != cursors(there):
            return f"{machine.name} does not know that the hub has {cursors(there)} of {name}"
        if name.origin != machine.origin and told_there.get(there.id) != cursors(here):
            return f"the hub does not know that {machine.name} has {cursors(here)} of {name}"
    return ""
