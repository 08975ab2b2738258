"""What a classroom page receives: one binary message an init or fragment, text for the state.

Binary messages, integers big-endian::

    offset  bytes  field
    0       1      version, 1
    1       1      kind: 0 media, 1 init
    2       1      track; odd = picture, even = sound
    3       1      flags: bit 0 keyframe
    4       4      take: the first bytes of the take's id; when it changes, players start anew
    8       4      number
    12      8      capture time at the flagship, Unix milliseconds
    20      8      decode time, microseconds on the take's time line
    28      …      media: moof + mdat; init: 1 byte m, m bytes of media type, ftyp + moov

Text messages are JSON, sent on every change and each second::

    {
        "type": "state",
        "state": "waiting" | "live" | "degraded" | "catching_up" | "done",
        "cause": "…",
        "now_ms": 0,
        "sound_age_ms": null,
        "picture_age_ms": null,
        "rung": "main" | "small" | "sound",
        "gaps": 0,
    }

``now_ms`` is the box's clock, by which a page tells how far behind it plays. What holds beside
picture and sound (slide, question, who is called on, captions) is sent on every change, and to each
page that joins: ``{"type": "board", …}`` with the fields of ``BoardView``
(``edge.lesson.classroom.board``).
"""

import struct
from dataclasses import dataclass

import msgspec

from edge.lesson.classroom.board import BoardView
from edge.lesson.status import LessonStatus
from sync.errors import MalformedError
from sync.lessons.fragment_log import Header, Kind, TakeId
from sync.lessons.fragment_sealing import split_init

_HEADER = struct.Struct(">BBBBIIQQ")
_VERSION = 1
_KEYFRAME = 1
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamItem:
    """One opened init or fragment; ``data`` of an init carries its media type as it was sealed."""

    take: TakeId
    kind: Kind
    track: int
    number: int
    keyframe: bool
    capture_ms: int
    decode_us: int
    data: bytes


def item_of(header: Header, opened: bytes) -> StreamItem:
    """Return the item an opened record stands for; raises MalformedError for an unusable init."""
    if header.kind is Kind.INIT:
        split_init(opened)
    elif header.kind is not Kind.MEDIA:
        raise MalformedError("a signature is nothing a classroom plays")
    return StreamItem(
        take=header.take,
        kind=header.kind,
        track=header.track,
        number=header.number,
        keyframe=header.keyframe,
        capture_ms=header.capture_ms,
        decode_us=header.decode_time * 1_000_000 // header.timescale,
        data=opened,
    )


def encode_item(item: StreamItem) -> bytes:
    return (
        _HEADER.pack(
            _VERSION,
            item.kind,
            item.track,
            _KEYFRAME if item.keyframe else 0,
            int.from_bytes(item.take[:4], "big"),
            item.number,
            item.capture_ms,
            item.decode_us,
        )
        + item.data
    )


def encode_board(view: BoardView) -> bytes:
    return msgspec.json.encode({"type": "board", **msgspec.to_builtins(view)})


def encode_state(status: LessonStatus, now_ms: int) -> bytes:
    return msgspec.json.encode(
        {
            "type": "state",
            "state": status.phase,
            "cause": status.cause,
            "now_ms": now_ms,
            "sound_age_ms": status.sound_age_ms,
            "picture_age_ms": status.picture_age_ms,
            "rung": status.rung,
            "gaps": status.missing,
        }
    )
