"""The outputs of one Modbus unit: told, read back, and never left on longer than is safe."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from drivers.codecs.modbus import ExceptionReply, ReadReply, ReadRequest, Reply, Request
from drivers.codecs.modbus_commands import encode_command, is_as_told, verified_point
from drivers.codecs.modbus_points import PointValue, decode_point
from drivers.entities import CommandResult, EventSink, NowMs, Outcome
from drivers.errors import DriverError, SetupError
from drivers.modbus_device import AdoptedUnit
from firmware_profiles.model import REGISTERS, Command, Point

TRIES = 3
READ_BACK_S = 0.2
RETRY_S = 2.0
NEVER = float("inf")

Send = Callable[[Request, float], Awaitable[Reply]]


@dataclass(slots=True, eq=False)
class _Output:
    """One command of the profile; times are the event loop's."""

    command: Command
    point: Point | None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    orders: int = 0
    under_way: int = 0
    wish: str | None = None
    is_doubted: bool = False
    on_since: float | None = None
    is_safe: bool = False
    held_until: float = NEVER
    again_at: float = NEVER
    reason: str = ""
    is_told: bool = False

    @property
    def safe_argument(self) -> str | None:
        interlock = self.command.interlock
        return interlock.fail_safe if interlock else None

    @property
    def off_at(self) -> float:
        interlock = self.command.interlock
        if interlock is None or self.on_since is None:
            return NEVER
        return self.on_since + interlock.longest_on_s

    @property
    def due_at(self) -> float:
        return min(self.off_at, self.held_until, self.again_at)


Duty = tuple[_Output, int]
"""An output that is due, and the number of the order that puts it right."""


