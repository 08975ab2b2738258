"""A sealed roster as rows: the hub proposes it over the line, a person at the school decides."""

import sqlite3
from dataclasses import dataclass

from sync.errors import SyncError
from sync.logs.oplog import Row
from sync.rosters.sealed import FILE_BYTES_MAX, RosterHeader, parse_roster

PIECE_BYTES = 8 * 1024
PIECES_MAX = FILE_BYTES_MAX // PIECE_BYTES


@dataclass(frozen=True, slots=True)
class Offer:
    """A whole roster that the hub proposes; nobody has checked its signature."""

    header: RosterHeader
    content: bytes


def offer_rows(school: int, sealed: bytes, held: int) -> list[Row]:
    """Return the rows that propose a roster in place of one of ``held`` pieces.

    Raises MalformedError or ForgedError for what is no sealed roster.
    """
    made_ms = parse_roster(sealed).header.made_ms
    pieces = [sealed[start : start + PIECE_BYTES] for start in range(0, len(sealed), PIECE_BYTES)]
    rows: list[Row] = [
        {
            "school": school,
            "piece": number,
            "pieces": len(pieces),
            "made_ms": made_ms,
            "content": content,
        }
        for number, content in enumerate(pieces, start=1)
    ]
    gone: list[Row] = [
        {"school": school, "piece": number, "deleted": 1}
        for number in range(len(pieces) + 1, held + 1)
    ]
    return rows + gone


def held_pieces(reader: sqlite3.Connection, school: int) -> int:
    """Return the highest piece of what is proposed to a school now."""
    row = reader.execute(
        "SELECT max(piece) FROM roster_offer WHERE school = ? AND deleted = 0", (school,)
    ).fetchone()
    return row[0] or 0


def offer_stamp(reader: sqlite3.Connection, school: int) -> tuple[int, int]:
    """Return what changes when another offer, or more of it, has come: (moment, pieces here)."""
    row = reader.execute(
        "SELECT max(made_ms), count(*) FROM roster_offer WHERE school = ? AND deleted = 0",
        (school,),
    ).fetchone()
    return row[0] or 0, row[1]


def read_offer(reader: sqlite3.Connection, school: int) -> Offer | None:
    """Return what is proposed to a school; None while pieces are missing or do not fit."""
    rows = reader.execute(
        "SELECT piece, pieces, made_ms, content FROM roster_offer"
        " WHERE school = ? AND deleted = 0 ORDER BY piece LIMIT ?",
        (school, PIECES_MAX),
    ).fetchall()
    whole = [(number, len(rows)) for number in range(1, len(rows) + 1)]
    if [(row[0], row[1]) for row in rows] != whole or len({row[2] for row in rows}) > 1:
        return None
    content = b"".join(row[3] or b"" for row in rows)
    try:
        return Offer(parse_roster(content).header, content)
    except SyncError:
        return None
