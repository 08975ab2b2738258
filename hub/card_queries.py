"""How the class cards of a school are, as its box last said."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCREENS_MAX: Final = 300
HEARD_MS: Final = 150 * 60_000
"""A box tells each hour of a screen that is well, at once of another; its rows take a while."""
GONE_MS: Final = 24 * 3_600_000
"""Schools switch their screens off at night."""


class ScreenState(StrEnum):
    """How much somebody is needed at a screen, most first."""

    BAD = "bad"
    WARN = "warn"
    UNKNOWN = "unknown"
    GOOD = "good"


SILENT: Final = "silent"
DARK: Final = "dark"
UNHEARD: Final = "unheard"
"""The hub's own word, beside the box's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardScreen:
    """One paired screen; ``version`` is of the page it runs, None before it ran one.

    ``troubles`` are the box's words for what is not well, worst first, None where it says none;
    ``unheard`` is one more: its box told nothing for long. ``data_ms`` is how old what it shows is.
    ``lacks`` names what the page needs and the browser has not; ``error`` is kind and place of
    the last one. ``clock_ahead_s`` compares its clock with the box's.
    """

    screen: str
    name: str
    room: str
    seen_ms: int
    version: str | None
    is_fresh: bool
    state: ScreenState
    troubles: tuple[str, ...] | None
    data_ms: int | None
    browser: str | None
    lacks: tuple[str, ...]
    error: str | None
    error_ms: int | None
    clock_ahead_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCount:
    """How a school's screens are in all; ``troubles``: each with its count, most frequent first.

    ``needing``: those whose box has a word for what is not well.
    """

    well: int = 0
    needing: int = 0
    unknown: int = 0
    troubles: tuple[tuple[str, int], ...] = ()

    @property
    def in_all(self) -> int:
        return self.well + self.needing + self.unknown


NO_CARDS: Final = CardCount()


def read_screens(connection: sqlite3.Connection, school: int, now_ms: int) -> list[CardScreen]:
    """Return a school's paired screens: those that need somebody first, then the longest silent."""
    rows = connection.execute(
        """SELECT screen, coalesce(name, screen) AS name, coalesce(room, '') AS room,
                  coalesce(seen_ms, 0) AS seen_ms, version, trouble, data_ms, browser,
                  coalesce(lacks, '') AS lacks, error, error_ms,
                  coalesce(clock_ahead_s, 0) AS clock_ahead_s
             FROM card_screen WHERE school = ? AND deleted = 0
            ORDER BY seen_ms, screen LIMIT ?""",
        (school, SCREENS_MAX),
    )
    order = list(ScreenState)
    return sorted(
        (_screen(row, now_ms) for row in rows), key=lambda screen: order.index(screen.state)
    )


def count_screens(screens: Sequence[CardScreen]) -> CardCount:
    """Return how many are well, and of what kind the others' troubles are."""
    troubles = Counter(trouble for screen in screens for trouble in screen.troubles or ())
    states = Counter(screen.state for screen in screens)
    return CardCount(
        well=states[ScreenState.GOOD],
        needing=states[ScreenState.BAD] + states[ScreenState.WARN],
        unknown=states[ScreenState.UNKNOWN],
        troubles=tuple(troubles.most_common()),
    )


def count_by_school(connection: sqlite3.Connection, now_ms: int) -> dict[int, CardCount]:
    """Return the counts of every school that has screens, without their troubles."""
    rows = connection.execute(
        """SELECT school, count(*) AS screens, total(trouble != '') AS needing,
                  total(trouble = '' AND coalesce(seen_ms, 0) >= :heard) AS well
             FROM card_screen WHERE deleted = 0 GROUP BY school""",
        {"heard": now_ms - HEARD_MS},
    )
    return {row["school"]: _counted(row["screens"], row["well"], row["needing"]) for row in rows}


def sum_counts(counts: Iterable[CardCount]) -> CardCount:
    """Return them all as one, without their troubles."""
    every = tuple(counts)
    return CardCount(
        well=sum(count.well for count in every),
        needing=sum(count.needing for count in every),
        unknown=sum(count.unknown for count in every),
    )


def _counted(screens: int, well: float, needing: float) -> CardCount:
    return CardCount(
        well=int(well), needing=int(needing), unknown=screens - int(well) - int(needing)
    )


_AS_TOLD: Final = (
    "screen",
    "name",
    "room",
    "seen_ms",
    "version",
    "data_ms",
    "browser",
    "error",
    "error_ms",
    "clock_ahead_s",
)


def _screen(row: sqlite3.Row, now_ms: int) -> CardScreen:
    silent_ms = now_ms - row["seen_ms"]
    is_fresh = silent_ms <= HEARD_MS
    troubles = None if row["trouble"] is None else tuple(row["trouble"].split())
    if not is_fresh and SILENT not in (troubles or ()):
        troubles = (*(troubles or ()), UNHEARD)
    told = {name: row[name] for name in _AS_TOLD}
    return CardScreen(
        **told,
        is_fresh=is_fresh,
        state=_state(troubles, silent_ms),
        troubles=troubles,
        lacks=tuple(row["lacks"].split()),
    )


def _state(troubles: Sequence[str] | None, silent_ms: int) -> ScreenState:
    if troubles is None or troubles == (UNHEARD,):
        return ScreenState.UNKNOWN
    if not troubles:
        return ScreenState.GOOD
    is_bad = DARK in troubles or (SILENT in troubles and silent_ms > GONE_MS)
    return ScreenState.BAD if is_bad else ScreenState.WARN
