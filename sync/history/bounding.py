"""A node's history, bounded: its steps in their order, each short enough for the writing thread.

Call :meth:`History.steps` now and then, such as once an hour, and advance what it returns piece by
piece between other work. Everything may stop after any step, a power cut included, and is taken up
by the next call.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sync.clock import HybridClock
from sync.errors import NotYetError, SyncError, reason_of
from sync.history.checkpoint import (
    Checkpoint,
    adopted_seq,
    is_countersigned,
    mark_settled,
    read_checkpoints,
    read_passed_over,
)
from sync.history.compaction import Compaction
from sync.history.coverage import covering_more
from sync.history.horizon import DAY_MS, SILENT_MS, Horizon, Members, pack_stable, stable_at_hub
from sync.history.membership import evict_silent
from sync.history.pruning import Pruning
from sync.history.tombstones import drop_tombstones, forget_buried
from sync.history.verification import Verification
from sync.keys.keyring import Keyring
from sync.logs.log_state import find_log
from sync.logs.sealer import Sealer
from sync.schema.model import Lane
from sync.segments.segment import HUB, LogName
from sync.tables.row_check import Row

_REASON_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPolicy:
    """When checkpoints are made, and what may go by them.

    ``retention_ms`` is how long the hub's own backups are kept: what went from a store can still be
    restored from no backup that is older.
    """

    written_bytes: int = 512 * 1024
    apart_ms: int = DAY_MS
    retention_ms: int = 30 * DAY_MS
    silent_ms: int = SILENT_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """How one checkpoint stands, for people; moments are Unix ms."""

    origin: int
    audience: str
    number: int
    at_ms: int
    verified_ms: int | None
    countersigned: bool  # a school's by the hub; the hub's own need none
    dropped_ms: int | None
    refused: str | None


class Store(Protocol):
    """What bounding the history needs of its node."""

    @property
    def origin(self) -> int: ...

    @property
    def incarnation(self) -> int: ...

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...

    def record_within(
        self, cursor: sqlite3.Cursor, table_name: str, rows: list[Row], /
    ) -> None: ...

    def seal_all(self) -> int: ...


class History:
    """See the module."""

    def __init__(
        self,
        store: Store,
        clock: HybridClock,
        keyring: Keyring,
        sealer: Sealer,
        directory: Members,
    ) -> None:
        self._store = store
        self._clock = clock
        self._keyring = keyring
        self._sealer = sealer
        self._directory = directory

    def steps(self, policy: HistoryPolicy) -> Iterator[None]:
        """Evict, make checkpoints that pay, verify, drop tombstones and bodies; yield often."""
        if self._store.origin == HUB:
            with self._store.transaction() as cursor:
                schools = self._directory.members("d") - {HUB}
                now_ms = self._clock.now_ms()
                evict_silent(cursor, self._store, schools, now_ms, policy.silent_ms)
            yield
            for each in self._covered():
                with self._store.transaction() as cursor:
                    _heed_refusals(cursor, read_checkpoints(cursor, *each))
                yield
        for audience in self._own_audiences():
            yield from self._checkpoint(audience, policy)
        for origin, audience in self._covered():
            yield from self._settle(origin, audience, policy)

    def states(self) -> list[CheckpointState]:
        """Return the newest checkpoint of each origin and audience known here.

        With it comes the first that is passed over for its number, if there is one.
        """
        with self._store.transaction() as cursor:
            newest = [
                [*read_checkpoints(cursor, *each)[:1], *read_passed_over(cursor, *each)[:1]]
                for each in _covered(cursor)
            ]
            return [
                CheckpointState(
                    origin=each.origin,
                    audience=each.audience,
                    number=each.record.number,
                    at_ms=each.record.at_ms,
                    verified_ms=each.verified_ms,
                    countersigned=is_countersigned(cursor, each),
                    dropped_ms=each.dropped_ms,
                    refused=each.refused,
                )
                for found in newest
                for each in found
            ]

    def _own_audiences(self) -> list[str]:
        with self._store.transaction() as cursor:
            rows = cursor.execute(
                "SELECT DISTINCT audience FROM log WHERE origin = ? AND lane <> ? ORDER BY 1",
                (self._store.origin, Lane.SNAPSHOT),
            ).fetchall()
        return [audience for (audience,) in rows]

    def _covered(self) -> list[tuple[int, str]]:
        with self._store.transaction() as cursor:
            return _covered(cursor)

    def _checkpoint(self, audience: str, policy: HistoryPolicy) -> Iterator[None]:
        """Make a checkpoint of own logs if it pays."""
        with self._store.transaction() as cursor:
            retention_ms = self._retention_ms(cursor, policy)
        horizon = Horizon(self._store.origin, self._clock, self._directory, retention_ms)
        compaction = Compaction(self._store, self._clock, self._keyring, self._sealer, horizon)
        with self._store.transaction() as cursor:
            last = read_checkpoints(cursor, self._store.origin, audience)[:1]
            at_ms = last[0].record.at_ms if last else 0
            is_soon = 0 <= self._clock.now_ms() - at_ms < policy.apart_ms
            written, held = (0, 0) if is_soon else compaction.gain_bytes(cursor, audience)
        yield
        if written and written >= max(policy.written_bytes, held):
            self._store.seal_all()
            try:
                yield from compaction.make(audience)
            except SyncError:
                # What it waits for comes by itself, and what is damaged stays; nothing was dropped.
                return

    def _settle(self, origin: int, audience: str, policy: HistoryPolicy) -> Iterator[None]:
        """Verify what is new of an origin's checkpoints; let go what may go by the newest."""
        with self._store.transaction() as cursor:
            known = read_checkpoints(cursor, origin, audience)
        fresh = next((each for each in known[:1] if each.verified_ms is None), None)
        if fresh is not None and fresh.refused is None:
            yield from self._verify(fresh, policy)
        with self._store.transaction() as cursor:
            known = read_checkpoints(cursor, origin, audience)
            for each in reversed(known):
                if not each.settled and self._counts(cursor, each) and _is_applied(cursor, each):
                    drop_tombstones(cursor, each)
                    mark_settled(cursor, each)
                    if self._store.origin == HUB:
                        forget_buried(cursor, each)
            droppable = self._droppable(cursor, known, policy)
        yield
        if droppable is not None:
            yield from Pruning(self._store).prune(droppable)
            with self._store.transaction() as cursor:
                _mark(cursor, droppable, "dropped_ms = ?", self._clock.now_ms())
                _forget_before(cursor, droppable)

    def _verify(self, checkpoint: Checkpoint, policy: HistoryPolicy) -> Iterator[None]:
        try:
            yield from Verification(self._store, self._keyring).verify(checkpoint)
        except NotYetError:
            return
        except SyncError as error:
            reason = reason_of(error)[:_REASON_MAX]
            with self._store.transaction() as cursor:
                _mark(cursor, checkpoint, "refused = ?", reason)
                self._give_verdict(cursor, checkpoint, reason)
            return
        with self._store.transaction() as cursor:
            now_ms = self._clock.now_ms()
            _mark(cursor, checkpoint, "verified_ms = ?", now_ms)
            self._give_verdict(cursor, checkpoint, None)
            if self._store.origin == HUB != checkpoint.origin:
                self._countersign(cursor, checkpoint, now_ms, policy.retention_ms)

    def _give_verdict(
        self, cursor: sqlite3.Cursor, checkpoint: Checkpoint, refused: str | None
    ) -> None:
        """Let the hub know what this school found of a checkpoint of its own."""
        if HUB != self._store.origin == checkpoint.origin:
            row: Row = {
                "at_ms": self._clock.now_ms(),
                "covered": checkpoint.audience,
                "incarnation": checkpoint.snapshot.name.incarnation,
                "seq": checkpoint.seq,
                "digest": checkpoint.digest,
                "refused": refused,
            }
            self._store.record_within(cursor, "checkpoint_verdict", [row])

    def _countersign(
        self, cursor: sqlite3.Cursor, checkpoint: Checkpoint, now_ms: int, retention_ms: int
    ) -> None:
        origin, audience = checkpoint.origin, checkpoint.audience
        row: Row = {
            "school": origin,
            "covered": audience,
            "incarnation": checkpoint.snapshot.name.incarnation,
            "seq": checkpoint.seq,
            "digest": checkpoint.digest,
            "stable": pack_stable(stable_at_hub(cursor, origin, audience, self._directory)),
            "at_ms": now_ms,
            "retention_ms": retention_ms,
        }
        self._store.record_within(cursor, "checkpoint_countersigned", [row])

    def _droppable(
        self, cursor: sqlite3.Cursor, known: Sequence[Checkpoint], policy: HistoryPolicy
    ) -> Checkpoint | None:
        """Return the newest checkpoint by which bodies may go and have not gone yet."""
        now_ms = self._clock.now_ms()
        retention_ms = self._retention_ms(cursor, policy)
        for each in known:
            if each.dropped_ms is not None:
                return None
            is_old = each.verified_ms is not None and now_ms - each.verified_ms >= retention_ms
            is_copy = each.origin not in {HUB, self._store.origin} and self._store.origin != HUB
            if is_old and each.settled and (is_copy or is_countersigned(cursor, each)):
                return each
        return None

    def _counts(self, cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
        """Tell whether a checkpoint was found whole, here and by the school whose it is.

        The hub needs that word. What a partner holds of another school's logs is a copy.
        """
        is_a_schools = self._store.origin == HUB != checkpoint.origin
        is_told = not is_a_schools or None in _verdicts(cursor, checkpoint)
        return is_told and checkpoint.is_whole

    def _retention_ms(self, cursor: sqlite3.Cursor, policy: HistoryPolicy) -> int:
        """Return this node's retention, or the hub's where it is longer and the hub told it."""
        (told,) = cursor.execute(
            "SELECT coalesce(max(retention_ms), 0) FROM checkpoint_countersigned WHERE school = ?",
            (self._store.origin,),
        ).fetchone()
        return max(policy.retention_ms, int(told))


def _covered(cursor: sqlite3.Cursor) -> list[tuple[int, str]]:
    return cursor.execute(
        "SELECT DISTINCT origin, audience FROM checkpoint ORDER BY origin, audience"
    ).fetchall()


def _is_applied(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
    """Tell whether this node has applied all that a checkpoint covers, and all it had seen."""
    record = checkpoint.record
    places = [(checkpoint.source(cover), cover.seq) for cover in record.covers]
    places += [
        (LogName(seen.origin, seen.incarnation, checkpoint.audience, seen.lane), seen.seq)
        for seen in record.seen
    ]
    for name, seq in places:
        log = find_log(cursor, name)
        if log is None or max(log.applied, adopted_seq(cursor, log.id)) < seq:
            return False
    return True


def _verdicts(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> set[str | None]:
    """Return what its own origin found of a checkpoint: reasons against it, None for "whole"."""
    rows = cursor.execute(
        "SELECT refused FROM checkpoint_verdict"
        " WHERE school = ? AND covered = ? AND incarnation = ? AND seq = ? AND digest = ?",
        (
            checkpoint.origin,
            checkpoint.audience,
            checkpoint.snapshot.name.incarnation,
            checkpoint.seq,
            checkpoint.digest,
        ),
    )
    return {refused for (refused,) in rows}


def _heed_refusals(cursor: sqlite3.Cursor, known: Sequence[Checkpoint]) -> None:
    """Let no checkpoint count that its own school refused: it reads what the hub cannot."""
    for each in known:
        reasons = {reason for reason in _verdicts(cursor, each) if reason is not None}
        if reasons and each.refused is None:
            _mark(cursor, each, "refused = ?, verified_ms = NULL", min(reasons)[:_REASON_MAX])


def _mark(cursor: sqlite3.Cursor, checkpoint: Checkpoint, change: str, *values: object) -> None:
    cursor.execute(
        f"UPDATE checkpoint SET {change} WHERE log = ? AND seq = ?",  # noqa: S608 - of this module's
        (*values, checkpoint.snapshot.id, checkpoint.seq),
    )


def _forget_before(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
    """Forget checkpoints before one by which bodies went, where their parts are gone."""
    known = read_checkpoints(cursor, checkpoint.origin, checkpoint.audience)
    kept = {each.digest for each in covering_more(known, checkpoint)}
    former = cursor.execute(
        "SELECT log, seq, digest FROM checkpoint WHERE origin = ? AND audience = ? AND number < ?",
        (checkpoint.origin, checkpoint.audience, checkpoint.record.number),
    ).fetchall()
    for log_id, seq, digest in former:
        if digest not in kept:
            cursor.execute("DELETE FROM checkpoint WHERE log = ? AND seq = ?", (log_id, seq))
