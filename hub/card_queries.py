"""How the class cards of a school are, as its box last said."""

import sqlite3
from dataclasses import dataclass
from typing import Final

SCREENS_MAX: Final = 300
FRESH_MS: Final = 40 * 60_000
"""A box tells of an open screen every quarter of an hour, and its rows take a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardScreen:
    """One paired screen; ``version`` is of the page it runs, None before it ran one."""

    screen: str
    name: str
    room: str
    seen_ms: int
    version: str | None
    is_fresh: bool


def read_screens(connection: sqlite3.Connection, school: int, now_ms: int) -> list[CardScreen]:
    """Return a school's paired screens, the longest silent first."""
    rows = connection.execute(
        """SELECT screen, coalesce(name, screen) AS name, coalesce(room, '') AS room,
                  coalesce(seen_ms, 0) AS seen_ms, version
             FROM card_screen WHERE school = ? AND deleted = 0
            ORDER BY seen_ms, screen LIMIT ?""",
        (school, SCREENS_MAX),
    )
    return [CardScreen(**dict(row), is_fresh=now_ms - row["seen_ms"] <= FRESH_MS) for row in rows]
