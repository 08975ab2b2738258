"""Stamps from the future, brought back: what the hub says of a log, and what it makes of its rows.

A segment whose last stamp is more than AHEAD_MS_MAX ahead of the hub's clock when it arrives gets
a row of ``clock_clamp`` in the hub's control log of the same audience: log, segment, moment. Every
node that holds both, the origin too, folds the segment's states with the stamps that follow from
it, so that all come to the same rows. Events have no stamps.

A clamp never reorders a log and never raises a stamp of its own segment, whatever moment the hub
claims: the sole freedom of a hub that lies is to let a school's write lose against its own in a
table that both write, where it could as well write again.
"""

import sqlite3
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sync.clock import AHEAD_MS_MAX, PLAUSIBLE_MS, HybridClock, Stamp, stamp, wall_ms
from sync.logs.stored_segments import read_segment
from sync.segments.body import ROWS_MAX
from sync.segments.segment import HUB, Header, LogName

CLAMPED_MS_MAX = 2**46
"""No moment after this is taken: year 4199."""
_ROOM = ROWS_MAX + 1  # stamps that the rows of one segment may need


@dataclass(frozen=True, slots=True)
class Clamps:
    """One log's clamps: segment number -> the stamp behind which its rows are brought."""

    tops: Mapping[int, int]
    order: tuple[int, ...]  # the segment numbers, rising

    def stamps(self, header: Header, stamps: Sequence[int]) -> list[int]:
        """Return the stamps that count, of one table's rows in their order in the segment."""
        ceiling = self.tops.get(header.seq)
        floor = self.floor(header.seq)
        if ceiling is None:
            return [max(each, floor + place) for place, each in enumerate(stamps, start=1)]
        return [
            max(min(each, ceiling + place), floor + place)
            for place, each in enumerate(stamps, start=1)
        ]

    def floor(self, seq: int) -> int:
        """Return the stamp that no row of a segment falls below: clamped ones went before it."""
        earlier = bisect_left(self.order, seq)
        return self.tops[self.order[earlier - 1]] + _ROOM if earlier else 0

    def reached(self, seq: int) -> int:
        """Return a stamp that no row up to a segment was lifted above, and none behind it is below.

        0 when none up to there is clamped.
        """
        floor = self.floor(seq + 1)
        return floor + _ROOM if floor and seq not in self.tops else floor

    def first_stamp(self, header: Header) -> int:
        """Return a stamp that none of a segment's rows is below, as they count."""
        ceiling = self.tops.get(header.seq, header.first_stamp)
        return max(min(header.first_stamp, ceiling), self.floor(header.seq))

    def last_stamp(self, header: Header) -> int:
        """Return a stamp that none of a segment's rows exceeds, as they count."""
        ceiling = self.tops.get(header.seq)
        own = header.last_stamp if ceiling is None else min(header.last_stamp, ceiling + _ROOM)
        floor = self.floor(header.seq)
        return max(own, floor + _ROOM if floor else 0)


def clamp_moment(clock: HybridClock, header: Header, reached: int) -> int | None:
    """Return the moment (Unix ms) to which the hub clamps a segment that arrives, if it does.

    ``reached`` is the greatest stamp, as it counts so far, of the origin's logs of this audience
    and lane; each clamp is later than the last, in a new incarnation too. A hub whose own clock was
    never set, or was set back, believes its schools.
    """
    now_ms = clock.now_ms()
    if now_ms < PLAUSIBLE_MS:
        return None
    is_set_back = wall_ms(clock.last) - now_ms > AHEAD_MS_MAX
    present_ms = wall_ms(clock.last) if is_set_back else now_ms
    if wall_ms(Stamp(header.last_stamp)) - present_ms <= AHEAD_MS_MAX:
        return None
    return max(now_ms, wall_ms(Stamp(reached)) + 1)


def clamped_stamp(moment_ms: int) -> int:
    """Return a stamp that no row clamped to that moment exceeds."""
    return stamp(moment_ms) + _ROOM


def read_clamps(
    cursor: sqlite3.Cursor,
    log_id: int,
    name: LogName,
    without: frozenset[tuple[int, int]] = frozenset(),
) -> Clamps | None:
    """Return what the hub said of a log's stamps, None if nothing.

    ``without`` names rows (log, row) of ``clock_clamp`` to be left out. Of several clamps of one
    segment, as a restored hub makes them, the earliest moment counts.
    """
    if name.origin == HUB:
        return None
    moments: dict[int, int] = {}
    said = cursor.execute(
        "SELECT c.clamped_seq, c.clamped_ms, c.log, c.row FROM clock_clamp c"
        " JOIN log l ON l.id = c.log WHERE c.clamped_log = ? AND l.origin = ? AND l.audience = ?"
        " AND c.clamped_seq > 0 AND c.clamped_ms BETWEEN 0 AND ?",
        (str(name), HUB, name.audience, CLAMPED_MS_MAX),
    )
    for seq, moment_ms, of_log, row in said:
        if (of_log, row) not in without:
            moments[seq] = min(moment_ms, moments.get(seq, moment_ms))
    if not moments:
        return None
    tops: dict[int, int] = {}
    floor = 0
    for seq in sorted(moments):
        before = _last_stamp(cursor, log_id, seq - 1) if seq - 1 not in tops else 0
        tops[seq] = max(stamp(moments[seq]), before, floor)
        floor = tops[seq] + 2 * _ROOM
    return Clamps(tops, tuple(sorted(tops)))


def _last_stamp(cursor: sqlite3.Cursor, log_id: int, seq: int) -> int:
    segment = read_segment(cursor, log_id, seq)
    return segment.header.last_stamp if segment else 0
