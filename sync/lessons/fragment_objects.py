"""Records as HTTP objects that never change: their names, and what one of several holds.

``/lessons/<lesson>/<take>/<track>/<name>``: ``name`` is the number of a media record (of track 0,
of a signature), or ``<first>-<last>`` for up to 64 of them behind one another, with
``<kind>-`` before it for other kinds: ``init-0``, ``event-0-63``. What a box fetches begins at
multiples of 64, so that all boxes ask a cache for the same objects. The body is the records as
they are, one after the other.
"""

import re

from sync.errors import MalformedError
from sync.lessons.fragment_index import Span
from sync.lessons.fragment_log import (
    HEADER_BYTES_MAX,
    NUMBER_MAX,
    TRACK_MAX,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    parse_header,
    parse_record,
)

BATCH_RECORDS = 64
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""A batch of more is no object: its records are fetched one by one."""

_NAME = re.compile(r"(?:([a-z]{1,9})-)?([0-9]{1,7})(?:-([0-9]{1,7}))?", re.ASCII)
_NAMED = {kind.name.lower(): kind for kind in Kind if kind not in {Kind.MEDIA, Kind.SIGNATURE}}


def object_path(lesson: LessonId, take: TakeId, stream: Stream, span: Span) -> str:
    """Return the path of a run of records, or of one."""
    plain = stream.kind in {Kind.MEDIA, Kind.SIGNATURE}
    kind = "" if plain else f"{stream.kind.name.lower()}-"
    first, last = span
    name = f"{first}" if first == last else f"{first}-{last}"
    return f"/lessons/{lesson}/{take.hex()}/{stream.track}/{kind}{name}"


def parse_object(track: str, name: str) -> tuple[Stream, Span]:
    """Read the end of a path or raise MalformedError."""
    number = parse_number(track, TRACK_MAX)
    found = _NAME.fullmatch(name)
    if found is None:
        raise MalformedError(f"{name[:32]!r} names no fragment; ask by number, as the index does")
    kind = Kind.MEDIA if number else Kind.SIGNATURE
    if found[1] is not None:
        if found[1] not in _NAMED:
            raise MalformedError(f"{found[1]!r} is no kind of fragment that is asked for by name")
        kind = _NAMED[found[1]]
    first = parse_number(found[2], NUMBER_MAX)
    last = first if found[3] is None else parse_number(found[3], NUMBER_MAX)
    if not 0 <= last - first < BATCH_RECORDS:
        raise MalformedError(f"{first}-{last} is no run of 1 to {BATCH_RECORDS} fragments")
    return Stream(kind, number), (first, last)


def batches(first: int, last: int) -> list[Span]:
    """Return the runs from multiples of 64 on that the numbers lie in."""
    begins = range(first - first % BATCH_RECORDS, last + 1, BATCH_RECORDS)
    return [(begin, begin + BATCH_RECORDS - 1) for begin in begins]


def parse_batch(body: bytes) -> list[Record]:
    """Read records one after the other; raises MalformedError, also for a byte too many."""
    records: list[Record] = []
    at = 0
    while at < len(body):
        if len(records) == BATCH_RECORDS:
            raise MalformedError(f"more than {BATCH_RECORDS} fragments in one object; refuse it")
        header, header_bytes = parse_header(body[at : at + HEADER_BYTES_MAX])
        end = at + header_bytes + header.body_bytes
        records.append(parse_record(body[at:end]))
        at = end
    return records


def parse_number(text: str, most: int) -> int:
    """Read a number from 0 to ``most`` or raise MalformedError."""
    if not (
        text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most
    ):
        raise MalformedError(f"{text[:16]!r} is no number from 0 to {most}")
    return int(text)
