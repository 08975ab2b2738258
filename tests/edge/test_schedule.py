from contextlib import closing

import pytest

from edge.lesson.schedule import AFTER_MS, ScheduledLesson, read_lessons
from edge.pages.box_view import LessonRole
from sync.lessons.lesson_times import LATER_MS_MAX, LONGER_MS_MAX
from sync.logs.oplog import Row
from sync.store import connect_readonly
from tests.edge.school import MINUTE, Box, schedule


def lessons(box: Box) -> list[ScheduledLesson]:
    with closing(connect_readonly(box.folder / "box.db")) as reader:
        return read_lessons(reader, 17, box.now_ms)


def test_lessons_of_this_school_come_by_time_with_their_parties(box: Box) -> None:
    now = box.now_ms
    box.plant("school", {"school": 18, "name": "二小", "name_en": "Second"})
    schedule(box, "late", now + 60 * MINUTE, now + 90 * MINUTE)
    schedule(box, "soon", now + 5 * MINUTE, now + 45 * MINUTE)
    schedule(box, "theirs", now, now + MINUTE, rooms={18: ("flagship", "1"), 19: ("receiver", "2")})
    soon, late = lessons(box)
    assert (soon.lesson, late.lesson) == ("soon", "late")
    assert (soon.mine.role, soon.mine.room) == (LessonRole.FLAGSHIP, "101")
    assert [party.name_en for party in soon.receivers] == ["Second"]
    assert not soon.done


def test_a_cancelled_lesson_is_none(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now, now + MINUTE)
    schedule(box, "a1", now, now + MINUTE, cancelled=1)
    assert lessons(box) == []


def test_a_lesson_that_was_moved_is_read_at_its_new_time(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now, now + MINUTE)
    schedule(box, "a1", now + 60 * MINUTE, now + 100 * MINUTE)
    assert [each.starts_ms for each in lessons(box)] == [now + 60 * MINUTE]


def test_a_lesson_written_down_is_done_and_an_old_one_is_gone(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now - 90 * MINUTE, now - 50 * MINUTE)
    schedule(box, "old", now - AFTER_MS - 2 * MINUTE, now - AFTER_MS - MINUTE)
    box.plant("lesson_minutes", {"school": 17, "lesson": "a1", "live_s": 2400})
    box.plant("lesson_minutes", {"school": 18, "lesson": "a1", "live_s": 2400})
    assert [(each.lesson, each.done) for each in lessons(box)] == [("a1", True)]


@pytest.mark.parametrize("name", ["../../etc", ".", "a/b", "", "x" * 60])
def test_a_lesson_whose_id_is_no_file_name_is_passed_over(box: Box, name: str) -> None:
    now = box.now_ms
    schedule(box, name, now, now + MINUTE)
    schedule(box, "a1", now, now + MINUTE)
    assert [each.lesson for each in lessons(box)] == ["a1"]


def test_a_lesson_without_times_or_with_an_unknown_part_is_passed_over(box: Box) -> None:
    now = box.now_ms
    schedule(box, "backwards", now + MINUTE, now)
    schedule(box, "strange", now, now + MINUTE, rooms={17: ("judge", "101")})
    box.plant("lesson", {"school": 17, "lesson": "timeless"})
    box.plant("lesson_party", {"school": 17, "lesson": "timeless", "role": "flagship"})
    assert lessons(box) == []


def test_many_lessons_of_a_district_are_read_in_a_breath(box: Box) -> None:
    """A year of the whole district lies in each box: 27,000 lessons, of which few are its own."""
    now = box.now_ms
    with box.opened():
        pass
    for number in range(40):
        schedule(box, f"mine{number}", now, now + MINUTE)
    with closing(connect_readonly(box.folder / "box.db")) as reader:
        plan = " ".join(
            str(row[3])
            for row in reader.execute(
                "EXPLAIN QUERY PLAN SELECT * FROM lesson_party mine"
                " JOIN lesson l ON l.lesson = mine.lesson"
                " JOIN lesson_party p ON p.lesson = mine.lesson WHERE mine.school = 17"
            )
        )
    assert "SCAN" not in plan
    assert len(lessons(box)) == 40


def order(box: Box, school: int = 17, **changes: int) -> None:
    """Let a school's teacher make lesson a1 ten minutes longer."""
    now = box.now_ms
    box.plant(
        "lesson_order",
        {
            "school": school,
            "lesson": "a1",
            "planned_starts_ms": now,
            "planned_ends_ms": now + 40 * MINUTE,
            "starts_ms": now,
            "ends_ms": now + 50 * MINUTE,
            "at_ms": now,
            **changes,
        },
    )


def test_what_the_flagships_teacher_ordered_counts(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now, now + 40 * MINUTE)
    order(box)
    (lesson,) = lessons(box)
    assert lesson.ends_ms == now + 50 * MINUTE
    assert lesson.planned.ends_ms == now + 40 * MINUTE
    assert lesson.ordered_ms == now


def test_another_partys_order_is_passed_over(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now, now + 40 * MINUTE)
    order(box, school=18)
    assert lessons(box)[0].ends_ms == now + 40 * MINUTE


def test_a_lesson_that_the_district_moves_afterwards_is_where_the_district_moved_it(
    box: Box,
) -> None:
    now = box.now_ms
    schedule(box, "a1", now + 5 * MINUTE, now + 45 * MINUTE)
    order(box)
    (lesson,) = lessons(box)
    assert (lesson.starts_ms, lesson.ends_ms) == (now + 5 * MINUTE, now + 45 * MINUTE)


def test_an_order_beyond_what_a_teacher_may_is_passed_over(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now, now + 40 * MINUTE)
    for changes in (
        {"ends_ms": now + 40 * MINUTE + LONGER_MS_MAX + 1},
        {"starts_ms": now - 1},
        {"starts_ms": now + LATER_MS_MAX + 1, "ends_ms": now + 90 * MINUTE},
        {"ends_ms": now},
    ):
        order(box, **changes)
        assert lessons(box)[0].ends_ms == now + 40 * MINUTE


def test_a_recording_that_is_to_stand_in_is_read_with_its_title(box: Box) -> None:
    now = box.now_ms
    schedule(box, "a1", now, now + 40 * MINUTE)
    box.plant("lesson", lesson_row(box, "a1", substitute="earlier"))
    schedule(box, "earlier", now - 9000 * MINUTE, now - 8960 * MINUTE)
    (lesson,) = (each for each in lessons(box) if each.lesson == "a1")
    assert (lesson.substitute, lesson.substitute_title) == ("earlier", "圆的周长")
    box.plant("lesson", lesson_row(box, "a1", substitute="../etc"))
    assert next(each for each in lessons(box) if each.lesson == "a1").substitute is None


def lesson_row(box: Box, lesson: str, substitute: str) -> Row:
    now = box.now_ms
    return {
        "school": 17,
        "lesson": lesson,
        "kind": "delivery",
        "title_zh": "圆的面积",
        "starts_ms": now,
        "ends_ms": now + 40 * MINUTE,
        "substitute": substitute,
    }
