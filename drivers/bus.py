"""One serial Modbus bus: a single owner of the line that polls, commands and lends it for scans."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from drivers.codecs.modbus import ExceptionReply, Reply, Request
from drivers.entities import DeviceId, EventSink, NowMs
from drivers.errors import DriverError, ProtocolError, UnreachableError
from drivers.modbus_device import AdoptedUnit, ModbusUnit
from drivers.modbus_line import ModbusLine, SilentUnitError
from drivers.planner import POLL_PERIODS_S
from drivers.transports.serial_port import LineSettings, SerialPort, serve_port
from firmware_profiles.model import PollClass

COMMANDS_MAX = 32
QUESTIONS_MAX = 8
IDLE_S_MAX = 60.0


@dataclass(slots=True)
class BusStatistics:
    """What a bus did since it was made; every poll ends in exactly one of the four outcomes."""

    polls: int = 0
    answered: int = 0
    refused: int = 0
    silent: int = 0
    broken: int = 0
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    request: Request
    timeout_s: float
    reply: asyncio.Future[Reply]


class ModbusBus:
    """Polls the adopted units of one port for ever.

    Order: commands first, then due polls; a waiting scan question takes every second turn, so
    neither polls nor scan starve. Units may be adopted and released while the bus runs.
    """

    def __init__(
        self,
        *,
        path: Path,
        settings: LineSettings,
        units: Iterable[AdoptedUnit],
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
        periods_s: Mapping[PollClass, float] = POLL_PERIODS_S,
    ) -> None:
        self.path = path
        self.settings = settings
        self.statistics = BusStatistics()
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._periods_s = periods_s
        self._units: dict[DeviceId, ModbusUnit] = {}
        self._commands: asyncio.Queue[_Job] = asyncio.Queue(COMMANDS_MAX)
        self._questions: asyncio.Queue[_Job] = asyncio.Queue(QUESTIONS_MAX)
        self._port: SerialPort | None = None
        self._line: ModbusLine | None = None
        self._strays_before = 0
        self._down = f"{path} is not open yet"
        for unit in units:
            self.adopt(unit)

    @property
    def units(self) -> Sequence[AdoptedUnit]:
        """The adopted units, by unit id."""
        return sorted((unit.adopted for unit in self._units.values()), key=lambda unit: unit.unit)

    @property
    def stray_bytes(self) -> int:
        """Bytes heard that belonged to no reply."""
        return self._strays_before + (self._line.stray_bytes if self._line else 0)

    def adopt(self, unit: AdoptedUnit) -> None:
        """Poll one more unit from now on; ValueError when its id or device is taken."""
        taken = [u for u in self.units if u.unit == unit.unit or u.device == unit.device]
        if taken:
            raise ValueError(f"{unit.device}: unit {unit.unit} is adopted as {taken[0].device}")
        self._units[unit.device] = ModbusUnit(
            unit, f"serial:{self.path.name}", self._periods_s, self._now_ms, self._sink
        )
        self._wake()

    def release(self, device: DeviceId) -> None:
        """Stop polling a unit; harmless when it is not adopted."""
        self._units.pop(device, None)

    async def command(self, request: Request, timeout_s: float = 0.5) -> Reply:
        """Return the reply to a request that goes before all polls; errors as ``ask``."""
        return await self._enqueue(self._commands, request, timeout_s)

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        """Return the reply to a scan's question, asked between polls.

        SilentUnitError, ProtocolError as ``ModbusLine.ask``; UnreachableError while the port is
        gone.
        """
        return await self._enqueue(self._questions, request, timeout_s)

    async def run(self) -> Never:
        """Own the port: open, poll, reopen when it comes back."""
        try:
            await serve_port(self.path, self.settings, self._rng, self._serve, self._on_lost)
        finally:
            self._fail_jobs("the bus was stopped")

    async def _enqueue(
        self, queue: asyncio.Queue[_Job], request: Request, timeout_s: float
    ) -> Reply:
        if self._port is None:
            raise UnreachableError(self._down)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            queue.put_nowait(_Job(request=request, timeout_s=timeout_s, reply=future))
        except asyncio.QueueFull as error:
            raise UnreachableError(f"{self.path}: {queue.maxsize} requests wait") from error
        self._wake()
        return await future

    def _wake(self) -> None:
        if self._port is not None:
            self._port.interrupt()

    async def _serve(self, port: SerialPort) -> Never:
        loop = asyncio.get_running_loop()
        self._port = port
        self._line = line = ModbusLine(port, quiet_s=0.0)
        for unit in self._units.values():
            unit.resume(loop.time(), self._rng)
        questioned = False
        try:
            while True:
                line.quiet_s = max((u.quiet_s for u in self._units.values()), default=0.05)
                line.gap_s = max((u.gap_s for u in self._units.values()), default=0.0)
                due = min(self._units.values(), key=lambda unit: unit.due_at, default=None)
                waiting_s = IDLE_S_MAX if due is None else due.due_at - loop.time()
                if not self._commands.empty():
                    await self._run_job(line, self._commands.get_nowait())
                elif not self._questions.empty() and (waiting_s > 0 or not questioned):
                    questioned = True
                    await self._run_job(line, self._questions.get_nowait())
                elif due is not None and waiting_s <= 0:
                    questioned = False
                    await self._poll(line, due)
                else:
                    await line.idle(min(waiting_s, IDLE_S_MAX))
        except UnreachableError:
            self.statistics.losses += 1
            raise
        finally:
            self._strays_before += line.stray_bytes
            self._line = self._port = None

    async def _run_job(self, line: ModbusLine, job: _Job) -> None:
        if job.reply.done():
            return
        try:
            unit = next((u for u in self._units.values() if u.owns(job.request)), None)
            if unit is None:
                reply = await line.ask(job.request, job.timeout_s)
            else:
                reply = await self._ask_unit(line, unit, job.request, job.timeout_s)
        except (SilentUnitError, ProtocolError) as error:
            _answer(job, error)
        except UnreachableError as error:
            _answer(job, error)
            raise
        else:
            _answer(job, reply)

    async def _poll(self, line: ModbusLine, unit: ModbusUnit) -> None:
        loop = asyncio.get_running_loop()
        block = unit.take_due(loop.time())
        if block is None:
            return
        self.statistics.polls += 1
        try:
            reply = await self._ask_unit(line, unit, block.request, unit.timeout_s)
        except SilentUnitError as error:
            self.statistics.silent += 1
            unit.fail(block, str(error), loop.time(), self._rng)
        except ProtocolError as error:
            self.statistics.broken += 1
            unit.fail(block, str(error), loop.time(), self._rng)
        except UnreachableError as error:
            self.statistics.silent += 1
            unit.fail(block, str(error), loop.time(), self._rng)
            raise
        else:
            if isinstance(reply, ExceptionReply):
                self.statistics.refused += 1
            else:
                self.statistics.answered += 1
            unit.accept(block, reply, loop.time())

    async def _ask_unit(
        self, line: ModbusLine, unit: ModbusUnit, request: Request, timeout_s: float
    ) -> Reply:
        """Ask once no earlier answer of the unit can be taken for this one's."""
        canary = unit.canary()
        if canary is not None:
            unit.owe(canary)
            await line.ask(canary, unit.timeout_s)
            unit.settle()
        unit.owe(request)
        reply = await line.ask(request, timeout_s)
        unit.settle()
        return reply

    def _on_lost(self, reason: str) -> None:
        self._down = reason
        for unit in self._units.values():
            unit.go_offline(reason)
        self._fail_jobs(reason)

    def _fail_jobs(self, reason: str) -> None:
        for queue in (self._commands, self._questions):
            while not queue.empty():
                _answer(queue.get_nowait(), UnreachableError(reason))


def _answer(job: _Job, outcome: Reply | DriverError) -> None:
    if job.reply.done():
        return
    if isinstance(outcome, DriverError):
        job.reply.set_exception(outcome)
    else:
        job.reply.set_result(outcome)
