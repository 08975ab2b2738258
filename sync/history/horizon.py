"""How far back tombstones may be left out: what every member has applied, and is old enough.

The hub knows from receipts what each school has applied; a school learns it from the hub, with the
countersignature of its last checkpoint. Schools that were evicted are not waited for.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from sync.clock import HybridClock, stamp
from sync.errors import MalformedError
from sync.history.checkpoint import Checkpoint, Cover, read_checkpoints
from sync.history.standing import Purged
from sync.logs.log_state import LogState, find_log, read_logs
from sync.logs.receipts import read_receipts
from sync.logs.stored_segments import read_segment
from sync.schema.model import Lane
from sync.segments.segment import HUB, LogName

DAY_MS = 24 * 3600 * 1000
SILENT_MS = 180 * DAY_MS
_STABLE_MAX = 4096
_INT63_MAX, _PLACE_MAX = 2**63 - 1, 2**48 - 1


class Members(Protocol):
    """The part of the directory that stability asks."""

    def members(self, audience: str) -> frozenset[int]: ...


class Applied(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Up to which segment every member has applied one log of an origin and audience."""

    incarnation: int
    lane: Lane
    seq: int


_stable_decoder = msgspec.msgpack.Decoder(list[Applied])


def evicted(cursor: sqlite3.Cursor) -> frozenset[int]:
    """Return the schools that were silent too long and have not returned."""
    rows = cursor.execute(
        "SELECT member FROM eviction WHERE deleted = 0 AND returned_ms IS NULL"
    ).fetchall()
    return frozenset(member for (member,) in rows)


def ended(cursor: sqlite3.Cursor) -> frozenset[tuple[int, int]]:
    """Return (origin, incarnation) of which nothing more counts: their school was evicted since.

    It wrote anew, in another, whatever the hub had not got of them when it returned.
    """
    rows = cursor.execute("SELECT origin, incarnation FROM ended_incarnation").fetchall()
    return frozenset((origin, incarnation) for origin, incarnation in rows)


def stable_at_hub(
    cursor: sqlite3.Cursor, origin: int, audience: str, directory: Members
) -> list[Applied]:
    """Return what all members have applied of an origin's logs, the hub itself among them."""
    waited_for = directory.members(audience) - evicted(cursor) - {origin, HUB}
    receipts = [read_receipts(cursor, member) for member in sorted(waited_for)]
    stable = []
    for log in _logs(cursor, origin, audience):
        cursors = [told[log.id].applied if log.id in told else 0 for told in receipts]
        stable.append(Applied(log.name.incarnation, log.name.lane, min([log.applied, *cursors])))
    return stable


def pack_stable(stable: Sequence[Applied]) -> bytes:
    return msgspec.msgpack.encode(stable[:_STABLE_MAX])


def parse_stable(content: bytes) -> list[Applied]:
    """Return what :func:`pack_stable` packed; raises MalformedError for what it could not have."""
    try:
        stable: list[Applied] = _stable_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"what members have applied does not parse: {error}") from error
    if len(stable) > _STABLE_MAX:
        raise MalformedError(f"what members have applied of {len(stable)} logs; refused")
    if not all(
        0 < each.incarnation <= _INT63_MAX and 0 <= each.seq <= _PLACE_MAX for each in stable
    ):
        raise MalformedError("what members have applied is out of range")
    return stable


