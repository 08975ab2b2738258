"""One order to a display from sending to seeing it come true, and the reading of its points."""

import asyncio
from dataclasses import dataclass

from drivers.displays.desired_state import DesiredState
from drivers.displays.display_link import DisplayLink, Refusal
from drivers.displays.profile_words import (
    expected_value,
    is_accepted,
    is_value,
    question_of,
    read_point,
)
from drivers.entities import (
    CommandResult,
    DeviceId,
    EventSink,
    Measurement,
    NowMs,
    Outcome,
    Quality,
)
from drivers.errors import ProtocolError
from firmware_profiles.model import Command, Point, Profile

ONLY_WHEN_ON = frozenset({"source", "blank", "freeze", "volume", "mute"})
"""Capabilities that a display in standby does not have."""
_MOVING = frozenset({"warming", "cooling"})


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A command somebody waits for."""

    command: Command
    value: str  # our word, e.g. "on"
    result: asyncio.Future[CommandResult]


class Conversation:
    """What is asked and told over a display's links, and what is known from it."""

    def __init__(
        self,
        device: DeviceId,
        profile: Profile,
        now_ms: NowMs,
        sink: EventSink,
        desired: DesiredState,
        settle_step_s: float,
    ) -> None:
        self.power: str | None = None
        """The power point's last word; None when unknown."""
        self.lacking: set[str] = set()
        """Points that the display says it does not have."""
        self.listed: dict[str, str] = {}
        """Last values of the points from which commands take their choices."""
        self._device = device
        self._profile = profile
        self._now_ms = now_ms
        self._sink = sink
        self._desired = desired
        self._settle_step_s = settle_step_s
        self._lists = {command.choices for command in profile.commands if command.choices}
        self._power_point = next((p for p in profile.points if p.id == "power"), None)

    def start(self) -> None:
        """Begin on a new link: it may be another display, of another firmware."""
        self.lacking.clear()
        self.power = None

    async def read(self, link: DisplayLink, point: Point) -> float | str | None:
        """Ask for a point, report it and return its value; None when it has none now."""
        answer = await link.ask(point.request)
        value: float | str | None = None
        reason = answer.reason
        match answer.refusal:
            case None:
                try:
                    value = read_point(point, answer.text)
                except ProtocolError as error:
                    reason = str(error)
            case Refusal.LACKING | Refusal.UNSPOKEN:
                self.lacking.add(point.id)
                reason = f"the display has no {point.id} ({answer.reason})"
            case Refusal.BUSY | Refusal.FAULTY:
                reason = f"the display answers {answer.reason}"
        if point is self._power_point:
            self.power = str(value) if value is not None else None
        if point.id in self._lists and isinstance(value, str):
            self.listed[point.id] = value
        self._sink(
            Measurement(
                device=self._device,
                point=point.id,
                value=value,
                unit=point.unit,
                quality=Quality.BAD if value is None else Quality.GOOD,
                observed_ms=self._now_ms(),
                source=f"{link.source} {point.request}",
                reason=reason,
            )
        )
        return value

    async def settled(
        self, link: DisplayLink, command: Command, point: Point
    ) -> float | str | None:
        """Return a point's value once the display neither warms up nor cools down, or at last."""
        deadline = asyncio.get_running_loop().time() + command.settle_ms / 1000
        while (value := await self.read(link, point)) in _MOVING:
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(self._settle_step_s)
        return value

    async def execute(self, link: DisplayLink, command: Command, value: str) -> CommandResult:
        """Send one command, wait for the acknowledgement and read it back."""
        deadline = asyncio.get_running_loop().time() + command.settle_ms / 1000
        if self._power_point is not None:
            await self.settled(link, command, self._power_point)
        self.report(command, value, Outcome.SENT, "")
        failure = await self._tell(link, command, question_of(command, value), deadline)
        if failure:
            return self.report(command, value, Outcome.FAILED, failure)
        acknowledged = self.report(command, value, Outcome.ACKNOWLEDGED, "")
        if command.verify is None:
            return acknowledged
        return await self._verify(link, command, value, deadline)

    async def _tell(
        self, link: DisplayLink, command: Command, question: str, deadline: float
    ) -> str:
        """Return why the display does not accept the command, empty when it does."""
        power = self._power_point
        while (answer := await link.ask(question)).refusal is Refusal.BUSY:
            if power is not None and command.capability in ONLY_WHEN_ON:
                await self.read(link, power)
                if self.power == "off":
                    return "the display is off; switch it on first"
            if asyncio.get_running_loop().time() >= deadline:
                return f"the display stays busy ({answer.reason}); try later"
            await asyncio.sleep(self._settle_step_s)
        if answer.refusal is Refusal.UNSPOKEN:
            return f"the display has no {command.id} ({answer.reason})"
        if answer.refusal is not None or not is_accepted(command, answer.text):
            return f"the display answers {answer.reason or answer.text[:40]}"
        return ""

    async def _verify(
        self, link: DisplayLink, command: Command, value: str, deadline: float
    ) -> CommandResult:
        if command.verify is None:
            raise AssertionError(command.id)
        point = self._profile.point(command.verify.point)
        expected = expected_value(command, value, point)
        pause_s = command.verify.delay_ms / 1000
        while True:
            await asyncio.sleep(pause_s)
            seen = await self.read(link, point)
            if is_value(seen, expected):
                self._desired.verify(command.id, value)
                return self.report(command, value, Outcome.VERIFIED, f"reads {_shown(seen)}")
            if asyncio.get_running_loop().time() >= deadline:
                waited = f"{command.settle_ms // 1000} s"
                detail = f"acknowledged, but still reads {_shown(seen)} after {waited}"
                return self.report(command, value, Outcome.FAILED, detail)
            pause_s = self._settle_step_s

    def report(self, command: Command, value: str, outcome: Outcome, detail: str) -> CommandResult:
        """Tell how far a command got."""
        result = CommandResult(
            device=self._device,
            command=f"{command.id} {value}",
            outcome=outcome,
            observed_ms=self._now_ms(),
            detail=detail,
        )
        self._sink(result)
        return result


def answer(order: Order, result: CommandResult) -> None:
    """Tell whoever gave the order; they may have stopped waiting."""
    if not order.result.done():
        order.result.set_result(result)


def _shown(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
