"""Exercise density and intensity of a lesson, by the curriculum standard's definitions. Pure.

Source: 义务教育体育与健康课程标准 (2022 年版), as it is quoted in the literature: in each lesson
the group's density of exercise (全班总体运动时间 ÷ 课堂总时间) is at least 75 %, a pupil's
(单个学生运动时间 ÷ 课堂总时间) at least 50 %, and the mean heart rate of all pupils in principle
140 to 160 a minute. That a pupil exercises is told by the band, or else by a heart rate of 120 or
more, the lower end of what the Beijing standard DB11/T 1704-2019, 2.2, counts as effective load in
a lesson (120 to 200). The standard does not say how many of a class must move for the group to
move: here at least half of the pupils of whom something is known at that moment.

Time of which no band told is not known, neither movement nor rest: shares are of the known time,
and no figure is given when less than COVERAGE_MIN of the lesson is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GROUP_DENSITY_MIN = 0.75
INDIVIDUAL_DENSITY_MIN = 0.5
INTENSITY_BPM = (140, 160)
MOTION_BPM = 120
TOO_HIGH_BPM = 200
COVERAGE_MIN = 0.8
GROUP_SHARE = 0.5
GAP_MS_MAX = 15_000
"""How long one reading stands for what follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One reading of a pupil's band; ``moving`` None: by the heart rate."""

    at_ms: int
    bpm: int
    moving: bool | None = None

    @property
    def is_motion(self) -> bool:
        return self.bpm >= MOTION_BPM if self.moving is None else self.moving


@dataclass(frozen=True, slots=True, kw_only=True)
class PupilLoad:
    """One pupil's lesson. ``density`` and ``mean_bpm`` are None when too little is known."""

    known_ms: int
    coverage: float
    density: float | None
    mean_bpm: float | None
    highest_bpm: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLoad:
    """A class's lesson; figures are None when ``coverage`` is below COVERAGE_MIN.

    ``reached`` of ``told`` pupils, those of whom enough is known, came to the individual density.
    """

    coverage: float
    group_density: float | None
    individual_density: float | None
    mean_bpm: float | None
    pupils: int
    told: int
    reached: int


@dataclass(frozen=True, slots=True)
class _Span:
    from_ms: int
    until_ms: int
    bpm: int
    is_motion: bool


def pupil_load(beats: Sequence[Beat], from_ms: int, until_ms: int) -> PupilLoad:
    """Return one pupil's load in [from, until); ``beats`` by time."""
    spans = _spans(beats, from_ms, until_ms)
    known_ms = sum(span.until_ms - span.from_ms for span in spans)
    coverage = known_ms / max(1, until_ms - from_ms)
    in_motion_ms = sum(span.until_ms - span.from_ms for span in spans if span.is_motion)
    weighted = sum((span.until_ms - span.from_ms) * span.bpm for span in spans)
    is_enough = known_ms > 0 and coverage >= COVERAGE_MIN
    return PupilLoad(
        known_ms=known_ms,
        coverage=coverage,
        density=in_motion_ms / known_ms if is_enough else None,
        mean_bpm=weighted / known_ms if is_enough else None,
        highest_bpm=max((span.bpm for span in spans), default=None),
    )


def class_load(beats: Mapping[int, Sequence[Beat]], from_ms: int, until_ms: int) -> ClassLoad:
    """Return a class's load in [from, until); ``beats`` of every pupil with a band, by time."""
    loads = [pupil_load(each, from_ms, until_ms) for each in beats.values()]
    densities = [load.density for load in loads if load.density is not None]
    means = [load.mean_bpm for load in loads if load.mean_bpm is not None]
    coverage = sum(load.coverage for load in loads) / max(1, len(loads))
    is_enough = bool(densities) and coverage >= COVERAGE_MIN
    return ClassLoad(
        coverage=coverage,
        group_density=_group_density(beats, from_ms, until_ms) if is_enough else None,
        individual_density=sum(densities) / len(densities) if is_enough else None,
        mean_bpm=sum(means) / len(means) if is_enough else None,
        pupils=len(loads),
        told=len(densities),
        reached=sum(density >= INDIVIDUAL_DENSITY_MIN for density in densities),
    )


def _group_density(beats: Mapping[int, Sequence[Beat]], from_ms: int, until_ms: int) -> float:
    """Return the share of the known time in which at least half of the known pupils move."""
    turns: list[tuple[int, int, int]] = []
    for each in beats.values():
        for span in _spans(each, from_ms, until_ms):
            turns.append((span.from_ms, 1, int(span.is_motion)))
            turns.append((span.until_ms, -1, -int(span.is_motion)))
    turns.sort()
    known = moving = known_ms = moving_ms = 0
    before_ms = from_ms
    for at_ms, known_more, moving_more in turns:
        if known:
            known_ms += at_ms - before_ms
            moving_ms += (at_ms - before_ms) * (moving >= GROUP_SHARE * known)
        before_ms = at_ms
        known += known_more
        moving += moving_more
    return moving_ms / max(1, known_ms)


def _spans(beats: Sequence[Beat], from_ms: int, until_ms: int) -> list[_Span]:
    """Let each reading stand until the next one, for GAP_MS_MAX at most, within the lesson.

    A heart rate of 0 says that the band is not worn.
    """
    spans: list[_Span] = []
    for index, beat in enumerate(beats):
        follows_ms = beats[index + 1].at_ms if index + 1 < len(beats) else until_ms
        begins_ms = max(beat.at_ms, from_ms)
        ends_ms = min(follows_ms, beat.at_ms + GAP_MS_MAX, until_ms)
        if begins_ms < ends_ms and beat.bpm > 0:
            spans.append(_Span(begins_ms, ends_ms, beat.bpm, beat.is_motion))
    return spans
