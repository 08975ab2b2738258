"""A checkpoint: what an origin says is left of its logs of one audience, up to their heads.

Its record is the last segment of a snapshot: the ``district`` body is a :class:`Record`, the other
bodies the digests of their groups. Records that arrived stand in the table ``checkpoint``.

Only segments that hold states are covered, for only their rows can be superseded: their states
that still count are in the parts ``states``, made anew each time; their events in the parts
``events``, made once. Segments of events alone stay as they are.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import msgspec

from sync.errors import MalformedError, Reason, reason_text
from sync.logs.log_state import LogState, find_log
from sync.schema.model import Lane
from sync.segments.segment import HUB, Header, LogName, Segment, check_log_name, parse_segment

VERSION = 1
PARTS_MAX = 1 << 20
FIRST_NUMBER_MAX = 1 << 48
NUMBER_STEP_MAX = 1 << 24
"""So far a number may rise over the next lower one known, so that one box, stolen maybe, does not
use them up for all that come after it."""
_HEAD_BYTES = 32
_INT63_MAX = 2**63 - 1
_PLACE_MAX = 2**48 - 1


class Cover(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One of the origin's logs up to a segment, whose header's digest is ``head``."""

    incarnation: int
    lane: Lane
    seq: int
    head: bytes
    last_row: int


