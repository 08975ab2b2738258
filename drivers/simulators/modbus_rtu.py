"""Modbus RTU units on one simulated bus, generated from device profiles."""

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never, Protocol

from drivers.codecs.modbus import (
    ExceptionCode,
    ExceptionReply,
    ReadReply,
    ReadRequest,
    Reply,
    Request,
    WriteManyRequest,
    WriteOneRequest,
)
from drivers.codecs.modbus_points import decode_point, encode_raw
from drivers.codecs.modbus_rtu import decode_request_rtu, encode_reply_rtu
from drivers.entities import NowMs
from drivers.errors import ProtocolError
from drivers.simulators.ledger import Ledger
from drivers.simulators.pty_link import PtyLink, closing_line
from drivers.transports.serial_address import UNIT_MAX
from firmware_profiles.model import MODBUS, Expectation, Point, Profile

HEARD_AFTER_S = 0.5
TURNAROUND_S = 0.005
HALF_FRAME_S = 0.05
CHUNK_BYTES = 8
REQUESTS_MAX = 16

_FULL_RANGE = {
    "uint16": (0, 0xFFFF),
    "int16": (-0x8000, 0x7FFF),
    "uint32": (0, 0xFFFF_FFFF),
    "int32": (-0x8000_0000, 0x7FFF_FFFF),
    "uint64": (0, 2**53),
    "int64": (-(2**53), 2**53),
    "float32": (0, 1_000_000),
    "float64": (0, 1_000_000),
    "bcd16": (0, 9_999),
    "bcd32": (0, 99_999_999),
}
_BITS = {1, 2}
_READS = {1, 2, 3, 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Chance of each fault a reply; at most one befalls it.

    ``late_s`` is the shortest and longest delay of a late one: beyond the profiles' 0.5 s.
    """

    late: float = 0.0
    lost: float = 0.0
    corrupt: float = 0.0
    half: float = 0.0
    late_s: tuple[float, float] = (0.7, 1.5)

    def draw(self, rng: random.Random) -> str | None:
        """Return the fault of the next reply, None for a sound one."""
        number = rng.random()
        for name in ("late", "lost", "corrupt", "half"):
            chance: float = getattr(self, name)
            if number < chance:
                return name
            number -= chance
        return None


class AnsweringUnit(Protocol):
    """What a simulated bus has on it."""

    unit: int

    def answer(self, request: Request, baud: int) -> tuple[Reply, dict[str, float | str | None]]:
        """Return the reply and the values of the points it holds."""


class Ramp:
    """Raw values of one point: each reply's differs from the last by more than the deadband.

    The step shares no factor with the range, so that every value of the range comes once before
    any comes again. ``expected`` is what the model's probe knows it by: no value lies outside, or
    a unit asked at the wrong moment would be none of its model.
    """

    def __init__(
        self, point: Point, rng: random.Random, expected: Expectation | None = None
    ) -> None:
        self.point = point
        low, high = (0, 1) if point.function in _BITS else _FULL_RANGE[point.dtype]
        if point.valid is not None:
            ends = [
                (end - point.offset) / point.scale for end in (point.valid.low, point.valid.high)
            ]
            low, high = max(low, math.ceil(min(ends))), min(high, math.floor(max(ends)))
        if expected is not None:
            low, high = max(low, expected.low), min(high, expected.high)
        self._low = low
        self._span = high - low + 1
        self._step = max(1, math.ceil(1.25 * point.deadband / abs(point.scale)))
        while math.gcd(self._step, self._span) != 1:
            self._step += 1
        self._position = rng.randrange(self._span)

    def advance(self) -> None:
        self._position = (self._position + self._step) % self._span

    @property
    def registers(self) -> tuple[int, ...]:
        raw = self._low + self._position
        return (raw,) if self.point.function in _BITS else encode_raw(self.point, raw)

    @property
    def value(self) -> float | str | None:
        """The value as the profile reads it."""
        return decode_point(self.point, self.registers).value


class SimulatedUnit:
    """One device: the registers its profile tells of, and no others."""

    def __init__(self, unit: int, profile: Profile, rng: random.Random) -> None:
        self.unit = unit
        self.profile = profile
        self._ramps = [Ramp(point, rng, _expected(profile, point)) for point in profile.points]

    def answer(self, request: Request, baud: int) -> tuple[Reply, dict[str, float | str | None]]:
        """Return the reply and the values of the points it holds; their ramps move on."""
        if not isinstance(request, ReadRequest) or request.function not in _READS:
            return self._refuse(request, ExceptionCode.ILLEGAL_FUNCTION), {}
        wanted = range(request.address, request.address + request.count)
        covered = [
            ramp
            for ramp in self._ramps
            if ramp.point.function == request.function and ramp.point.register in wanted
        ]
        for ramp in covered:
            ramp.advance()
        registers = self._registers(request.function, baud)
        if any(address not in registers for address in wanted):
            return self._refuse(request, ExceptionCode.ILLEGAL_ADDRESS), {}
        reply = ReadReply(
            unit=self.unit,
            function=request.function,
            values=tuple(registers[address] for address in wanted),
        )
        whole = [r for r in covered if (r.point.register or 0) + len(r.registers) <= wanted.stop]
        return reply, {ramp.point.id: ramp.value for ramp in whole}

    def _registers(self, function: int, baud: int) -> dict[int, int]:
        registers: dict[int, int] = {}
        codes = self.profile.link(*MODBUS).baud_codes
        for step in self.profile.probe:
            if step.function != function or step.absent:
                continue
            for index in range(step.count):
                expected = step.expect[index] if index < len(step.expect) else None
                value = 0
                if expected is not None:
                    value = expected.low
                    value = self.unit if expected.unit else value
                    value = codes.get(baud, 0) if expected.baud else value
                registers[step.register + index] = value
        for ramp in self._ramps:
            if ramp.point.function == function and ramp.point.register is not None:
                registers.update(enumerate(ramp.registers, ramp.point.register))
        return registers

    def _refuse(self, request: Request, code: ExceptionCode) -> ExceptionReply:
        return ExceptionReply(unit=self.unit, function=request.function, code=code)


def _expected(profile: Profile, point: Point) -> Expectation | None:
    """Return what the probe expects of the register that is a point's whole value, if anything."""
    if point.register is None or point.dtype != "uint16":
        return None
    for step in profile.probe:
        index = point.register - step.register
        if step.function == point.function and 0 <= index < len(step.expect):
            return step.expect[index]
    return None


def draw_bus(profiles: Sequence[Profile], rng: random.Random) -> tuple[int, list[SimulatedUnit]]:
    """Return a baud rate that all profiles know and a unit of each, with ids of its own."""
    rates = [set(profile.link("modbus_rtu").baud) & {4800, 9600} for profile in profiles]
    baud = rng.choice(sorted(set.intersection(*rates)))
    ids = rng.sample(range(1, UNIT_MAX + 1), len(profiles))
    return baud, [
        SimulatedUnit(unit, profile, rng) for unit, profile in zip(ids, profiles, strict=True)
    ]


class ModbusRtuSimulator:
    """Units of one speed on one line; each answers in order, at the line's pace.

    Silent unless the other side configured the bus's own baud rate. Ledger: before a reply's first
    byte ``reply_begun`` with unit, fc, address, count, registers, written, values (point to value;
    empty when the read held no whole point), fault and begun_ms; half a second after its last byte
    ``reply`` with the same and ``heard``: the line was open from the request until then. A good
    value that was never begun is invented; one that was heard and sound and is missing is lost.
    ``delays_s`` is how much later a unit answers; one whose power is cut, infinity, does not.
    """

    def __init__(
        self,
        *,
        path: Path,
        baud: int,
        units: Sequence[AnsweringUnit],
        ledger: Ledger,
        now_ms: NowMs,
        rng: random.Random,
        faults: Faults | None = None,
    ) -> None:
        self.link = PtyLink(path)
        self.baud = baud
        self.faults = faults or Faults()
        self.delays_s: dict[int, float] = {}
        self._units = {unit.unit: unit for unit in units}
        self._ledger = ledger
        self._now_ms = now_ms
        self._rng = rng
        self._queues: dict[int, asyncio.Queue[tuple[Request, int]]] = {
            unit: asyncio.Queue(REQUESTS_MAX) for unit in self._units
        }

    async def run(self) -> Never:
        """Answer for ever; its line is unplugged when it is cancelled."""
        async with closing_line(self.link), asyncio.TaskGroup() as tasks:
            for unit in self._units.values():
                tasks.create_task(self._serve_unit(unit, tasks))
            await self._listen()
        raise AssertionError("a simulated bus never ends")

    async def _listen(self) -> Never:
        heard = b""
        while True:
            try:
                async with asyncio.timeout(HALF_FRAME_S if heard else None):
                    heard += await self.link.read()
                request = decode_request_rtu(heard)
            except (TimeoutError, ProtocolError):
                heard = b""
                continue
            if request is None:
                continue
            heard = b""
            queue = self._queues.get(request.unit)
            if queue is not None and self.link.baud == self.baud and not queue.full():
                queue.put_nowait((request, self.link.closings))

    async def _serve_unit(self, unit: AnsweringUnit, tasks: asyncio.TaskGroup) -> Never:
        queue = self._queues[unit.unit]
        byte_s = 10 / self.baud
        while True:
            request, closings = await queue.get()
            fault = self.faults.draw(self._rng)
            delay_s = self.delays_s.get(unit.unit, 0.0)
            if delay_s == math.inf:
                continue
            await asyncio.sleep(8 * byte_s + TURNAROUND_S + delay_s)
            if fault == "late":
                await asyncio.sleep(self._rng.uniform(*self.faults.late_s))
            reply, values = unit.answer(request, self.baud)
            frame = _spoil(encode_reply_rtu(request, reply), fault, self._rng)
            line = {
                "unit": unit.unit,
                "fc": request.function,
                "address": request.address,
                "count": request.count if isinstance(request, ReadRequest) else 1,
                "registers": list(reply.values) if isinstance(reply, ReadReply) else [],
                "written": _written(request),
                "values": values,
                "fault": fault,
                "begun_ms": self._now_ms(),
            }
            self._ledger.write("reply_begun", **line)
            # The pty delivers at once what a wire carries byte by byte.
            for start in range(0, len(frame), CHUNK_BYTES):
                chunk = frame[start : start + CHUNK_BYTES]
                await asyncio.sleep(len(chunk) * byte_s)
                self.link.write(chunk)
            tasks.create_task(self._record(line, closings))

    async def _record(self, line: dict[str, object], closings: int) -> None:
        stayed = self.link.is_open
        await asyncio.sleep(HEARD_AFTER_S)
        heard = stayed and self.link.is_open and self.link.closings == closings
        self._ledger.write("reply", **line, heard=heard)


def _written(request: Request) -> list[int]:
    match request:
        case WriteOneRequest(value=value):
            return [value]
        case WriteManyRequest(values=values):
            return list(values)
        case _:
            return []


def _spoil(frame: bytes, fault: str | None, rng: random.Random) -> bytes:
    match fault:
        case "lost":
            return b""
        case "corrupt":
            spoilt = bytearray(frame)
            spoilt[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
            return bytes(spoilt)
        case "half":
            return frame[: rng.randrange(1, len(frame))]
        case _:
            return frame
