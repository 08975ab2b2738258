"""A lesson's events on the wire, and the names of tracks and return logs."""

import pytest

from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId
from sync.lessons.lesson_events import (
    EVENT_BYTES_MAX,
    Answer,
    CallOn,
    Question,
    Slide,
    Times,
    decode_event,
    encode_event,
)
from sync.lessons.tracks import parse_return_log, return_log


def test_an_event_is_read_back_as_it_was_told() -> None:
    for event in (
        Times(starts_ms=1, ends_ms=2),
        Slide(digest="0f" * 32, position=3, title="分数"),
        CallOn(school=0),
        Question(question="q1", text="?", choices=("甲", "乙")),
        Answer(question="q1", choice=1, count=30),
    ):
        assert decode_event(encode_event(event)) == event


def test_an_event_that_no_node_would_read_is_not_sent() -> None:
    with pytest.raises(ValueError, match="digest"):
        encode_event(Slide(digest="no digest"))
    with pytest.raises(ValueError, match="choices"):
        encode_event(Question(question="q1", text="?", choices=("only one",)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"type":"of tomorrow"}',
        b'{"type":"hand","raised":1}',
        b'{"type":"hand","raised":true,"more":1}',
        b'{"type":"call_on","school":-1}',
        b'{"type":"slide","digest":"' + b"0f" * 32 + b'\\n"}',
        b'{"type":"caption","language":"zh\\n","from_ms":0,"until_ms":1,"text":""}',
        b'{"type":"chapter","title":"\xff"}',
        b'{"type":"chapter","title":"' + b"x" * EVENT_BYTES_MAX + b'"}',
    ],
)
def test_a_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_event(body)


def test_a_return_log_names_its_lesson_and_school() -> None:
    name = return_log(LessonId("00ff00ff00ff00ff"), 524)
    assert parse_return_log(name) == ("00ff00ff00ff00ff", 524)
    assert parse_return_log(return_log(LessonId("a.r7"), 12)) == ("a.r7", 12)


@pytest.mark.parametrize("name", ["lesson", "lesson.r", "lesson.r07", "lesson.rx", ".r7", "a.r٣"])
def test_another_log_is_no_return_log(name: str) -> None:
    assert parse_return_log(LessonId(name)) is None


def test_a_lesson_whose_name_leaves_no_room_has_no_return_log() -> None:
    with pytest.raises(MalformedError):
        return_log(LessonId("x" * 48), 7)
