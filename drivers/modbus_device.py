"""One adopted unit of a Modbus bus: when it is read, what its replies mean, whether it is there."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.codecs.modbus import ExceptionReply, ReadReply, ReadRequest, Reply, Request
from drivers.codecs.modbus_points import PointValue, decode_point
from drivers.entities import DeviceId, EventSink, Measurement, NowMs, Presence, Quality
from drivers.planner import Block, plan_blocks
from firmware_profiles.model import PollClass, Profile

FAILURES_BEFORE_OFFLINE = 3
QUARANTINE_S = 10.0
FORGET_S = 5.0
"""A reply later than this is believed lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedUnit:
    """A device on a bus, as a person adopted it."""

    device: DeviceId
    unit: int
    profile: Profile


class ModbusUnit:
    """Schedule and state of one unit; all times are the event loop's.

    After a failed read the unit may still owe its reply. It is then first asked a *canary*, a
    question whose reply has another shape than every reply owed: units answer in order, so once
    the canary is answered nothing earlier can arrive and be taken for the next block.
    """

    def __init__(
        self,
        adopted: AdoptedUnit,
        port: str,
        periods_s: Mapping[PollClass, float],
        now_ms: NowMs,
        sink: EventSink,
    ) -> None:
        link = adopted.profile.link("modbus_rtu")
        self.adopted = adopted
        self.timeout_s = link.timeout_ms / 1000
        self.quiet_s = link.quiet_ms / 1000
        self.gap_s = link.gap_ms / 1000
        self._blocks = plan_blocks(adopted.profile, adopted.unit)
        self._due_at = [0.0] * len(self._blocks)
        self._port = port
        self._periods_s = periods_s
        self._now_ms = now_ms
        self._sink = sink
        self._failures = 0
        self._online: bool | None = None
        self._owed: set[tuple[int, int]] = set()
        self._failed_at = 0.0

    @property
    def due_at(self) -> float:
        """When the unit wants to be read next."""
        return min(self._due_at, default=float("inf"))

    def resume(self, now: float, rng: random.Random) -> None:
        """Read everything soon: the port was opened. First reads are spread over half a second."""
        self._failures = 0
        self._due_at = [now + rng.uniform(0, 0.5) for _ in self._blocks]

    def take_due(self, now: float) -> Block | None:
        """Return the block to read now and plan its next turn; None when it has to wait.

        A turn that was missed is left out rather than made up for.
        """
        index = self._due_at.index(self.due_at)
        if self._owed and self.canary() is None:
            forgotten_at = self._failed_at + FORGET_S
            if now < forgotten_at:
                self._due_at = [max(due, forgotten_at) for due in self._due_at]
                return None
            self._owed.clear()
        period_s = self._periods_s[self._blocks[index].poll]
        missed = max(0.0, now - self._due_at[index]) // period_s
        self._due_at[index] += period_s * (1 + missed)
        return self._blocks[index]

    def canary(self) -> ReadRequest | None:
        """Return the question to ask first, None when nothing is owed or no question would do."""
        if not self._owed:
            return None
        for step in self.adopted.profile.probe:
            for count in range(1, step.count + 1):
                request = ReadRequest(
                    unit=self.adopted.unit,
                    function=step.function,
                    address=step.register,
                    count=count,
                )
                if _shape(request) not in self._owed:
                    return request
        return None

    def owns(self, request: Request) -> bool:
        """Return whether a request goes to this unit."""
        return request.unit == self.adopted.unit

    def owe(self, request: Request) -> None:
        """Note that the unit is being asked."""
        if isinstance(request, ReadRequest):
            self._owed.add(_shape(request))

    def settle(self) -> None:
        """Note that the unit answered what it was asked last, and so owes nothing earlier."""
        self._owed.clear()

    def accept(self, block: Block, reply: Reply, now: float) -> None:
        """Turn a reply into one measurement a point."""
        if self._failures >= FAILURES_BEFORE_OFFLINE:
            self._due_at = [min(due, now) for due in self._due_at]
            index = self._blocks.index(block)
            self._due_at[index] = now + self._periods_s[block.poll]
        self._failures = 0
        if self._online is not True:
            self._online = True
            self._announce(f"unit {self.adopted.unit} answers")
        match reply:
            case ReadReply(values=values):
                for placed in block.points:
                    value = decode_point(placed.point, values[placed.index :])
                    self._measure(block, placed.point.id, placed.point.unit, value)
            case ExceptionReply():
                self._bad(block, f"the device refused the read: {reply.meaning}")
            case _:
                self._bad(block, "the device answered a read with something else")

    def fail(self, block: Block, reason: str, now: float, rng: random.Random) -> None:
        """Report a failed read; the third in a row takes the unit offline and slows its polls."""
        self._failures += 1
        self._failed_at = now
        self._bad(block, reason)
        if self._failures >= FAILURES_BEFORE_OFFLINE:
            self.go_offline(f"{reason}, {self._failures} times in a row")
            later = now + QUARANTINE_S * rng.uniform(0.8, 1.2)
            self._due_at = [max(due, later) for due in self._due_at]

    def go_offline(self, reason: str) -> None:
        """Announce that the unit cannot be reached; once, until it answers again."""
        if self._online is not False:
            self._online = False
            self._announce(reason)

    def _bad(self, block: Block, reason: str) -> None:
        value = PointValue(None, Quality.BAD, reason)
        for placed in block.points:
            self._measure(block, placed.point.id, placed.point.unit, value)

    def _measure(self, block: Block, point: str, unit: str, value: PointValue) -> None:
        self._sink(
            Measurement(
                device=self.adopted.device,
                point=point,
                value=value.value,
                unit=unit,
                quality=value.quality,
                observed_ms=self._now_ms(),
                source=f"{self._port} unit {self.adopted.unit} {block.place}",
                reason=value.reason,
            )
        )

    def _announce(self, reason: str) -> None:
        self._sink(
            Presence(
                device=self.adopted.device,
                online=self._online is True,
                observed_ms=self._now_ms(),
                reason=reason,
            )
        )


def _shape(request: ReadRequest) -> tuple[int, int]:
    """Return what a reply shows of its request: function and byte count."""
    if request.function in {1, 2}:
        return request.function, (request.count + 7) // 8
    return request.function, 2 * request.count
