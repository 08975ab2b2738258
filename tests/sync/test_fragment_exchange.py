"""Messages between box and hub: strict, bounded, and about numbers that mean what they say."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from sync.lessons.fragment_log import Kind, Stream, TakeId

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
