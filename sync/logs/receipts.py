"""What a peer says it holds: the receipts of this node's segments, and where they contradict it."""

import sqlite3
from dataclasses import dataclass
from enum import Enum, auto

from sync.logs.log_state import HEAD_BYTES, Holding, LogState
from sync.logs.stored_segments import read_segment

_TOLD_AGAIN_MS = 60_000  # how old the moment of an unchanged figure may become


class Verdict(Enum):
    """How a peer's head of a log of this node's own stands to the node's."""

    AGREES = auto()
    AHEAD = auto()  # the peer holds more than this node remembers
    DIVERGED = auto()  # the peer holds another segment of that number


@dataclass(frozen=True, slots=True)
class Receipt:
    """Segments of a log that a peer holds.

    ``stored`` is the last that both hold alike, ``claimed`` what the peer says of its own.
    """

    stored: int
    applied: int
    claimed: int


def compare(cursor: sqlite3.Cursor, log: LogState, told: Holding) -> Verdict:
    if told.stored > log.stored:
        return Verdict.AHEAD
    head = log.head
    if told.stored < log.stored:
        segment = read_segment(cursor, log.id, told.stored)
        if segment is None:
            return Verdict.AGREES  # nothing to compare with
        head = segment.header_digest
    alike = not told.stored or head[:HEAD_BYTES] == told.head
    return Verdict.AGREES if alike else Verdict.DIVERGED


def read_receipts(cursor: sqlite3.Cursor, peer: int) -> dict[int, Receipt]:
    """Return a peer's receipts by log id."""
    rows = cursor.execute(
        "SELECT log, stored, applied, claimed FROM peer_cursor WHERE peer = ?", (peer,)
    ).fetchall()
    return {log: Receipt(stored, applied, claimed) for log, stored, applied, claimed in rows}


def note_agreed(
    cursor: sqlite3.Cursor, peer: int, log: LogState, told: Holding, now_ms: int
) -> None:
    """Take a receipt; an unchanged one is not written again at once, since it costs an fsync."""
    cursor.execute(
        "INSERT INTO peer_cursor (peer, log, stored, applied, claimed, told_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?3, ?5) ON CONFLICT (peer, log) DO UPDATE SET"
        " stored = ?3, applied = ?4, claimed = ?3, told_ms = ?5"
        " WHERE stored <> ?3 OR applied <> ?4 OR claimed <> ?3 OR abs(told_ms - ?5) >= ?6",
        (peer, log.id, told.stored, told.applied, now_ms, _TOLD_AGAIN_MS),
    )


def note_claim(
    cursor: sqlite3.Cursor, peer: int, log: LogState, told: Holding, now_ms: int
) -> None:
    """Remember what a peer says it holds beyond what both hold alike."""
    cursor.execute(
        "INSERT INTO peer_cursor (peer, log, stored, applied, claimed, told_ms)"
        " VALUES (?1, ?2, 0, 0, ?3, ?4) ON CONFLICT (peer, log) DO UPDATE SET"
        " claimed = ?3, told_ms = ?4 WHERE claimed <> ?3",
        (peer, log.id, told.stored, now_ms),
    )


def forget_above(cursor: sqlite3.Cursor, peer: int, log: LogState, seq: int) -> None:
    """Take back receipts of what follows segment ``seq``: the peer holds others there."""
    cursor.execute(
        "UPDATE peer_cursor SET stored = min(stored, ?1), applied = min(applied, ?1)"
        " WHERE peer = ?2 AND log = ?3",
        (seq, peer, log.id),
    )


def forget_unnamed(cursor: sqlite3.Cursor, peer: int, named: set[int]) -> None:
    """Drop the receipts of logs that a complete vector of the peer's does not name."""
    for log_id in read_receipts(cursor, peer).keys() - named:
        cursor.execute("DELETE FROM peer_cursor WHERE peer = ? AND log = ?", (peer, log_id))
