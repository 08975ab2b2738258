from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.classroom.board import CaptionLine
from edge.lesson.recordings.time_line import (
    Mark,
    MarkKind,
    build_time_line,
    caption_cues,
    captured_captions,
    chapter_cues,
)
from edge.lesson.recordings.webvtt import Cue
from sync.lessons.fragment_log import TakeId
from sync.lessons.lesson_events import (
    CallOn,
    Caption,
    Chapter,
    LessonEvent,
    Question,
    Results,
    Slide,
    Stopped,
    TimedEvent,
    Times,
)

CLOCK = ((1_000_000, 0), (1_100_000, 60_000))
"""Two takes: 60 s of the file are the first, and 40 s of the lesson are in neither."""


def told(*events: tuple[int, LessonEvent]) -> list[TimedEvent]:
    return [
        TimedEvent(at_ms=at_ms, take=TakeId(bytes(8)), number=number, event=event)
        for number, (at_ms, event) in enumerate(events)
    ]


def test_what_happened_stands_in_order_with_what_it_says() -> None:
    line = build_time_line(
        told(
            (1_000_000, Times(starts_ms=1, ends_ms=2)),
            (1_001_000, Slide(digest="a" * 64, position=3, title="")),
            (1_009_000, Slide(digest="")),
            (1_002_000, Question(question="q", text="", choices=("A", "B"))),
            (1_004_000, Results(question="q", counts=(7, 2))),
            (1_005_000, CallOn(school=18)),
            (1_006_000, CallOn(school=0)),
            (1_008_000, Stopped()),
        ),
        [(1_003_000, 18)],
        [],
    )
    assert [(mark.kind, mark.text, mark.school) for mark in line.marks] == [
        (MarkKind.SLIDE, "3", 0),
        (MarkKind.QUESTION, "A / B", 0),
        (MarkKind.HAND, "", 18),
        (MarkKind.RESULTS, "7 : 2", 0),
        (MarkKind.CALL, "", 18),
        (MarkKind.STOPPED, "", 0),
    ]


def test_chapters_last_until_the_next_and_lie_where_the_file_has_them() -> None:
    line = build_time_line(
        told((1_000_000, Chapter(title="导入")), (1_110_000, Chapter(title="练习"))), [], []
    )
    assert chapter_cues(line, CLOCK) == [
        Cue(from_ms=0, until_ms=70_000, text="导入"),
        Cue(from_ms=70_000, until_ms=130_000, text="练习"),
    ]


def test_slides_are_chapters_where_nobody_marked_any() -> None:
    line = build_time_line(told((1_000_500, Slide(digest="a" * 64, title="封面"))), [], [])
    assert line.chapters == (Mark(at_ms=1_000_500, kind=MarkKind.SLIDE, text="封面"),)


def test_captions_that_came_afterwards_take_the_place_of_those_told() -> None:
    spoken = Caption(language="zh-CN", from_ms=1_000_000, until_ms=1_001_000, text="原話")
    english = Caption(language="en", from_ms=1_000_000, until_ms=1_001_000, text="spoken")
    better = CaptionLine(language="zh-CN", from_ms=1_000_000, until_ms=1_002_000, text="校对")
    line = build_time_line(told((1, spoken), (2, english)), [], [better])
    assert [each.text for each in line.captions["zh-CN"]] == ["校对"]
    assert [each.text for each in line.captions["en"]] == ["spoken"]


@given(
    st.lists(
        st.tuples(st.integers(0, 119_000), st.integers(1, 900)).filter(
            lambda cue: cue[0] + cue[1] < 60_000 or cue[0] >= 60_000
        ),
        max_size=8,
    )
)
def test_captions_come_back_to_their_place_in_the_file(cues: list[tuple[int, int]]) -> None:
    written = [Cue(from_ms=at, until_ms=at + lasts, text="x") for at, lasts in cues]
    lines = captured_captions("zh-CN", written, CLOCK)
    assert caption_cues(lines, CLOCK) == sorted(
        written, key=lambda cue: (cue.from_ms, cue.until_ms)
    )
