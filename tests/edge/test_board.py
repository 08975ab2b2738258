"""A lesson's board: the same whatever the order its events come in."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.classroom.board import CAPTIONS_MAX, BoardView, LessonBoard
from sync.lessons.fragment_log import TakeId
from sync.lessons.lesson_events import (
    Answer,
    CallOn,
    Caption,
    Chapter,
    Hand,
    Help,
    LessonEvent,
    Mute,
    Question,
    Results,
    Slide,
    Stopped,
    TimedEvent,
    Times,
)

DIGEST = "ab" * 32
TAKE = TakeId(b"12345678")


def timed(at_ms: int, event: LessonEvent, number: int = 0) -> TimedEvent:
    return TimedEvent(at_ms=at_ms, take=TAKE, number=number, event=event)


def folded(*events: TimedEvent) -> BoardView:
    board = LessonBoard()
    for event in events:
        board.add(event)
    return board.view


STORY = [
    timed(10, Times(starts_ms=100, ends_ms=200)),
    timed(20, Slide(digest=DIGEST, position=1, title="一")),
    timed(25, Slide(digest=DIGEST, position=2, title="二")),
    timed(30, CallOn(school=7, stage=True)),
    timed(31, Mute(school=7, muted=True)),
    timed(32, Mute(school=7, muted=False)),
    timed(33, Mute(school=8, muted=True)),
    timed(40, Question(question="q1", text="2+2?", choices=("3", "4"))),
    timed(44, Question(question="q2", text="2+3?", choices=("5", "6"))),
    timed(45, Results(question="q1", counts=(1, 2))),
    timed(50, Caption(language="zh", from_ms=49, until_ms=51, text="好")),
    timed(55, Chapter(title="练习")),
    timed(70, Hand(raised=True)),
    timed(71, Help(wanted=True)),
    timed(72, Help(wanted=False)),
    timed(80, Stopped(reason="")),
]


@given(st.permutations(STORY), st.integers(0, len(STORY)))
def test_events_give_the_same_board_in_any_order_and_twice(
    events: list[TimedEvent], again: int
) -> None:
    assert folded(*events, *events[:again]) == folded(*STORY)


def test_a_board_tells_what_holds_now() -> None:
    view = folded(*STORY)
    assert (view.starts_ms, view.ends_ms, view.stopped) == (100, 200, True)
    assert view.slide is not None
    assert (view.slide.position, view.slide.at_ms) == (2, 25)
    assert (view.called, view.stage, view.muted) == (7, True, (8,))
    assert view.question is not None
    assert (view.question.question, view.question.counts) == ("q2", None)
    assert view.captions[0].text == "好"
    assert view.chapter is not None
    assert view.chapter.title == "练习"
    assert (view.hand_ms, view.help_ms) == (70, None)


def test_a_question_is_closed_by_its_own_results() -> None:
    asked = Question(question="q", text="?", choices=("a", "b"))
    view = folded(timed(2, Results(question="q", counts=(3, 4))), timed(1, asked))
    assert view.question is not None
    assert view.question.counts == (3, 4)


def test_a_slide_without_a_picture_takes_the_slide_away() -> None:
    shown = timed(1, Slide(digest=DIGEST))
    assert folded(shown, timed(2, Slide(digest=""))).slide is None


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    board = LessonBoard()
    board.add(timed(5, Answer(question="q", choice=1, count=20)))
    board.add(timed(4, Answer(question="q", choice=0)))
    assert board.answer("q") == Answer(question="q", choice=1, count=20)
    assert board.answer("other") is None


def test_a_board_forgets_the_oldest_rather_than_grow_without_end() -> None:
    board = LessonBoard()
    moments = list(range(CAPTIONS_MAX + 100))
    random.Random(1).shuffle(moments)
    for at_ms in moments:
        line = Caption(language="zh", from_ms=at_ms, until_ms=at_ms, text="x")
        board.add(timed(at_ms, line))
    assert len(board.captions) == CAPTIONS_MAX
    assert board.captions[-1].from_ms == CAPTIONS_MAX + 99


@pytest.mark.parametrize("first", [0, 1])
def test_two_events_of_one_moment_are_ordered_by_their_numbers(first: int) -> None:
    events = [timed(1, CallOn(school=5), 0), timed(1, CallOn(school=6), 1)]
    assert folded(events[first], events[1 - first]).called == 6
