from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.recordings.retention import (
    DAY_MS,
    HOUR_MS,
    Keeping,
    Nature,
    Stored,
    Why,
    expired,
    given_up,
    kept_until,
)
from sync.lessons.fragment_log import LessonId

KEEPING = Keeping(recordings_ms=90 * DAY_MS, rehearsals_ms=DAY_MS, returns_ms=12 * HOUR_MS)
NOW_MS = 1_800_000_000_000
LESSON = Stored(
    lesson=LessonId("a1"),
    nature=Nature.RECORDING,
    ended_ms=NOW_MS,
    stored_bytes=1000,
    protected=False,
    elsewhere=False,
)


@pytest.mark.parametrize(
    ("nature", "lasts_ms", "why"),
    [
        (Nature.RECORDING, 90 * DAY_MS, Why.AGE),
        (Nature.UNKNOWN, 90 * DAY_MS, Why.AGE),
        (Nature.REHEARSAL, DAY_MS, Why.REHEARSAL),
        (Nature.RETURN, 12 * HOUR_MS, Why.RETURN),
    ],
)
def test_each_kind_goes_at_its_age_and_not_a_moment_earlier(
    nature: Nature, lasts_ms: int, why: Why
) -> None:
    stored = replace(LESSON, nature=nature)
    assert kept_until(stored, KEEPING) == NOW_MS + lasts_ms
    assert expired([stored], KEEPING, NOW_MS + lasts_ms - 1) == []
    assert expired([stored], KEEPING, NOW_MS + lasts_ms) == [(stored, why)]


def test_what_is_protected_never_goes_by_its_age() -> None:
    stored = replace(LESSON, protected=True)
    assert kept_until(stored, KEEPING) is None
    assert expired([stored], KEEPING, NOW_MS + 1000 * DAY_MS) == []


def test_a_full_disk_takes_what_is_needed_least_first_and_an_only_copy_last() -> None:
    only = replace(LESSON, lesson=LessonId("only"), ended_ms=NOW_MS - 80 * DAY_MS)
    newer = replace(LESSON, lesson=LessonId("newer"), elsewhere=True, ended_ms=NOW_MS - DAY_MS)
    older = replace(newer, lesson=LessonId("older"), ended_ms=NOW_MS - 2 * DAY_MS)
    back = replace(LESSON, lesson=LessonId("a1.r18"), nature=Nature.RETURN)
    trial = replace(LESSON, lesson=LessonId("trial"), nature=Nature.REHEARSAL)
    kept = replace(LESSON, lesson=LessonId("kept"), protected=True, elsewhere=True)
    shelf = [kept, only, newer, trial, older, back]
    order = [each.lesson for each in given_up(shelf, 6000)]
    assert order == ["a1.r18", "trial", "older", "newer", "only", "kept"]


natures = st.sampled_from(list(Nature))
shelves = st.lists(
    st.builds(
        replace,
        st.just(LESSON),
        lesson=st.text("abcdef", min_size=1, max_size=6).map(LessonId),
        nature=natures,
        stored_bytes=st.integers(0, 10_000),
        protected=st.booleans(),
        elsewhere=st.booleans(),
        ended_ms=st.integers(0, NOW_MS),
    ),
    unique_by=lambda each: each.lesson,
    max_size=12,
)


@given(shelves, st.integers(-100, 50_000))
def test_no_more_is_given_up_than_is_needed(shelf: list[Stored], lacking: int) -> None:
    gone = given_up(shelf, lacking)
    freed = sum(each.stored_bytes for each in gone)
    assert freed >= min(lacking, sum(each.stored_bytes for each in shelf))
    assert not gone or freed - gone[-1].stored_bytes < lacking
