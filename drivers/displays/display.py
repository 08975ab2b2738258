"""A projector, panel or blackboard: polled, commanded, verified, put right after a cut."""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Never

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from drivers.displays.desired_state import DesiredState
from drivers.displays.display_link import DisplayLink, OpenLink
from drivers.displays.display_orders import ONLY_WHEN_ON, Conversation, Order, answer
from drivers.displays.profile_words import expected_value, is_value, wire_value
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs, Outcome
from drivers.errors import DriverError, ProtocolError, RefusedError, trouble_of
from drivers.reports import PresenceReports
from firmware_profiles.model import Command, Point, PollClass, Profile

POLL_S: Mapping[PollClass, float] = MappingProxyType({"fast": 2.0, "normal": 10.0, "slow": 60.0})
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 10.0
BACKOFF_REFUSED_S = 60.0  # displays lock out after repeated wrong passwords
OFF_HOLDS_S = 600.0
"""A display that is on again after a longer absence was switched on by somebody."""
ORDERS_MAX = 16
MOVING = frozenset({"warming", "cooling"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often each class of points is read, and a command's effect while it settles."""

    poll_s: Mapping[PollClass, float] = field(default_factory=lambda: POLL_S)
    settle_step_s: float = 1.0
    off_holds_s: float = OFF_HOLDS_S


DEFAULT_PACE = Pace()


class Display:
    """One display; ``run`` owns its link, everything else may be called from other tasks."""

    def __init__(
        self,
        device: DeviceId,
        open_link: OpenLink,
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
        self._open_link = open_link
        self._profile = profile
        self._rng = rng
        self._pace = pace
        self._orders: asyncio.Queue[Order] = asyncio.Queue(ORDERS_MAX)
        self._talk = Conversation(device, profile, now_ms, sink, self.desired, pace.settle_step_s)
        self._presence = PresenceReports(device, now_ms, sink)
        self._lost_s: float | None = None

    @property
    def online(self) -> bool:
        return self._presence.online is True

    def choices(self, name: str) -> tuple[str, ...]:
        """Return what a command takes: the profile's words, or what the display lists itself."""
        command = self._profile.command(name)
        if command.values or command.choices is None:
            return tuple(command.values)
        listed = self._talk.listed.get(command.choices, "")
        return tuple(dict.fromkeys(listed.split()))

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

    async def command(self, name: str, value: str) -> CommandResult:
        """Wish ``value`` of a command of the profile and return how far it got.

        The wish stands even when the result is ``FAILED`` because the display is away: it is
        asserted when the display is back. Raises ProtocolError for a value the command lacks.
        """
        try:
            command = self._profile.command(name)
        except KeyError as error:
            raise ProtocolError(f"{self._profile.id}: no command {name!r}") from error
        wire_value(command, value)
        self.desired.wish(name, value)
        if not self.online:
            why = self._presence.reason
            detail = (
                f"not reachable ({why}); done when back"
                if why
                else "not reachable so far; done later"
            )
            return self._talk.report(command, value, Outcome.FAILED, detail)
        order = Order(command, value, asyncio.get_running_loop().create_future())
        try:
            self._orders.put_nowait(order)
        except asyncio.QueueFull:
            detail = f"{ORDERS_MAX} orders wait already"
            return self._talk.report(command, value, Outcome.FAILED, detail)
        return await order.result

    def _backoff_s(self, state: RetryCallState) -> float:
        refused = state.outcome is not None and isinstance(state.outcome.exception(), RefusedError)
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(state.attempt_number, 16))
        return (BACKOFF_REFUSED_S if refused else 0.0) + self._rng.uniform(longest / 2, longest)

    async def _serve_one_link(self) -> None:
        """Raise DriverError while no link can be had; return when a working one was lost."""
        worked = False
        try:
            link = await self._open_link()
            try:
                self._talk.start()
                await self._poll(link, "fast")
                self._forget_old_off()
                worked = True
                self._presence.tell(online=True, reason="answers")
                await self._assert_all(link)
                await self._serve(link)
            finally:
                await link.close()
        except DriverError as error:
            if worked:
                self._lost_s = asyncio.get_running_loop().time()
            self.desired.forget_display()
            self._presence.tell(online=False, reason=str(error), trouble=trouble_of(error))
            self._fail_orders(str(error))
            if not worked:
                raise

    def _forget_old_off(self) -> None:
        """Let a display be that was to be off, was long away and is on: somebody needs it."""
        lost_s, self._lost_s = self._lost_s, None
        if lost_s is None or self._talk.power != "on":
            return
        away_s = asyncio.get_running_loop().time() - lost_s
        if away_s > self._pace.off_holds_s and self.desired.wishes.get("power") == "off":
            _log.info("%s: back on after %.0f s; no longer kept off", self._device, away_s)
            self.desired.release("power")

    async def _serve(self, link: DisplayLink) -> Never:
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

    async def _poll(self, link: DisplayLink, poll: PollClass) -> None:
        before = self._talk.power
        for point in self._profile.points:
            if point.poll != poll or point.id in self._talk.lacking:
                continue
            if point.capability in ONLY_WHEN_ON and self._talk.power not in {"on", None}:
                continue
            value = await self._talk.read(link, point)
            if value is not None and value not in MOVING:
                await self._respect_hands(link, point, value)
        if before == "off" and self._talk.power == "on":
            await self._assert_locks(link)

    async def _respect_hands(self, link: DisplayLink, point: Point, value: float | str) -> None:
        """Let go of a wish that somebody undid at the display; a lock is put on again."""
        for command in self._profile.commands:
            if command.verify is None or command.verify.point != point.id:
                continue
            wished = self.desired.verified(command.id)
            if wished is None or is_value(value, expected_value(command, wished, point)):
                continue
            if command.capability == "lock":
                await self._assert(link, command, wished)
            else:
                _log.info("%s: %s set to %s by hand; respected", self._device, point.id, value)
                self.desired.release(command.id)

    async def _assert_all(self, link: DisplayLink) -> None:
        for name, value in self.desired.in_order():
            await self._assert(link, self._profile.command(name), value)

    async def _assert_locks(self, link: DisplayLink) -> None:
        """Lock again a display that somebody switched on and that may have forgotten it."""
        for name, value in self.desired.in_order():
            if self._profile.command(name).capability == "lock":
                await self._assert(link, self._profile.command(name), value)

    async def _assert(self, link: DisplayLink, command: Command, value: str) -> None:
        """Make a wish true again, saying nothing when it already is."""
        if command.id != "power" and self._talk.power == "off":
            return
        if command.verify is not None:
            point = self._profile.point(command.verify.point)
            seen = await self._talk.settled(link, command, point)
            if is_value(seen, expected_value(command, value, point)):
                self.desired.verify(command.id, value)
                return
        await self._talk.execute(link, command, value)

    async def _carry_out(self, link: DisplayLink, order: Order) -> None:
        try:
            result = await self._talk.execute(link, order.command, order.value)
            if (order.command.id, self._talk.power) == ("power", "on"):
                # A display that was off has forgotten its input.
                for name, value in self.desired.in_order():
                    if name != "power":
                        await self._assert(link, self._profile.command(name), value)
            answer(order, result)
        except DriverError as error:
            detail = f"{error}; asserted again when back"
            answer(order, self._talk.report(order.command, order.value, Outcome.SENT, detail))
            raise
        except asyncio.CancelledError:
            detail = "the box stops driving this display"
            answer(order, self._talk.report(order.command, order.value, Outcome.FAILED, detail))
            raise

    def _fail_orders(self, reason: str) -> None:
        while not self._orders.empty():
            order = self._orders.get_nowait()
            detail = f"{reason}; done when back"
            answer(order, self._talk.report(order.command, order.value, Outcome.FAILED, detail))
