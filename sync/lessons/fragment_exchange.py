"""What box and hub tell each other beside the records: JSON text messages on the same WebSocket.

``/lessons/{lesson}/publish``: the box sends :class:`Current` before a take's first record, and when
its link takes another rung, and then records as binary messages, whole or in parts
(``sync.lessons.fragment_parts``); the hub sends :class:`Holdings` at once and every second, and
:class:`HubMinute` every minute.
``/lessons/{lesson}/follow``: the hub sends :class:`Holdings` at once, every second and when a new
take begins, :class:`HubMinute` every minute, and records in the same way; the box asks for what it
lacks by :class:`Want`.
``/lessons/{lesson}/index`` answers :class:`Holdings`. Every message has a ``type``; an unknown one
is refused.
"""

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from sync.errors import MalformedError
from sync.lessons.fragment_index import Span
from sync.lessons.fragment_log import (
    NUMBER_MAX,
    STREAMS_MAX,
    TIME_MAX,
    TRACK_MAX,
    Kind,
    Stream,
    TakeId,
    is_sound,
    parse_take_id,
)
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_shelf import TAKES_MAX
from sync.lessons.fragment_store import TakeStore

MESSAGE_BYTES_MAX = 512 * 1024
SPANS_MAX = 256
WANT_RECORDS_MAX = 512

_Take = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Track = Annotated[int, Meta(ge=0, le=TRACK_MAX)]
_Ms = Annotated[int, Meta(ge=0, le=TIME_MAX)]
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class StreamHoldings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which numbers of a stream the hub has; beyond 256 runs the newest are told."""

    kind: Kind
    track: _Track
    have: Annotated[list[tuple[_Number, _Number]], Meta(max_length=SPANS_MAX)]

    @property
    def stream(self) -> Stream:
        return Stream(self.kind, self.track)


class TakeHoldings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the hub has of one take."""

    take: _Take
    started_ms: _Ms
    final: bool
    streams: Annotated[list[StreamHoldings], Meta(max_length=STREAMS_MAX)]

    @property
    def id(self) -> TakeId:
        return parse_take_id(self.take)

    @property
    def has_media(self) -> bool:
        return any(one.kind is Kind.MEDIA for one in self.streams)


class Holdings(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag="holdings",
    omit_defaults=True,
):
    """What the hub has of a lesson.

    ``durable``: all of it was fsynced. ``current``: the take the flagship publishes now.
    ``media_age_ms``: how long ago the flagship's last live fragment came, None before the first.
    ``objects``: scheme and authority of a cache that has records as objects
    (``sync.lessons.fragment_objects``), "" for none.
    """

    durable: bool
    current: _Take | None
    media_age_ms: _Ms | None
    takes: Annotated[list[TakeHoldings], Meta(max_length=TAKES_MAX)]
    objects: Annotated[str, Meta(max_length=256)] = ""

    @property
    def live(self) -> TakeId | None:
        """The take that is published now, else the newest that has picture or sound."""
        if self.current is not None:
            return parse_take_id(self.current)
        return next((held.id for held in reversed(self.takes) if held.has_media), None)


class HubMinute(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="minute"):
    """What the hub saw of a minute of the lesson: of its own load, and of the link it tells it on.

    ``busy_ms``, ``disk_ms``: the longest that its loop was late, and that its disk took to make
    what came durable. ``unstored_s``: seconds in which the lesson found no room on that disk. Of
    the link: ``silent_s``, seconds in which it should have brought live fragments and did not;
    ``reduced_s``, seconds below the large picture; ``dropped``, live fragments given up for it;
    ``waiting_bytes``, the most that waited for it.
    """

    busy_ms: _Count
    disk_ms: _Count
    unstored_s: _Count
    silent_s: _Count
    reduced_s: _Count
    dropped: _Count
    waiting_bytes: _Count


class Current(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="current"):
    """From the flagship: the take whose fragments are live from here on.

    ``rung`` tells which picture its link carries; what else of the take comes is catch-up.
    """

    take: _Take
    rung: Rung = Rung.MAIN


class Want(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="want"):
    """From a receiver: send these stored records, when live leaves room."""

    take: _Take
    kind: Kind
    track: _Track
    first: _Number
    last: _Number

    @property
    def stream(self) -> Stream:
        return Stream(self.kind, self.track)

    @property
    def count(self) -> int:
        return self.last + 1 - self.first


_FROM_HUB = msgspec.json.Decoder(Holdings | HubMinute)
_FROM_BOX = msgspec.json.Decoder(Current | Want)


def encode_message(sent: Holdings | HubMinute | Current | Want) -> bytes:
    return msgspec.json.encode(sent)


def decode_from_hub(text: str) -> Holdings | HubMinute:
    """Read a hub's message or raise MalformedError."""
    try:
        received: Holdings | HubMinute = _FROM_HUB.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedError(f"the hub's message cannot be read: {error}") from error
    return received


def decode_from_box(text: str) -> Current | Want:
    """Read a box's message or raise MalformedError."""
    try:
        received: Current | Want = _FROM_BOX.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedError(f"the box's message cannot be read: {error}") from error
    if isinstance(received, Want) and not 1 <= received.count <= WANT_RECORDS_MAX:
        raise MalformedError(f"a want of {received.count} records; ask for 1..{WANT_RECORDS_MAX}")
    return received


def holdings_of(take: TakeStore) -> TakeHoldings:
    return TakeHoldings(
        take=take.take.hex(),
        started_ms=take.started_ms or 0,
        final=take.final,
        streams=[
            StreamHoldings(
                kind=stream.kind,
                track=stream.track,
                have=take.index(stream).present.spans()[-SPANS_MAX:],
            )
            for stream in take.streams
        ],
    )


def spans_of(holdings: Holdings, take: TakeId, stream: Stream) -> list[Span]:
    for held in holdings.takes:
        if held.take == take.hex():
            for one in held.streams:
                if one.stream == stream:
                    return one.have
    return []


def overlap(left: list[Span], right: list[Span]) -> list[Span]:
    """Return the numbers in both of two ordered lists of runs."""
    both: list[Span] = []
    at_left = at_right = 0
    while at_left < len(left) and at_right < len(right):
        first = max(left[at_left][0], right[at_right][0])
        last = min(left[at_left][1], right[at_right][1])
        if first <= last:
            both.append((first, last))
        if left[at_left][1] < right[at_right][1]:
            at_left += 1
        else:
            at_right += 1
    return both


class Turn(IntEnum):
    """In which order what is missing is caught up with."""

    PROOF = 0  # inits, signatures and events
    SOUND = 1
    FILE = 2
    PICTURE = 3


def turn_of(stream: Stream) -> Turn:
    match stream.kind:
        case Kind.FILE:
            return Turn.FILE
        case Kind.MEDIA:
            return Turn.SOUND if is_sound(stream.track) else Turn.PICTURE
        case _:
            return Turn.PROOF
