"""Rules a profile must keep that its shape alone cannot say."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from firmware_profiles.firmware import parse_range
from firmware_profiles.model import (
    MODBUS,
    REGISTERS,
    Command,
    Event,
    LineFormat,
    LinkType,
    Point,
    Profile,
    Vector,
)

DISPLAYS: frozenset[LinkType] = frozenset(
    {"pjlink", "samsung_mdc", "ifp_ascii", "lg_serial", "nec_display", "nec_projector"}
)
SERIAL: frozenset[LinkType] = frozenset({"modbus_rtu", "card_frames", "text_lines"})
ON_SERIAL_LINES: frozenset[LinkType] = SERIAL | DISPLAYS - {"pjlink"}
"""What is searched for on a serial line."""
_LINE_FIELDS = {"heart_rate": {"band", "bpm"}, "fitness_result": {"station", "wearer", "result"}}
"""What a line of each capability must tell."""
PLACES = re.compile(r"\{(?:value|unit)(?::0?[0-9]{0,2}[dxX])?\}")
_EXPECTED = re.compile(r"\{(?:value|word)\}")
_BRACES = re.compile(r"[{}]")
_REGISTER_MAX = 0xFFFF
_BIT_FUNCTIONS = {1, 2}
_SWITCHES = {"relay", "valve", "pump", "fan", "siren"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One broken rule; ``keys`` is the path to the place in the file."""

    keys: tuple[str, ...]
    fact: str
    remedy: str


def find_flaws(profile: Profile) -> Iterator[Flaw]:
    """Yield what is wrong, most basic first."""
    yield from _head(profile)
    yield from _repeated_ids(profile)
    yield from _match(profile)
    yield from _links(profile)
    yield from _points(profile)
    yield from _probe(profile)
    yield from _commands(profile)
    yield from _events(profile)
    yield from _vectors(profile)


def _head(profile: Profile) -> Iterator[Flaw]:
    if not profile.sources:
        yield Flaw((), "names no source", "say in sources where the registers come from")
    for index, quirk in enumerate(profile.quirks):
        if not quirk.source and not quirk.unconfirmed:
            fact = f"quirk {quirk.id} names no source"
            yield Flaw(("quirks", str(index)), fact, "say who saw it, or set unconfirmed = true")
    yield from _range_of(profile.firmware_range, ("firmware_range",))
    for index, entry in enumerate(profile.firmware):
        yield from _range_of(entry.versions, ("firmware", str(index), "versions"))


def _range_of(text: str, keys: tuple[str, ...]) -> Iterator[Flaw]:
    try:
        parse_range(text)
    except ValueError as error:
        fact, _, remedy = str(error).partition("; ")
        yield Flaw(keys, fact, remedy)


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


def _match(profile: Profile) -> Iterator[Flaw]:
    """Each is read by one search alone: what hangs elsewhere would name it for nobody."""
    spoken = {link.type for link in profile.links}
    if profile.match.usb and not spoken & ON_SERIAL_LINES:
        remedy = "take it out, or add the serial link"
        yield Flaw(("match", "usb"), "names a USB adapter and has no link on a serial line", remedy)
    if profile.match.onvif_scopes and "onvif" not in spoken:
        remedy = "take them out, or add the link"
        yield Flaw(("match", "onvif_scopes"), "names ONVIF scopes and has no onvif link", remedy)


def _links(profile: Profile) -> Iterator[Flaw]:
    for index, link in enumerate(profile.links):
        keys = ("links", str(index))
        if link.type in SERIAL and not link.baud:
            yield Flaw(keys, "a serial link has no baud", "list the rates, most likely first")
        missing = [rate for rate in link.baud if link.baud_codes and rate not in link.baud_codes]
        if missing:
            fact = f"baud_codes lacks {missing[0]}"
            yield Flaw((*keys, "baud_codes"), fact, "give each rate of baud its code")


