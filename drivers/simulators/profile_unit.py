"""A Modbus unit generated from its profile: holds values, obeys commands, shows their effect."""

from collections.abc import Mapping

from drivers.codecs.modbus import (
    ExceptionCode,
    ExceptionReply,
    ReadReply,
    ReadRequest,
    Reply,
    Request,
    WriteManyRequest,
    WriteOneRequest,
    WriteReply,
)
from drivers.codecs.modbus_commands import encode_command
from drivers.codecs.modbus_points import WIDTH, decode_point, encode_raw
from drivers.errors import SetupError
from drivers.vector_proof import read_exchange
from firmware_profiles.model import MODBUS, Command, Point, Profile

Value = float | str | None
_BITS = {1, 2}
_WRITES = {5: 1, 15: 1, 6: 3, 16: 3}
"""The function that reads what each function writes."""


class ProfileUnit:
    """One device: what its profile tells of, and nothing else.

    It begins with the values of the profile's vectors, the first that shows a register counts;
    points no vector shows begin in the middle of their valid range. Registers of the probe hold
    what the probe expects.
    """

    def __init__(self, unit: int, profile: Profile) -> None:
        self.unit = unit
        self.profile = profile
        self._held: dict[tuple[int, int], int] = {}
        self._fill()

    @property
    def keeps_silent(self) -> bool:
        """Whether it says nothing where the standard asks for an exception."""
        return "silent_when_unknown" in self.profile.quirk_ids

    def set(self, point: str, value: str) -> None:
        """Make a point read ``value``: a word of its enum or a number in its unit.

        Raises SetupError when the profile has no such point or the point cannot read so.
        """
        try:
            described = self.profile.point(point)
        except KeyError as error:
            points = ", ".join(p.id for p in self.profile.points)
            raise SetupError(
                f"{self.profile.id} has no point {point!r}; it has {points}"
            ) from error
        self._place(described, _raw_of(described, value))

    def answer(self, request: Request, baud: int) -> tuple[Reply, dict[str, Value]]:
        """Return the reply, and the values of the points it holds whole."""
        if isinstance(request, ReadRequest):
            return self._read(request, baud)
        return self._write(request), {}

    def _read(self, request: ReadRequest, baud: int) -> tuple[Reply, dict[str, Value]]:
        held = {**self._held, **self._identity(baud)}
        wanted = range(request.address, request.address + request.count)
        if any((request.function, address) not in held for address in wanted):
            return self._refuse(request), {}
        words = tuple(held[request.function, address] for address in wanted)
        values = {
            point.id: decode_point(point, words[(point.register or 0) - request.address :]).value
            for point in self.profile.points
            if point.function == request.function
            and (point.register or 0) >= wanted.start
            and (point.register or 0) + _width(point) <= wanted.stop
        }
        return ReadReply(unit=self.unit, function=request.function, values=words), values

    def _write(self, request: WriteOneRequest | WriteManyRequest) -> Reply:
        known = self._obey(request)
        area = _WRITES[request.function]
        words = request.values if isinstance(request, WriteManyRequest) else (request.value,)
        places = [(area, request.address + index) for index in range(len(words))]
        if all(place in self._held for place in places):
            if not known:
                self._held.update(zip(places, words, strict=True))
        elif not known:
            return self._refuse(request)
        return WriteReply(unit=self.unit, function=request.function)

    def _obey(self, request: Request) -> bool:
        """Carry out a command whose words differ from what is read back; False when it is none."""
        for command in self.profile.commands:
            for word in command.values:
                if encode_command(command, self.unit, word) == request:
                    return self._show(command, word)
        return False

    def _show(self, command: Command, word: str) -> bool:
        verify = command.verify
        if verify is None:
            # Without a point of its own the effect is what was written, where that can be read.
            return command.write is None or command.write.function not in {5, 15}
        wire = command.values[word]
        self.set(verify.point, self._expected(verify.point, verify.expect, word, wire))
        return True

    def _expected(self, point: str, expect: str, word: str, wire: str) -> str:
        told = expect.replace("{word}", word).replace("{value}", wire)
        if expect == "{value}":
            return self.profile.point(point).enum.get(str(int(wire, 0)), told)
        return told

    def _refuse(self, request: Request) -> ExceptionReply:
        code = ExceptionCode.ILLEGAL_ADDRESS
        return ExceptionReply(unit=self.unit, function=request.function, code=code)

    def _fill(self) -> None:
        for point in self.profile.points:
            self._place(point, _beginning(point))
        for step in self.profile.probe:
            if not step.absent:
                for index in range(step.count):
                    low = step.expect[index].low if index < len(step.expect) else 0
                    self._held.setdefault((step.function, step.register + index), low)
        for vector in reversed(self.profile.vectors):
            for request, reply in read_exchange(self.profile, vector):
                if isinstance(request, ReadRequest) and isinstance(reply, ReadReply):
                    for index, word in enumerate(reply.values):
                        self._held[request.function, request.address + index] = word

        self._bridge()

    def _bridge(self) -> None:
        """Hold what lies between points, as far as the profile says that one read may span it."""
        gap_max = max(link.gap_max for link in self.profile.links)
        for function, register in sorted(self._held):
            beyond = [r for f, r in self._held if f == function and r > register]
            following = min(beyond, default=register)
            if following - register <= gap_max + 1:
                for between in range(register + 1, following):
                    self._held[function, between] = 0

    def _identity(self, baud: int) -> dict[tuple[int, int], int]:
        """Return the registers that hold the unit id and the code of the line's speed."""
        codes = self.profile.link(*MODBUS).baud_codes
        held: dict[tuple[int, int], int] = {}
        for step in self.profile.probe:
            for index, expected in enumerate(step.expect):
                if expected.unit:
                    held[step.function, step.register + index] = self.unit
                elif expected.baud:
                    code = codes.get(baud, next(iter(codes.values()), 0))
                    held[step.function, step.register + index] = code
        return held

    def _place(self, point: Point, raw: float) -> None:
        if point.function is None or point.register is None:
            raise SetupError(f"{point.id} has no register; a Modbus point needs one")
        if point.function in _BITS:
            self._held[point.function, point.register] = int(raw) & 1
            return
        if point.bits is not None:
            raw = self._with_bits(point, int(raw))
        try:
            words = encode_raw(point, raw)
        except ValueError as error:
            raise SetupError(f"{point.id}: {error}; choose another value") from error
        for index, word in enumerate(words):
            self._held[point.function, point.register + index] = word

    def _with_bits(self, point: Point, value: int) -> int:
        """Return the point's whole integer with its field set, the other bits as they are."""
        if point.bits is None or point.function is None or point.register is None:
            raise AssertionError(point.id)
        places = [(point.function, point.register + n) for n in range(WIDTH[point.dtype])]
        words = [self._held.get(place, 0) for place in places]
        if point.word_order == "little":
            words.reverse()
        whole = int.from_bytes(b"".join(word.to_bytes(2, point.byte_order) for word in words))
        mask = (1 << point.bits.count) - 1
        return whole & ~(mask << point.bits.first) | (value & mask) << point.bits.first


def hold(unit: ProfileUnit, values: Mapping[str, str]) -> None:
    """Set several points; SetupError as :meth:`ProfileUnit.set`."""
    for point, value in values.items():
        unit.set(point, value)


def _width(point: Point) -> int:
    return 1 if point.function in _BITS else WIDTH[point.dtype]


def _beginning(point: Point) -> float:
    if point.enum:
        return int(next(iter(point.enum)))
    if point.valid is None:
        return 0
    return _to_raw(point, (point.valid.low + point.valid.high) / 2)


def _raw_of(point: Point, value: str) -> float:
    for raw, word in point.enum.items():
        if word == value:
            return int(raw)
    try:
        return _to_raw(point, float(value))
    except ValueError as error:
        choice = ", ".join(point.enum.values()) or f"a number in {point.unit or 'its unit'}"
        raise SetupError(f"{point.id} cannot read {value[:40]!r}; give {choice}") from error


def _to_raw(point: Point, value: float) -> float:
    raw = (value - point.offset) / point.scale
    return raw if point.dtype.startswith("float") else round(raw)
