import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.codecs.rtp import SenderReport
from edge.lesson.timeline import ALIGN_S, DISBELIEF_S, TrackClock, align

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
