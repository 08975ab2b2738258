"""Messages between box and hub: strict, bounded, and about numbers that mean what they say."""

import contextlib
from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sync.errors import MalformedError
from sync.lessons.fragment_exchange import (
    Current,
    Holdings,
    StreamHoldings,
    TakeHoldings,
    Want,
    decode_from_box,
    decode_from_hub,
    encode_message,
    overlap,
    spans_of,
)
from sync.lessons.fragment_index import NumberSet, Span
from sync.lessons.fragment_log import (
    STREAMS_MAX,
    TRACK_MAX,
    Header,
    Kind,
    LessonId,
    Stream,
    TakeId,
    encode_header,
    parse_header,
)
from sync.segments.sealing import UNSEALED, KeyId

HELD = Holdings(
    durable=True,
    current="00" * 8,
    media_age_ms=12,
    takes=[
        TakeHoldings(
            take="00" * 8,
            started_ms=5,
            final=False,
            streams=[StreamHoldings(kind=Kind.MEDIA, track=1, have=[(0, 4), (9, 9)])],
        )
    ],
)
WANT = Want(take="00" * 8, kind=Kind.MEDIA, track=1, first=0, last=511)


def test_messages_survive_the_wire() -> None:
    assert decode_from_hub(encode_message(HELD).decode()) == HELD
    assert decode_from_box(encode_message(WANT).decode()) == WANT
    assert decode_from_box(encode_message(Current(take="0f" * 8)).decode()).take == "0f" * 8
    assert spans_of(HELD, TakeId(bytes(8)), Stream(Kind.MEDIA, 1)) == [(0, 4), (9, 9)]
    assert spans_of(HELD, TakeId(bytes(8)), Stream(Kind.MEDIA, 2)) == []


def recordable_streams() -> Iterator[Stream]:
    """Return each stream that a record can be of."""
    for kind, track in product(Kind, range(TRACK_MAX + 1)):
        header = Header(
            lesson=LessonId("lesson-1"),
            take=TakeId(bytes(8)),
            kind=kind,
            track=track,
            number=0,
            keyframe=False,
            decode_time=0,
            duration=0,
            timescale=1,
            capture_ms=0,
            key_id=UNSEALED if kind is Kind.SIGNATURE else KeyId(b"12345678"),
            body_bytes=1,
        )
        with contextlib.suppress(MalformedError):
            yield parse_header(encode_header(header))[0].stream


def test_what_is_held_of_a_take_of_all_streams_can_be_told() -> None:
    streams = list(recordable_streams())
    assert len(streams) == STREAMS_MAX == 33
    take = TakeHoldings(
        take="00" * 8,
        started_ms=5,
        final=True,
        streams=[StreamHoldings(kind=each.kind, track=each.track, have=[]) for each in streams],
    )
    held = replace(HELD, takes=[take])
    assert decode_from_hub(encode_message(held).decode()) == held


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda text: '{"type":"want",' + text))
def test_arbitrary_text_is_a_message_or_malformed_and_nothing_else(text: str) -> None:
    for decode in (decode_from_box, decode_from_hub):
        with contextlib.suppress(MalformedError):
            decode(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"want","take":"0000000000000000","kind":0,"track":1,"first":0,"last":512}',
        '{"type":"want","take":"0000000000000000","kind":0,"track":1,"first":5,"last":4}',
        '{"type":"want","take":"0000000000000000","kind":0,"track":1,"first":-1,"last":4}',
        '{"type":"want","take":"../../etc/passwd","kind":0,"track":1,"first":0,"last":1}',
        '{"type":"want","take":"0000000000000000","kind":7,"track":1,"first":0,"last":1}',
        '{"type":"current","take":"0000000000000000","extra":1}',
        '{"type":"erase"}',
    ],
)
def test_a_message_outside_its_limits_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_from_box(text)


def spans(numbers: set[int]) -> list[Span]:
    marked = NumberSet()
    for number in numbers:
        marked.add(number)
    return marked.spans()


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_the_overlap_of_runs_is_that_of_their_numbers(left: set[int], right: set[int]) -> None:
    assert (
        overlap(spans(left), spans(right)) == spans(left & right)
        or {
            number
            for first, last in overlap(spans(left), spans(right))
            for number in range(first, last + 1)
        }
        == left & right
    )
