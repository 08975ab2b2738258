"""One Modbus line: a single owner that polls, commands and lends it for scans."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Never

from drivers.codecs.modbus import ExceptionReply, Reply, Request
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import DriverError, ProtocolError, SetupError, Trouble, UnreachableError
from drivers.modbus_actuator import NEVER, ModbusActuator
from drivers.modbus_device import AdoptedUnit, ModbusUnit
from drivers.modbus_line import Line, RtuLine, SilentUnitError
from drivers.modbus_tcp_line import TcpLine
from drivers.planner import POLL_PERIODS_S, Cadence
from drivers.transports.byte_port import BytePort, LineSettings, keep_open
from drivers.transports.port_address import PortAddress, open_port

COMMANDS_MAX = 32
QUESTIONS_MAX = 8
IDLE_S_MAX = 60.0
QUIET_S = 0.05
EARLY_S = 0.002
"""Timers count milliseconds: a poll this early saves the turns that would wait for the rest."""
EXIT_S_MAX = 2.0
"""How long a bus that is stopped goes on with making its outputs safe."""


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
    """Polls the adopted units of one line for ever.

    Order: commands first, then due polls; a waiting scan question takes every second turn, so
    neither polls nor scan starve. Units may be adopted and released while the bus runs. Outputs
    with an interlock are made safe when it starts and before it stops.
    """

    def __init__(
        self,
        *,
        address: PortAddress,
        settings: LineSettings,
        units: Iterable[AdoptedUnit],
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
        periods_s: Mapping[Cadence, float] = POLL_PERIODS_S,
    ) -> None:
        self.address = address
        self.settings = settings
        self.statistics = BusStatistics()
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._periods_s = periods_s
        self._units: dict[DeviceId, ModbusUnit] = {}
        self._actuators: dict[DeviceId, ModbusActuator] = {}
        self._commands: asyncio.Queue[_Job] = asyncio.Queue(COMMANDS_MAX)
        self._questions: asyncio.Queue[_Job] = asyncio.Queue(QUESTIONS_MAX)
        self._port: BytePort | None = None
        self._line: Line | None = None
        self._outputs = asyncio.Event()
        self._strays_before = 0
        self._down = f"{address.place} is not open yet"
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

    def adopt(self, adopted: AdoptedUnit) -> None:
        """Poll one more unit from now on; ValueError when its id or device is taken."""
        taken = [u for u in self.units if u.unit == adopted.unit or u.device == adopted.device]
        if taken:
            raise ValueError(
                f"{adopted.device}: unit {adopted.unit} is adopted as {taken[0].device}"
            )
        unit = ModbusUnit(adopted, self.address, self._periods_s, self._now_ms, self._sink)
        self._units[adopted.device] = unit
        if adopted.profile.commands:
            unit.watcher = self._actuators[adopted.device] = ModbusActuator(
                adopted, unit.timeout_s, self.command, self._now_ms, self._sink, self._outputs.set
            )
        if self._port is not None:
            unit.resume(asyncio.get_running_loop().time(), self._rng)
        self._note_line()
        self._wake()

    async def release(self, device: DeviceId) -> None:
        """Stop polling a unit, its outputs made safe; harmless when it is not adopted."""
        actuator = self._actuators.pop(device, None)
        if actuator is not None:
            with suppress(TimeoutError, DriverError):
                async with asyncio.timeout(EXIT_S_MAX):
                    for request in actuator.unsafe_requests():
                        await self.command(request)
        self._units.pop(device, None)

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        """Return what people want each device's outputs to be, but for those with an interlock."""
        return {device: actuator.wishes for device, actuator in self._actuators.items()}

    async def order(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        """Carry out a command of the device's profile, before all polls, and tell what came of it.

        SetupError: the device has no such command or argument.
        """
        actuator = self._actuators.get(device)
        if actuator is None:
            raise SetupError(f"{device} takes no commands")
        return await actuator.order(command, argument)

    def hold(self, device: DeviceId, command: str, hold_s: float) -> None:
        """Make a command's output safe in ``hold_s``, unless this is called again before.

        SetupError: the device has no such command, or the profile does not say what is safe.
        """
        actuator = self._actuators.get(device)
        if actuator is None:
            raise SetupError(f"{device} takes no commands")
        actuator.hold(command, hold_s)

    async def command(self, request: Request, timeout_s: float = 0.5) -> Reply:
        """Return the reply to a request that goes before all polls; errors as ``ask``."""
        return await self._enqueue(self._commands, request, timeout_s)

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        """Return the reply to a scan's question, asked between polls.

        SilentUnitError, ProtocolError as ``Line.ask``; UnreachableError while the port is gone.
        """
        return await self._enqueue(self._questions, request, timeout_s)

    async def run(self) -> Never:
        """Own the port: open, poll, reopen when it comes back."""
        try:
            await keep_open(self._open, self._rng, self._serve, self._on_lost)
        finally:
            self._fail_jobs("the bus was stopped")

    async def _open(self) -> BytePort:
        return await open_port(self.address, self.settings)

    async def _enqueue(
        self, queue: asyncio.Queue[_Job], request: Request, timeout_s: float
    ) -> Reply:
        if self._port is None:
            raise UnreachableError(self._down)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            queue.put_nowait(_Job(request=request, timeout_s=timeout_s, reply=future))
        except asyncio.QueueFull as error:
            raise UnreachableError(
                f"{self.address.place}: {queue.maxsize} requests wait"
            ) from error
        self._wake()
        return await future

    def _note_line(self) -> None:
        """Give the line the longest silences that a unit on it needs."""
        if self._line is not None:
            self._line.quiet_s = max((u.quiet_s for u in self._units.values()), default=QUIET_S)
            self._line.gap_s = max((u.gap_s for u in self._units.values()), default=0.0)

    def _wake(self) -> None:
        if self._port is not None:
            self._port.interrupt()

    async def _serve(self, port: BytePort) -> Never:
        """Serve an open port, and the outputs' timers beside it."""
        loop = asyncio.get_running_loop()
        is_numbered = self.address.modbus_link == "modbus_tcp"
        line = TcpLine(port) if is_numbered else RtuLine(port)
        self._port, self._line = port, line
        self._note_line()
        for unit in self._units.values():
            unit.resume(loop.time(), self._rng)
        # No TaskGroup: whoever waits for the port wants its UnreachableError, not a group of it.
        work = [loop.create_task(self._take_turns(line)), loop.create_task(self._guard_outputs())]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _end(work)
            await self._make_safe(line)
            raise
        finally:
            await _end(work)
            self._strays_before += line.stray_bytes
            self._line = self._port = None
        for ended in work:
            if not ended.cancelled():
                self.statistics.losses += 1
                ended.result()
        raise AssertionError("a bus serves its port until that is gone")

    async def _guard_outputs(self) -> Never:
        """Put every output right when it is due, each by itself: one may take long to settle."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._outputs.clear()
                now = loop.time()
                for actuator in self._actuators.values():
                    for duty in actuator.take_due(now):
                        tasks.create_task(actuator.put_right(duty))
                due_at = min((each.due_at for each in self._actuators.values()), default=NEVER)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(IDLE_S_MAX, max(0.0, due_at - loop.time()))):
                        await self._outputs.wait()

    async def _make_safe(self, line: Line) -> None:
        """Switch off what must not stay on without a box, as far as two seconds go."""
        with suppress(TimeoutError, UnreachableError):
            async with asyncio.timeout(EXIT_S_MAX):
                for actuator in self._actuators.values():
                    for request in actuator.unsafe_requests():
                        with suppress(SilentUnitError, ProtocolError):
                            await line.ask(request, actuator.timeout_s)

    async def _take_turns(self, line: Line) -> Never:
        loop = asyncio.get_running_loop()
        questioned = False
        while True:
            due = min(self._units.values(), key=attrgetter("due_at"), default=None)
            waiting_s = IDLE_S_MAX if due is None else due.due_at - EARLY_S - loop.time()
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

    async def _run_job(self, line: Line, job: _Job) -> None:
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
        except asyncio.CancelledError:
            _answer(job, UnreachableError("the bus was stopped"))
            raise
        else:
            _answer(job, reply)

    async def _poll(self, line: Line, unit: ModbusUnit) -> None:
        loop = asyncio.get_running_loop()
        block = unit.take_due(loop.time())
        if block is None:
            return
        self.statistics.polls += 1
        try:
            reply = await self._ask_unit(line, unit, block.request, unit.timeout_s)
        except SilentUnitError as error:
            self.statistics.silent += 1
            unit.fail(block, str(error), Trouble.SILENT, loop.time(), self._rng)
        except ProtocolError as error:
            self.statistics.broken += 1
            unit.fail(block, str(error), Trouble.GARBLED, loop.time(), self._rng)
        except UnreachableError as error:
            self.statistics.silent += 1
            unit.fail(block, str(error), Trouble.LOST, loop.time(), self._rng)
            raise
        else:
            if isinstance(reply, ExceptionReply):
                self.statistics.refused += 1
            else:
                self.statistics.answered += 1
            unit.accept(block, reply, loop.time())

    async def _ask_unit(
        self, line: Line, unit: ModbusUnit, request: Request, timeout_s: float
    ) -> Reply:
        """Ask once no earlier answer of the unit can be taken for this one's."""
        if line.is_numbered:
            return await line.ask(request, timeout_s)
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
            unit.go_offline(reason, Trouble.LOST)
        self._fail_jobs(reason)

    def _fail_jobs(self, reason: str) -> None:
        for queue in (self._commands, self._questions):
            while not queue.empty():
                _answer(queue.get_nowait(), UnreachableError(reason))


async def _end(work: Sequence[asyncio.Task[Never]]) -> None:
    for task in work:
        task.cancel()
    await asyncio.wait(work)


def _answer(job: _Job, outcome: Reply | DriverError) -> None:
    if job.reply.done():
        return
    if isinstance(outcome, DriverError):
        job.reply.set_exception(outcome)
    else:
        job.reply.set_result(outcome)
