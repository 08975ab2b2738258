"""What a profile's points and commands say: our words on one side, the wire's on the other."""

from drivers.codecs.templates import fill, read_answer
from drivers.errors import ProtocolError
from firmware_profiles.model import Command, Point

TEXT_CHARS_MAX = 128


def question_of(command: Command, argument: str) -> str:
    """Return the text that tells ``argument``; ProtocolError when the command lacks it."""
    return fill(command.request, wire_value(command, argument))


def wire_value(command: Command, argument: str) -> str:
    """Return what goes on the wire for our word or number; ProtocolError when there is none."""
    if argument in command.values:
        return command.values[argument]
    if command.range is not None:
        low, high = command.range.low, command.range.high
        if _is_count(argument) and low <= int(argument) <= high:
            return str(int(argument))
        raise ProtocolError(f"{command.id}: {argument[:40]!r} is no number {low:g} to {high:g}")
    if command.values:
        words = ", ".join(command.values)
        raise ProtocolError(f"{command.id}: {argument[:40]!r} is not one of {words}")
    if not argument.isprintable() or not 0 < len(argument) <= TEXT_CHARS_MAX:
        raise ProtocolError(f"{command.id}: {argument[:40]!r} cannot be told; write plain text")
    return argument


def expected_value(command: Command, argument: str, point: Point) -> str:
    """Return what ``point`` reads once ``argument`` of ``command`` has come true, as text."""
    wire = wire_value(command, argument)
    template = command.verify.expect if command.verify is not None else "{value}"
    told = template.replace("{word}", argument).replace("{value}", wire)
    return point.enum.get(told, told)


def is_value(seen: float | str | None, expected: str) -> bool:
    """Tell whether a value that was read is the expected one; numbers are compared as such."""
    if isinstance(seen, float):
        try:
            return seen == float(expected)
        except ValueError:
            return False
    return seen == expected


def read_point(point: Point, text: str) -> float | str:
    """Return a point's value in an answer: a word of its enum, a number, or plain text.

    Raises ProtocolError when the answer is none to the point's question, or means nothing.
    """
    wire = read_answer(point.reply, text)
    if wire is None:
        raise ProtocolError(f"{point.id}: the display answers {text[:40]!r}")
    if point.enum:
        for spelling in (wire, wire.upper(), wire.lower()):
            if spelling in point.enum:
                return point.enum[spelling]
        known = ", ".join(point.enum)
        raise ProtocolError(f"{point.id}: the display answers {wire[:20]!r}, not {known}")
    if "{value:" in point.reply:
        number = int(wire) * point.scale + point.offset
        if point.valid is not None and not point.valid.low <= number <= point.valid.high:
            raise ProtocolError(f"{point.id}: the display answers {wire[:20]}, beyond its range")
        return number
    if not wire.isprintable() or len(wire) > TEXT_CHARS_MAX:
        raise ProtocolError(f"{point.id}: the display answers what is no text")
    return wire


def is_accepted(command: Command, text: str) -> bool:
    """Tell whether an answer accepts the command; the value it may repeat is read back anyway."""
    return read_answer(command.ack, text) is not None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len("999999999")