class Seen(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What the origin had applied of another's log: all it wrote after the covers knew of it."""

    origin: int
    incarnation: int
    lane: Lane
    seq: int


class Span(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Segments of the origin's snapshot log of that incarnation."""

    incarnation: int
    first: int
    last: int


class Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    version: int
    number: int  # rises from checkpoint to checkpoint of an audience
    at_ms: int
    stamp: int  # of the origin's clock: what it wrote later has a greater one
    covers: list[Cover]
    seen: list[Seen]
    # Tombstones with no greater stamp are left out: of the origin's own tables, and of those with
    # two writers, which only the hub clears.
    purged: int
    purged_both: int
    cleared: int  # of the hub's: up to here none of its writes that a tombstone buried is left
    events: list[Span]
    states: list[Span]
    digests: list[tuple[int, bytes]]  # (table, digest) of the groups district and grant

    @property
    def spans(self) -> list[Span]:
        return [*self.events, *self.states]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A record as a store has it; ``digest`` names its segment, moments are Unix ms."""

    snapshot: LogState
    seq: int
    digest: bytes
    record: Record
    settled: bool
    verified_ms: int | None
    dropped_ms: int | None
    refused: str | None

    @property
    def origin(self) -> int:
        return self.snapshot.name.origin

    @property
    def audience(self) -> str:
        return self.snapshot.name.audience

    @property
    def is_whole(self) -> bool:
        """Whether this node found it whole, and nobody whose word counts found otherwise."""
        return self.verified_ms is not None and self.refused is None

    def source(self, cover: Cover) -> LogName:
        return LogName(self.origin, cover.incarnation, self.audience, cover.lane)

    def part_log(self, span: Span) -> LogName:
        return LogName(self.origin, span.incarnation, self.audience, Lane.SNAPSHOT)


_record_decoder = msgspec.msgpack.Decoder(Record)
_digests_decoder = msgspec.msgpack.Decoder(list[tuple[int, bytes]])


def pack_record(record: Record) -> bytes:
    return msgspec.msgpack.encode(record)


def pack_digests(digests: Sequence[tuple[int, bytes]]) -> bytes:
    return msgspec.msgpack.encode(digests)


def parse_record(content: bytes, snapshot: LogName) -> Record:
    """Parse strictly; raises MalformedError for what no origin of this log could mean."""
    try:
        record = _record_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"a checkpoint does not parse: {error}") from error
    if record.version != VERSION:
        raise MalformedError(f"a checkpoint of version {record.version}; this node reads {VERSION}")
    stamps = (record.stamp, record.purged, record.purged_both, record.cleared)
    amounts = (record.number, record.at_ms, *stamps)
    if not all(0 <= amount <= _INT63_MAX for amount in amounts):
        raise MalformedError("a checkpoint with a number or stamp out of range")
    for cover in record.covers:
        _check_place(
            LogName(snapshot.origin, cover.incarnation, snapshot.audience, cover.lane), cover
        )
    for seen in record.seen:
        _check_place(LogName(seen.origin, seen.incarnation, snapshot.audience, seen.lane), seen)
    _check_spans(record.spans)
    if len({(cover.incarnation, cover.lane) for cover in record.covers}) < len(record.covers):
        raise MalformedError("a checkpoint that covers a log twice")
    return record


def _check_spans(spans: Sequence[Span]) -> None:
    for span in spans:
        if not 0 < span.first <= span.last <= _PLACE_MAX or not 0 < span.incarnation <= _INT63_MAX:
            raise MalformedError("a checkpoint with parts out of range")
    if sum(span.last - span.first + 1 for span in spans) > PARTS_MAX:
        raise MalformedError(f"a checkpoint of more than {PARTS_MAX} parts")
    runs = sorted((span.incarnation, span.first, span.last) for span in spans)
    if any(log == its and first <= end for (log, _, end), (its, first, _) in pairwise(runs)):
        raise MalformedError("a checkpoint that counts a part twice")


def _check_place(log: LogName, said: Cover | Seen) -> None:
    check_log_name(log)
    if log.lane is Lane.SNAPSHOT or not 0 < said.seq <= _PLACE_MAX:
        raise MalformedError("a checkpoint of a log or segment that cannot be")
    if isinstance(said, Cover) and (
        len(said.head) != _HEAD_BYTES or not 0 < said.last_row <= _PLACE_MAX
    ):
        raise MalformedError("a checkpoint with a head or row out of range")


def parse_digests(content: bytes) -> dict[int, bytes]:
    """Parse what a record's further bodies hold; raises MalformedError."""
    try:
        return dict(_digests_decoder.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"a checkpoint's digests do not parse: {error}") from error


def note_record(cursor: sqlite3.Cursor, log_id: int, segment: Segment, content: bytes) -> Record:
    """Remember a record that arrived or was made here; raises MalformedError."""
    name = segment.header.log
    record = parse_record(content, name)
    cursor.execute(
        "INSERT OR IGNORE INTO checkpoint"
        " (log, seq, origin, audience, number, at_ms, digest, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            log_id,
            segment.header.seq,
            name.origin,
            name.audience,
            record.number,
            record.at_ms,
            segment.header_digest,
            content,
        ),
    )
    return record


def read_checkpoints(cursor: sqlite3.Cursor, origin: int, audience: str) -> list[Checkpoint]:
    """Return the checkpoints of an origin's logs of one audience, the newest first.

    Those whose segment was taken back since, after a restore, are left out, and so are those that
    :func:`read_passed_over` returns.
    """
    return _read_split(cursor, origin, audience)[0]


def read_passed_over(cursor: sqlite3.Cursor, origin: int, audience: str) -> list[Checkpoint]:
    """Return checkpoints whose numbers are far above all others, the lowest first, as refused.

    Which those are follows from all that are known, whatever came first: nothing waits for them,
    goes by them or is numbered after them.
    """
    return _read_split(cursor, origin, audience)[1]


def _read_split(
    cursor: sqlite3.Cursor, origin: int, audience: str
) -> tuple[list[Checkpoint], list[Checkpoint]]:
    counted: list[Checkpoint] = []
    passed_over: list[Checkpoint] = []
    for each in reversed(_read_all(cursor, origin, audience)):
        highest = counted[-1].record.number if counted else None
        rise_max = FIRST_NUMBER_MAX if highest is None else highest + NUMBER_STEP_MAX
        if each.record.number <= rise_max:
            counted.append(each)
            continue
        above = "any first one" if highest is None else f"number {highest}"
        reason = reason_text(
            Reason.NUMBER_TOO_HIGH,
            f"number {each.record.number} is far above {above}; another box of this origin wrote"
            " it: if it is gone, have it revoked",
        )
        passed_over.append(replace(each, refused=reason))
    return counted[::-1], passed_over


def _read_all(cursor: sqlite3.Cursor, origin: int, audience: str) -> list[Checkpoint]:
    rows = cursor.execute(
        "SELECT c.seq, c.digest, c.content, c.settled, c.verified_ms, c.dropped_ms, c.refused,"
        " l.incarnation, s.wire FROM checkpoint c JOIN log l ON l.id = c.log"
        " JOIN segment s ON s.log = c.log AND s.seq = c.seq"
        " WHERE c.origin = ? AND c.audience = ? ORDER BY c.number DESC, c.at_ms DESC, c.log DESC",
        (origin, audience),
    ).fetchall()
    found = []
    for seq, digest, content, settled, verified_ms, dropped_ms, refused, incarnation, wire in rows:
        log = find_log(cursor, LogName(origin, incarnation, audience, Lane.SNAPSHOT))
        assert log is not None
        if parse_segment(wire).header_digest == digest:
            found.append(
                Checkpoint(
                    snapshot=log,
                    seq=seq,
                    digest=digest,
                    record=parse_record(content, log.name),
                    settled=bool(settled),
                    verified_ms=verified_ms,
                    dropped_ms=dropped_ms,
                    refused=refused,
                )
            )
    return found


def parts_are_here(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
    """Tell whether all parts of a checkpoint are stored, with their bodies, and gone through."""
    for span in checkpoint.record.spans:
        log = find_log(cursor, checkpoint.part_log(span))
        if log is None or log.applied < span.last:
            return False
        (whole,) = cursor.execute(
            "SELECT count(*) FROM segment WHERE log = ? AND seq BETWEEN ? AND ?"
            " AND substr(wire, 1, 4) = CAST('SNS1' AS BLOB)",
            (log.id, span.first, span.last),
        ).fetchone()
        if whole != span.last - span.first + 1:
            return False
    return True


def adopted_seq(cursor: sqlite3.Cursor, log_id: int) -> int:
    """Return up to which segment a log's content was taken from a snapshot here; 0 if none was."""
    found = cursor.execute("SELECT seq FROM adopted WHERE log = ?", (log_id,)).fetchone()
    return int(found[0]) if found else 0


def is_present_part(cursor: sqlite3.Cursor, part: Header) -> bool:
    """Tell whether the newest checkpoint known counts a segment among its parts of states."""
    newest = read_checkpoints(cursor, part.log.origin, part.log.audience)[:1]
    return any(_counts(each.record.states, part) for each in newest)


def is_part_of_whole(cursor: sqlite3.Cursor, part: Header) -> bool:
    """Tell whether a checkpoint that was found whole here counts a segment among its parts."""
    known = read_checkpoints(cursor, part.log.origin, part.log.audience)
    return any(each.is_whole and _counts(each.record.spans, part) for each in known)


def _counts(spans: Sequence[Span], part: Header) -> bool:
    return any(
        span.incarnation == part.log.incarnation and span.first <= part.seq <= span.last
        for span in spans
    )


def is_countersigned(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> bool:
    """Tell whether the hub found a checkpoint whole, as far as is known here; its own need not."""
    if checkpoint.origin == HUB:
        return True
    found = cursor.execute(
        "SELECT incarnation, seq, digest FROM checkpoint_countersigned"
        " WHERE school = ? AND covered = ? AND deleted = 0",
        (checkpoint.origin, checkpoint.audience),
    ).fetchone()
    name = checkpoint.snapshot.name
    return bool(found == (name.incarnation, checkpoint.seq, checkpoint.digest))


def mark_settled(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
    """Remember that the tombstones which a checkpoint leaves out are dropped here."""
    cursor.execute(
        "UPDATE checkpoint SET settled = 1 WHERE log = ? AND seq = ?",
        (checkpoint.snapshot.id, checkpoint.seq),
    )