class Horizon:
    """Says up to which stamp a checkpoint of this node's may leave tombstones out."""

    def __init__(
        self, origin: int, clock: HybridClock, directory: Members, retention_ms: int
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._directory = directory
        self.retention_ms = retention_ms

    def reach(self, cursor: sqlite3.Cursor, audience: str, covers: Sequence[Cover]) -> Purged:
        """Return the stamps up to which a checkpoint with these covers leaves tombstones out."""
        old = stamp(max(0, self._clock.now_ms() - self.retention_ms))
        applied = self._stable(cursor, audience)
        bounds = [
            self._below(cursor, self._name(audience, cover), applied, cover.seq) for cover in covers
        ]
        known = read_checkpoints(cursor, self._origin, audience)
        # What another box of this origin left out counts once this one found that it holds.
        last = [each for each in known if each.is_whole][:1]
        purged = max([min([old, *bounds]), *(each.record.purged for each in last)])
        both = [each.record.purged_both for each in last]
        if audience.startswith("s"):
            if self._origin == HUB:
                both.append(min(purged, self._aware(cursor, audience, covers)))
            else:  # what the hub cleared, and this node with it
                hubs = read_checkpoints(cursor, HUB, audience)
                both += [each.record.purged_both for each in hubs if each.settled]
        return Purged(
            one_writer=purged,
            two_writers=max(both, default=0),
            carried_from=self._carried_from(cursor, audience),
        )

    def cleared(self, cursor: sqlite3.Cursor, audience: str) -> int:
        """Return up to which stamp none of this node's buried writes is left, here or in copies."""
        return _dropped(read_checkpoints(cursor, self._origin, audience))

    def _carried_from(self, cursor: sqlite3.Cursor, audience: str) -> int:
        """Return up to which stamp the other writer's buried writes are gone for good.

        A school's by what bodies the hub let go, the hub's by its own word.
        """
        if not audience.startswith("s"):
            return 0
        if self._origin == HUB:
            return _dropped(read_checkpoints(cursor, int(audience[1:]), audience))
        return max(
            (each.record.cleared for each in read_checkpoints(cursor, HUB, audience)), default=0
        )

    def _stable(self, cursor: sqlite3.Cursor, audience: str) -> Mapping[tuple[int, Lane], int]:
        if self._origin == HUB:
            stable = stable_at_hub(cursor, HUB, audience, self._directory)
        else:
            stable = _told_by_hub(cursor, self._origin, audience)
        return {(each.incarnation, each.lane): each.seq for each in stable}

    def _aware(self, cursor: sqlite3.Cursor, audience: str, covers: Sequence[Cover]) -> int:
        """Return up to which stamp all of a school's writes are here, and knew of the hub's.

        The school's own checkpoint says so: what it wrote after it, it wrote knowing what it had
        seen, and so in a way that needs no tombstone (:mod:`sync.history.tombstones`).
        """
        school = int(audience[1:])
        for checkpoint in read_checkpoints(cursor, school, audience):
            if checkpoint.refused is None and self._is_applied(cursor, checkpoint):
                record = checkpoint.record
                seen = {
                    (each.incarnation, each.lane): each.seq
                    for each in record.seen
                    if each.origin == HUB
                }
                bounds = [
                    self._below(cursor, self._name(audience, cover), seen, cover.seq)
                    for cover in covers
                    if cover.lane is Lane.LESSONS
                ]
                return min([record.stamp, *bounds])
        return 0

    def _is_applied(self, cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
        """Tell whether all a school wrote to tables with two writers is covered, and applied."""
        covered = {
            checkpoint.source(cover): cover.seq
            for cover in checkpoint.record.covers
            if cover.lane is Lane.LESSONS
        }
        logs = [
            log
            for log in _logs(cursor, checkpoint.origin, checkpoint.audience)
            if log.name.lane is Lane.LESSONS
        ]
        here = {log.name: log.applied for log in logs}
        return here.keys() == covered.keys() and all(
            here[name] >= seq for name, seq in covered.items()
        )

    def _below(
        self,
        cursor: sqlite3.Cursor,
        name: LogName,
        applied: Mapping[tuple[int, Lane], int],
        seq: int,
    ) -> int:
        """Return the greatest stamp below all rows of a log that some member has not applied."""
        reached = applied.get((name.incarnation, name.lane), 0)
        if reached >= seq:
            return (1 << 63) - 1
        log = find_log(cursor, name)
        assert log is not None
        segment = read_segment(cursor, log.id, reached + 1)
        assert segment is not None
        return segment.header.first_stamp - 1

    def _name(self, audience: str, cover: Cover) -> LogName:
        return LogName(self._origin, cover.incarnation, audience, cover.lane)


def _dropped(checkpoints: Sequence[Checkpoint]) -> int:
    return max(
        (each.record.purged_both for each in checkpoints if each.dropped_ms is not None), default=0
    )


def _logs(cursor: sqlite3.Cursor, origin: int, audience: str) -> Iterable[LogState]:
    return read_logs(
        cursor,
        "WHERE origin = ? AND audience = ? AND lane <> ?",
        origin,
        audience,
        Lane.SNAPSHOT,
    )


def _told_by_hub(cursor: sqlite3.Cursor, origin: int, audience: str) -> list[Applied]:
    found = cursor.execute(
        "SELECT stable FROM checkpoint_countersigned WHERE school = ? AND covered = ?"
        " AND deleted = 0",
        (origin, audience),
    ).fetchone()
    if found is None or found[0] is None:
        return []
    try:
        return parse_stable(found[0])
    except MalformedError:
        return []  # as if the hub had said nothing: no tombstone is left out
