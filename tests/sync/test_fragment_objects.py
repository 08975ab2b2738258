"""Names of records as HTTP objects, and what an object of several holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.lessons.fragment_log import NUMBER_MAX, Kind, LessonId, Record, Stream, TakeId
from sync.lessons.fragment_objects import (
    BATCH_RECORDS,
    batches,
    object_path,
    parse_batch,
    parse_object,
)
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.segments.sealing import DataKey

LESSON, TAKE = LessonId("lesson-1"), TakeId(b"take-one")
STREAMS = [
    Stream(Kind.MEDIA, 1),
    Stream(Kind.MEDIA, 15),
    Stream(Kind.INIT, 2),
    Stream(Kind.SIGNATURE, 0),
    Stream(Kind.EVENT, 0),
    Stream(Kind.FILE, 1),
]


def records(count: int) -> list[Record]:
    sealer = TakeSealer(LESSON, TAKE, DataKey(bytes(32)))
    times = MediaTimes(decode_time=0, duration=40, timescale=1000, capture_ms=0)
    return [
        sealer.seal_media(1, number, b"%d" % number, times, keyframe=False)
        for number in range(count)
    ]


@given(st.sampled_from(STREAMS), st.integers(0, NUMBER_MAX), st.integers(1, BATCH_RECORDS))
def test_a_path_names_exactly_what_it_was_made_of(stream: Stream, first: int, count: int) -> None:
    span = (first, min(first + count - 1, NUMBER_MAX))
    _, _, lesson, take, track, name = object_path(LESSON, TAKE, stream, span).split("/")
    assert (lesson, take) == (LESSON, TAKE.hex())
    assert parse_object(track, name) == (stream, span)


@pytest.mark.parametrize(
    ("track", "name"),
    [
        ("1", ""),
        ("1", "-1"),
        ("1", "0-64"),
        ("1", "5-4"),
        ("1", "media-5"),
        ("1", "signature-0"),
        ("1", "cat-0"),
        ("1", "1048576"),
        ("1", "٣"),
        ("16", "0"),
        ("", "0"),
        ("1", "0-1-2"),
    ],
)
def test_what_names_no_fragment_is_refused(track: str, name: str) -> None:
    with pytest.raises(MalformedError):
        parse_object(track, name)


@given(st.integers(0, 5000), st.integers(1, 512))
def test_batches_cover_the_numbers_and_begin_where_all_boxes_begin(first: int, count: int) -> None:
    runs = batches(first, first + count - 1)
    assert runs[0][0] <= first
    assert runs[-1][1] >= first + count - 1
    assert all(begin % BATCH_RECORDS == 0 and end - begin == 63 for begin, end in runs)


def test_a_batch_holds_records_as_they_are_and_nothing_besides() -> None:
    made = records(BATCH_RECORDS)
    body = b"".join(record.wire for record in made)
    assert [record.wire for record in parse_batch(body)] == [record.wire for record in made]
    for broken in (body + b"S", body[:-1], body[1:], body + made[0].wire):
        with pytest.raises(MalformedError):
            parse_batch(broken)
