"""One adopted unit of a Modbus bus: when it is read, what its replies mean, whether it is there."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drivers.codecs.modbus import ExceptionReply, ReadReply, ReadRequest, Reply, Request
from drivers.codecs.modbus_points import PointValue, decode_point
from drivers.entities import DeviceId, EventSink, Measurement, NowMs, Presence, Quality
from drivers.errors import Trouble
from drivers.input_edges import InputEdges
from drivers.planner import Block, Cadence, plan_blocks
from drivers.transports.byte_port import LineSettings
from drivers.transports.port_address import PortAddress
from firmware_profiles.model import MODBUS, Link, Point, Profile

FAILURES_BEFORE_OFFLINE = 3
QUARANTINE_S = 10.0
WATCHFUL_QUARANTINE_S = 2.0
"""Of a unit whose inputs are watched: a button there is to be heard again soon.

That it still does not answer is reported no oftener than of others.
"""
FORGET_S = 5.0
"""A reply later than this is believed lost."""
BAUD_BEHIND_A_SERVER = 9600
EDGE_REPORT_S = 1.0
"""An input is read oftener than this, but its unchanged value is not reported oftener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedUnit:
    """A device on a bus, as a person adopted it."""

    device: DeviceId
    unit: int
    profile: Profile
    wishes: Mapping[str, str] = field(default_factory=dict)
    """What it is to be, by command, since before."""


class Watcher(Protocol):
    """Who has to know how a unit fares: its outputs."""

    def see(self, point: Point, value: PointValue) -> None:
        """Take a good value that was read."""

    def doubt(self) -> None:
        """Take note that a read failed."""

    def come(self) -> None:
        """Take note that the unit answers, first or again."""

    def leave(self) -> None:
        """Take note that the unit does not answer any more."""


