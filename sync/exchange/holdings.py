"""What a store holds of others' logs, lane by lane, for people: nothing is decided by it.

Figures count segments; rows are counted by their numbers in the log, which may have gaps. All
functions read only, and are bounded by the number of logs and keys, not of segments.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from sync.logs.stored_segments import read_segment
from sync.schema.model import GROUPS, Group, Lane

LANES_MAX = 2000
"""Origins times lanes that are listed: a school's partners in lessons, with room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedOnly:
    """Segments of which one group is stored and cannot be read for want of its key."""

    group: Group
    segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLane:
    """What is held of all logs of one origin and lane; ``stored_ms`` (Unix ms): the last arrival.

    ``applied``: segments gone through, of which ``sealed_only`` could not be read and
    ``parked_rows`` not applied. ``frozen``: logs that forked, and of which no more is taken.
    """

    origin: int
    lane: Lane
    logs: int
    stored: int
    applied: int
    rows: int
    stored_ms: int | None
    frozen: int = 0
    sealed_only: tuple[SealedOnly, ...] = ()
    parked_rows: int = 0


def read_held(cursor: sqlite3.Cursor, origin: int) -> list[HeldLane]:
    """Return what is held of one origin, by lane."""
    return _read(cursor, "l.origin = ?", origin)


def read_held_of_others(cursor: sqlite3.Cursor, own: int) -> list[HeldLane]:
    """Return what is held of everyone but ``own``, by origin and lane; at most LANES_MAX."""
    return _read(cursor, "l.origin <> ?", own)


def count_sealed_only(cursor: sqlite3.Cursor) -> Mapping[tuple[Lane, Group], int]:
    """Return the sealed-only segments of all origins together."""
    counted: dict[tuple[Lane, Group], int] = {}
    for (_, lane), sealed in _sealed_only(cursor, "1 = ?", 1).items():
        for each in sealed:
            counted[lane, each.group] = counted.get((lane, each.group), 0) + each.segments
    return counted


def _read(cursor: sqlite3.Cursor, where: str, value: int) -> list[HeldLane]:
    sealed = _sealed_only(cursor, where, value)
    parked = {
        (origin, lane): rows
        for origin, lane, rows in cursor.execute(
            f"SELECT l.origin, l.lane, sum(p.rows) FROM parked p JOIN log l ON l.id = p.log"  # noqa: S608 - of this module's
            f" WHERE {where} GROUP BY l.origin, l.lane",
            (value,),
        ).fetchall()
    }
    held = cursor.execute(
        f"SELECT l.origin, l.lane, count(*), sum(l.stored), sum(l.applied), sum(l.sealed_row),"  # noqa: S608 - of this module's
        f" max(l.stored_ms), sum(l.frozen IS NOT NULL) FROM log l WHERE {where}"
        f" GROUP BY l.origin, l.lane ORDER BY l.origin, l.lane LIMIT ?",
        (value, LANES_MAX),
    ).fetchall()
    return [
        HeldLane(
            origin=origin,
            lane=Lane(lane),
            logs=logs,
            stored=stored,
            applied=applied,
            rows=rows,
            stored_ms=stored_ms,
            frozen=frozen,
            sealed_only=sealed.get((origin, Lane(lane)), ()),
            parked_rows=parked.get((origin, lane), 0),
        )
        for origin, lane, logs, stored, applied, rows, stored_ms, frozen in held
    ]


def _sealed_only(
    cursor: sqlite3.Cursor, where: str, value: int
) -> dict[tuple[int, Lane], tuple[SealedOnly, ...]]:
    # A key is of one group. SQLite takes the bare columns from the row that holds min(u.seq).
    rows = cursor.execute(
        f"SELECT l.origin, l.lane, u.log, min(u.seq), u.body, count(*) FROM unopened u"  # noqa: S608 - of this module's
        f" JOIN log l ON l.id = u.log WHERE {where} GROUP BY l.origin, l.lane, u.origin, u.key_id",
        (value,),
    ).fetchall()
    counted: dict[tuple[int, Lane], dict[Group, int]] = {}
    for origin, lane, log_id, seq, body, segments in rows:
        segment = read_segment(cursor, log_id, seq)
        assert segment is not None
        group = GROUPS[segment.header.bodies[body].group]
        groups = counted.setdefault((origin, Lane(lane)), {})
        groups[group] = groups.get(group, 0) + segments
    return {
        place: tuple(SealedOnly(group=group, segments=groups[group]) for group in sorted(groups))
        for place, groups in counted.items()
    }
