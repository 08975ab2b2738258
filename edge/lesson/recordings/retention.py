"""Which recordings go, and why: by age, and when the disk needs room. Pure.

A recording is kept for some days after its lesson, one of a rehearsal for hours, and what a class
sent back to the teacher (its return log) for hours too: it is no recording of children. The slides
of a lesson go with its recording, or when that would go where there is none. What a person
protected stays, whatever its age. When the disk is nearly full the same are asked first, then what
the other parties have signed to hold whole, and only then an only copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sync.lessons.fragment_log import LessonId

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long what is kept, counted from the end of the lesson."""

    recordings_ms: int = 180 * DAY_MS
    rehearsals_ms: int = 24 * HOUR_MS
    returns_ms: int = 12 * HOUR_MS


class Nature(StrEnum):
    """What is kept of a lesson."""

    RECORDING = "recording"
    REHEARSAL = "rehearsal"
    RETURN = "return"
    UNKNOWN = "unknown"  # no lesson of that name is known here any more


class Why(StrEnum):
    """Why a recording went; pages have words for each in both languages."""

    AGE = "age"
    REHEARSAL = "rehearsal"
    RETURN = "return"
    DISK = "disk"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What this box keeps of one lesson, its takes and its slides.

    ``ended_ms`` is when the lesson, or its last touch, was. ``elsewhere``: another
    party signed that it holds the whole lesson.
    """

    lesson: LessonId
    nature: Nature
    ended_ms: int
    stored_bytes: int
    protected: bool
    elsewhere: bool


def kept_until(stored: Stored, keeping: Keeping) -> int | None:
    """Return when a recording goes by its age (Unix ms), None for never."""
    if stored.protected:
        return None
    lasts_ms = {
        Nature.RECORDING: keeping.recordings_ms,
        Nature.REHEARSAL: keeping.rehearsals_ms,
        Nature.RETURN: keeping.returns_ms,
        Nature.UNKNOWN: keeping.recordings_ms,
    }[stored.nature]
    return stored.ended_ms + lasts_ms


def expired(shelf: Sequence[Stored], keeping: Keeping, now_ms: int) -> list[tuple[Stored, Why]]:
    """Return what goes now by its age."""
    reasons = {Nature.REHEARSAL: Why.REHEARSAL, Nature.RETURN: Why.RETURN}
    found: list[tuple[Stored, Why]] = []
    for stored in shelf:
        until_ms = kept_until(stored, keeping)
        if until_ms is not None and until_ms <= now_ms:
            found.append((stored, reasons.get(stored.nature, Why.AGE)))
    return found


def given_up(shelf: Sequence[Stored], lacking_bytes: int) -> list[Stored]:
    """Return what gives way so that ``lacking_bytes`` are freed, least needed first."""
    found: list[Stored] = []
    for stored in sorted(shelf, key=_need):
        if lacking_bytes <= 0:
            break
        found.append(stored)
        lacking_bytes -= stored.stored_bytes
    return found


def _need(stored: Stored) -> tuple[bool, int, int]:
    order = {Nature.RETURN: 0, Nature.REHEARSAL: 1, Nature.UNKNOWN: 2, Nature.RECORDING: 4}
    rank = order[stored.nature]
    if stored.nature is Nature.RECORDING and stored.elsewhere:
        rank = 3
    return stored.protected, rank, stored.ended_ms
