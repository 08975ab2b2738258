"""What rows of the store tell of a lesson: hands that went up, captions that came afterwards."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence

from edge.lesson.classroom.board import CaptionLine
from edge.lesson.recordings.time_line import MARKS_MAX
from sync.errors import SyncError
from sync.lessons.caption_tracks import PIECES_MAX, Piece, open_captions
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)

LANGUAGES_MAX = 16


def read_hands(store: sqlite3.Connection, lesson: str) -> list[tuple[int, int]]:
    """Return (at_ms, school) of each hand that went up."""
    rows = store.execute(
        "SELECT at_ms, school FROM hand_raise WHERE lesson = ? AND raised = 1"
        " ORDER BY at_ms LIMIT ?",
        (lesson, MARKS_MAX),
    )
    return [(row["at_ms"], row["school"]) for row in rows]


def read_pieces(store: sqlite3.Connection, lesson: str, flagship: int) -> list[Piece]:
    """Return the rows of a lesson's captions; only its flagship's are any."""
    rows = store.execute(
        "SELECT lesson, language, digest, lesson_key, pieces, sealed FROM caption_track"
        " WHERE school = ? AND lesson = ? AND deleted = 0 AND sealed IS NOT NULL"
        " ORDER BY language LIMIT ?",
        (flagship, lesson, LANGUAGES_MAX * PIECES_MAX),
    )
    return [
        Piece(
            lesson=row["lesson"],
            language=row["language"],
            digest=row["digest"] or b"",
            lesson_key=row["lesson_key"] or b"",
            pieces=row["pieces"] or 0,
            sealed=row["sealed"],
        )
        for row in rows
    ]


def caption_lines(pieces: Sequence[Piece], keys: Mapping[KeyId, DataKey]) -> list[CaptionLine]:
    """Return every language's captions that can be opened."""
    found: list[CaptionLine] = []
    for language in [piece.language for piece in pieces if "." not in piece.language]:
        try:
            lines = open_captions(pieces, language, keys)
        except SyncError as error:
            _log.warning("captions in %s are not shown: %s", language, error)
            continue
        found += [
            CaptionLine(language=language, from_ms=from_ms, until_ms=until_ms, text=text)
            for from_ms, until_ms, text in lines
        ]
    return found
