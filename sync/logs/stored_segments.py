"""Segments as a store keeps them: by their log's number there and their own."""

import sqlite3
from typing import NamedTuple

from sync.schema.model import GROUPS, Group
from sync.segments.segment import Segment, parse_segment


class StoredBody(NamedTuple):
    """One body of a segment that stands in log ``log_id`` of the store."""

    log_id: int
    segment: Segment
    place: int

    @property
    def group(self) -> Group:
        return GROUPS[self.segment.header.bodies[self.place].group]


def read_wire(cursor: sqlite3.Cursor, log_id: int, seq: int) -> bytes | None:
    """Return one segment's bytes, or None if it is not held."""
    found = cursor.execute(
        "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log_id, seq)
    ).fetchone()
    return found[0] if found else None


def read_segment(cursor: sqlite3.Cursor, log_id: int, seq: int) -> Segment | None:
    wire = read_wire(cursor, log_id, seq)
    return None if wire is None else parse_segment(wire)


def store_wire(cursor: sqlite3.Cursor, log_id: int, seq: int, wire: bytes) -> None:
    cursor.execute("INSERT INTO segment VALUES (?, ?, ?)", (log_id, seq, wire))


def read_sizes_after(cursor: sqlite3.Cursor, log_id: int, seq: int) -> list[tuple[int, int]]:
    """Return number and bytes of each segment of a log after ``seq``."""
    return cursor.execute(
        "SELECT seq, length(wire) FROM segment WHERE log = ? AND seq > ? ORDER BY seq",
        (log_id, seq),
    ).fetchall()


def count_after(cursor: sqlite3.Cursor, log_id: int, seq: int) -> tuple[int, int]:
    """Return how many segments and bytes of a log stand after ``seq``."""
    row: tuple[int, int] = cursor.execute(
        "SELECT count(*), coalesce(sum(length(wire)), 0) FROM segment WHERE log = ? AND seq > ?",
        (log_id, seq),
    ).fetchone()
    return row
