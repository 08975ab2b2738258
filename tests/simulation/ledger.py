"""What the simulated devices themselves wrote down, and what the network was seen to carry.

Loss and doubling are counted against this. A row is *acknowledged* when a vector that the
receiver sent covers the segment that carried it: segments and vectors are read off the messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from sync.logs.log_state import HEAD_BYTES, Holding
from sync.schema.model import Lane
from sync.segments.segment import FIRST_PREV, LogName, Segment
from tests.simulation.machine import Machine

TABLES = {
    "card_tap": Lane.ATTENDANCE,
    "health_check": Lane.ATTENDANCE,
    "alarm": Lane.ALARM,
    "farm_action": Lane.TELEMETRY,
    "grow_log": Lane.BULK,
    "hand_raise": Lane.LESSONS,
    "audit_entry": Lane.CONTROL,
}
"""Tables of events whose ``at_ms`` holds the serial that a device gave its row."""
SERIALS_MAX = 10**9
"""What is greater is a moment: of a row that a node wrote by itself, as when keys are rotated."""


@dataclass(slots=True)
class Entry:
    """One row as its device knows it."""

    table: str
    origin: int
    school: int
    machine: str
    batch: int
    cell: str | None  # what a sealed column holds
    keyed: bool  # the device names its rows, so that its own repetition is known
    written: bool = False  # the node said that it is on disk
    acknowledged: bool = False
    may_be_lost: bool = False  # every copy went with a disk, before any receipt


@dataclass(slots=True)
class _Seen:
    prev: bytes
    serials: list[int]
    acknowledged: bool = False


@dataclass
class Ledger:
    entries: dict[int, Entry] = field(default_factory=dict)
    salts: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Invariants that were seen not to hold."""
    _serials: "count[int]" = field(default_factory=lambda: count(1))
    _batches: "count[int]" = field(default_factory=lambda: count(1))
    _segments: dict[tuple[LogName, int, bytes], _Seen] = field(default_factory=dict)
    _digests: dict[bytes, _Seen] = field(default_factory=dict)
    _told: dict[tuple[str, int, str, LogName], tuple[int, int]] = field(default_factory=dict)
    _most_told: dict[tuple[int, int, LogName], int] = field(default_factory=dict)

    def begin_batch(self) -> int:
        return next(self._batches)

    def enter(self, entry: Entry) -> int:
        """Write a row down before it is recorded; return its serial."""
        serial = next(self._serials)
        self.entries[serial] = entry
        return serial

    def see_segment(self, sender: Machine, segment: Segment) -> None:
        """Note what a segment carries, the first time that it leaves its origin."""
        header, digest = segment.header, segment.header_digest
        if digest in self._digests or header.log.origin != sender.origin:
            return
        for body in header.bodies:
            if body.salt:
                known = self.salts.setdefault((body.key_id, body.salt), body.digest)
                if known != body.digest:
                    self.broken.append(
                        f"{header.log} segment {header.seq}: two bodies under one key and salt"
                    )
        seen = _Seen(header.prev, _serials_of(sender, segment))
        self._digests[digest] = seen
        self._segments[header.log, header.seq, digest[:HEAD_BYTES]] = seen

    def see_vector(self, sender: Machine, peer: int, told: Sequence[Holding]) -> None:
        """Note receipts; a cursor that was told before is not told lower again."""
        for holding in told:
            place = sender.origin, peer, holding.log
            self._most_told[place] = max(holding.stored, self._most_told.get(place, 0))
            if holding.log.origin != sender.origin:
                self._check_rise(sender, peer, holding)
            seen = self._segments.get((holding.log, holding.stored, holding.head))
            while seen is not None and not seen.acknowledged:
                seen.acknowledged = True
                for serial in seen.serials:
                    self.entries[serial].acknowledged = True
                seen = self._digests.get(seen.prev) if seen.prev != FIRST_PREV else None

    def most_told(self, sender: int, peer: int, log: LogName) -> int:
        """Return the most segments of a log that a node ever told a peer it holds."""
        return self._most_told.get((sender, peer, log), 0)

    def _check_rise(self, sender: Machine, peer: int, holding: Holding) -> None:
        name = (sender.name, sender.lives, str(peer), holding.log)
        stored, applied = self._told.get(name, (0, 0))
        if holding.stored < stored or holding.applied < applied:
            self.broken.append(
                f"{sender.name} told {peer} of {holding.log}: stored {holding.stored}, applied"
                f" {holding.applied}, after {stored}, {applied}"
            )
        self._told[name] = holding.stored, holding.applied


def held_serials(machine: Machine, school: int | None = None) -> list[int]:
    """Return the serials of all events that a machine's tables hold, each as often as it does."""
    where = f" WHERE at_ms < {SERIALS_MAX}" + ("" if school is None else f" AND school = {school}")
    query = " UNION ALL ".join(f"SELECT at_ms FROM {table}{where}" for table in TABLES)  # noqa: S608 - the schema's names
    with machine.healthy() as store:
        return [msgspec.convert(serial, int) for (serial,) in store.execute(query)]


def doubled_serials(machine: Machine) -> list[int]:
    """Return the serials of events that a machine's tables hold more than once."""
    query = " UNION ALL ".join(
        f"SELECT at_ms FROM {table} WHERE at_ms < {SERIALS_MAX} GROUP BY at_ms HAVING count(*) > 1"  # noqa: S608 - the schema's names
        for table in TABLES
    )
    with machine.healthy() as store:
        return [msgspec.convert(serial, int) for (serial,) in store.execute(query)]


def _serials_of(machine: Machine, segment: Segment) -> list[int]:
    header = segment.header
    log = header.log
    tables = [table for table, lane in TABLES.items() if lane is log.lane]
    if not tables:
        return []
    query = " UNION ALL ".join(
        f"SELECT at_ms FROM {table} WHERE log = ?1 AND row BETWEEN ?2 AND ?3"  # noqa: S608 - the schema's names
        for table in tables
    )
    with machine.healthy() as store:
        found = store.execute(
            "SELECT id FROM log WHERE origin = ? AND incarnation = ? AND audience = ? AND lane = ?",
            (log.origin, log.incarnation, log.audience, int(log.lane)),
        ).fetchone()
        assert found is not None, "a node sends of logs that it holds"
        rows = store.execute(query, (found[0], header.first_row, header.last_row)).fetchall()
    serials = [msgspec.convert(serial, int) for (serial,) in rows]
    return [serial for serial in serials if serial < SERIALS_MAX]
