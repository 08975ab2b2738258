"""Counts what the hub stores of this school without being able to read it.

The hub's receipts say what it stores; which keys it was granted stands here. So each segment is
looked at once, some at a time, and a group that is released later counts as readable from then on.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from sync.exchange.holdings import SealedOnly
from sync.logs.log_state import LogState
from sync.schema.model import GROUPS, Group, Lane
from sync.segments.sealing import recipient_id
from sync.segments.segment import HUB, parse_segment

SEGMENTS_A_LOOK = 256
_Kind = tuple[Lane, Group, bytes]


class Readers(Protocol):
    """The part of the directory that is asked."""

    def sealing_keys(self, school: int, /) -> Sequence[X25519PublicKey]: ...


class SealedCount:
    """For the store's thread; ``reader`` is its connection. Kept in memory alone."""

    def __init__(self, reader: sqlite3.Connection, readers: Readers) -> None:
        self._reader = reader
        self._readers = readers
        self._seen: dict[int, int] = {}
        self._counts: dict[int, Counter[_Kind]] = {}

    def advance(self, log: LogState, receipted: int, segments_max: int) -> int:
        """Count further segments that the hub has receipted; return how many were looked at."""
        seen = self._seen.get(log.id, 0)
        if receipted < seen:  # the hub was restored from a backup
            seen = 0
            self._counts.pop(log.id, None)
        if receipted == seen:
            return 0
        counts = self._counts.setdefault(log.id, Counter())
        until = min(receipted, seen + segments_max)
        for (wire,) in self._reader.execute(
            "SELECT wire FROM segment WHERE log = ? AND seq > ? AND seq <= ?",
            (log.id, seen, until),
        ):
            for body in parse_segment(wire).header.bodies:
                group = GROUPS[body.group]
                if group is not Group.GRANT:
                    counts[log.name.lane, group, body.key_id] += 1
        self._seen[log.id] = until
        return until - seen

    def is_complete(self, log: LogState, receipted: int) -> bool:
        return self._seen.get(log.id, 0) == receipted

    def sealed_only(self, lane: Lane) -> tuple[SealedOnly, ...]:
        """Return what of a lane's counted segments the hub cannot read, by group."""
        names = {
            key_id for counts in self._counts.values() for (of, _, key_id) in counts if of is lane
        }
        closed = {key_id for key_id in names if not self._is_granted(key_id)}
        groups: Counter[Group] = Counter()
        for counts in self._counts.values():
            for (of, group, key_id), segments in counts.items():
                if of is lane and key_id in closed:
                    groups[group] += segments
        return tuple(SealedOnly(group=group, segments=groups[group]) for group in sorted(groups))

    def _is_granted(self, key_id: bytes) -> bool:
        return any(
            self._reader.execute(
                "SELECT 1 FROM key_grant WHERE key_id = ? AND recipient = ? LIMIT 1",
                (key_id, recipient_id(public)),
            ).fetchone()
            for public in self._readers.sealing_keys(HUB)
        )
