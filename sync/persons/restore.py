"""Rebuilding a school on another box: what is missing, what was forgotten, and whether all is back.

The sealed logs come back through the ordinary exchange (``incarnation.py``), their keys through
``Node.take_over`` with the recovery key. What is here says how far that is, keeps the forgotten
forgotten, and compares the result with the hub's.
"""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from sync.errors import MalformedError
from sync.persons.vault import VaultContents
from sync.schema import TABLES
from sync.schema.model import Audience, Group, Lane, Owner, Table
from sync.segments.segment import HUB, LogName, check_log_name, parse_segment
from sync.segments.signing import SignerId
from sync.tables.digests import digest_tables

PICTURE_BYTES_MAX = 1024 * 1024
GROUPS_COMPARED = (Group.DISTRICT, Group.GRANT)
"""What both ends can read."""
_LOGS_MAX = 8192
_INT48_MAX = 2**48 - 1


class LogHeld(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """How much of one log a node holds: segments stored and folded, and their bytes."""

    log: LogName
    stored: int
    applied: int
    bytes: int


class SchoolPicture(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a node holds of one school: its logs, and SHA-256 a table when it was asked for."""

    logs: list[LogHeld]
    digests: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Fetched:
    """How much of what the hub holds is here."""

    segments: int
    segments_total: int
    bytes: int
    bytes_total: int

    @property
    def complete(self) -> bool:
        return self.segments == self.segments_total


@dataclass(frozen=True, slots=True)
class TableCompared:
    table: str
    here: bytes
    hub: bytes

    @property
    def equal(self) -> bool:
        return self.here == self.hub


_decoder = msgspec.msgpack.Decoder(SchoolPicture)


def read_holdings(cursor: sqlite3.Cursor, school: int) -> list[LogHeld]:
    """Return the logs that concern one school and that both it and its hub hold."""
    rows = cursor.execute(
        "SELECT l.origin, l.incarnation, l.audience, l.lane, l.stored, l.applied,"
        " (SELECT coalesce(sum(length(wire)), 0) FROM segment WHERE log = l.id) FROM log l"
        " WHERE (l.origin = ?1 OR (l.origin = ?2 AND l.audience IN ('d', 's' || ?1)))"
        " AND l.stored > 0 ORDER BY 1, 2, 3, 4",
        (school, HUB),
    ).fetchall()
    return [
        LogHeld(LogName(origin, incarnation, audience, Lane(lane)), *held)
        for origin, incarnation, audience, lane, *held in rows
    ]


def read_picture(connection: sqlite3.Connection, school: int) -> SchoolPicture:
    """Return holdings and digests of one moment; reads all of the school's rows."""
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    try:
        digests = digest_tables(cursor, (school,), GROUPS_COMPARED)
        compared = {table.name for table in TABLES if _is_compared(table)}
        return SchoolPicture(
            read_holdings(cursor, school),
            {name: digest for name, digest in digests.items() if name in compared},
        )
    finally:
        cursor.execute("ROLLBACK")


def parse_picture(data: bytes) -> SchoolPicture:
    """Parse strictly; raises MalformedError."""
    if len(data) > PICTURE_BYTES_MAX:
        raise MalformedError(f"a school's picture of {len(data)} bytes; refused")
    try:
        picture = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"a school's picture does not parse: {error}") from error
    if len(picture.logs) > _LOGS_MAX:
        raise MalformedError(f"a school's picture with {len(picture.logs)} logs; refused")
    for held in picture.logs:
        check_log_name(held.log)
        if not 0 <= held.applied <= held.stored <= _INT48_MAX or held.bytes < 0:
            raise MalformedError(f"cursors of {held.log} out of range")
    return picture


def compare_holdings(
    here: Sequence[LogHeld], hub: Sequence[LogHeld], own: tuple[int, int]
) -> Fetched:
    """Return how much of the hub's is here; ``own`` (origin, incarnation) is written here anew."""
    mine = {held.log: held for held in here}
    wanted = [held for held in hub if (held.log.origin, held.log.incarnation) != own]
    segments = sum(min(held.stored, _stored(mine, held.log)) for held in wanted)
    loaded = sum(min(held.bytes, mine[held.log].bytes) for held in wanted if held.log in mine)
    return Fetched(
        segments,
        sum(held.stored for held in wanted),
        loaded,
        sum(held.bytes for held in wanted),
    )


def is_same_moment(here: SchoolPicture, hub: SchoolPicture) -> bool:
    """Tell whether both hold and have folded the same segments, so that digests must agree."""
    ends = [
        {held.log: (held.stored, held.applied) for held in picture.logs} for picture in (here, hub)
    ]
    return ends[0] == ends[1]


def compare_digests(here: SchoolPicture, hub: SchoolPicture) -> list[TableCompared]:
    """Return the tables that both ends know, with their digests."""
    return [
        TableCompared(name, here.digests[name], hub.digests[name])
        for name in sorted(here.digests.keys() & hub.digests.keys())
    ]


def has_unsealed(cursor: sqlite3.Cursor, origin: int) -> bool:
    """Tell whether this node has rows in its tables that no segment holds yet."""
    found = cursor.execute(
        "SELECT 1 FROM log WHERE origin = ? AND last_row > sealed_row LIMIT 1", (origin,)
    ).fetchone()
    return found is not None


def erased_persons(cursor: sqlite3.Cursor, school: int) -> dict[int, int]:
    """Return whom the school's logs call erased, with the share generation clear of them, or 0."""
    rows = cursor.execute(
        "SELECT person, max(coalesce(generation, 0)) FROM erasure"
        " WHERE school = ? AND person IS NOT NULL GROUP BY person",
        (school,),
    ).fetchall()
    return dict(rows)


def forgotten_here(
    cursor: sqlite3.Cursor, node: tuple[int, int, SignerId], persons: Collection[int]
) -> dict[int, int]:
    """Return when the box of ``node`` forgot those of ``persons`` whom its logs call erased.

    ``node`` is origin, present incarnation and signer. What another box of the school signed does
    not count: the hub can certify one of its own making, and must not command an erasure.
    """
    origin, incarnation, signer = node
    rows = cursor.execute(
        "SELECT e.person, e.at_ms, e.row, l.id, l.incarnation FROM erasure e"
        " JOIN log l ON l.id = e.log WHERE e.school = ?1 AND l.origin = ?1",
        (origin,),
    ).fetchall()
    found: dict[int, int] = {}
    for person, at_ms, row, log, written_in in rows:
        if person not in persons or person in found:
            continue
        by = _signer_of(cursor, log, row)
        if by == signer or (by is None and written_in == incarnation):
            found[person] = at_ms
    return found


def known_persons(cursor: sqlite3.Cursor, school: int) -> list[int]:
    """Return every ordinal that the school's logs ever gave away."""
    rows = cursor.execute("SELECT person FROM person WHERE school = ?", (school,)).fetchall()
    return [person for (person,) in rows]


def without(contents: VaultContents, erased: frozenset[int]) -> VaultContents:
    """Return a backup's contents with these persons forgotten."""
    keys = {person: key for person, key in contents.keys.items() if person not in erased}
    return VaultContents(number=contents.number, keys=keys, forgotten=contents.forgotten | erased)


def back_again(contents: VaultContents, erased: frozenset[int]) -> frozenset[int]:
    """Return the erased persons whose keys a backup holds: it is older than their erasure."""
    return erased & contents.keys.keys()


def _is_compared(table: Table) -> bool:
    """Leave out what the hub tells lessons of which the school may have no part any more."""
    return table.audience is not Audience.LESSON or table.owner is Owner.SCHOOL


def _signer_of(cursor: sqlite3.Cursor, log: int, row: int) -> bytes | None:
    """Return who signed a row's segment, None while none holds it."""
    for (wire,) in cursor.execute("SELECT wire FROM segment WHERE log = ? ORDER BY seq", (log,)):
        header = parse_segment(wire).header
        if header.first_row <= row <= header.last_row:
            return header.signer
    return None


def _stored(mine: dict[LogName, LogHeld], log: LogName) -> int:
    return mine[log].stored if log in mine else 0
