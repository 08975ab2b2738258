"""What a device said twice, once the row of it that stood here has moved behind the other.

Of two events with one device key that of the lower (incarnation, row) stands, at every node. A row
that is written anew moves to another incarnation: what was sealed in one between both lost against
it here, and wins everywhere else.
"""

import sqlite3
from collections.abc import Iterable, Iterator

from sync.history.checkpoint import adopted_seq
from sync.history.snapshot_part import holds_states
from sync.intake.bodies import Bodies
from sync.logs.log_state import LogState, read_logs
from sync.logs.stored_segments import StoredBody, read_segment
from sync.schema import TABLES
from sync.schema.model import Group, Lane
from sync.segments.segment import LogName


def let_stand(
    cursor: sqlite3.Cursor, bodies: Bodies, moved: Iterable[LogState], incarnation: int
) -> None:
    """Let stand what lost against rows of logs ``moved``, which are of ``incarnation`` now.

    Reads what is stored of incarnations between both, each log once: a clone's, or of a store
    restored since.
    """
    lost: dict[int, tuple[LogState, frozenset[int]]] = {}
    for each in moved:
        keyed = _keyed(each.name.lane)
        for log in _between(cursor, each.name, incarnation) if keyed else ():
            _, others = lost.get(log.id, (log, frozenset()))
            lost[log.id] = log, keyed | others
    for log, tables in lost.values():
        _fold_again(cursor, bodies, log, tables)


def _keyed(lane: Lane) -> frozenset[int]:
    """Return the tables of a lane whose events have device keys."""
    return frozenset(each.number for each in TABLES if each.lane is lane and each.dedupe)


def _between(cursor: sqlite3.Cursor, name: LogName, incarnation: int) -> Iterator[LogState]:
    """Give the logs that may hold what lost against rows of log ``name``."""
    own = "WHERE origin = ? AND audience = ? AND lane = ? AND stored > 0"
    between = read_logs(
        cursor,
        f"{own} AND incarnation > ? AND incarnation < ?",
        name.origin,
        name.audience,
        name.lane,
        name.incarnation,
        incarnation,
    )
    yield from between
    if between:
        yield from read_logs(cursor, own, name.origin, name.audience, Lane.SNAPSHOT)


def _fold_again(
    cursor: sqlite3.Cursor, bodies: Bodies, log: LogState, tables: frozenset[int]
) -> None:
    """Fold events of these tables once more, from what was folded of a log."""
    adopted = adopted_seq(cursor, log.id)
    for seq in range(1, log.applied + 1):
        segment = read_segment(cursor, log.id, seq)
        if segment is None or segment.is_hollow:
            continue
        header = segment.header
        if tables.isdisjoint(each.table for each in header.tables) or (
            seq <= adopted and holds_states(header)  # its rows stand as the parts have them
        ):
            continue
        for place in range(len(header.bodies)):
            body = StoredBody(log.id, segment, place)
            key = None if body.group is Group.GRANT else bodies.key(body)
            if key is not None:
                bodies.fold(body, key, only=tables)
