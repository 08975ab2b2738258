"""Writes to the timetable, the table that hub and school both write: swapped lessons, edits."""

import random
from collections.abc import Iterator

from sync.logs.oplog import Row

CLASSES = 30
PERIODS = 40
_SUBJECTS = ("语文", "数学", "英语", "科学", "体育", "音乐", "美术", "劳动")


def draw_swaps(seed: int, count: int) -> Iterator[Row]:
    """Yield changes of subject and teacher at one of 1,200 slots; other columns stay unnamed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield {
            "slot": f"c{rng.randrange(CLASSES):02}-p{rng.randrange(PERIODS):02}",
            "subject": rng.choice(_SUBJECTS),
            "teacher": f"t{rng.randrange(90):02}",
        }


def draw_edits(seed: int, count: int) -> Iterator[Row]:
    """Yield one change of subject and teacher for each of ``count`` slots, in a drawn order."""
    rng = random.Random(seed)
    for slot in rng.sample(range(count), count):
        yield {
            "slot": f"e{slot:05}",
            "subject": rng.choice(_SUBJECTS),
            "teacher": f"t{rng.randrange(90):02}",
        }
