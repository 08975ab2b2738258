"""A rural school's link is narrowed in a lesson, and widened: what its class sees, in Chromium.

Hub, both boxes and the camera are processes of their own (``benchmarks/lesson_district.py``).
Nobody touches the class's page.
"""

from pathlib import Path

import pytest

from benchmarks.lesson_camera import MEDIUM, SHAPES, SMALL, WITH_SOUND
from benchmarks.lesson_district import RECEIVER, lesson_district
from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.scenarios.classes_screens import Seen, open_class

pytestmark = pytest.mark.timeout(480)

STARTS_IN_S, LASTS_S = 4.0, 480.0
NARROW_BYTES_S = 50_000
"""Twice what the camera's small picture and its sound need, a third of what the large one does."""
LARGE_WIDE, SMALL_WIDE = SHAPES[MEDIUM][0], SHAPES[SMALL][0]
LIVE, REDUCED, CATCHING_UP = "live", "picture reduced, sound is safe", "catching up"
ON_TIME = {LIVE, REDUCED}
PICTURES = 20


async def test_a_narrow_link_shows_the_small_picture_and_a_wide_one_the_large_again(
    tmp_path: Path,
) -> None:
    async with (
        running_chromium(SOUND_UNTOUCHED) as browser,
        lesson_district(tmp_path / "district", main=MEDIUM) as district,
    ):
        await district.schedule(WITH_SOUND, STARTS_IN_S, LASTS_S)
        screen = await open_class(browser, district, "en")
        before = await screen.until(lambda now: now.wide == LARGE_WIDE and now.states[-1] == LIVE)
        await screen.until(lambda now: goes_on(now, before))

        district.links[RECEIVER].narrow(NARROW_BYTES_S)
        narrow = await screen.until(
            lambda now: now.wide == SMALL_WIDE and now.states[-1] == REDUCED
        )
        await screen.page.screenshot(path=tmp_path / "narrow.png")
        await screen.until(
            lambda now: goes_on(now, narrow) and (now.wide, now.states[-1]) == (SMALL_WIDE, REDUCED)
        )

        district.links[RECEIVER].widen()
        wide = await screen.until(lambda now: now.wide == LARGE_WIDE and now.states[-1] == LIVE)
        seen = await screen.until(lambda now: goes_on(now, wide) and now.states[-1] in ON_TIME)
        assert seen.clocks == sorted(seen.clocks)
        assert screen.complaints == []


def goes_on(now: Seen, before: Seen) -> bool:
    """Tell whether more pictures and more sound have been shown and heard since."""
    return len(now.clocks) >= len(before.clocks) + PICTURES and now.sound > before.sound