def _points(profile: Profile) -> Iterator[Flaw]:
    modbus = _speaks_modbus(profile)
    for index, point in enumerate(profile.points):
        keys = ("points", str(index))
        if modbus and (point.function is None or point.register is None):
            fact = f"point {point.id} has no function or no register"
            yield Flaw(keys, fact, "a Modbus point needs both")
        elif modbus and (point.register or 0) + _width(point) - 1 > _REGISTER_MAX:
            fact = f"point {point.id} ends beyond register 65535"
            yield Flaw((*keys, "register"), fact, "registers are zero-based, not 4xxxx")
        if _is_display(profile) and not point.reply:
            fact = f"point {point.id} has no reply"
            yield Flaw(keys, fact, "say what the answer looks like, with {value} in it")
        if not modbus and not point.request:
            fact = f"point {point.id} has no request"
            yield Flaw(keys, fact, "say what asks for it")
        if point.valid is not None and point.valid.low > point.valid.high:
            fact = f"valid range of {point.id} is empty"
            yield Flaw((*keys, "valid"), fact, "put the lower bound into low")
        if point.scale == 0:
            fact = f"scale of {point.id} is 0"
            yield Flaw((*keys, "scale"), fact, "give what one count is worth")
        if point.bits is not None and not _holds(point):
            fact = f"bits of {point.id} do not fit {point.dtype}"
            yield Flaw((*keys, "bits"), fact, "count from the least significant bit of the value")
        yield from _template(point.request, (*keys, "request"))
        yield from _template(point.reply, (*keys, "reply"))


def _holds(point: Point) -> bool:
    if point.bits is None or point.dtype.startswith(("float", "bcd")):
        return False
    return point.bits.first + point.bits.count <= 16 * REGISTERS[point.dtype]


def _width(point: Point) -> int:
    return 1 if point.function in _BIT_FUNCTIONS else REGISTERS[point.dtype]


def _speaks_modbus(profile: Profile) -> bool:
    return any(link.type in MODBUS for link in profile.links)


def _is_display(profile: Profile) -> bool:
    return any(link.type in DISPLAYS for link in profile.links)


def _template(text: str, keys: tuple[str, ...]) -> Iterator[Flaw]:
    rest = PLACES.sub("", text)
    if "{" in rest or "}" in rest:
        fact = f"{text[:60]!r} has a brace that is no {{value}} and no {{unit}}"
        yield Flaw(keys, fact, "write {value}, {unit}, or a hexadecimal number as {value:02x}")


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
    modbus = _speaks_modbus(profile)
    for index, command in enumerate(profile.commands):
        keys = ("commands", str(index))
        name = command.id
        if command.verify is not None and command.verify.point not in known:
            fact = f"command {name} is verified by {command.verify.point!r}, which is no point"
            yield Flaw((*keys, "verify"), fact, "name a point of this profile")
        if command.verify is not None and _BRACES.search(_EXPECTED.sub("", command.verify.expect)):
            fact = f"verify of {name} expects a brace that is no {{value}} and no {{word}}"
            yield Flaw((*keys, "verify"), fact, "write what the point reads, {value} or {word}")
        if (command.write is not None) is bool(command.request):
            has = "both write and request" if command.request else "neither write nor request"
            fact = f"command {name} has {has}"
            yield Flaw(keys, fact, "Modbus commands have write, all others request")
        elif (command.write is not None) is not modbus:
            fact = f"command {name} does not fit the links of the profile"
            yield Flaw(keys, fact, "Modbus commands have write, all others request")
        if command.choices is not None and command.choices not in known:
            fact = f"command {name} takes its choices from {command.choices!r}, which is no point"
            yield Flaw((*keys, "choices"), fact, "name a point of this profile")
        if command.range is not None and command.range.low > command.range.high:
            fact = f"range of {name} is empty"
            yield Flaw((*keys, "range"), fact, "put the lower bound into low")
        yield from _template(command.request, (*keys, "request"))
        yield from _interlock(profile, command, keys)
        yield from _write(command, keys)


def _interlock(profile: Profile, command: Command, keys: tuple[str, ...]) -> Iterator[Flaw]:
    interlock = command.interlock
    if interlock is None:
        if profile.kind == "farm_actuator" and command.capability in _SWITCHES:
            fact = f"command {command.id} switches without an interlock"
            yield Flaw(keys, fact, "say longest_on_s and the fail_safe word")
    elif not _takes(command, interlock.fail_safe):
        fact = f"{interlock.fail_safe!r} is nothing that {command.id} can be told"
        yield Flaw((*keys, "interlock"), fact, "take a word of values, or a number in range")


def _takes(command: Command, argument: str) -> bool:
    if argument in command.values:
        return True
    if command.range is not None:
        try:
            return command.range.low <= float(argument) <= command.range.high
        except ValueError:
            return False
    return not command.values


