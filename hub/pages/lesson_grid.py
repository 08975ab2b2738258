"""Lessons of a day as a grid: rows are schools, columns are periods, pairings are drawn lines.

Pure. Schools that share lessons stand together, flagships first, so that a 1+N pairing is one
line running down a column from the flagship's cell to its last receiver's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hub.lesson.pairing import group_pairings
from hub.lesson.schedule import FLAGSHIP
from hub.lesson_queries import Lesson, LessonParty
from hub.locale.catalogue import MINUTE_MS
from hub.pages.hub_view import FlowLight
from hub.pages.lesson_lights import party_light
from hub.pages.lights import Light

# Bells differ a little between schools; lessons that start this close share a column.
SAME_PERIOD_MS: Final = 15 * MINUTE_MS
LANES_MAX: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A column: from the earliest start to the latest end of its lessons."""

    starts_ms: int
    ends_ms: int
    lessons: tuple[Lesson, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One lesson's line through one cell: ``part`` is top, through, bottom or only."""

    lesson: str
    lane: int
    part: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A school's part in a lesson, as its cell shows it."""

    lesson: Lesson
    party: LessonParty
    light: Light


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    wires: tuple[Wire, ...]
    entries: tuple[Entry, ...]
    lanes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow:
    """A school's row; ``opens`` marks the first row of a pairing."""

    school: int
    name: str
    opens: bool
    flagship: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    periods: tuple[Period, ...]
    rows: tuple[GridRow, ...]


def build_grid(
    lessons: Sequence[Lesson],
    flows: Mapping[str, Sequence[FlowLight]],
    names: Mapping[int, str],
    now_ms: int,
) -> Grid:
    periods = find_periods(lessons)
    groups = order_schools(lessons)
    order = [school for group in groups for school in group]
    places = {school: place for place, school in enumerate(order)}
    firsts = {group[0] for group in groups}
    flagships = {lesson.flagship for lesson in lessons}
    columns = [lay_column(period, places, flows, now_ms) for period in periods]
    return Grid(
        periods=tuple(periods),
        rows=tuple(
            GridRow(
                school=school,
                name=names.get(school, str(school)),
                opens=school in firsts,
                flagship=school in flagships,
                cells=tuple(column[place] for column in columns),
            )
            for place, school in enumerate(order)
        ),
    )


def find_periods(lessons: Sequence[Lesson]) -> list[Period]:
    """Group lessons by start, each group within :data:`SAME_PERIOD_MS` of its first."""
    periods: list[list[Lesson]] = []
    for lesson in sorted(lessons, key=lambda lesson: lesson.starts_ms):
        if periods and lesson.starts_ms - periods[-1][0].starts_ms < SAME_PERIOD_MS:
            periods[-1].append(lesson)
        else:
            periods.append([lesson])
    return [
        Period(
            starts_ms=period[0].starts_ms,
            ends_ms=max(lesson.ends_ms for lesson in period),
            lessons=tuple(period),
        )
        for period in periods
    ]


def order_schools(lessons: Sequence[Lesson]) -> list[list[int]]:
    """Return the schools, grouped as their lessons pair them, flagships before receivers."""
    links = [
        (lesson.lesson, lesson.flagship, party.school)
        for lesson in lessons
        for party in lesson.parties
        if party.role != FLAGSHIP
    ]
    groups = [
        [*pairing.flagships, *(s for s in pairing.receivers if s not in pairing.flagships)]
        for pairing in group_pairings(links)
    ]
    return sorted(groups)


def lay_column(
    period: Period,
    places: Mapping[int, int],
    flows: Mapping[str, Sequence[FlowLight]],
    now_ms: int,
) -> list[Cell]:
    """Return one cell a school; a lesson keeps one lane from its first row to its last."""
    spans = []
    for lesson in period.lessons:
        rows = [places[party.school] for party in lesson.parties if party.school in places]
        if rows:
            spans.append((min(rows), max(rows), lesson))
    spans.sort(key=lambda span: span[:2])
    lane_ends: list[int] = []
    wires: dict[int, list[Wire]] = {}
    entries: dict[int, list[Entry]] = {}
    for first, last, lesson in spans:
        lane = next((n for n, end in enumerate(lane_ends) if end < first), len(lane_ends))
        lane_ends[lane:] = [last, *lane_ends[lane + 1 :]]
        parties = {places[party.school]: party for party in lesson.parties}
        for row in range(first, last + 1):
            party = parties.get(row)
            if lane < LANES_MAX:
                wire = Wire(
                    lesson=lesson.lesson,
                    lane=lane,
                    part=part_of_line(row, first, last),
                    role=party.role if party else "",
                )
                wires.setdefault(row, []).append(wire)
            if party:
                light = party_light(lesson, party, flow_of(flows, lesson, party), now_ms)
                entry = Entry(lesson=lesson, party=party, light=light)
                entries.setdefault(row, []).append(entry)
    lanes = min(len(lane_ends), LANES_MAX)
    return [
        Cell(wires=tuple(wires.get(row, ())), entries=tuple(entries.get(row, ())), lanes=lanes)
        for row in range(len(places))
    ]


def part_of_line(row: int, first: int, last: int) -> str:
    if first == last:
        return "only"
    if row == first:
        return "top"
    return "bottom" if row == last else "through"


def flow_of(
    flows: Mapping[str, Sequence[FlowLight]], lesson: Lesson, party: LessonParty
) -> FlowLight | None:
    found = (flow for flow in flows.get(lesson.lesson, ()) if flow.school == party.school)
    return next(found, None)