class ModbusActuator:
    """Carries out the commands of a unit's profile.

    An output with an interlock is made safe when the unit comes (the box started, or the unit was
    away), after ``longest_on_s`` from when it was first on, by whomever, and when a ``hold`` is not
    renewed; that is tried until it succeeds. Being told "on" again does not lengthen its time. An
    output without one is a wish: what was asked of it is asserted again when the unit comes back,
    but a change by another hand while the unit answers ends the wish.
    """

    def __init__(
        self,
        adopted: AdoptedUnit,
        timeout_s: float,
        send: Send,
        now_ms: NowMs,
        sink: EventSink,
        changed: Callable[[], None],
    ) -> None:
        profile = adopted.profile
        self._adopted = adopted
        self.timeout_s = timeout_s
        self._send = send
        self._now_ms = now_ms
        self._sink = sink
        self._changed = changed
        self._is_here = False
        self._outputs = {
            command.id: _Output(command, verified_point(profile, command))
            for command in profile.commands
            if command.write is not None
        }
        for name, wish in adopted.wishes.items():
            output = self._outputs.get(name)
            if output is not None and _is_wish(output.command):
                output.wish = wish

    @property
    def wishes(self) -> Mapping[str, str]:
        """What each output without an interlock is to be."""
        return {name: each.wish for name, each in self._outputs.items() if each.wish is not None}

    @property
    def due_at(self) -> float:
        """When :meth:`take_due` next has something, if the unit is there."""
        if not self._is_here:
            return NEVER
        return min((output.due_at for output in self._outputs.values()), default=NEVER)

    async def order(self, name: str, argument: str) -> CommandResult:
        """Carry out a command and tell what came of it; SetupError when there is no such one."""
        output = self._output(name)
        encode_command(output.command, self._adopted.unit, argument)
        output.orders += 1
        number = output.orders
        if _is_wish(output.command):
            output.wish = argument
        if not self._is_here:
            later = "; done when it is back" if output.wish else ""
            return self._tell(output, argument, Outcome.FAILED, f"the device is away{later}")
        is_on = output.safe_argument not in {None, argument}
        output.again_at, output.is_told = NEVER, False
        if is_on:
            output.is_safe = False
            output.on_since = _now() if output.on_since is None else output.on_since
            self._changed()
        outcome, detail = await self._carry_out(output, argument, number)
        if outcome is Outcome.FAILED and is_on and output.orders == number:
            # It may be on or not: nobody knows, so it has to be off.
            self._make_safe_at(output, _now(), f"it could not be made {argument}")
        return self._tell(output, argument, outcome, detail)

    def hold(self, name: str, hold_s: float) -> None:
        """Make an output safe in ``hold_s``, unless it is held again before."""
        output = self._output(name)
        if output.safe_argument is None:
            raise SetupError(f"{name} has no interlock in the profile; it cannot be held")
        if not output.is_safe:
            output.held_until = _now() + hold_s
            self._changed()

    def see(self, point: Point, value: PointValue) -> None:
        """Take a reading: an output may be on, or off, by another hand."""
        for output in self._outputs.values():
            if output.point is not point or output.under_way:
                continue
            safe = output.safe_argument
            if safe is not None:
                self._see_interlocked(output, is_as_told(output.command, safe, point, value))
            elif output.wish is None or is_as_told(output.command, output.wish, point, value):
                output.is_doubted = False
            elif output.is_doubted:
                output.reason = "the device had forgotten it"
                output.again_at = _now()
                self._changed()
            else:
                output.wish = None

    def doubt(self) -> None:
        """Note that a read failed: the device may have lost its power for a moment."""
        for output in self._outputs.values():
            output.is_doubted = True

    def come(self) -> None:
        """Note that the unit answers, first or again: its outputs may be anything."""
        self._is_here = True
        for output in self._outputs.values():
            if output.safe_argument is not None:
                self._make_safe_at(output, _now(), "the box or the device was away")
            elif output.wish is not None:
                output.reason = "the box or the device was away"
                output.again_at = _now()
        self._changed()

    def leave(self) -> None:
        """Note that the unit does not answer; what is due waits until it comes."""
        self._is_here = False

    def take_due(self, now: float) -> list[Duty]:
        """Return what has to be put right now, each by :meth:`put_right` at once."""
        duties: list[Duty] = []
        if not self._is_here:
            return duties
        for output in self._outputs.values():
            if output.due_at > now:
                continue
            if output.held_until <= now:
                output.reason = "nobody held it any more"
            elif output.off_at <= now and output.command.interlock is not None:
                longest_s = output.command.interlock.longest_on_s
                output.reason = f"it was on for {longest_s} s, the longest allowed"
            # Not due again before this attempt is over.
            output.held_until, output.on_since, output.again_at = NEVER, None, NEVER
            output.orders += 1
            duties.append((output, output.orders))
        return duties

    def unsafe_requests(self) -> Iterator[Request]:
        """Yield the writes that make every output safe which is not known to be."""
        for output in self._outputs.values():
            if output.safe_argument is not None and not output.is_safe and self._is_here:
                yield encode_command(output.command, self._adopted.unit, output.safe_argument)

    async def put_right(self, duty: Duty) -> None:
        """Make an output safe or as wished; what fails is due again two seconds later."""
        output, number = duty
        argument = output.safe_argument or output.wish
        if argument is None:
            return
        outcome, detail = await self._carry_out(output, argument, number)
        if output.orders != number:
            return
        if outcome is Outcome.FAILED:
            output.again_at = _now() + RETRY_S
            self._changed()
            if output.is_told:
                return
        output.is_told = outcome is Outcome.FAILED
        self._tell(output, argument, outcome, "; ".join(filter(None, (output.reason, detail))))

    async def _carry_out(self, output: _Output, argument: str, number: int) -> tuple[Outcome, str]:
        output.under_way += 1
        try:
            async with output.turn:
                if output.orders != number:
                    return Outcome.FAILED, "a newer command came first"
                reply = await self._write(output.command, argument)
            if isinstance(reply, ExceptionReply):
                return Outcome.FAILED, f"the device refused it: {reply.meaning}"
            outcome, detail = Outcome.ACKNOWLEDGED, ""
            if output.point is not None:
                outcome, detail = await self._read_back(output, output.point, argument, number)
        except DriverError as error:
            return Outcome.FAILED, str(error)
        finally:
            output.under_way -= 1
        if output.orders == number and outcome is not Outcome.FAILED:
            output.is_doubted = False
            if argument == output.safe_argument:
                self._is_safe_now(output)
        return outcome, detail

    async def _write(self, command: Command, argument: str) -> Reply:
        request = encode_command(command, self._adopted.unit, argument)
        for left in reversed(range(TRIES if command.idempotent else 1)):
            try:
                return await self._send(request, self.timeout_s)
            except DriverError:
                if not left:
                    raise
        raise AssertionError("the last try raises")

    async def _read_back(
        self, output: _Output, point: Point, argument: str, number: int
    ) -> tuple[Outcome, str]:
        verify = output.command.verify
        assert verify is not None
        assert point.function is not None
        assert point.register is not None
        request = ReadRequest(
            unit=self._adopted.unit,
            function=point.function,
            address=point.register,
            count=1 if point.function in {1, 2} else REGISTERS[point.dtype],
        )
        until = _now() + max(output.command.settle_ms, verify.delay_ms) / 1000
        await asyncio.sleep(verify.delay_ms / 1000)
        tries = 0
        while True:
            tries += 1
            shown = "nothing"
            try:
                reply = await self._send(request, self.timeout_s)
            except DriverError as error:
                shown = str(error)
            else:
                if isinstance(reply, ReadReply):
                    reading = decode_point(point, reply.values)
                    if is_as_told(output.command, argument, point, reading):
                        return Outcome.VERIFIED, ""
                    shown = str(reading.value)
            if output.orders != number:
                return Outcome.ACKNOWLEDGED, "a newer command came before it was read back"
            if tries >= TRIES and _now() >= until:
                return Outcome.FAILED, f"{point.id} still reads {shown}"
            await asyncio.sleep(READ_BACK_S)

    def _see_interlocked(self, output: _Output, is_safe: bool) -> None:  # noqa: FBT001 — what is seen
        if is_safe:
            self._is_safe_now(output)
        elif output.on_since is None and output.again_at == NEVER:
            output.is_safe = False
            output.on_since = _now()
            self._changed()

    def _is_safe_now(self, output: _Output) -> None:
        output.is_safe = True
        output.on_since, output.held_until, output.again_at = None, NEVER, NEVER

    def _make_safe_at(self, output: _Output, moment: float, reason: str) -> None:
        output.is_safe = False
        output.again_at = moment
        output.reason = reason
        self._changed()

    def _output(self, name: str) -> _Output:
        output = self._outputs.get(name)
        if output is None:
            names = ", ".join(sorted(self._outputs)) or "no commands"
            raise SetupError(f"{self._adopted.device} takes {names}, not {name!r}")
        return output

    def _tell(self, output: _Output, argument: str, outcome: Outcome, detail: str) -> CommandResult:
        result = CommandResult(
            device=self._adopted.device,
            command=f"{output.command.id} {argument}",
            outcome=outcome,
            observed_ms=self._now_ms(),
            detail=detail,
        )
        self._sink(result)
        return result


def _now() -> float:
    return asyncio.get_running_loop().time()


def _is_wish(command: Command) -> bool:
    """Return whether asking twice is asking once, and nobody has to watch what stays on."""
    return command.interlock is None and command.idempotent
