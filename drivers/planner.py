"""Which registers are read together, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from drivers.codecs.modbus import ReadRequest
from drivers.codecs.modbus_points import WIDTH
from firmware_profiles.model import Point, PollClass, Profile

POLL_PERIODS_S: Mapping[PollClass, float] = MappingProxyType(
    {"fast": 1.0, "normal": 5.0, "slow": 60.0},
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
    poll: PollClass

    @property
    def place(self) -> str:
        """The block as provenance names it."""
        return f"fc{self.request.function} 0x{self.request.address:04X}"


def plan_blocks(profile: Profile, unit: int) -> tuple[Block, ...]:
    """Return the fewest reads that fetch every point of a Modbus profile.

    Neighbours join while the block stays within the link's ``block_max`` and the registers
    nobody wants between two points within ``gap_max``; never with the quirk
    ``one_point_a_read``. Bits (functions 1, 2) and registers obey the same limits.
    """
    link = profile.link("modbus_rtu")
    alone = "one_point_a_read" in profile.quirks
    blocks: list[Block] = []
    group: list[Point] = []
    for point in sorted(profile.points, key=_order):
        if group and not alone and _joins(group, point, link.block_max, link.gap_max):
            group.append(point)
            continue
        if group:
            blocks.append(_block(group, unit))
        group = [point]
    if group:
        blocks.append(_block(group, unit))
    return tuple(blocks)


def _order(point: Point) -> tuple[int, str, int]:
    return point.function or 0, point.poll, point.register or 0


def _joins(group: list[Point], point: Point, block_max: int, gap_max: int) -> bool:
    first = group[0]
    if (point.function, point.poll) != (first.function, first.poll):
        return False
    end = max(_end(member) for member in group)
    gap = (point.register or 0) - end
    return gap <= gap_max and max(end, _end(point)) - (first.register or 0) <= block_max


def _block(group: list[Point], unit: int) -> Block:
    first = group[0]
    if first.function is None or first.register is None:
        raise ValueError(f"point {first.id} has no register; the profile was not checked")
    count = max(_end(point) for point in group) - first.register
    request = ReadRequest(unit=unit, function=first.function, address=first.register, count=count)
    placed = tuple(
        PlacedPoint(point=point, index=(point.register or 0) - first.register) for point in group
    )
    return Block(request=request, points=placed, poll=first.poll)


def _end(point: Point) -> int:
    width = 1 if point.function in {1, 2} else WIDTH[point.dtype]
    return (point.register or 0) + width
