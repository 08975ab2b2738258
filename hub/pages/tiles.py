"""The district as hexagons: schools laid in rows from north to south, west to east in each row.

Server-side geometry for an SVG; no boundaries are shipped and none are needed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hub.queries import School

# Pointy-top hexagon of radius 100.
RADIUS: Final = 100.0
WIDTH: Final = RADIUS * math.sqrt(3)
ROW_STEP: Final = RADIUS * 1.5
MARGIN: Final = 6.0
# A picture a little over twice as wide as high fits a page and a wall screen.
ASPECT: Final = 2.2
COLUMNS_MIN: Final = 6


@dataclass(frozen=True, slots=True)
class Tile:
    """A school's place: the centre of its hexagon."""

    school: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Picture:
    tiles: tuple[Tile, ...]
    width: float
    height: float


HEXAGON: Final = " ".join(
    f"{0.96 * RADIUS * math.sin(math.radians(angle)):.1f},"
    f"{-0.96 * RADIUS * math.cos(math.radians(angle)):.1f}"
    for angle in range(0, 360, 60)
)


def lay_tiles(schools: Sequence[School]) -> Picture:
    """Give every school a hexagon; those without coordinates follow by number."""
    placed = [school for school in schools if has_place(school)]
    unplaced = [school for school in schools if not has_place(school)]
    north_first = sorted(placed, key=lambda school: (-(school.latitude or 0), school.school))
    ordered = [*north_first, *sorted(unplaced, key=lambda school: school.school)]
    balanced = math.ceil(math.sqrt(len(ordered) * ASPECT * ROW_STEP / WIDTH))
    columns = max(1, balanced, min(COLUMNS_MIN, len(ordered)))
    rows = [ordered[start : start + columns] for start in range(0, len(ordered), columns)]
    tiles = []
    for number, row in enumerate(rows):
        west_first = sorted(row, key=west_key)
        left = MARGIN + WIDTH / 2 + (number % 2) * WIDTH / 2 + (columns - len(row)) // 2 * WIDTH
        tiles += [
            Tile(school.school, left + place * WIDTH, MARGIN + RADIUS + number * ROW_STEP)
            for place, school in enumerate(west_first)
        ]
    offset = WIDTH / 2 if len(rows) > 1 else 0
    return Picture(
        tiles=tuple(tiles),
        width=columns * WIDTH + offset + 2 * MARGIN,
        height=max(0, len(rows) - 1) * ROW_STEP + 2 * RADIUS + 2 * MARGIN,
    )


def has_place(school: School) -> bool:
    return school.latitude is not None and school.longitude is not None


def west_key(school: School) -> tuple[bool, float, int]:
    return (school.longitude is None, school.longitude or 0, school.school)
