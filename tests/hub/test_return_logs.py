"""What classes said is given up at the hub after some hours, and nothing else is."""

import os
from pathlib import Path

import pytest

from hub.lesson.return_logs import forget_returns
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_sealing import TakeSealer, new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import DataKey

OLD, NEW, LIVE = LessonId("a1.r18"), LessonId("a2.r18"), LessonId("a3.r18")
LESSON = LessonId("a1")


@pytest.fixture
def shelf(tmp_path: Path) -> LessonShelf:
    made = LessonShelf(tmp_path)
    for lesson, touched_s in ((OLD, 100), (LESSON, 100), (LIVE, 100), (NEW, 900)):
        take = new_take()
        store = made.take(lesson, take)
        store.append(TakeSealer(lesson, take, DataKey(bytes(32))).seal_event(b"{}", 1))
        store.sync()
        os.utime(tmp_path / lesson / take.hex() / "records.log", (touched_s, touched_s))
    return made


def test_old_return_logs_go_and_lessons_new_ones_and_live_ones_stay(shelf: LessonShelf) -> None:
    assert forget_returns(shelf, lambda log: log == LIVE, 500) == [OLD]
    assert set(shelf.lessons()) == {LESSON, NEW, LIVE}
    assert forget_returns(shelf, lambda log: log == LIVE, 500) == []
    shelf.close()


def test_a_log_that_was_forgotten_can_begin_anew(shelf: LessonShelf) -> None:
    assert shelf.forget(OLD) > 0
    assert shelf.takes(OLD) == []
    assert shelf.forget(OLD) == 0
    take = new_take()
    record = TakeSealer(OLD, take, DataKey(bytes(32))).seal_event(b"{}", 1)
    assert shelf.take(OLD, take).append(record)
    shelf.close()
