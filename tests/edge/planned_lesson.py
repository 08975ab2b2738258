"""A lesson as a box's schedule has it, for tests that need no schedule."""

from edge.lesson.schedule import Party, ScheduledLesson
from edge.pages.box_view import LessonRole
from sync.lessons.fragment_log import LessonId
from sync.lessons.lesson_times import LessonTimes


def party(school: int, role: LessonRole, room: str, class_group: str = "") -> Party:
    return Party(
        school=school,
        name=f"第{school}小学",
        name_en=f"School {school}",
        role=role,
        room=room,
        class_group=class_group,
    )


def planned_lesson(
    lesson: LessonId, starts_ms: int, ends_ms: int, mine: Party, *others: Party
) -> ScheduledLesson:
    """Return a lesson whose times are as planned."""
    return ScheduledLesson(
        lesson=lesson,
        kind="delivery",
        title_zh="圆的周长",
        title_en="Circles",
        teacher="王老师",
        starts_ms=starts_ms,
        ends_ms=ends_ms,
        rehearsal=False,
        done=False,
        planned=LessonTimes(starts_ms=starts_ms, ends_ms=ends_ms),
        mine=mine,
        parties=(mine, *others),
    )
