"""What a teacher may order of a lesson's times from the remote."""

from dataclasses import replace

from edge.errors import NotNowError
from sync.lessons.lesson_times import (
    LATER_MS_MAX,
    LONGER_MS_MAX,
    MINUTE_MS,
    LessonOrder,
    LessonTimes,
    is_within,
)
from sync.logs.oplog import Row

STEP_MIN_MAX = 30


def order_row(lesson: str, order: LessonOrder) -> Row:
    """Return the row of ``lesson_order``."""
    return {
        "lesson": lesson,
        "planned_starts_ms": order.planned.starts_ms,
        "planned_ends_ms": order.planned.ends_ms,
        "starts_ms": order.times.starts_ms,
        "ends_ms": order.times.ends_ms,
        "stopped": int(order.times.stopped),
        "at_ms": order.at_ms,
    }


def put_off(planned: LessonTimes, now: LessonTimes, minutes: int, now_ms: int) -> LessonOrder:
    """Begin so many minutes later, and end as much later.

    Raises NotNowError when the lesson has begun or that is beyond the bounds.
    """
    if now_ms >= now.starts_ms:
        raise NotNowError("the lesson has begun; make it longer instead")
    return _checked(
        planned,
        replace(
            now,
            starts_ms=now.starts_ms + minutes * MINUTE_MS,
            ends_ms=now.ends_ms + minutes * MINUTE_MS,
        ),
        now_ms,
    )


def extend(planned: LessonTimes, now: LessonTimes, minutes: int, now_ms: int) -> LessonOrder:
    """End so many minutes later; raises NotNowError when it is over or beyond the bounds."""
    if now_ms >= now.ends_ms:
        raise NotNowError("the lesson is over; it cannot be made longer any more")
    return _checked(planned, replace(now, ends_ms=now.ends_ms + minutes * MINUTE_MS), now_ms)


def stop(planned: LessonTimes, now: LessonTimes, now_ms: int) -> LessonOrder:
    """End the lesson at once; raises NotNowError before it began and after it ended."""
    if now_ms <= now.starts_ms:
        raise NotNowError("the lesson has not begun; the district can cancel it")
    if now_ms >= now.ends_ms:
        raise NotNowError("the lesson is over already")
    return _checked(planned, replace(now, ends_ms=now_ms, stopped=True), now_ms)


def _checked(planned: LessonTimes, times: LessonTimes, now_ms: int) -> LessonOrder:
    if not is_within(planned, times):
        raise NotNowError(
            f"a lesson begins at most {LATER_MS_MAX // MINUTE_MS} min and ends at most"
            f" {LONGER_MS_MAX // MINUTE_MS} min later than planned; ask the district to move it"
        )
    return LessonOrder(at_ms=now_ms, planned=planned, times=times)
