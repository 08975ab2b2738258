"""A profile's commands as Modbus writes, and what is to be read back afterwards."""

import math

from drivers.codecs.modbus import Request, WriteManyRequest, WriteOneRequest
from drivers.codecs.modbus_points import PointValue, decode_point, encode_number
from drivers.errors import SetupError
from firmware_profiles.model import Command, Point, Profile, Write

_OF_INTEGERS = 0.5
_COILS = 15


def encode_command(command: Command, unit: int, argument: str) -> Request:
    """Return the write that carries out ``argument`` of a Modbus command.

    SetupError names what the command takes instead, or that its profile does not fit.
    """
    write = command.write
    if write is None:
        raise SetupError(f"{command.id} has no Modbus write; correct the profile")
    raw = raw_argument(command, argument)
    match write:
        case Write(function=5, register=register):
            return WriteOneRequest(unit=unit, function=5, address=register, value=int(bool(raw)))
        case Write(function=15, register=register, count=count):
            number = int(raw)
            if not 0 <= number < 1 << count:
                raise SetupError(f"{command.id}: {number} does not fit {count} coils")
            coils = tuple(number >> place & 1 for place in range(count))
            return WriteManyRequest(unit=unit, function=15, address=register, values=coils)
        case _:
            try:
                registers = encode_number(write.dtype, write.byte_order, write.word_order, raw)
            except ValueError as error:
                raise SetupError(f"{command.id} cannot be {argument}: {error}") from error
    if write.function == 6:  # noqa: PLR2004 — writes one register
        if len(registers) > 1:
            raise SetupError(f"{command.id} writes {len(registers)} registers; use function 16")
        return WriteOneRequest(unit=unit, function=6, address=write.register, value=registers[0])
    return WriteManyRequest(unit=unit, function=16, address=write.register, values=registers)


def raw_argument(command: Command, argument: str) -> float:
    """Return the number on the wire; SetupError says which arguments there are."""
    word = command.values.get(argument)
    if word is not None:
        try:
            return int(word, 0)
        except ValueError as error:
            raise SetupError(f"{command.id}: {word!r} of the profile is no number") from error
    span, write = command.range, command.write
    if span is None or write is None:
        raise SetupError(f"{command.id} takes {_choices(command)}, not {argument!r}")
    try:
        number = float(argument)
    except ValueError as error:
        raise SetupError(f"{command.id} takes {_choices(command)}, not {argument!r}") from error
    if not (math.isfinite(number) and span.low <= number <= span.high):
        raise SetupError(f"{command.id} takes {_choices(command)}, not {argument!r}")
    try:
        raw = (number - write.offset) / write.scale
        is_float = write.dtype.startswith("float") and write.function != _COILS
        return raw if is_float else round(raw)
    except (ArithmeticError, ValueError) as error:
        raise SetupError(f"{command.id} cannot write {argument!r}; correct the profile") from error


def is_as_told(command: Command, argument: str, point: Point, reading: PointValue) -> bool:
    """Return whether what was read back is what the argument asked for."""
    verify = command.verify
    if verify is None or reading.value is None:
        return False
    if verify.expect == "{value}":
        expected = _as_read(point, raw_argument(command, argument))
    else:
        expected = verify.expect.replace("{word}", argument).replace("{value}", argument)
    if isinstance(reading.value, str):
        return reading.value == expected
    try:
        distance = abs(float(expected) - reading.value)
    except ValueError:
        return False
    return distance <= abs(point.scale) * _OF_INTEGERS


def verified_point(profile: Profile, command: Command) -> Point | None:
    """Return the point that shows a command's effect."""
    return profile.point(command.verify.point) if command.verify else None


def _as_read(point: Point, raw: float) -> str:
    """Return how a point shows the number that was written."""
    if point.enum:
        return point.enum.get(str(int(raw)), "")
    value = decode_point(point, (int(raw),)).value if point.function in {1, 2} else None
    return str(raw * point.scale + point.offset if value is None else value)


def _choices(command: Command) -> str:
    words = sorted(command.values)
    if command.range is not None:
        words.append(f"{command.range.low:g} to {command.range.high:g}")
    return ", ".join(words) or "nothing"
