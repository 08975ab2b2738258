"""What happens in a lesson beside picture and sound: the bodies of event records.

An event's body is one JSON object with a ``type``, at most 8 KB; its moment is the record's
capture time. Events say what holds from then on, so that whoever joins late, or hears them in
another order, folds them by (capture time, take, number) to the same state. An unknown type is of
a newer node: it is kept and relayed like any record, and passed over where events are folded.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from sync.errors import MalformedError
from sync.lessons.fragment_log import TIME_MAX, TakeId

EVENT_BYTES_MAX = 8 * 1024
CHOICES_MAX = 8
Language = Annotated[str, Meta(pattern=r"\A[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*\Z", max_length=35)]
"""A BCP 47 tag."""

_Ms = Annotated[int, Meta(ge=0, le=TIME_MAX)]
_School = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Count = Annotated[int, Meta(ge=0, le=10_000)]
_Line = Annotated[str, Meta(max_length=500)]
_Choice = Annotated[str, Meta(min_length=1, max_length=100)]
_Question = Annotated[str, Meta(min_length=1, max_length=64)]
_Digest = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]


class Times(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="times"):
    """The lesson begins and ends then, whatever the schedule says."""

    starts_ms: _Ms
    ends_ms: _Ms


class Slide(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="slide"):
    """A picture of the lesson's material is shown; an empty ``digest`` (SHA-256) takes it away."""

    digest: _Digest
    position: Annotated[int, Meta(ge=0, le=10_000)] = 0
    title: _Line = ""


class CallOn(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="call_on"):
    """The class that is heard, 0 for none; with ``stage`` its picture is the large one."""

    school: _School
    stage: bool = False


class Mute(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="mute"):
    """A class's voice is held back, also while it is called on."""

    school: _School
    muted: bool


class Question(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="question"):
    """All classes are asked; the question is open until its :class:`Results`."""

    question: _Question
    text: _Line
    choices: Annotated[tuple[_Choice, ...], Meta(min_length=2, max_length=CHOICES_MAX)]


class Results(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="results"):
    """A question is closed: how many chose what, in the order of its choices."""

    question: _Question
    counts: Annotated[tuple[_Count, ...], Meta(min_length=2, max_length=CHOICES_MAX)]


class Caption(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="caption"):
    """A line of text for a stretch of the lesson, Unix milliseconds of the flagship."""

    language: Language
    from_ms: _Ms
    until_ms: _Ms
    text: _Line


class Chapter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="chapter"):
    """A part of the lesson begins here."""

    title: _Line


class Stopped(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="stopped"):
    """The teacher ended the lesson."""

    reason: _Line = ""


class Hand(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="hand"):
    """From a receiving class: a hand goes up, or down."""

    raised: bool


class Answer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="answer"):
    """From a receiving class: how many there chose the choice of this place, from 0."""

    question: _Question
    choice: Annotated[int, Meta(ge=0, lt=CHOICES_MAX)]
    count: _Count = 1


class Help(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="help"):
    """From a receiving class: somebody is asked to come, or no longer."""

    wanted: bool


LessonEvent = (
    Times
    | Slide
    | CallOn
    | Mute
    | Question
    | Results
    | Caption
    | Chapter
    | Stopped
    | Hand
    | Answer
    | Help
)

_DECODER = msgspec.json.Decoder(LessonEvent)


class TimedEvent(Struct, frozen=True, kw_only=True):
    """An event with what orders it; ``at_ms`` is Unix time at the node that told it."""

    at_ms: int
    take: TakeId
    number: int
    event: LessonEvent


def encode_event(event: LessonEvent) -> bytes:
    """Return an event's body; raises ValueError for one that no node would read."""
    body = msgspec.json.encode(event)
    try:
        decode_event(body)
    except MalformedError as error:
        raise ValueError(str(error)) from error
    return body


def decode_event(body: bytes) -> LessonEvent:
    """Read an opened event record's body or raise MalformedError."""
    if len(body) > EVENT_BYTES_MAX:
        raise MalformedError(f"a lesson's event of {len(body)} bytes; at most {EVENT_BYTES_MAX}")
    try:
        event: LessonEvent = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedError(f"a lesson's event cannot be read: {error}") from error
    return event


def event_order(timed: TimedEvent) -> tuple[int, TakeId, int]:
    return timed.at_ms, timed.take, timed.number
