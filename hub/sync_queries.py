"""What the hub holds of schools' logs, for its pages and its metrics; nothing is decided by it."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sync.errors import Reason, reason_text
from sync.exchange.holdings import HeldLane, count_sealed_only, read_held
from sync.history.checkpoint import is_countersigned, read_checkpoints, read_passed_over
from sync.schema.model import Group, Lane
from sync.segments.segment import HUB

PARKED_MAX: Final = 20
CHECKPOINTS_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedHere:
    """Rows of a school that are stored here and could not be applied."""

    lane: Lane
    seq: int
    rows: int
    reason: str
    retriable: bool
    parked_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedHere:
    """A segment that a school sent and that was not taken: how often, and when last."""

    log: str
    seq: int
    reason: str
    times: int
    refused_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointHere:
    """The newest checkpoint of a school's logs of one audience, or one that is passed over.

    Moments are Unix ms.
    """

    audience: str
    number: int
    at_ms: int
    countersigned: bool
    refused: str | None
    dropped_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLane:
    """What the hub holds for a school, of its own and of others, in segments.

    ``stored`` and ``applied`` are the school's by its own word of ``told_ms`` (Unix ms); the rest
    is ``waiting``.
    """

    lane: Lane
    held: int
    stored: int
    applied: int
    told_ms: int | None

    @property
    def waiting(self) -> int:
        return self.held - self.stored


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolSync:
    """``incarnations``: how many lives of the school's box wrote logs that are held.

    ``heard_ms`` is of the store and up to an hour old; ``frozen`` are reasons of forked logs.
    """

    lanes: tuple[HeldLane, ...] = ()
    given: tuple[GivenLane, ...] = ()
    incarnations: int = 0
    heard_ms: int | None = None
    parked: tuple[ParkedHere, ...] = ()
    refused_segments: int = 0
    refused: tuple[RefusedHere, ...] = ()
    frozen: tuple[str, ...] = ()
    clamped_segments: int = 0
    evicted_ms: int | None = None
    checkpoints: tuple[CheckpointHere, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrictSync:
    """All schools' logs together."""

    stored: Mapping[Lane, int]
    applied: Mapping[Lane, int]
    sealed_only: Mapping[tuple[Lane, Group], int]
    parked_rows: int
    parked_for_good_rows: int
    refused_segments: int
    frozen_logs: int
    clamped_segments: int
    evicted_schools: int
    refused_checkpoints: int


def read_school_sync(connection: sqlite3.Connection, school: int) -> SchoolSync:
    cursor = connection.cursor()
    (incarnations,) = cursor.execute(
        "SELECT count(DISTINCT incarnation) FROM log WHERE origin = ?", (school,)
    ).fetchone()
    heard = cursor.execute("SELECT heard_ms FROM peer_heard WHERE peer = ?", (school,)).fetchone()
    parked = cursor.execute(
        """SELECT l.lane, p.seq, p.rows, p.reason, p.retriable, p.parked_ms
             FROM parked p JOIN log l ON l.id = p.log WHERE l.origin = ?
            ORDER BY p.parked_ms DESC, p.log, p.seq LIMIT ?""",
        (school, PARKED_MAX),
    ).fetchall()
    (refused,) = cursor.execute(
        "SELECT count(*) FROM quarantine WHERE peer = ?", (school,)
    ).fetchone()
    refused_here = cursor.execute(
        """SELECT log, seq, reason, times, refused_ms FROM quarantine WHERE peer = ?
            ORDER BY refused_ms DESC, log, seq LIMIT ?""",
        (school, PARKED_MAX),
    ).fetchall()
    frozen = cursor.execute(
        "SELECT DISTINCT frozen FROM log WHERE origin = ? AND frozen IS NOT NULL LIMIT ?",
        (school, PARKED_MAX),
    ).fetchall()
    # "0" follows "/": all logs whose names begin with the school's number.
    (clamped,) = cursor.execute(
        "SELECT count(*) FROM clock_clamp WHERE clamped_log >= ? AND clamped_log < ?",
        (f"{school}/", f"{school}0"),
    ).fetchone()
    evicted = cursor.execute(
        """SELECT at_ms FROM eviction
            WHERE school = ?1 AND member = ?1 AND deleted = 0 AND returned_ms IS NULL""",
        (school,),
    ).fetchone()
    return SchoolSync(
        lanes=tuple(read_held(cursor, school)),
        given=_given(cursor, school),
        incarnations=incarnations,
        heard_ms=heard[0] if heard else None,
        parked=tuple(
            ParkedHere(
                lane=Lane(row["lane"]),
                seq=row["seq"],
                rows=row["rows"],
                reason=row["reason"],
                retriable=bool(row["retriable"]),
                parked_ms=row["parked_ms"],
            )
            for row in parked
        ),
        refused_segments=refused,
        refused=tuple(
            RefusedHere(
                log=row["log"],
                seq=row["seq"],
                reason=row["reason"],
                times=row["times"],
                refused_ms=row["refused_ms"],
            )
            for row in refused_here
        ),
        frozen=tuple(reason_text(Reason.FORKED, fact) for (fact,) in frozen),
        clamped_segments=clamped,
        evicted_ms=evicted[0] if evicted else None,
        checkpoints=_checkpoints(cursor, school),
    )


