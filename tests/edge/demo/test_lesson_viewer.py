import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.demo.lesson_viewer import LessonViewer, tone_share
from edge.lesson.capture.fmp4 import Sample, fragment

RATE = 48_000


def tone(hertz: float, samples: int = 4096, loudness: float = 0.25) -> NDArray[np.float32]:
    at = np.arange(samples) + 12_345
    return (loudness * np.sin(2 * np.pi * hertz * at / RATE)).astype(np.float32)


def test_a_tone_is_told_from_other_tones_from_silence_and_from_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 0.25, 4096).astype(np.float32)
    assert tone_share(tone(1000), RATE, 1000) == pytest.approx(1, abs=0.01)
    assert tone_share(tone(1000) + tone(3000), RATE, 1000) == pytest.approx(0.5, abs=0.03)
    assert tone_share(tone(440), RATE, 1000) < 0.02
    assert tone_share(tone(1000, loudness=0.001), RATE, 1000) == 0
    assert tone_share(np.zeros(4096, np.float32), RATE, 1000) == 0
    assert tone_share(noise, RATE, 1000) < 0.05
    assert tone_share(np.zeros(0, np.float32), RATE, 1000) == 0


def test_a_fragment_before_its_initialisation_segment_is_an_error() -> None:
    for track in (1, 2):
        data = fragment(track, 0, 0, [Sample(b"x", 1, keyframe=True)])
        with pytest.raises(ValueError, match="before its initialisation segment"):
            LessonViewer().feed(data, 0)


whole = fragment(1, 0, 0, [Sample(b"picture", 1, keyframe=True)])


@given(st.binary(max_size=100) | st.integers(0, len(whole) - 1).map(lambda cut: whole[:cut]))
def test_what_is_not_a_fragment_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — many sentences, one kind
        LessonViewer().feed(data, 0)