def _write(command: Command, keys: tuple[str, ...]) -> Iterator[Flaw]:
    write = command.write
    if write is None:
        return
    if not command.values and command.range is None:
        fact = f"command {command.id} has neither values nor range"
        yield Flaw(keys, fact, "say which words or numbers it takes")
    if write.scale == 0:
        yield Flaw((*keys, "write"), f"scale of {command.id} is 0", "give what one count is worth")
    width = {5: 1, 6: 1, 15: write.count, 16: REGISTERS[write.dtype]}[write.function]
    if write.register + width - 1 > _REGISTER_MAX:
        fact = f"command {command.id} ends beyond register 65535"
        yield Flaw((*keys, "write"), fact, "registers are zero-based, not 4xxxx")
    if write.function == 6 and REGISTERS[write.dtype] > 1:  # noqa: PLR2004 - writes one register
        fact = f"function 6 cannot write {write.dtype}"
        yield Flaw((*keys, "write"), fact, "use function 16")
    for word, raw in command.values.items():
        try:
            number = int(raw, 0)
        except ValueError:
            number = -1
        highest = {5: 1, 15: (1 << write.count) - 1}.get(write.function, (1 << 16 * width) - 1)
        if not 0 <= number <= highest:
            fact = f"{word} of {command.id} is {raw!r}, not a number from 0 to {highest}"
            yield Flaw((*keys, "values"), fact, 'write the raw number, like "1" or "0x0100"')


def _events(profile: Profile) -> Iterator[Flaw]:
    points = {point.id: point for point in profile.points}
    for index, event in enumerate(profile.events):
        keys = ("events", str(index))
        if event.format == "edge":
            yield from _edge(event, points, keys)
        elif (event.format == "line") is not (event.line is not None):
            fact = f"event {event.id} has a line without the format, or the format without a line"
            yield Flaw(keys, fact, 'write format = "line" and [events.line] together')
        elif event.line is not None:
            yield from _line(event, event.line, keys)
        elif event.point is not None or event.becomes:
            fact = f"event {event.id} is no edge and watches a point"
            yield Flaw(keys, fact, 'set format = "edge", or drop point and becomes')


def _line(event: Event, line: LineFormat, keys: tuple[str, ...]) -> Iterator[Flaw]:
    wanted = _LINE_FIELDS.get(event.capability)
    if wanted is None:
        fact = f"capability {event.capability} of {event.id} is told by no line"
        yield Flaw((*keys, "capability"), fact, f"take one of {', '.join(_LINE_FIELDS)}")
        return
    told = {*line.fields, *line.fixed}
    if missing := sorted(wanted - told):
        fact = f"event {event.id} does not say where {missing[0]} stands"
        yield Flaw((*keys, "line"), fact, "name it in fields, or in fixed")
    if line.style == "separated":
        columns = [*line.fields.values(), *line.where]
        if wrong := [each for each in columns if not (each.isascii() and each.isdigit())]:
            fact = f"{wrong[0]!r} of {event.id} is no column"
            yield Flaw((*keys, "line"), fact, 'columns are numbers, the first is "1"')


def _edge(event: Event, points: dict[str, Point], keys: tuple[str, ...]) -> Iterator[Flaw]:
    point = points.get(event.point or "")
    if point is None:
        fact = f"event {event.id} watches {event.point!r}, which is no point"
        yield Flaw((*keys, "point"), fact, "name a point of this profile")
    elif event.becomes not in point.enum.values():
        words = ", ".join(point.enum.values()) or "no words"
        fact = f"{point.id} never becomes {event.becomes!r}; it has {words}"
        yield Flaw((*keys, "becomes"), fact, "take a word of the point's enum")


def _vectors(profile: Profile) -> Iterator[Flaw]:
    if not profile.vectors:
        yield Flaw((), "has no vectors", "quote at least one exchange from a source")
    known = {point.id for point in profile.points} | {event.id for event in profile.events}
    commands = {command.id: command for command in profile.commands}
    for index, vector in enumerate(profile.vectors):
        keys = ("vectors", str(index))
        for name in vector.values:
            if name not in known:
                fact = f"vector {vector.name!r} gives {name!r}, which is no point and no event"
                yield Flaw((*keys, "values"), fact, "name a point or an event of this profile")
        if vector.command is not None:
            command = commands.get(vector.command)
            if command is None:
                fact = f"vector {vector.name!r} shows {vector.command!r}, which is no command"
                yield Flaw((*keys, "command"), fact, "name a command of this profile")
            elif not _takes(command, vector.argument):
                fact = f"{vector.argument!r} is nothing that {command.id} can be told"
                yield Flaw((*keys, "argument"), fact, "take a word of values, or a number in range")
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
