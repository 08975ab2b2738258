"""District now: every school with its light, what needs doing, and the picture of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hub.card_queries import CardCount, sum_counts
from hub.lesson.pairing import pick
from hub.lesson_queries import Lesson
from hub.locale.sentence import Sentence
from hub.pages.hub_view import SchoolLight
from hub.pages.lights import HEARTBEAT_FRESH_MS, Light, State, school_light
from hub.pages.tiles import Picture, lay_tiles
from hub.queries import School, SchoolNow

TODO_MAX: Final = 5
# Below these counts a tile has room for evidence, or for a name.
TILES_WITH_EVIDENCE: Final = 14
TILES_WITH_NAMES: Final = 60

ATTENTION: Final = {state: place for place, state in enumerate(State)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolRow:
    """One school of the picture and of its table twin."""

    school: int
    name: str
    role: str | None
    light: Light
    now: SchoolNow
    box: SchoolLight | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    school: int
    name: str
    light: Light
    remedy: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class District:
    """``lessons_now``: scheduled to run at this moment; ``tap_ms``: the newest tap of all.

    ``waiting_bytes`` is as the ``told`` schools last said, whose boxes the hub has heard.
    """

    now_ms: int
    rows: tuple[SchoolRow, ...]
    todos: tuple[Todo, ...]
    todos_left: int
    attention: int
    connected: int
    taps_today: int
    tap_ms: int | None
    lessons_today: int
    lessons_now: int
    alarms: int
    cards: CardCount
    waiting_bytes: int
    told: int


def build_district(
    schools: Sequence[SchoolNow],
    boxes: Sequence[SchoolLight],
    lessons: Sequence[Lesson],
    now_ms: int,
    language: str,
) -> District:
    """Join what the store says of each school with what the hub saw of its box.

    A box without a school row (enrolled, its row not yet recorded) is shown by its number.
    """
    by_school = {box.school: box for box in boxes}
    known = {now.school.school for now in schools}
    unnamed = [
        SchoolNow(school=School(school=school), devices={})
        for school in sorted(by_school.keys() - known)
    ]
    rows = tuple(
        build_row(now, by_school.get(now.school.school), now_ms, language)
        for now in (*schools, *unnamed)
    )
    todos = sorted(find_todos(rows), key=lambda todo: (ATTENTION[todo.light.state], todo.school))
    held = [lesson for lesson in lessons if not lesson.cancelled]
    return District(
        now_ms=now_ms,
        rows=rows,
        todos=tuple(todos[:TODO_MAX]),
        todos_left=max(0, len(todos) - TODO_MAX),
        attention=sum(row.light.state is not State.GOOD for row in rows),
        connected=sum(is_connected(row.box, now_ms) for row in rows),
        taps_today=sum(row.now.taps_today for row in rows),
        tap_ms=max((row.now.tap_ms for row in rows if row.now.tap_ms), default=None),
        lessons_today=len(held),
        lessons_now=sum(lesson.starts_ms <= now_ms < lesson.ends_ms for lesson in held),
        alarms=sum(len(row.now.alarms) for row in rows),
        cards=sum_counts(row.now.cards for row in rows),
        waiting_bytes=sum(row.box.waiting_bytes or 0 for row in rows if row.box),
        told=sum(row.box is not None and row.box.waiting_bytes is not None for row in rows),
    )


def build_row(now: SchoolNow, box: SchoolLight | None, now_ms: int, language: str) -> SchoolRow:
    school = now.school
    return SchoolRow(
        school=school.school,
        name=pick(school.name, school.name_en, language) or str(school.school),
        role=school.role,
        light=school_light(now, box, now_ms),
        now=now,
        box=box,
    )


def find_todos(rows: Iterable[SchoolRow]) -> list[Todo]:
    return [
        Todo(school=row.school, name=row.name, light=row.light, remedy=row.light.remedy)
        for row in rows
        if row.light.remedy is not None
    ]


def is_connected(box: SchoolLight | None, now_ms: int) -> bool:
    return (
        box is not None
        and box.heartbeat_ms is not None
        and now_ms - box.heartbeat_ms <= HEARTBEAT_FRESH_MS
    )


def lay_district(district: District) -> Picture:
    return lay_tiles([row.now.school for row in district.rows])


def rows_by_school(district: District) -> Mapping[int, SchoolRow]:
    return {row.school: row for row in district.rows}


def tile_detail(count: int) -> str:
    """Return how much a tile says when there are ``count`` of them."""
    if count <= TILES_WITH_EVIDENCE:
        return "evidence"
    return "name" if count <= TILES_WITH_NAMES else "number"
