import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drivers.codecs.rtp import SenderReport
from edge.lesson.capture.timeline import (
    ALIGN_S,
    DISBELIEF_S,
    ArrivalLine,
    TrackClock,
    align,
    drift,
)

CAMERA_S = 1_790_000_000.0


def clocks(arrived_apart_ms: int, truly_apart_ms: int) -> tuple[TrackClock, TrackClock]:
    """Start a picture and a sound clock that arrive, and were taken, so far apart."""
    video, audio = TrackClock(90_000), TrackClock(48_000)
    video.start(1000, 0)
    audio.start(5000, arrived_apart_ms)
    video.report(SenderReport(1, CAMERA_S, 1000))
    audio.report(SenderReport(2, CAMERA_S + truly_apart_ms / 1000, 5000))
    return video, audio


def apart_ms(video: TrackClock, audio: TrackClock) -> float:
    return audio.place(5000) / 48 - video.place(1000) / 90


def test_until_a_report_comes_tracks_lie_as_they_arrived() -> None:
    video, audio = TrackClock(90_000), TrackClock(48_000)
    video.start(1000, 0)
    audio.start(5000, 70)
    assert align(video, audio) == 0
    assert apart_ms(video, audio) == 70


@given(st.integers(0, 1000), st.integers(-1000, 1000))
def test_reports_bring_tracks_to_where_the_camera_took_them(arrived: int, taken: int) -> None:
    assume(abs(arrived - taken) < DISBELIEF_S * 1000)
    video, audio = clocks(arrived, taken)
    before = video.place(1000), audio.place(5000)
    align(video, audio)
    assert apart_ms(video, audio) == pytest.approx(taken, abs=ALIGN_S * 1000 + 0.1)
    assert video.place(1000) >= before[0]
    assert audio.place(5000) >= before[1]


def test_a_report_that_cannot_be_true_moves_nothing() -> None:
    video, audio = clocks(40, 5000)
    assert align(video, audio) == pytest.approx(4.96)
    assert apart_ms(video, audio) == 40


def test_a_report_before_the_first_packet_counts() -> None:
    video, audio = TrackClock(90_000), TrackClock(48_000)
    video.report(SenderReport(1, CAMERA_S, 0xFFFFFF00))
    audio.report(SenderReport(2, CAMERA_S, 10))
    video.start(0x00000100, 0)  # the wrap lies between
    audio.start(10, 100)
    align(video, audio)
    video_ms = video.place(0x100) / 90
    assert audio.place(10) / 48 == pytest.approx(100)
    assert video_ms == pytest.approx(100 + 0x200 / 90, abs=0.1)


@given(
    st.lists(
        st.tuples(st.integers(1, 4000), st.floats(-0.1, 0.1, allow_nan=False)),
        min_size=1,
        max_size=60,
    )
)
def test_time_never_goes_back_whatever_the_reports_say(steps: list[tuple[int, float]]) -> None:
    video, audio = clocks(0, 0)
    timestamp, last = 1000, video.place(1000)
    for step, error_s in steps:
        timestamp += step
        video.report(SenderReport(1, CAMERA_S + (timestamp - 1000) / 90_000 + error_s, timestamp))
        align(video, audio)
        now = video.place(timestamp & 0xFFFFFFFF)
        assert now > last
        last = now


TWO_HOURS_S = 2 * 3600
PPM = st.floats(-200, 200)
LIPS_S = 0.040 - 1024 / 48_000
"""Sound is laid in whole frames: what is left of ±40 ms for the clocks."""


class Crystal:
    """A clock of a camera: so many parts in a million too fast, from some count on, 32 bits."""

    def __init__(self, rate: int, ppm: float, first: int) -> None:
        self._rate = rate * (1 + ppm / 1e6)
        self._first = first

    def at(self, true_s: float) -> int:
        return (self._first + round(true_s * self._rate)) & 0xFFFFFFFF


@settings(max_examples=25)
@given(PPM, PPM, PPM, st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_two_hours_of_clocks_that_run_apart_keep_lips_and_voice_together_by_reports(
    picture_ppm: float, sound_ppm: float, camera_ppm: float, first: int, after_s: float
) -> None:
    crystals = Crystal(90_000, picture_ppm, first), Crystal(48_000, sound_ppm, first)
    clocks = TrackClock(90_000), TrackClock(48_000)
    for clock, crystal in zip(clocks, crystals, strict=True):
        clock.start(crystal.at(0), 0)
    true_s = 0.0
    while true_s < TWO_HOURS_S:
        true_s += 5
        for ssrc, (clock, crystal) in enumerate(zip(clocks, crystals, strict=True)):
            told_s = true_s + ssrc * after_s  # reports of the two do not come together
            before = clock.place(crystal.at(told_s))
            ntp_s = CAMERA_S + told_s * (1 + camera_ppm / 1e6)
            clock.report(SenderReport(ssrc, ntp_s, crystal.at(told_s)))
            align(*clocks)
            assert clock.place(crystal.at(told_s)) >= before
        now_s = true_s + after_s
        picture_s, sound_s = (
            clock.place(crystal.at(now_s)) / clock.rate
            for clock, crystal in zip(clocks, crystals, strict=True)
        )
        assert abs(picture_s - sound_s) < LIPS_S


@pytest.mark.parametrize("step_s", [-1.5, -0.4, 0.3, 1.2, 7.0, -3600.0])
def test_a_camera_clock_that_is_set_in_mid_lesson_moves_nothing(step_s: float) -> None:
    clocks = TrackClock(90_000), TrackClock(48_000)
    crystals = Crystal(90_000, 0, 5), Crystal(48_000, 0, 7)
    for clock, crystal in zip(clocks, crystals, strict=True):
        clock.start(crystal.at(0), 0)
    for number in range(40):
        for ssrc, (clock, crystal) in enumerate(zip(clocks, crystals, strict=True)):
            at_s = 5.0 * number + ssrc
            # The clock is set between the picture's report and the sound's.
            set_by_s = step_s if (number, ssrc) >= (20, 1) else 0.0
            clock.report(SenderReport(ssrc, CAMERA_S + at_s + set_by_s, crystal.at(at_s)))
            align(*clocks)
            assert clock.place(crystal.at(at_s)) == pytest.approx(at_s * clock.rate, abs=1)


@pytest.mark.parametrize(("ppm", "jitter_ms"), [(200, 10), (-200, 10), (0, 30)])
def test_arrivals_show_how_a_clock_runs_through_the_networks_delays(
    ppm: float, jitter_ms: float
) -> None:
    chance, line = random.Random(3), ArrivalLine()
    for number in range(TWO_HOURS_S * 2):
        true_s = number / 2
        late_ms = chance.expovariate(1 / jitter_ms)
        line.hear(true_s * (1 + ppm / 1e6), int(true_s * 1000 + late_ms))
        if line.wander_s is not None:
            assert line.wander_s == pytest.approx(-true_s * ppm / 1e6, abs=0.02)
    assert line.wander_s is not None


def test_who_follows_a_track_that_was_delayed_is_told_at_once_by_how_much() -> None:
    moved, still = ArrivalLine(), ArrivalLine()
    for second in range(60):
        moved.hear(second + (0.5 if second > 30 else 0.0), second * 1000)
        still.hear(second, second * 1000)
        if second == 30:
            moved.moved(0.5)
        if second >= 30:
            assert drift(still, moved) == pytest.approx(0.5)
