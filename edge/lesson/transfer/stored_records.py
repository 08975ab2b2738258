"""What of a log was kept before this process began, opened."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import EVENTS, Header, LessonId, Record
from sync.lessons.fragment_proof import ProvenStream
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import TimedEvent, decode_event
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)
_Read = TypeVar("_Read")


def opened_records(
    records: Iterable[Record], opener: FragmentOpener, read: Callable[[Header, bytes], _Read]
) -> Iterator[_Read]:
    """Yield what ``read`` makes of each record; what cannot be opened or read is passed over."""
    for record in records:
        try:
            found = read(record.header, opener.open(record))
        except (KeyMissingError, ForgedError, MalformedError) as error:
            _log.warning(
                "lesson %s: what is stored is passed over: %s", record.header.lesson, error
            )
            continue
        yield found


def told_events(
    shelf: LessonShelf, log: LessonId, keys: Mapping[KeyId, DataKey]
) -> Iterator[TimedEvent]:
    """Yield the stored events of a log, take by take; what cannot be opened is passed over."""
    opener = FragmentOpener(log, keys)
    for store in shelf.takes(log):
        yield from opened_records(store.records(EVENTS), opener, timed_event)


def proven_events(
    shelf: LessonShelf, log: LessonId, keys: Mapping[KeyId, DataKey]
) -> Iterator[TimedEvent]:
    """Yield the same of what the log's owner signed: what a recording shows."""
    opener = FragmentOpener(log, keys)
    for store in shelf.takes(log):
        yield from opened_records(ProvenStream(store, EVENTS).records(), opener, timed_event)


def timed_event(header: Header, opened: bytes) -> TimedEvent:
    """Return an opened event; raises MalformedError for one that a newer version told."""
    return TimedEvent(
        at_ms=header.capture_ms,
        take=header.take,
        number=header.number,
        event=decode_event(opened),
    )