class ModbusUnit:
    """Schedule and state of one unit; all times are the event loop's.

    After a failed read the unit may still owe its reply. It is then first asked a *canary*, a
    question whose reply has another shape than every reply owed: units answer in order, so once
    the canary is answered nothing earlier can arrive and be taken for the next block.
    """

    def __init__(
        self,
        adopted: AdoptedUnit,
        address: PortAddress,
        periods_s: Mapping[Cadence, float],
        now_ms: NowMs,
        sink: EventSink,
    ) -> None:
        link = modbus_link(adopted.profile, address)
        self.adopted = adopted
        self.timeout_s = link.timeout_ms / 1000
        self.quiet_s = link.quiet_ms / 1000
        self.gap_s = link.gap_ms / 1000
        self.due_at = float("inf")
        """When the unit wants to be read next."""
        self.watcher: Watcher | None = None
        self._blocks = plan_blocks(adopted.profile, adopted.unit, link)
        self._sources = [
            f"{address.source} unit {adopted.unit} {block.place}" for block in self._blocks
        ]
        self._dues = [0.0] * len(self._blocks)
        self._reported: dict[str, tuple[PointValue, float]] = {}
        self._bad_again_at = [0.0] * len(self._blocks)
        self._edges = InputEdges(adopted.device, adopted.profile.events)
        is_watched = any(event.format == "edge" for event in adopted.profile.events)
        self._quarantine_s = WATCHFUL_QUARANTINE_S if is_watched else QUARANTINE_S
        self._periods_s = periods_s
        self._now_ms = now_ms
        self._sink = sink
        self._failures = 0
        self._online: bool | None = None
        self._owed: set[tuple[int, int]] = set()
        self._failed_at = 0.0
        self._troubles: set[Trouble] = set()
        self._note_due()

    @property
    def is_online(self) -> bool:
        return self._online is True

    def resume(self, now: float, rng: random.Random) -> None:
        """Read everything soon: the port was opened. First reads are spread over half a second."""
        self._failures = 0
        self._owed.clear()
        self._dues = [now + rng.uniform(0, 0.5) for _ in self._blocks]
        self._note_due()

    def take_due(self, now: float) -> Block | None:
        """Return the block to read now and plan its next turn; None when it has to wait.

        A turn that was missed is left out rather than made up for.
        """
        index = self._dues.index(self.due_at)
        if self._owed and self.canary() is None:
            forgotten_at = self._failed_at + FORGET_S
            if now < forgotten_at:
                self._dues = [max(due, forgotten_at) for due in self._dues]
                self._note_due()
                return None
            self._owed.clear()
        block = self._blocks[index]
        period_s = self._periods_s[block.poll]
        missed = max(0.0, now - self._dues[index]) // period_s
        self._dues[index] += period_s * (1 + missed)
        self._note_due()
        return block

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
        """Turn a reply into one measurement a point, and an input's change into its event."""
        if self._failures >= FAILURES_BEFORE_OFFLINE:
            self._dues = [min(due, now) for due in self._dues]
            index = self._blocks.index(block)
            self._dues[index] = now + self._periods_s[block.poll]
            self._note_due()
        self._failures = 0
        if self._online is not True:
            self._online = True
            self._troubles.clear()
            self._announce(f"unit {self.adopted.unit} answers")
            if self.watcher is not None:
                self.watcher.come()
        match reply:
            case ReadReply(values=values):
                self._take(block, values, now)
            case ExceptionReply():
                self._bad(block, f"the device refused the read: {reply.meaning}")
            case _:
                self._bad(block, "the device answered a read with something else")

    def fail(
        self, block: Block, reason: str, trouble: Trouble, now: float, rng: random.Random
    ) -> None:
        """Report a failed read; the third in a row takes the unit offline and slows its polls."""
        self._failures += 1
        self._failed_at = now
        if self.watcher is not None:
            self.watcher.doubt()
        index = self._blocks.index(block)
        if self._online is not False or now >= self._bad_again_at[index]:
            self._bad_again_at[index] = now + QUARANTINE_S * 0.8
            self._bad(block, reason)
        if self._failures >= FAILURES_BEFORE_OFFLINE:
            self.go_offline(f"{reason}, {self._failures} times in a row", trouble)
            later = now + self._quarantine_s * rng.uniform(0.8, 1.2)
            self._dues = [max(due, later) for due in self._dues]
            self._note_due()

    def go_offline(self, reason: str, trouble: Trouble) -> None:
        """Announce that the unit cannot be reached; once a trouble, until it answers again."""
        if self._online is not False:
            self._online = False
            self._edges.forget()
            if self.watcher is not None:
                self.watcher.leave()
        if trouble not in self._troubles:
            self._troubles.add(trouble)
            self._announce(reason, trouble)

    def _note_due(self) -> None:
        self.due_at = min(self._dues, default=float("inf"))

    def _take(self, block: Block, values: tuple[int, ...], now: float) -> None:
        observed_ms = self._now_ms()
        source = self._sources[self._blocks.index(block)]
        for placed in block.points:
            point = placed.point
            value = decode_point(point, values[placed.index :] if placed.index else values)
            if self.watcher is not None and value.quality is Quality.GOOD:
                self.watcher.see(point, value)
            if block.poll == "edge":
                for edge in self._edges.take(point.id, value, now, observed_ms, source):
                    self._sink(edge)
                if not self._is_news(point.id, value, now):
                    continue
            self._measure(point, value, observed_ms, source)

    def _is_news(self, point: str, value: PointValue, now: float) -> bool:
        before = self._reported.get(point)
        if before is not None and before[0] == value and now - before[1] < EDGE_REPORT_S:
            return False
        self._reported[point] = (value, now)
        return True

    def _bad(self, block: Block, reason: str) -> None:
        value = PointValue(None, Quality.BAD, reason)
        observed_ms = self._now_ms()
        source = self._sources[self._blocks.index(block)]
        for placed in block.points:
            self._reported.pop(placed.point.id, None)
            self._measure(placed.point, value, observed_ms, source)

    def _measure(self, point: Point, value: PointValue, observed_ms: int, source: str) -> None:
        self._sink(
            Measurement(
                device=self.adopted.device,
                point=point.id,
                value=value.value,
                unit=point.unit,
                quality=value.quality,
                observed_ms=observed_ms,
                source=source,
                reason=value.reason,
            )
        )

    def _announce(self, reason: str, trouble: Trouble = Trouble.NONE) -> None:
        self._sink(
            Presence(
                device=self.adopted.device,
                online=self._online is True,
                observed_ms=self._now_ms(),
                reason=reason,
                trouble=trouble,
            )
        )


def modbus_link(profile: Profile, address: PortAddress) -> Link:
    """Return the profile's link for a line; a gateway brings a device of the other kind onto one.

    KeyError: the profile is no Modbus device's.
    """
    of_this_kind = [link for link in profile.links if link.type == address.modbus_link]
    return of_this_kind[0] if of_this_kind else profile.link(*MODBUS)


def modbus_settings(profile: Profile, address: PortAddress) -> LineSettings:
    """Return how the line at an address is spoken for a device of this model."""
    link = modbus_link(profile, address)
    return LineSettings(
        baud=address.baud or (link.baud[0] if link.baud else BAUD_BEHIND_A_SERVER),
        data_bits=link.data_bits,
        parity=link.parity,
        stop_bits=link.stop_bits,
        dtr=link.dtr,
        rts=link.rts,
    )


def _shape(request: ReadRequest) -> tuple[int, int]:
    """Return what a reply shows of its request: function and byte count."""
    if request.function in {1, 2}:
        return request.function, (request.count + 7) // 8
    return request.function, 2 * request.count
