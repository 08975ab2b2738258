"""What checkpoints of one origin and audience cover between them, and which of them still count.

Each covers what the one before it did, and more, but where an origin lost its store and made one
before what it had written was back. Then some count beside each other, with their parts, until one
covers all.
"""

import sqlite3
from collections.abc import Sequence

from sync.history.checkpoint import Checkpoint, Cover, parts_are_here, read_checkpoints
from sync.logs.log_state import find_log
from sync.logs.stored_segments import read_segment
from sync.segments.segment import LogName


def covering_more(known: Sequence[Checkpoint], than: Checkpoint) -> list[Checkpoint]:
    """Return those of ``known`` that cover what neither ``than`` nor one before them does.

    Those that were found whole here come first; none that was refused is among them. One that was
    not found whole stands in for no other: it may be refused yet, and its parts may not be here.
    """
    reached = reached_by([than])
    found = []
    for each in sorted(known, key=lambda checkpoint: not checkpoint.is_whole):
        covers = reached_by([each])
        if each.refused is None and any(seq > reached.get(log, 0) for log, seq in covers.items()):
            found.append(each)
            if each.is_whole:
                reached |= {log: max(seq, reached.get(log, 0)) for log, seq in covers.items()}
    return found


def reached_by(checkpoints: Sequence[Checkpoint]) -> dict[LogName, int]:
    """Return up to which segment each log is covered by any of them."""
    return {log: cover.seq for log, cover in _furthest(checkpoints).items()}


def last_rows(checkpoints: Sequence[Checkpoint]) -> dict[LogName, int]:
    """Return the last row of each log that any of them covers."""
    return {log: cover.last_row for log, cover in _furthest(checkpoints).items()}


def is_of_one_branch(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
    """Tell whether a checkpoint is of the logs held here, not of a clone's, as far as known."""
    for cover in checkpoint.record.covers:
        log = find_log(cursor, checkpoint.source(cover))
        if log is not None and log.stored >= cover.seq:
            segment = read_segment(cursor, log.id, cover.seq)
            if segment is None or segment.header_digest != cover.head:
                return False
    return True


def bases(cursor: sqlite3.Cursor, origin: int, audience: str) -> list[Checkpoint]:
    """Return the newest checkpoint for the next to go on from, then those that count beside it.

    One that would lose rows is none. Beside it only those count that are here whole.
    """
    known = read_checkpoints(cursor, origin, audience)
    last = next((each for each in known if each.refused is None), None)
    if last is None:
        return []
    return [last, *covering_more([each for each in known if _is_here(cursor, each)], last)]


def _is_here(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
    """Tell whether the parts of a checkpoint are here, and the logs that it covers as far."""
    logs = [(find_log(cursor, name), seq) for name, seq in reached_by([checkpoint]).items()]
    return (
        all(log is not None and log.stored >= seq for log, seq in logs)
        and is_of_one_branch(cursor, checkpoint)
        and parts_are_here(cursor, checkpoint)
    )


def _furthest(checkpoints: Sequence[Checkpoint]) -> dict[LogName, Cover]:
    """Return the cover of each log that goes furthest."""
    covers = [(each.source(cover), cover) for each in checkpoints for cover in each.record.covers]
    return dict(sorted(covers, key=lambda each: each[1].seq))
