"""Members that fell silent: whom nothing waits for any longer, and how one returns.

The hub evicts a school that it has not heard for long, by a row of its signed log. From then on it
takes nothing of that school's until the school has applied that row; in the same transaction the
school begins a new incarnation, takes back what the hub does not hold and reissues it. Its writes
to tables with two writers, made without knowing of deletes that are forgotten by now, are written
anew, whole.
"""

import sqlite3
from collections.abc import Iterable
from typing import Protocol

from sync.clock import HybridClock
from sync.history.horizon import evicted
from sync.history.taking_back import give_way
from sync.keys.keyring import Keyring
from sync.logs.incarnation import begin_incarnation
from sync.logs.log_state import LogState, read_logs
from sync.logs.oplog import append
from sync.logs.pending_writes import (
    SCHOOL_FIELD,
    forget_writes,
    unsealed_writes,
    waits_apart,
)
from sync.logs.receipts import read_receipts
from sync.logs.stored_segments import read_segment
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import Table
from sync.segments.sealing import RandomBytes
from sync.segments.segment import HUB
from sync.tables.merge import TOMBSTONE
from sync.tables.merged_rows import Key, read_version
from sync.tables.row_check import Row

_HEARD_AGAIN_MS = 3_600_000  # how old the moment of a peer may become, since it costs an fsync
_HEEDED = "eviction_heeded"


class Store(Protocol):
    """What membership needs of its node."""

    def record_within(
        self, cursor: sqlite3.Cursor, table_name: str, rows: list[Row], /
    ) -> None: ...


def note_heard(cursor: sqlite3.Cursor, peer: int, now_ms: int) -> None:
    """Remember that a peer spoke."""
    cursor.execute(
        "INSERT INTO peer_heard VALUES (?1, ?2) ON CONFLICT (peer) DO UPDATE SET heard_ms = ?2"
        " WHERE abs(heard_ms - ?2) >= ?3",
        (peer, now_ms, _HEARD_AGAIN_MS),
    )


def evict_silent(
    cursor: sqlite3.Cursor, store: Store, schools: Iterable[int], now_ms: int, silent_ms: int
) -> list[int]:
    """Evict schools that were not heard for ``silent_ms``; return them.

    A school that was never heard is counted from now on.
    """
    heard = dict(cursor.execute("SELECT peer, heard_ms FROM peer_heard").fetchall())
    already = evicted(cursor)
    gone = []
    for school in sorted(schools):
        if school not in heard:
            note_heard(cursor, school, now_ms)
        elif school not in already and now_ms - heard[school] >= silent_ms:
            row: Row = {"school": school, "member": school, "at_ms": now_ms}
            store.record_within(cursor, "eviction", [row])
            gone.append(school)
    return gone


def note_return(cursor: sqlite3.Cursor, store: Store, school: int, now_ms: int) -> None:
    """At the hub: end an eviction that its school has applied, by its receipts."""
    if school not in evicted(cursor):
        return
    log_id, row, at_ms = cursor.execute(
        "SELECT log, row, at_ms FROM eviction WHERE school = ?1 AND member = ?1", (school,)
    ).fetchone()
    receipt = read_receipts(cursor, school).get(log_id)
    applied = read_segment(cursor, log_id, receipt.applied) if receipt else None
    if applied is not None and applied.header.last_row >= row:
        # What it wrote since its return is taken from now on: all that is here is from before.
        cursor.execute(
            "INSERT OR IGNORE INTO ended_incarnation"
            " SELECT DISTINCT origin, incarnation FROM log WHERE origin = ?",
            (school,),
        )
        returned: Row = {"school": school, "member": school, "at_ms": at_ms, "returned_ms": now_ms}
        store.record_within(cursor, "eviction", [returned])


def heed_eviction(
    cursor: sqlite3.Cursor,
    clock: HybridClock,
    keyring: Keyring,
    own: tuple[int, int],
    random_bytes: RandomBytes,
) -> int:
    """At a school: return in a new incarnation from an eviction not heeded yet; return it.

    ``own`` is (origin, incarnation) so far.
    """
    origin, incarnation = own
    found = cursor.execute(
        "SELECT at_ms FROM eviction WHERE school = ?1 AND member = ?1 AND deleted = 0"
        " AND returned_ms IS NULL",
        (origin,),
    ).fetchone()
    heeded = cursor.execute("SELECT value FROM meta WHERE name = ?", (_HEEDED,)).fetchone()
    if found is None or (heeded is not None and heeded[0] == found[0]):
        return incarnation
    cursor.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_HEEDED, found[0]))
    fresh = begin_incarnation(cursor, random_bytes)
    receipts = read_receipts(cursor, HUB)
    now_ms = clock.now_ms()
    for log in read_logs(cursor, "WHERE origin = ? AND incarnation <> ?", origin, fresh):
        held = receipts[log.id].stored if log.id in receipts else 0
        if held < log.stored or log.last_row > log.sealed_row:
            give_way(cursor, keyring, log, held, fresh, now_ms)
    for log in read_logs(cursor, "WHERE origin = ? AND incarnation = ?", origin, fresh):
        _write_whole(cursor, clock, log)
    return fresh


def _write_whole(cursor: sqlite3.Cursor, clock: HybridClock, log: LogState) -> None:
    """Write rows of tables with two writers anew, of which this log holds unsealed writes."""
    keys: dict[tuple[int, Key], None] = {}
    for table in filter(waits_apart, TABLES):
        named = [column.number for column in table.columns if column.name in table.key]
        for batch in unsealed_writes(cursor, log.id, table, log.sealed_row):
            written = zip(*(batch.columns[each] for each in (SCHOOL_FIELD, *named)), strict=True)
            keys |= dict.fromkeys((table.number, key) for key in written)
    forget_writes(cursor, log.id, log.last_row)
    for number, key in keys:
        table = BY_NUMBER[number]
        row = _whole_row(cursor, table, key)
        if row is not None:
            append(cursor, clock, log.id, log.name, table, [row])


def _whole_row(cursor: sqlite3.Cursor, table: Table, key: Key) -> Row | None:
    version = read_version(cursor, table, key)
    if version is None:
        return None
    named = dict(zip(("school", *table.key), key, strict=True))
    return {**version.values, **named, TOMBSTONE: int(version.deleted)}
