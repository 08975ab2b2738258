"""What classes said on their way back to a teacher, given up some hours after the lesson.

The hub cannot open it, and what is to be kept of it comes as rows; pictures and voices it never
stored (``sync.lessons.tracks.keeps_media``).
"""

import asyncio
from collections.abc import Callable
from typing import Never

from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import parse_return_log

KEPT_S = 6 * 3600
_LOOK_EVERY_S = 600.0


async def keep_forgetting(
    shelf: LessonShelf, is_live: Callable[[LessonId], bool], now_ms: Callable[[], int]
) -> Never:
    """Look now and then; what ``is_live`` stays."""
    while True:
        forget_returns(shelf, is_live, now_ms() / 1000 - KEPT_S)
        await asyncio.sleep(_LOOK_EVERY_S)


def forget_returns(
    shelf: LessonShelf, is_live: Callable[[LessonId], bool], moment_s: float
) -> list[LessonId]:
    """Forget the return logs to which nothing was added since then, Unix seconds."""
    old = [
        log
        for log in shelf.untouched_since(moment_s)
        if parse_return_log(log) is not None and not is_live(log)
    ]
    for log in old:
        shelf.forget(log)
    return old
