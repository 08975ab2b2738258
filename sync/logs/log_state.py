"""Logs as a store knows them: names, heads and cursors."""

import sqlite3

import msgspec

from sync.schema.model import Lane
from sync.segments.segment import LogName

HEAD_BYTES = 8
"""How much of a header's digest a vector carries: enough to notice another head by accident."""


class LogState(msgspec.Struct, frozen=True):
    """One log as this node knows it; moments are Unix ms.

    A struct, since every message reads hundreds of them: one is made in a quarter of the time.
    """

    id: int
    name: LogName
    last_row: int
    sealed_row: int
    unsealed_since_ms: int | None
    stored: int
    applied: int
    head: bytes
    last_stamp: int
    stored_ms: int | None
    frozen: str | None


class Holding(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a node has, durably, of one log: contiguous segments stored, and folded."""

    log: LogName
    stored: int
    applied: int
    head: bytes  # the first HEAD_BYTES of SHA-256 of the last stored header
    frozen: bool  # no further segment of this log is taken: a fork was seen, or it was ended


def holding_of(log: LogState, *, is_ended: bool = False) -> Holding:
    is_frozen = is_ended or log.frozen is not None
    return Holding(log.name, log.stored, log.applied, log.head[:HEAD_BYTES], frozen=is_frozen)


def read_logs(cursor: sqlite3.Cursor, where: str = "", *values: object) -> list[LogState]:
    """Return logs in the order in which they arose here; ``where`` is SQL of the caller's."""
    rows = cursor.execute(f"SELECT {_COLUMNS} FROM log {where} ORDER BY id", values).fetchall()  # noqa: S608 - constants
    return [_log_state(row) for row in rows]


def find_log(cursor: sqlite3.Cursor, name: LogName) -> LogState | None:
    found = cursor.execute(
        f"SELECT {_COLUMNS} FROM log"  # noqa: S608 - a constant
        " WHERE origin = ? AND incarnation = ? AND audience = ? AND lane = ?",
        (name.origin, name.incarnation, name.audience, name.lane),
    ).fetchone()
    return _log_state(found) if found else None


def log_id_of(cursor: sqlite3.Cursor, name: LogName) -> int:
    """Return the number of a log in this store, which begins it when it is new."""
    found = find_log(cursor, name)
    if found is not None:
        return found.id
    cursor.execute(
        "INSERT INTO log (origin, incarnation, audience, lane) VALUES (?, ?, ?, ?)",
        (name.origin, name.incarnation, name.audience, name.lane),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


_COLUMNS = (
    "id, origin, incarnation, audience, lane, last_row, sealed_row, unsealed_since_ms, stored,"
    " applied, head, last_stamp, stored_ms, frozen"
)
_LANES = tuple(Lane)
_Row = tuple[
    int, int, int, str, int, int, int, int | None, int, int, bytes, int, int | None, str | None
]


def _log_state(row: _Row) -> LogState:
    identifier, origin, incarnation, audience, lane, *_ = row
    *_, last_row, sealed_row, since, stored, applied, head, last_stamp, stored_ms, frozen = row
    return LogState(
        identifier,
        LogName(origin, incarnation, audience, _LANES[lane]),
        last_row,
        sealed_row,
        since,
        stored,
        applied,
        head,
        last_stamp,
        stored_ms,
        frozen,
    )
