import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulators.clock_picture import TestCard, draw_clock, read_clock

NOW_MS = 1_790_000_000_123
SIZES = [(1280, 720), (640, 360), (320, 180)]


def luma(t_ms: int, width: int, height: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return TestCard(width, height).draw(t_ms)[:height]


@given(st.integers(0, (1 << 48) - 1), st.sampled_from(SIZES))
def test_every_time_reads_back(t_ms: int, size: tuple[int, int]) -> None:
    width, height = size
    picture = np.zeros((height, width), np.uint8)
    draw_clock(picture, t_ms)
    assert read_clock(picture) == t_ms


@pytest.mark.parametrize("size", SIZES)
def test_it_reads_back_through_noise_and_washed_out_contrast(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).normal(0, 25, (size[1], size[0]))
    dull = np.clip(luma(NOW_MS, *size) * 0.6 + 50 + noise, 0, 255).astype(np.uint8)
    assert read_clock(dull) == NOW_MS


def test_it_reads_back_from_a_picture_scaled_to_a_quarter() -> None:
    small = luma(NOW_MS, 1280, 720).reshape(180, 4, 320, 4).mean(axis=(1, 3)).astype(np.uint8)
    assert read_clock(small) == NOW_MS


def test_a_damaged_cell_is_no_time() -> None:
    for column in range(32):
        picture = luma(NOW_MS, 640, 360).copy()
        cell = picture[:20, 20 * column : 20 * (column + 1)]
        cell[:] = 16 if cell.mean() > 128 else 235
        assert read_clock(picture) is None


@given(st.integers(0, 255))
def test_a_blank_picture_is_no_time(shade: int) -> None:
    assert read_clock(np.full((360, 640), shade, np.uint8)) is None


def test_noise_is_no_time() -> None:
    chance = np.random.default_rng(5)
    pictures = (chance.integers(0, 256, (18, 64), np.uint8) for _ in range(200))
    assert [read_clock(np.repeat(p, 10, axis=0)) for p in pictures].count(None) >= 199


def test_a_picture_too_small_for_cells_is_no_time() -> None:
    assert read_clock(np.zeros((8, 8), np.uint8)) is None
