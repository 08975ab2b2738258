"""Where a lesson's trouble came from, told from what each hop of each end wrote down. Pure.

The way of a lesson: the flagship's camera, its line to the hub, the hub, a receiver's line, its
LAN, its screens. A hub that is late makes both lines look poor, and so comes before them. Trouble
at one hop shows at every hop after it, so a later one counts for itself only in minutes in which
those before it were good; the hop with the most such minutes is the cause.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

POOR_SHARE_MIN = 0.05
"""Below this share of poor minutes a hop is no cause."""
ROWS_MAX = 20_000
GOOD, POOR = "good", "poor"
"""What a row of such a hop says (``lesson_quality.state``)."""


class Hop(StrEnum):
    """The hops whose minutes are written down (``lesson_quality.hop``)."""

    CAMERA = "camera"
    WAN = "wan"
    LINK = "hub_link"  # the same line, as the hub saw it
    HUB = "hub"
    LAN = "lan"
    DECODE = "decode"


class Root(StrEnum):
    """The cause of a lesson's trouble; pages have a sentence for each in both languages."""

    NONE = "none"
    CAMERA = "camera"
    HUB = "hub"
    FLAGSHIP_LINE = "flagship_line"
    RECEIVER_LINE = "receiver_line"
    LAN = "lan"
    SCREEN = "screen"
    UNKNOWN = "unknown"  # nothing was written down


@dataclass(frozen=True, slots=True, kw_only=True)
class HopMinute:
    """One minute of one hop; ``minute`` is Unix time in minutes."""

    hop: Hop
    minute: int
    is_good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HopSum:
    """A hop's minutes: how many were poor of how many told."""

    hop: Hop
    poor: int
    told: int


_HOPS = frozenset(hop.value for hop in Hop)
_ORDER = (
    (True, Hop.CAMERA, Root.CAMERA),
    (True, Hop.HUB, Root.HUB),
    (False, Hop.HUB, Root.HUB),
    (True, Hop.WAN, Root.FLAGSHIP_LINE),
    (True, Hop.LINK, Root.FLAGSHIP_LINE),
    (False, Hop.WAN, Root.RECEIVER_LINE),
    (False, Hop.LINK, Root.RECEIVER_LINE),
    (False, Hop.LAN, Root.LAN),
    (False, Hop.DECODE, Root.SCREEN),
)
"""The way: whether it is the flagship's end, the hop, and what its trouble is called."""
_NEAR = {Hop.HUB: (-1, 0, 1)}
_NEAR_OTHERS = (0, 1)
"""Minutes are of two clocks: a poor one explains the next, and the hub tells its own later."""


def read_hops(
    store: sqlite3.Connection, school: int, lesson: str, from_ms: int, until_ms: int
) -> list[HopMinute]:
    """Return what a school wrote down of a lesson's hops in a span of time (Unix ms)."""
    rows = store.execute(
        "SELECT at_ms, hop, state FROM lesson_quality WHERE school = ? AND lesson = ?"
        " AND at_ms BETWEEN ? AND ? ORDER BY at_ms LIMIT ?",
        (school, lesson, from_ms, until_ms, ROWS_MAX),
    ).fetchall()
    return [
        HopMinute(hop=Hop(hop), minute=at_ms // 60_000, is_good=state == GOOD)
        for at_ms, hop, state in rows
        if hop in _HOPS and state in {GOOD, POOR}
    ]


def hop_sums(minutes: Iterable[HopMinute]) -> list[HopSum]:
    """Add up each hop's minutes, in the order of the way."""
    kept = list(minutes)
    sums = [
        HopSum(
            hop=hop,
            poor=sum(not each.is_good for each in kept if each.hop is hop),
            told=sum(each.hop is hop for each in kept),
        )
        for hop in Hop
    ]
    return [each for each in sums if each.told]


def find_root(
    flagship: Sequence[HopMinute], receiver: Sequence[HopMinute], *, is_flagship: bool
) -> Root:
    """Return why one end of a lesson had trouble; for the flagship only its own hops count."""
    ends = {True: flagship, False: () if is_flagship else receiver}
    if not any(ends.values()):
        return Root.UNKNOWN
    explained: set[int] = set()
    found: list[tuple[int, Root]] = []
    for at_flagship, hop, root in _ORDER:
        told = [each for each in ends[at_flagship] if each.hop is hop]
        poor = {each.minute for each in told if not each.is_good}
        fresh = poor - explained
        if told and len(fresh) >= max(1, POOR_SHARE_MIN * len(told)):
            found.append((len(fresh), root))
        near = _NEAR.get(hop, _NEAR_OTHERS)
        explained |= {minute + step for minute in poor for step in near}
    return max(found, key=lambda each: each[0])[1] if found else Root.NONE
