"""Density and intensity against a reference that looks at every moment of a lesson."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sports.load import (
    COVERAGE_MIN,
    GAP_MS_MAX,
    MOTION_BPM,
    Beat,
    class_load,
    pupil_load,
)

STEP_MS = 500
LESSON = (10_000, 40_000)


def beats_of(readings: list[tuple[int, int, bool | None]]) -> list[Beat]:
    """Return readings by time, one a moment."""
    at = {step * STEP_MS: (bpm, moving) for step, bpm, moving in readings}
    return [Beat(at_ms=ms, bpm=bpm, moving=moving) for ms, (bpm, moving) in sorted(at.items())]


READINGS = st.lists(
    st.tuples(
        st.integers(0, 100),
        st.sampled_from([0, 60, MOTION_BPM - 1, MOTION_BPM, 150, 210]),
        st.sampled_from([None, True, False]),
    ),
    max_size=40,
).map(beats_of)

DENSE = st.lists(
    st.tuples(st.sampled_from([60, MOTION_BPM, 150]), st.sampled_from([None, True, False])),
    min_size=12,
    max_size=12,
).map(lambda told: beats_of([(10 + 5 * at, *each) for at, each in enumerate(told)]))
"""Readings of a band that is always heard."""


def standing(beats: list[Beat], at_ms: int) -> Beat | None:
    """Return what a pupil's band last said before a moment, if that still stands."""
    before = [beat for beat in beats if beat.at_ms <= at_ms]
    if not before or at_ms - before[-1].at_ms >= GAP_MS_MAX or before[-1].bpm == 0:
        return None
    return before[-1]


def moments() -> range:
    return range(LESSON[0], LESSON[1], STEP_MS)


@given(READINGS | DENSE)
def test_a_pupils_figures_are_those_of_every_moment_looked_at(beats: list[Beat]) -> None:
    seen = [beat for beat in (standing(beats, at) for at in moments()) if beat is not None]
    load = pupil_load(beats, *LESSON)
    assert load.known_ms == len(seen) * STEP_MS
    assert load.coverage == pytest.approx(len(seen) / len(moments()))
    if load.coverage < COVERAGE_MIN or not seen:
        assert (load.density, load.mean_bpm) == (None, None)
        return
    assert load.density == pytest.approx(sum(beat.is_motion for beat in seen) / len(seen))
    assert load.mean_bpm == pytest.approx(sum(beat.bpm for beat in seen) / len(seen))


@given(st.dictionaries(st.integers(1, 5), DENSE | READINGS, max_size=5))
def test_a_classs_figures_are_those_of_every_moment_looked_at(
    beats: dict[int, list[Beat]],
) -> None:
    known = moving = 0
    for at in moments():
        seen = [beat for each in beats.values() if (beat := standing(each, at)) is not None]
        known += bool(seen)
        moving += bool(seen) and 2 * sum(beat.is_motion for beat in seen) >= len(seen)
    pupils = [pupil_load(each, *LESSON) for each in beats.values()]
    load = class_load(beats, *LESSON)
    assert load.coverage == pytest.approx(
        sum(each.coverage for each in pupils) / len(pupils) if pupils else 0
    )
    if load.coverage < COVERAGE_MIN:
        assert load.group_density is load.individual_density is load.mean_bpm is None
    elif load.group_density is not None:
        assert load.group_density == pytest.approx(moving / known)
        densities = [each.density for each in pupils if each.density is not None]
        assert load.individual_density == pytest.approx(sum(densities) / len(densities))
        assert load.reached == sum(density >= 0.5 for density in densities)


def test_one_practises_and_the_class_looks_on_is_no_density_of_the_group() -> None:
    def every(bpm: int) -> list[Beat]:
        return [Beat(at_ms=at, bpm=bpm) for at in range(*LESSON, 5_000)]

    load = class_load({1: every(150), 2: every(90), 3: every(90)}, *LESSON)
    assert load.group_density == 0
    assert (load.told, load.reached) == (3, 1)
    assert load.individual_density == pytest.approx(1 / 3)


def test_bands_that_fell_silent_give_no_figure_instead_of_a_pleasant_one() -> None:
    early = [Beat(at_ms=at, bpm=150) for at in range(10_000, 20_000, 1_000)]
    load = class_load({1: early}, *LESSON)
    assert load.coverage == pytest.approx(24 / 30)
    load = class_load({1: early[:-1]}, *LESSON)
    assert load.coverage < COVERAGE_MIN
    assert load.group_density is None
