"""A school with valid keys, and a place in the district, that sends what it likes."""

import random
from collections.abc import Callable

import msgspec

from sync.exchange.message import Message
from sync.exchange.message_packing import MessagePacking
from sync.logs.log_state import HEAD_BYTES, Holding
from sync.schema.model import Group, Lane
from sync.segments.sealing import DataKey, key_id
from sync.segments.segment import (
    SEGMENT_BYTES_MAX,
    LogName,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
    parse_segment,
)
from sync.segments.signing import signer_id
from tests.simulation.machine import Machine
from tests.simulation.world import World

_KEY = DataKey(bytes(range(32)))


def turn_hostile(world: World, machine: Machine) -> None:
    """Let a box alter most of what it sends from now on; it is no longer held to its ledger."""
    chance = random.Random(f"{world.seed}/hostile")

    def alter(message: Message, packing: MessagePacking) -> bytes:
        if chance.random() < 0.3:
            return packing.pack(message)
        name = chance.choice(sorted(_ALTERATIONS.keys() | _DAMAGES.keys()))
        world.note(f"{machine.name} sends {name}")
        if name in _DAMAGES:
            return _DAMAGES[name](packing.pack(message), chance)
        return packing.pack(_ALTERATIONS[name](world, machine, message, chance))

    world.alter[machine.name] = alter
    world.hostile.add(machine.origin)


_Alteration = Callable[[World, Machine, Message, random.Random], Message]
_Damage = Callable[[bytes, random.Random], bytes]


def _flip(packed: bytes, chance: random.Random) -> bytes:
    data = bytearray(packed)
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _cut_short(packed: bytes, chance: random.Random) -> bytes:
    return packed[: chance.randrange(len(packed))]


def _altered_segments(
    world: World, machine: Machine, message: Message, chance: random.Random
) -> Message:
    """Others' segments, one byte changed: bodies, headers and signatures."""
    del machine
    wires = []
    for wire in _passed(world, chance):
        changed = bytearray(wire)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        wires.append(bytes(changed))
    return _bring(message, wires)


def _replayed_segments(
    world: World, machine: Machine, message: Message, chance: random.Random
) -> Message:
    """Others' segments as they are, and own old ones, in any order."""
    del machine
    return _bring(message, _passed(world, chance))


def _forged_segments(
    world: World, machine: Machine, message: Message, chance: random.Random
) -> Message:
    """Segments in others' names, or in its own and forked, signed with its own key."""
    signing = machine.district.keys[machine.origin].signing
    signer = (signer_id(signing.public_key()), signing)
    wires = []
    for wire in _passed(world, chance):
        header = parse_segment(wire).header
        log = header.log
        if chance.random() < 0.5:
            log = LogName(machine.origin, log.incarnation, f"s{machine.origin}", log.lane)
        place = Place(
            log=log,
            seq=header.seq,
            prev=header.prev if header.seq > 1 else bytes(32),
            first_row=header.first_row,
            last_row=header.last_row,
            first_stamp=header.first_stamp,
            last_stamp=header.last_stamp,
        )
        content = PlainBody(
            group=Group.DISTRICT, key=_KEY, key_id=key_id(_KEY), content=chance.randbytes(40)
        )
        tables = [TableHeader(each.table, each.version, each.rows) for each in header.tables]
        wires.append(build_segment(place, tables, [content], bytes(16), signer))
    return _bring(message, wires)


def _oversized_segments(
    world: World, machine: Machine, message: Message, chance: random.Random
) -> Message:
    del machine
    wires = [wire + bytes(SEGMENT_BYTES_MAX) for wire in _passed(world, chance)]
    return _bring(message, wires[:3])


def _lying_vector(
    world: World, machine: Machine, message: Message, chance: random.Random
) -> Message:
    """Receipts for what it never got, of everyone's logs, at heads that never were."""
    with machine.healthy(), machine.at_work() as node:
        names = [log.name for log in node.logs()]
    names += [parse_segment(wire).header.log for _, wire in world.wires]
    names += [LogName(machine.origin, chance.randrange(1, 2**63), "d", Lane.CONTROL)]
    have = [
        Holding(
            chance.choice(names),
            stored := chance.choice((0, 1, 5, 2**48 - 1)),
            chance.randrange(stored + 1),
            chance.randbytes(HEAD_BYTES),
            frozen=chance.random() < 0.5,
        )
        for _ in range(chance.randrange(1, 40))
    ]
    incarnation = chance.choice((0, message.incarnation, chance.randrange(1, 2**63)))
    return msgspec.structs.replace(message, have=have, incarnation=incarnation)


def _odd_amounts(
    world: World, machine: Machine, message: Message, chance: random.Random
) -> Message:
    del world, machine
    amounts = {
        name: chance.choice((0, 1, 2**48 - 1))
        for name in ("credit_bytes", "waiting_bytes", "retry_after_ms", "now_ms")
    }
    return msgspec.structs.replace(message, **amounts)


_ALTERATIONS: dict[str, _Alteration] = {
    "altered segments": _altered_segments,
    "replayed segments": _replayed_segments,
    "forged segments": _forged_segments,
    "oversized segments": _oversized_segments,
    "a lying vector": _lying_vector,
    "odd amounts": _odd_amounts,
}

_DAMAGES: dict[str, _Damage] = {"flipped bits": _flip, "half a message": _cut_short}


def _passed(world: World, chance: random.Random) -> list[bytes]:
    wires = [wire for _, wire in world.wires]
    return chance.sample(wires, min(len(wires), chance.randrange(1, 8)))


def _bring(message: Message, wires: list[bytes]) -> Message:
    return msgspec.structs.replace(message, segments=[*wires, *message.segments])
