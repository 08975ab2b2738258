"""What a teacher's order of a lesson's times is, and how far it counts: the same at every node.

The flagship's word stands in ``lesson_order`` and in the lesson's own time line. It counts for the
times the district planned when it was given: a lesson that the district moves afterwards is where
the district moved it.
"""

from dataclasses import dataclass

MINUTE_MS = 60_000
LATER_MS_MAX = 60 * MINUTE_MS
"""How much later than planned a lesson may begin."""
LONGER_MS_MAX = 90 * MINUTE_MS
"""How much later than planned it may end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonTimes:
    """When a lesson begins and ends, Unix ms; ``stopped``: a teacher ended it before its time."""

    starts_ms: int
    ends_ms: int
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonOrder:
    """A teacher's word of ``at_ms`` on a lesson that was planned for ``planned``."""

    at_ms: int
    planned: LessonTimes
    times: LessonTimes


def apply_order(planned: LessonTimes, order: LessonOrder | None) -> LessonTimes:
    """Return the times that count: an order for other times, or beyond its bounds, is passed over.

    It may come from another school's box and is not believed further than a teacher's page goes.
    """
    if order is None or order.planned != planned or not is_within(planned, order.times):
        return planned
    return order.times


def is_within(planned: LessonTimes, times: LessonTimes) -> bool:
    """Tell whether a teacher may order these times of a lesson."""
    return (
        planned.starts_ms <= times.starts_ms <= planned.starts_ms + LATER_MS_MAX
        and times.starts_ms < times.ends_ms <= planned.ends_ms + LONGER_MS_MAX
    )
