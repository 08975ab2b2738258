"""Which registers are read together, and how often."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from drivers.codecs.modbus import ReadRequest
from firmware_profiles.model import REGISTERS, Link, Point, PollClass, Profile

Cadence = PollClass | Literal["edge"]
"""``edge``: a point of which an event waits for an edge, whatever its own class."""

POLL_PERIODS_S: Mapping[Cadence, float] = MappingProxyType(
    {"edge": 0.2, "fast": 1.0, "normal": 5.0, "slow": 60.0},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPoint:
    """A point and where its first value lies in its block's values."""

    point: Point
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One read that serves several points of one poll class."""

    request: ReadRequest
    points: tuple[PlacedPoint, ...]
    poll: Cadence

    @property
    def place(self) -> str:
        """The block as provenance names it."""
        return f"fc{self.request.function} 0x{self.request.address:04X}"


def plan_blocks(profile: Profile, unit: int, link: Link) -> tuple[Block, ...]:
    """Return the fewest reads that fetch every point of a Modbus profile over one of its links.

    Neighbours join while the block stays within the link's ``block_max`` and the registers
    nobody wants between two points within ``gap_max``; never with the quirk
    ``one_point_a_read``. Bits (functions 1, 2) and registers obey the same limits. A device without
    points is asked the first step of its probe, by which it is known to be there.
    """
    if not profile.points:
        return tuple(_presence_blocks(profile, unit))
    waited_for = {event.point for event in profile.events if event.format == "edge"}

    def cadence(point: Point) -> Cadence:
        return "edge" if point.id in waited_for else point.poll

    alone = "one_point_a_read" in profile.quirk_ids
    blocks: list[Block] = []
    for poll in POLL_PERIODS_S:
        points = sorted((p for p in profile.points if cadence(p) == poll), key=_order)
        group: list[Point] = []
        for point in points:
            if group and (alone or not _joins(group, point, link)):
                blocks.append(_block(group, unit, poll))
                group = []
            group.append(point)
        if group:
            blocks.append(_block(group, unit, poll))
    return tuple(blocks)


def _presence_blocks(profile: Profile, unit: int) -> Iterator[Block]:
    for step in profile.probe[:1]:
        request = ReadRequest(
            unit=unit, function=step.function, address=step.register, count=step.count
        )
        yield Block(request=request, points=(), poll="normal")


def _order(point: Point) -> tuple[int, int]:
    return point.function or 0, point.register or 0


def _joins(group: list[Point], point: Point, link: Link) -> bool:
    first = group[0]
    if point.function != first.function:
        return False
    end = max(_end(member) for member in group)
    gap = (point.register or 0) - end
    span = max(end, _end(point)) - (first.register or 0)
    return gap <= link.gap_max and span <= link.block_max


def _block(group: list[Point], unit: int, poll: Cadence) -> Block:
    first = group[0]
    if first.function is None or first.register is None:
        raise ValueError(f"point {first.id} has no register; the profile was not checked")
    count = max(_end(point) for point in group) - first.register
    request = ReadRequest(unit=unit, function=first.function, address=first.register, count=count)
    placed = tuple(
        PlacedPoint(point=point, index=(point.register or 0) - first.register) for point in group
    )
    return Block(request=request, points=placed, poll=poll)


def _end(point: Point) -> int:
    width = 1 if point.function in {1, 2} else REGISTERS[point.dtype]
    return (point.register or 0) + width
