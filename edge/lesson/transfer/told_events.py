"""What was told in a log before this process began."""

import logging
from collections.abc import Iterator, Mapping

from sync.errors import ForgedError, KeyMissingError, MalformedError
from sync.lessons.fragment_log import EVENTS, LessonId
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import TimedEvent, decode_event
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)


def told_events(
    shelf: LessonShelf, log: LessonId, keys: Mapping[KeyId, DataKey]
) -> Iterator[TimedEvent]:
    """Yield the stored events of a log, take by take; what cannot be opened is passed over."""
    opener = FragmentOpener(log, keys)
    for store in shelf.takes(log):
        for record in store.records(EVENTS):
            header = record.header
            try:
                event = decode_event(opener.open(record))
            except (KeyMissingError, ForgedError, MalformedError) as error:
                _log.warning("lesson %s: an event is passed over: %s", log, error)
                continue
            yield TimedEvent(
                at_ms=header.capture_ms, take=header.take, number=header.number, event=event
            )
