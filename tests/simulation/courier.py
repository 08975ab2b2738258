"""USB sticks between boxes and the hub: cut off, altered, forged, and read again much later."""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from sync.courier.parts import digest_of, join_part, parse_part
from sync.courier.trip import Inbound, Outbound, batches
from sync.errors import SyncError
from sync.logs.log_state import HEAD_BYTES, Holding
from sync.segments.segment import HUB, parse_segment
from sync.segments.signing import signer_id
from tests.simulation.checks import check_receipts
from tests.simulation.machine import Machine
from tests.simulation.world import World

_DISTRICT = "simulated"
_STICKS_KEPT = 12
_FOUND = 0.4
"""Share of the sticks that somebody finds and answers himself."""
_AMOUNTS_BYTES = (2_000, 20_000, 1 << 30)


@dataclass(frozen=True, slots=True)
class _Stick:
    """What one trip wrote: its parts' files, whole as they left the machine."""

    origin: int
    recipient: int
    files: tuple[bytes, ...]


@dataclass
class Courier:
    """Carries sticks; both methods raise what the disk of the machine raises."""

    world: World
    _sticks: "deque[_Stick]" = field(default_factory=lambda: deque(maxlen=_STICKS_KEPT))

    def export(self, machine: Machine) -> None:
        """Write a stick that holds little or all: at a box for the hub, there for one school."""
        world, chance = self.world, self.world.chance
        school = chance.choice(world.boxes()).origin
        recipient = school if machine.origin == HUB else HUB
        bytes_max = chance.choice(_AMOUNTS_BYTES)
        if machine.origin in world.hostile:
            return
        with machine.at_work() as node:
            trip = Outbound(node, recipient, _DISTRICT, bytes_max, machine.random_bytes)
            files = tuple(trip.part(number)[1] for number in range(1, trip.parts + 1))
        for file in files:
            part = parse_part(file)
            world.watch(machine, recipient, part.segments, part.manifest.have)
        stick = _Stick(machine.origin, recipient, files)
        self._sticks.append(stick)
        world.note(f"{machine.name} writes a stick for {recipient}: {trip.segments} segments")
        if chance.random() < _FOUND:
            answer = self._answer(stick)
            self._read(machine, answer, *answer.files)

    def deliver(self, machine: Machine) -> None:
        """Read one of the last sticks that are for a machine, whoever read it before."""
        chance = self.world.chance
        sticks = [stick for stick in self._sticks if stick.recipient == machine.origin]
        if not sticks:
            return
        stick = chance.choice(sticks)
        for file in chance.sample(stick.files, len(stick.files)):
            content = file
            match chance.randrange(4):
                case 0:
                    content = file[: chance.randrange(len(file))]
                case 1:
                    altered = bytearray(file)
                    altered[chance.randrange(len(file))] ^= 1 << chance.randrange(8)
                    content = bytes(altered)
            self._read(machine, stick, content)

    def _answer(self, stick: _Stick) -> _Stick:
        """Return a finder's own stick in the recipient's name: all that he found arrived."""
        parts = [parse_part(file) for file in stick.files]
        segments = [parse_segment(wire) for each in parts for wire in each.segments]
        have = {
            each.header.log: Holding(
                each.header.log,
                each.header.seq,
                each.header.seq,
                each.header_digest[:HEAD_BYTES],
                frozen=False,
            )
            for each in segments
        }
        signing = self.world.district.keys[stick.recipient].signing
        manifest = msgspec.structs.replace(
            parts[0].manifest,
            origin=stick.recipient,
            recipient=stick.origin,
            signer=signer_id(signing.public_key()),
            have=list(have.values()),
            segments=0,
            digest=digest_of(b""),
        )
        forged = join_part(msgspec.msgpack.encode(manifest), parts[0].signature, b"")
        return _Stick(stick.recipient, stick.origin, (forged,))

    def _read(self, machine: Machine, stick: _Stick, content: bytes) -> None:
        stored = 0
        with machine.at_work() as node:
            inbound = Inbound(node, _DISTRICT)
            try:
                part = inbound.open(content)
            except SyncError as error:
                self.world.note(f"{machine.name} refuses a stick of {stick.origin}: {error}")
                return
            counted = inbound.take_receipts(part)
            for segments in batches(part):
                stored += inbound.take(part, segments).stored
        check_receipts(self.world, machine)
        age = "" if counted else ", with old receipts"
        self.world.note(f"{machine.name} reads a stick of {stick.origin}{age}: {stored} stored")
