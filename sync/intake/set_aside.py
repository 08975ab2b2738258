"""What was not applied or not taken, and why: parked rows and refused segments."""

import sqlite3
from dataclasses import dataclass

from sync.folding.fold import Parked
from sync.logs.stored_segments import StoredBody
from sync.schema.model import Lane
from sync.segments.segment import LogName

LISTED_MAX = 1000
_QUARANTINED_OF_A_PEER_MAX = 200
_REASON_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRows:
    """A body of a stored segment, or one table's rows of it, that could not be applied.

    ``table`` is a table's number, 0 for a whole body. ``retriable``: an upgrade may mend it, and
    will try by itself; else the rows stay as evidence. ``reason``: see :func:`parse_reason`.
    """

    log: str
    seq: int
    table: int
    rows: int
    reason: str
    retriable: bool
    parked_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A segment that was refused: by which peer it came, how often, and when last."""

    peer: int
    log: str
    seq: int
    reason: str
    times: int
    refused_ms: int


def park(cursor: sqlite3.Cursor, body: StoredBody, parked: Parked, now_ms: int) -> None:
    """Remember what of a body could not be applied; what it holds stays in its segment."""
    cursor.execute(
        "INSERT OR REPLACE INTO parked"
        " (log, seq, body, table_number, reason, rows, parked_ms, retriable)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            body.log_id,
            body.segment.header.seq,
            body.place,
            parked.table,
            parked.reason[:_REASON_MAX],
            parked.rows,
            now_ms,
            parked.retriable,
        ),
    )


def quarantine(
    cursor: sqlite3.Cursor, peer: int, log: str, seq: int, reason: str, now_ms: int
) -> tuple[str, int, str]:
    """Remember a segment of a peer's that was refused; return what the peer is told of it."""
    told = reason[:_REASON_MAX]
    cursor.execute(
        "INSERT INTO quarantine (peer, log, seq, reason, times, refused_ms)"
        " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (peer, log, seq) DO UPDATE SET"
        " reason = excluded.reason, times = times + 1, refused_ms = excluded.refused_ms",
        (peer, log, seq, told, now_ms),
    )
    cursor.execute(
        "DELETE FROM quarantine WHERE peer = ?1 AND (log, seq) NOT IN (SELECT log, seq"
        " FROM quarantine WHERE peer = ?1 ORDER BY refused_ms DESC LIMIT ?2)",
        (peer, _QUARANTINED_OF_A_PEER_MAX),
    )
    return log, seq, told


def read_parked(cursor: sqlite3.Cursor) -> list[ParkedRows]:
    """Return the latest LISTED_MAX, latest first."""
    rows = cursor.execute(
        "SELECT l.origin, l.incarnation, l.audience, l.lane, p.seq, p.table_number, p.rows,"
        " p.reason, p.retriable, p.parked_ms FROM parked p JOIN log l ON l.id = p.log"
        " ORDER BY p.parked_ms DESC, l.id, p.seq, p.body LIMIT ?",
        (LISTED_MAX,),
    ).fetchall()
    return [
        ParkedRows(
            log=str(LogName(origin, incarnation, audience, Lane(lane))),
            seq=seq,
            table=table,
            rows=count,
            reason=reason,
            retriable=bool(retriable),
            parked_ms=parked_ms,
        )
        for origin, incarnation, audience, lane, *parked in rows
        for seq, table, count, reason, retriable, parked_ms in (parked,)
    ]


def read_quarantined(cursor: sqlite3.Cursor) -> list[Quarantined]:
    """Return the latest LISTED_MAX, latest first."""
    rows = cursor.execute(
        "SELECT peer, log, seq, reason, times, refused_ms FROM quarantine"
        " ORDER BY refused_ms DESC, peer, log, seq LIMIT ?",
        (LISTED_MAX,),
    ).fetchall()
    return [
        Quarantined(peer=peer, log=log, seq=seq, reason=reason, times=times, refused_ms=refused_ms)
        for peer, log, seq, reason, times, refused_ms in rows
    ]


def read_due(cursor: sqlite3.Cursor, bodies_max: int) -> list[tuple[int, int, int]]:
    """Return bodies (log, seq, place) of which this version may apply more, in order."""
    return cursor.execute(
        "SELECT DISTINCT log, seq, body FROM parked WHERE due = 1 ORDER BY log, seq, body LIMIT ?",
        (bodies_max,),
    ).fetchall()


def forget_due(cursor: sqlite3.Cursor, body: tuple[int, int, int]) -> None:
    """Drop what stands of a body that is about to be folded again."""
    cursor.execute("DELETE FROM parked WHERE log = ? AND seq = ? AND body = ? AND due = 1", body)
