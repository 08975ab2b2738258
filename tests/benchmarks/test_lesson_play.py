"""The judge of lesson_poor_link.py, held against lessons whose faults are known."""

import pytest

from benchmarks.lesson_box_end import Came
from benchmarks.lesson_play import (
    BEHIND_MS,
    NEVER_MS,
    SoundFound,
    Stretch,
    large_again_s,
    picture_delay_ms,
    picture_share,
    slide_delays_s,
    sound_of,
)
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND

STRETCH = Stretch(10_000, 20_000)
FRAGMENT_MS = 107


def came(track: int, told_ms: int, late_ms: int, number: int = 0) -> Came:
    return Came(track=track, number=number, told_ms=told_ms, came_ms=told_ms + late_ms)


@pytest.mark.parametrize(
    ("delays_ms", "gaps_ms"),
    [
        ([300] * 50, []),
        ([300] * 10 + [BEHIND_MS + 199] + [300] * 10, []),
        ([300] * 10 + [BEHIND_MS + 500] + [300] * 10, [500]),
        ([300, BEHIND_MS + 500, BEHIND_MS + 500, BEHIND_MS + 400], [500]),
        ([BEHIND_MS + 500, BEHIND_MS + 1000], [500, 500]),
        ([300, NEVER_MS, 300], []),
        ([300, NEVER_MS, NEVER_MS, 300], [2 * FRAGMENT_MS]),
        ([300, NEVER_MS, NEVER_MS, NEVER_MS], [3 * FRAGMENT_MS]),
    ],
)
def test_a_silence_is_what_a_page_has_to_wait_for(
    delays_ms: list[int], gaps_ms: list[float]
) -> None:
    assert SoundFound(delays_ms=delays_ms, fragment_ms=FRAGMENT_MS).gaps_ms == gaps_ms


def test_a_page_that_waited_hurries_and_can_fall_silent_again() -> None:
    again = [BEHIND_MS + 500] + [300] * 400 + [BEHIND_MS + 500]
    assert SoundFound(delays_ms=again, fragment_ms=FRAGMENT_MS).gaps == 2


def test_sound_that_never_came_is_counted_between_what_came() -> None:
    found = [came(SOUND, 11_000 + 100 * n, 200, n) for n in range(20) if n not in {5, 6}]
    sound = sound_of(found, STRETCH)
    assert sound.lost == 2
    assert sound.share(0.5) == 200
    assert sound.fragment_ms == 100
    assert sound_of([], STRETCH).lost == 1


def test_seconds_without_a_picture_are_missed_and_other_tracks_count_for_nothing() -> None:
    found = [came(PICTURE_SMALL, second * 1000, 50) for second in range(10, 18)]
    found.append(came(SOUND, 18_000, 50))
    assert picture_share(found, STRETCH) == 80
    assert picture_delay_ms(found, STRETCH) == 50
    assert picture_delay_ms([], STRETCH) == NEVER_MS


def test_the_large_picture_is_back_when_it_is_large_and_not_late() -> None:
    found = [
        came(PICTURE, 5_000, 6_000),
        came(PICTURE_SMALL, 12_000, 20),
        came(PICTURE, 14_000, 30),
    ]
    assert large_again_s(found, STRETCH) == 4.03
    assert large_again_s(found[:2], STRETCH) == NEVER_MS


def test_a_slide_is_there_when_it_was_told_of_and_is_whole() -> None:
    told = Came(told_ms=12_000, came_ms=12_500, slide="a")
    late = Came(told_ms=13_000, came_ms=13_100, slide="b")
    never = Came(told_ms=14_000, came_ms=14_100, slide="c")
    files = [
        Came(told_ms=0, came_ms=11_000, digest="a"),
        Came(told_ms=0, came_ms=15_000, digest="b"),
    ]
    assert slide_delays_s([*files, told, late], STRETCH) == [0.5, 2.0]
    assert slide_delays_s([*files, never], STRETCH)[0] > 1000
