"""What each track of a lesson's take carries, and how a class's way back is named.

A track is 1..15, odd for picture and even for sound (``sync.lessons.fragment_log.is_sound``).
"""

from typing import Final

from sync.errors import MalformedError
from sync.lessons.fragment_log import LessonId, parse_lesson_id

PICTURE: Final = 1
"""The teacher's camera, its large stream."""
SOUND: Final = 2
"""The room's sound; it goes with every picture."""
PICTURE_SMALL: Final = 3
"""The same camera's sub-stream, for links that do not carry the large one."""
CALLED_SOUND: Final = 4
CALLED_PICTURE: Final = 9
"""The class that was called on: what came on its return path, given again to all."""
BLACKBOARD: Final = 5
DOCUMENT: Final = 7

_RETURN = ".r"
_SCHOOL_DIGITS_MAX = 9


def return_log(lesson: LessonId, school: int) -> LessonId:
    """Name the log in which a receiving school's picture, voice and hands go to the flagship.

    Raises MalformedError when the lesson's own name leaves no room for the school's number.
    """
    return parse_lesson_id(f"{lesson}{_RETURN}{school}")


def keeps_media(log: LessonId) -> bool:
    """Tell whether nodes store the pictures and sounds of a log.

    Those of a return log are live only: no node writes them down, holds them for who comes late, or
    sends them again. What the class said (events) is kept as in any log.
    """
    return parse_return_log(log) is None


def parse_return_log(name: LessonId) -> tuple[LessonId, int] | None:
    """Return the lesson and the school of a return log's name; None for any other log."""
    lesson, found, school = name.rpartition(_RETURN)
    fits = school.isascii() and school.isdigit() and len(school) <= _SCHOOL_DIGITS_MAX
    if not (found and lesson and fits) or school.startswith("0"):
        return None
    try:
        return parse_lesson_id(lesson), int(school)
    except MalformedError:
        return None
