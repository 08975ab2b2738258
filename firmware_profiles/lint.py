"""Rules a profile must keep that its shape alone cannot say."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from firmware_profiles.model import Point, Profile, Vector

_REGISTERS = {"uint16": 1, "int16": 1, "uint32": 2, "int32": 2, "float32": 2}
_BIT_FUNCTIONS = {1, 2}
_LINE_TYPES = {"modbus_rtu", "card_frames"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One broken rule; ``keys`` is the path to the place in the file."""

    keys: tuple[str, ...]
    fact: str
    remedy: str


def find_flaws(profile: Profile) -> Iterator[Flaw]:
    """Yield what is wrong, most basic first."""
    yield from _repeated_ids(profile)
    yield from _links(profile)
    yield from _points(profile)
    yield from _probe(profile)
    yield from _commands(profile)
    yield from _vectors(profile)


def _repeated_ids(profile: Profile) -> Iterator[Flaw]:
    tables = {
        "points": [point.id for point in profile.points],
        "commands": [command.id for command in profile.commands],
        "events": [event.id for event in profile.events],
    }
    for table, ids in tables.items():
        for name, count in Counter(ids).items():
            if count > 1:
                place = len(ids) - 1 - ids[::-1].index(name)
                fact = f"{table} has {name!r} {count} times"
                yield Flaw((table, str(place), "id"), fact, "give each its own id")


def _links(profile: Profile) -> Iterator[Flaw]:
    for index, link in enumerate(profile.links):
        keys = ("links", str(index))
        if link.type in _LINE_TYPES and not link.baud:
            yield Flaw(keys, "a serial link has no baud", "list the rates, most likely first")
        missing = [rate for rate in link.baud if link.baud_codes and rate not in link.baud_codes]
        if missing:
            fact = f"baud_codes lacks {missing[0]}"
            yield Flaw((*keys, "baud_codes"), fact, "give each rate of baud its code")


def _points(profile: Profile) -> Iterator[Flaw]:
    modbus = any(link.type == "modbus_rtu" for link in profile.links)
    for index, point in enumerate(profile.points):
        keys = ("points", str(index))
        if modbus and (point.function is None or point.register is None):
            fact = f"point {point.id} has no function or no register"
            yield Flaw(keys, fact, "a Modbus point needs both")
        if not modbus and not point.request:
            fact = f"point {point.id} has no request"
            yield Flaw(keys, fact, "say what asks for it")
        if point.valid is not None and point.valid.low > point.valid.high:
            fact = f"valid range of {point.id} is empty"
            yield Flaw((*keys, "valid"), fact, "put the lower bound into low")
        if point.bits is not None and not _holds(point):
            fact = f"bits of {point.id} do not fit {point.dtype}"
            yield Flaw((*keys, "bits"), fact, "count from the least significant bit of the value")


def _holds(point: Point) -> bool:
    if point.bits is None or point.dtype == "float32":
        return False
    return point.bits.first + point.bits.count <= 16 * _REGISTERS[point.dtype]


def _probe(profile: Profile) -> Iterator[Flaw]:
    if any(link.type == "modbus_rtu" for link in profile.links) and not profile.probe:
        yield Flaw((), "has no probe", "add the read that recognises the model")
    codes = any(link.baud_codes for link in profile.links)
    for index, step in enumerate(profile.probe):
        keys = ("probe", str(index), "expect")
        if len(step.expect) > step.count:
            fact = f"{len(step.expect)} expectations for {step.count} registers"
            yield Flaw(keys, fact, "expect one a register")
        if step.absent and step.expect:
            fact = "registers that are absent cannot be expected to hold anything"
            yield Flaw(keys, fact, "drop expect or absent")
        if any(expectation.baud for expectation in step.expect) and not codes:
            yield Flaw(keys, "expects a baud code, no link has any", "add baud_codes to the link")


def _commands(profile: Profile) -> Iterator[Flaw]:
    known = {point.id for point in profile.points}
    for index, command in enumerate(profile.commands):
        if command.verify is not None and command.verify.point not in known:
            fact = (
                f"command {command.id} is verified by {command.verify.point!r}, which is no point"
            )
            yield Flaw(("commands", str(index), "verify"), fact, "name a point of this profile")


def _vectors(profile: Profile) -> Iterator[Flaw]:
    if not profile.vectors:
        yield Flaw((), "has no vectors", "quote at least one exchange from a source")
    known = {point.id for point in profile.points} | {event.id for event in profile.events}
    for index, vector in enumerate(profile.vectors):
        keys = ("vectors", str(index))
        for name in vector.values:
            if name not in known:
                fact = f"vector {vector.name!r} gives {name!r}, which is no point and no event"
                yield Flaw((*keys, "values"), fact, "name a point or an event of this profile")
        if vector.encoding == "hex" and not _is_hex(vector):
            fact = f"vector {vector.name!r} is not hexadecimal"
            yield Flaw(keys, fact, 'write bytes like "01 03", or set encoding = "text"')


def _is_hex(vector: Vector) -> bool:
    try:
        bytes.fromhex(vector.request)
        bytes.fromhex(vector.reply)
    except ValueError:
        return False
    return True