def read_district_sync(connection: sqlite3.Connection) -> DistrictSync:
    """Count over all schools; some 100 ms for a district, so not on the event loop."""
    cursor = connection.cursor()
    lanes = cursor.execute(
        "SELECT lane, sum(stored), sum(applied), sum(frozen IS NOT NULL) FROM log"
        " WHERE origin <> ? GROUP BY lane",
        (HUB,),
    ).fetchall()
    parked, for_good = cursor.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(rows * (retriable = 0)), 0) FROM parked"
    ).fetchone()

    def counted(query: str) -> int:
        (found,) = cursor.execute(query).fetchone()
        return int(found)

    return DistrictSync(
        stored={Lane(lane): stored for lane, stored, _, _ in lanes},
        applied={Lane(lane): applied for lane, _, applied, _ in lanes},
        sealed_only=count_sealed_only(cursor),
        parked_rows=parked,
        parked_for_good_rows=for_good,
        refused_segments=counted("SELECT count(*) FROM quarantine"),
        frozen_logs=sum(frozen for *_, frozen in lanes),
        clamped_segments=counted("SELECT count(*) FROM clock_clamp"),
        evicted_schools=counted(
            "SELECT count(*) FROM eviction WHERE deleted = 0 AND returned_ms IS NULL"
        ),
        refused_checkpoints=counted("SELECT count(*) FROM checkpoint WHERE refused IS NOT NULL"),
    )


def _given(cursor: sqlite3.Cursor, school: int) -> tuple[GivenLane, ...]:
    # A receipt may be of more than is held: of a hub whose store went back in time.
    lanes = cursor.execute(
        """SELECT l.lane, sum(l.stored), sum(min(l.stored, coalesce(c.stored, 0))),
                  sum(min(l.stored, coalesce(c.applied, 0))), max(c.told_ms)
             FROM log l LEFT JOIN peer_cursor c ON c.log = l.id AND c.peer = ?1
            WHERE l.origin <> ?1 AND l.frozen IS NULL
              AND (l.audience IN ('d', 's' || ?1) OR l.audience IN (
                   SELECT 'l' || p.lesson FROM lesson_party p
                     JOIN lesson n ON n.lesson = p.lesson
                    WHERE p.school = ?1 AND p.deleted = 0 AND n.deleted = 0
                      AND coalesce(n.cancelled, 0) = 0))
            GROUP BY l.lane HAVING sum(l.stored) > 0 ORDER BY l.lane""",
        (school,),
    ).fetchall()
    return tuple(
        GivenLane(lane=Lane(lane), held=held, stored=stored, applied=applied, told_ms=told_ms)
        for lane, held, stored, applied, told_ms in lanes
    )


def _checkpoints(cursor: sqlite3.Cursor, school: int) -> tuple[CheckpointHere, ...]:
    audiences = cursor.execute(
        "SELECT DISTINCT audience FROM checkpoint WHERE origin = ? ORDER BY audience LIMIT ?",
        (school, CHECKPOINTS_MAX),
    ).fetchall()
    found: list[CheckpointHere] = []
    for (audience,) in audiences:
        known = read_checkpoints(cursor, school, audience)
        dropped = next((each.dropped_ms for each in known if each.dropped_ms), None)
        shown = [*known[:1], *read_passed_over(cursor, school, audience)[:1]]
        found += [
            CheckpointHere(
                audience=audience,
                number=each.record.number,
                at_ms=each.record.at_ms,
                countersigned=is_countersigned(cursor, each),
                refused=each.refused,
                dropped_ms=dropped,
            )
            for each in shown
        ]
    return tuple(found)
