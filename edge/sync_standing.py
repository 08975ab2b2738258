"""What sync has come to beyond its lanes: what others sent, what went wrong, keys, history.

Figures for people, of one moment ``at_ms``; nothing is decided by them. All moments are Unix ms.
"""

import sqlite3
from dataclasses import dataclass
from itertools import islice

from sync.exchange.holdings import HeldLane, read_held_of_others
from sync.history.bounding import CheckpointState
from sync.history.checkpoint import read_checkpoints
from sync.intake.set_aside import ParkedRows, Quarantined
from sync.keys.recipients import Standing
from sync.node import Node
from sync.segments.segment import HUB

TOLD_MAX = 50
"""Parked and refused things that are told one by one; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFigure:
    """The newest checkpoint of this node's logs of one audience, and what went by an older one.

    Or one that is passed over for its number, by which nothing goes.

    ``dropped_rows``: rows whose sealed segments were let go, so that only the checkpoint and the
    tables have what still counts of them; ``dropped_ms``: when.
    """

    audience: str
    number: int
    at_ms: int
    verified_ms: int | None
    countersigned: bool
    refused: str | None
    dropped_ms: int | None
    dropped_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """A node's data keys and who may read; ``undecided`` wait for a person."""

    standing: int
    ended: int
    oldest_standing_ms: int | None
    recipients: int
    reading: int
    undecided: int
    released: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryFigures:
    """Whether the school could be rebuilt: a code, and what the hub last stored of the vault.

    ``vault_waits``, ``keys_wait``: the hub lacks the newest vault, or keys for the code.
    """

    has_code: bool
    number: int
    stored_number: int | None
    stored_generation: int | None
    stored_ms: int | None
    vault_waits: bool
    keys_wait: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStanding:
    """``clamped``: own segments whose stamps the hub found to be from the future.

    ``evicted_ms``: since when the hub takes nothing of this school until it has heard of it.
    """

    at_ms: int
    incarnation: str
    received: tuple[HeldLane, ...]
    parked_rows: int
    parked_for_good_rows: int
    parked: tuple[ParkedRows, ...]
    quarantined_segments: int
    quarantined: tuple[Quarantined, ...]
    clamped: int
    corrections: int
    evicted_ms: int | None
    checkpoints: tuple[CheckpointFigure, ...]
    keys: KeyFigures
    recovery: RecoveryFigures | None = None


def read_standing(node: Node, reader: sqlite3.Connection) -> SyncStanding:
    """Read all figures but the recovery's; blocking, for the store's thread."""
    cursor = reader.cursor()
    own = node.origin
    parked_rows, for_good = cursor.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(rows * (retriable = 0)), 0) FROM parked"
    ).fetchone()
    (quarantined,) = cursor.execute("SELECT count(*) FROM quarantine").fetchone()
    # "0" follows "/": all logs whose names begin with the origin.
    (clamped,) = cursor.execute(
        "SELECT count(*) FROM clock_clamp WHERE clamped_log >= ? AND clamped_log < ?",
        (f"{own}/", f"{own}0"),
    ).fetchone()
    (corrections,) = cursor.execute(
        "SELECT count(*) FROM clock_correction WHERE school = ?", (own,)
    ).fetchone()
    evicted = cursor.execute(
        "SELECT at_ms FROM eviction WHERE school = ?1 AND member = ?1 AND deleted = 0"
        " AND returned_ms IS NULL",
        (own,),
    ).fetchone()
    return SyncStanding(
        at_ms=node.clock.now_ms(),
        incarnation=f"{node.incarnation:016x}",
        received=tuple(read_held_of_others(cursor, own)),
        parked_rows=parked_rows,
        parked_for_good_rows=for_good,
        parked=tuple(islice(node.parked(), TOLD_MAX)),
        quarantined_segments=quarantined,
        quarantined=tuple(islice(node.quarantined(), TOLD_MAX)),
        clamped=clamped,
        corrections=corrections,
        evicted_ms=evicted[0] if evicted else None,
        checkpoints=tuple(
            _checkpoint(cursor, state) for state in node.history.states() if state.origin == own
        ),
        keys=_keys(node),
    )


def _checkpoint(cursor: sqlite3.Cursor, state: CheckpointState) -> CheckpointFigure:
    known = read_checkpoints(cursor, state.origin, state.audience)
    is_newest = bool(known) and known[0].record.number == state.number
    dropped = next((each for each in known if is_newest and each.dropped_ms is not None), None)
    return CheckpointFigure(
        audience=state.audience,
        number=state.number,
        at_ms=state.at_ms,
        verified_ms=state.verified_ms,
        countersigned=state.countersigned,
        refused=state.refused,
        dropped_ms=dropped.dropped_ms if dropped else None,
        dropped_rows=sum(cover.last_row for cover in dropped.record.covers) if dropped else 0,
    )


def _keys(node: Node) -> KeyFigures:
    office = node.keys
    epochs = [state.epoch for state in office.states()]
    standing = [epoch for epoch in epochs if epoch.ended_ms is None]
    recipients = office.recipients()
    return KeyFigures(
        standing=len(standing),
        ended=len(epochs) - len(standing),
        oldest_standing_ms=min((epoch.begun_ms for epoch in standing), default=None),
        recipients=sum(
            each.standing is not Standing.REVOKED and each.school in {node.origin, HUB}
            for each in recipients
        ),
        reading=sum(bool(each.reads) for each in recipients),
        undecided=office.undecided(),
        released=tuple(sorted(office.released())),
    )
