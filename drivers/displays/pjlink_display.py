"""A projector or panel driven over PJLink: polled, commanded, verified, put right after a cut."""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Never

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from drivers.codecs import pjlink
from drivers.displays.desired_state import DesiredState
from drivers.displays.pjlink_link import DisplayAccess, PjlinkLink
from drivers.displays.point_values import question, read_value
from drivers.entities import (
    CommandResult,
    DeviceId,
    EventSink,
    Measurement,
    NowMs,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import DriverError, ProtocolError, RefusedError
from firmware_profiles.model import Command, Point, PollClass, Profile

POLL_S: Mapping[PollClass, float] = MappingProxyType({"fast": 2.0, "normal": 10.0, "slow": 60.0})
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 10.0
BACKOFF_REFUSED_S = 60.0  # displays lock out after repeated wrong passwords
ORDERS_MAX = 16
_MOVING = frozenset({"warming", "cooling"})
_ONLY_WHEN_ON = frozenset({"source", "blank", "freeze"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often each class of points is read, and a command's effect while it settles."""

    poll_s: Mapping[PollClass, float] = field(default_factory=lambda: POLL_S)
    settle_step_s: float = 1.0


DEFAULT_PACE = Pace()


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    command: Command
    value: str  # our word, e.g. "on"
    result: asyncio.Future[CommandResult]


class PjlinkDisplay:
    """One display; ``run`` owns its link, everything else may be called from other tasks."""

    def __init__(
        self,
        device: DeviceId,
        access: DisplayAccess,
        profile: Profile,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
        *,
        desired: DesiredState | None = None,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self.desired = desired if desired is not None else DesiredState()
        self._device = device
        self._access = access
        self._profile = profile
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._pace = pace
        self._timeout_s = profile.link("pjlink").timeout_ms / 1000
        self._source = f"pjlink {access.host}:{access.port}"
        self._orders: asyncio.Queue[_Order] = asyncio.Queue(ORDERS_MAX)
        self._online: bool | None = None
        self._reason = ""
        self._power: str | None = None
        self._unsupported: set[str] = set()

    async def run(self) -> Never:
        """Keep a link to the display, poll it and carry out orders until cancelled."""
        try:
            while True:
                async for attempt in AsyncRetrying(
                    wait=self._backoff_s, retry=retry_if_exception_type(DriverError)
                ):
                    with attempt:
                        await self._serve_one_link()
                await asyncio.sleep(self._rng.uniform(BACKOFF_FIRST_S / 2, BACKOFF_FIRST_S))
        finally:
            self._fail_orders("the box stops driving this display")

    async def set_power(self, on: bool) -> CommandResult:  # noqa: FBT001 — the wish itself
        """Switch on or off; returns after the display has been read back, or the settle time."""
        return await self.command("power", "on" if on else "off")

    async def select_source(self, code: str) -> CommandResult:
        """Select an input by its PJLink code, e.g. ``31``."""
        return await self.command("source", code)

    async def command(self, name: str, value: str) -> CommandResult:
        """Wish ``value`` of a command of the profile and return how far it got.

        The wish stands even when the result is ``FAILED`` because the display is away: it is
        asserted when the display is back. Raises ProtocolError for a value the command lacks.
        """
        try:
            command = self._profile.command(name)
        except KeyError as error:
            raise ProtocolError(f"{self._profile.id}: no command {name!r}") from error
        _wire_value(command, value)
        self.desired.wish(name, value)
        if not self._online:
            return self._report(
                command, value, Outcome.FAILED, f"not reachable ({self._reason}); done when back"
            )
        order = _Order(command, value, asyncio.get_running_loop().create_future())
        try:
            self._orders.put_nowait(order)
        except asyncio.QueueFull:
            return self._report(command, value, Outcome.FAILED, f"{ORDERS_MAX} orders wait already")
        return await order.result

    def _backoff_s(self, state: RetryCallState) -> float:
        refused = state.outcome is not None and isinstance(state.outcome.exception(), RefusedError)
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(state.attempt_number, 16))
        return (BACKOFF_REFUSED_S if refused else 0.0) + self._rng.uniform(longest / 2, longest)

    async def _serve_one_link(self) -> None:
        """Raise DriverError while no link can be had; return when a working one was lost."""
        worked = False
        try:
            link = await PjlinkLink.open(self._access)
            try:
                self._unsupported.clear()
                await self._poll(link, "fast")
                worked = True
                self._set_presence(online=True, reason="answers")
                for name, value in self.desired.in_order():
                    await self._assert(link, name, value)
                await self._serve(link)
            finally:
                await link.close()
        except DriverError as error:
            self.desired.forget_display()
            self._set_presence(online=False, reason=str(error))
            self._fail_orders(str(error))
            if not worked:
                raise

    async def _serve(self, link: PjlinkLink) -> Never:
        loop = asyncio.get_running_loop()
        due = {poll: loop.time() for poll in self._pace.poll_s}
        due["fast"] += self._pace.poll_s["fast"]
        while True:
            poll = min(due, key=lambda name: due[name])
            try:
                async with asyncio.timeout_at(due[poll]):
                    order = await self._orders.get()
            except TimeoutError:
                await self._poll(link, poll)
                due[poll] = loop.time() + self._pace.poll_s[poll]
            else:
                await self._carry_out(link, order)

    async def _poll(self, link: PjlinkLink, poll: PollClass) -> None:
        for point in self._profile.points:
            if point.poll != poll or point.id in self._unsupported:
                continue
            if point.capability in _ONLY_WHEN_ON and self._power not in {"on", None}:
                continue
            value = await self._read(link, point)
            if isinstance(value, str) and value not in _MOVING:
                self._respect_hands(point, value)

    def _respect_hands(self, point: Point, value: str) -> None:
        for command in self._profile.commands:
            if command.verify is not None and command.verify.point == point.id:
                wished = self.desired.verified(command.id)
                if wished is not None and _expected(command, wished, point) != value:
                    _log.info("%s: %s set to %s by hand; respected", self._device, point.id, value)
                    self.desired.release(command.id)

    async def _read(self, link: PjlinkLink, point: Point) -> float | str | None:
        """Ask for a point, report it and return its value; None when it has none now."""
        asked = question(point)
        reply = await link.ask(asked, self._timeout_s)
        value: float | str | None = None
        reason = ""
        match reply.error:
            case None:
                try:
                    value = read_value(point, reply.parameter)
                except ProtocolError as error:
                    reason = str(error)
            case pjlink.ErrorReply.UNDEFINED | pjlink.ErrorReply.OUT_OF_PARAMETER as refusal:
                self._unsupported.add(point.id)
                reason = f"the display has no {point.id} ({refusal})"
            case refusal:
                reason = f"the display answers {refusal}"
        if point.id == "power":
            self._power = str(value) if value is not None else None
        self._sink(
            Measurement(
                device=self._device,
                point=point.id,
                value=value,
                unit=point.unit,
                quality=Quality.BAD if value is None else Quality.GOOD,
                observed_ms=self._now_ms(),
                source=f"{self._source} {asked.name}",
                reason=reason,
            )
        )
        return value

    async def _assert(self, link: PjlinkLink, name: str, value: str) -> None:
        """Make a wish true again, saying nothing when it already is."""
        command = self._profile.command(name)
        if name != "power" and self._power == "off":
            return
        if command.verify is not None:
            point = self._profile.point(command.verify.point)
            if await self._settled(link, command, point) == _expected(command, value, point):
                self.desired.verify(name, value)
                return
        await self._execute(link, command, value)

    async def _carry_out(self, link: PjlinkLink, order: _Order) -> None:
        try:
            result = await self._execute(link, order.command, order.value)
            if (order.command.id, self._power) == ("power", "on"):
                # A display that was off has forgotten its input.
                for name, value in self.desired.in_order():
                    if name != "power":
                        await self._assert(link, name, value)
            _answer(order, result)
        except DriverError as error:
            detail = f"{error}; asserted again when back"
            _answer(order, self._report(order.command, order.value, Outcome.SENT, detail))
            raise
        except asyncio.CancelledError:
            detail = "the box stops driving this display"
            _answer(order, self._report(order.command, order.value, Outcome.FAILED, detail))
            raise

    async def _execute(self, link: PjlinkLink, command: Command, value: str) -> CommandResult:
        """Send one command, wait for the acknowledgement and read it back."""
        wire = _wire_value(command, value)
        deadline = asyncio.get_running_loop().time() + command.settle_ms / 1000
        if (power := self._power_point()) is not None:
            await self._settled(link, command, power)
        line = pjlink.parse_command(command.request.format(value=wire))
        while True:
            self._report(command, value, Outcome.SENT, "")
            reply = await link.ask(line, self._timeout_s)
            if reply.error is not pjlink.ErrorReply.UNAVAILABLE:
                break
            if power is not None and await self._read(link, power) == "off":
                return self._report(
                    command, value, Outcome.FAILED, "the display is off; switch it on first"
                )
            if asyncio.get_running_loop().time() >= deadline:
                return self._report(
                    command, value, Outcome.FAILED, "the display stays busy (ERR3); try later"
                )
            await asyncio.sleep(self._pace.settle_step_s)
        if pjlink.build_reply(reply).upper() != command.ack.upper():
            return self._report(
                command, value, Outcome.FAILED, f"the display answers {reply.parameter[:40]}"
            )
        acknowledged = self._report(command, value, Outcome.ACKNOWLEDGED, "")
        if command.verify is None:
            return acknowledged
        return await self._verify(link, command, value, deadline)

    async def _verify(
        self, link: PjlinkLink, command: Command, value: str, deadline: float
    ) -> CommandResult:
        if command.verify is None:
            raise AssertionError(command.id)
        point = self._profile.point(command.verify.point)
        expected = _expected(command, value, point)
        pause_s = command.verify.delay_ms / 1000
        while True:
            await asyncio.sleep(pause_s)
            seen = await self._read(link, point)
            if seen == expected:
                self.desired.verify(command.id, value)
                return self._report(command, value, Outcome.VERIFIED, f"reads {seen}")
            if asyncio.get_running_loop().time() >= deadline:
                return self._report(
                    command,
                    value,
                    Outcome.FAILED,
                    f"acknowledged, but still reads {seen} after {command.settle_ms // 1000} s",
                )
            pause_s = self._pace.settle_step_s

    async def _settled(self, link: PjlinkLink, command: Command, point: Point) -> str:
        """Return a point's value once the display neither warms up nor cools down, or at last."""
        deadline = asyncio.get_running_loop().time() + command.settle_ms / 1000
        while (value := str(await self._read(link, point))) in _MOVING:
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(self._pace.settle_step_s)
        return value

    def _power_point(self) -> Point | None:
        return next((point for point in self._profile.points if point.id == "power"), None)

    def _report(self, command: Command, value: str, outcome: Outcome, detail: str) -> CommandResult:
        result = CommandResult(
            device=self._device,
            command=f"{command.id} {value}",
            outcome=outcome,
            observed_ms=self._now_ms(),
            detail=detail,
        )
        self._sink(result)
        return result

    def _set_presence(self, *, online: bool, reason: str) -> None:
        changed = self._online is not online
        self._online = online
        self._reason = reason
        if changed:
            self._sink(
                Presence(
                    device=self._device,
                    online=online,
                    observed_ms=self._now_ms(),
                    reason=reason,
                )
            )

    def _fail_orders(self, reason: str) -> None:
        while not self._orders.empty():
            order = self._orders.get_nowait()
            detail = f"{reason}; done when back"
            _answer(order, self._report(order.command, order.value, Outcome.FAILED, detail))


def _answer(order: _Order, result: CommandResult) -> None:
    # Whoever gave the order may have stopped waiting.
    if not order.result.done():
        order.result.set_result(result)


def _expected(command: Command, value: str, point: Point) -> str:
    """Return what ``point`` reads once ``value`` of ``command`` has come true."""
    wire = _wire_value(command, value)
    template = command.verify.expect if command.verify is not None else "{value}"
    expected = template.format(value=wire)
    return point.enum.get(expected, expected)


def _wire_value(command: Command, value: str) -> str:
    if command.values:
        if value not in command.values:
            words = ", ".join(command.values)
            raise ProtocolError(f"{command.id}: {value[:40]!r} is not one of {words}")
        return command.values[value]
    if command.id == "source" and not pjlink.is_source(value):
        raise ProtocolError(f"source: {value[:40]!r} is no PJLink code; give one like 31")
    return value
