"""A test picture that carries the time twice: as a bar-code for programs, as digits for people.

The bar-code is 64 cells in two rows over the full width of the picture's top ninth: Unix time in
ms as 48 bits, most significant first, then CRC-16/CCITT of those six bytes; white is 1. It
survives scaling and compression, since only the middle of each cell is read.
"""

import binascii
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
"""Brightness, one byte a pixel, ``(height, width)``."""

COLUMNS = 32
ROWS = 2
BAR_PART = 9
"""The bar-code takes one part in so many of the picture's height."""

_CYCLE_MS = 60_000
_TIME_BYTES = 6
_BLACK = 16
_WHITE = 235
_GREY = 128  # no colour
_CONTRAST_MIN = 60
_CRC_START = 0xFFFF  # so that an all-black bar is no valid time
# ITU-R BT.601 Y, Cb, Cr of grey, yellow, cyan, green, magenta, red, blue at 75 %.
_COLOURS = (
    (180, 128, 128),
    (162, 44, 142),
    (131, 156, 44),
    (112, 72, 58),
    (84, 184, 198),
    (65, 100, 212),
    (35, 212, 114),
)
# Segments a to g of a digit as (left, top, right, bottom) in a field of 4 x 7.
_SEGMENTS = (
    (0, 0, 4, 1),
    (3, 0, 4, 4),
    (3, 3, 4, 7),
    (0, 6, 4, 7),
    (0, 3, 1, 7),
    (0, 0, 1, 4),
    (0, 3, 4, 4),
)
_DIGITS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


def draw_clock(luma: Luma, t_ms: int) -> None:
    """Draw the bar-code of a Unix time in ms over the top of a picture."""
    payload = t_ms.to_bytes(_TIME_BYTES, "big")
    code = payload + binascii.crc_hqx(payload, _CRC_START).to_bytes(2, "big")
    bits = np.unpackbits(np.frombuffer(code, np.uint8)).reshape(ROWS, COLUMNS)
    height, width = luma.shape
    down, across = _cells(height, width)
    luma[: height // BAR_PART] = np.where(bits[np.ix_(down, across)], _WHITE, _BLACK)


def read_clock(luma: Luma) -> int | None:
    """Return the Unix time in ms that a picture carries, or None if it cannot be made out.

    Of the picture no more than the top ninth is looked at; ``luma`` may still be all of it.
    """
    height, width = luma.shape
    bar = height // BAR_PART
    if width < 2 * COLUMNS or bar < 2 * ROWS:
        return None
    down, across = bar / ROWS, width / COLUMNS
    means = np.array(
        [
            luma[
                int((row + 0.3) * down) : int((row + 0.3) * down) + max(1, int(0.4 * down)),
                int((column + 0.3) * across) : int((column + 0.3) * across)
                + max(1, int(0.4 * across)),
            ].mean()
            for row in range(ROWS)
            for column in range(COLUMNS)
        ]
    )
    darkest, brightest = float(means.min()), float(means.max())
    if brightest - darkest < _CONTRAST_MIN:
        return None
    code = np.packbits(means > (darkest + brightest) / 2).tobytes()
    payload, check = code[:_TIME_BYTES], code[_TIME_BYTES:]
    if binascii.crc_hqx(payload, _CRC_START) != int.from_bytes(check, "big"):
        return None
    return int.from_bytes(payload, "big")


class TestCard:
    """Colour bars, a moving patch, a sweeping hand and the time of day (UTC) in digits.

    Pictures are planar 4:2:0, ``(height * 3 / 2, width)``; width and height divide by 4.
    """

    __test__ = False  # its name is no test's

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._still = _colour_bars(width, height)
        # Fixed noise, moved about: what makes the encoder work as a room with people does.
        noise = np.random.default_rng(1)
        side = height // 4
        self._patch = noise.integers(60, 190, (side, 2 * side), np.uint8)

    def draw(self, t_ms: int) -> NDArray[np.uint8]:
        """Return a new picture of this instant."""
        picture = self._still.copy()
        luma = picture[: self.height]
        self._draw_patch(luma, t_ms)
        self._draw_hand(luma, t_ms)
        self._draw_digits(luma, t_ms)
        draw_clock(luma, t_ms)
        return picture

    def _draw_patch(self, luma: Luma, t_ms: int) -> None:
        side = self._patch.shape[0]
        top = self.height - side
        luma[top:, : 2 * side] = np.roll(self._patch, t_ms // 20 % (2 * side), axis=1)

    def _draw_hand(self, luma: Luma, t_ms: int) -> None:
        radius = self.height // 5
        thick = max(2, self.height // 90)
        middle_x, middle_y = self.width * 3 // 4, self.height * 5 // 9
        angle = 2 * np.pi * (t_ms % _CYCLE_MS) / _CYCLE_MS
        steps = np.arange(0, radius, thick)
        for x, y in zip(
            (middle_x + np.sin(angle) * steps).astype(int),
            (middle_y - np.cos(angle) * steps).astype(int),
            strict=True,
        ):
            luma[y : y + thick, x : x + thick] = _WHITE

    def _draw_digits(self, luma: Luma, t_ms: int) -> None:
        seconds = t_ms // 1000
        text = f"{seconds // 3600 % 24:02}{seconds // 60 % 60:02}{seconds % 60:02}"
        unit, left, top = _digits_place(self.width, self.height)
        for place, digit in enumerate(text):
            x = left + (5 * place + 2 * (place // 2)) * unit
            for segment in _DIGITS[int(digit)]:
                x1, y1, x2, y2 = _SEGMENTS["abcdefg".index(segment)]
                luma[top + y1 * unit : top + y2 * unit, x + x1 * unit : x + x2 * unit] = _WHITE


@lru_cache(maxsize=8)
def _cells(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and the column of the bar-code's cell that each pixel belongs to."""
    bar = height // BAR_PART
    return np.arange(bar) * ROWS // bar, np.arange(width) * COLUMNS // width


def _colour_bars(width: int, height: int) -> NDArray[np.uint8]:
    edges = [width * number // len(_COLOURS) // 4 * 4 for number in range(len(_COLOURS))] + [width]
    picture = np.empty((height * 3 // 2, width), np.uint8)
    chroma = picture[height:].reshape(2, height // 2, width // 2)
    for (luma, blue, red), left, right in zip(_COLOURS, edges, edges[1:], strict=False):
        picture[:height, left:right] = luma
        chroma[0, :, left // 2 : right // 2] = blue
        chroma[1, :, left // 2 : right // 2] = red
    chroma[:, : height // BAR_PART // 2 + 1] = _GREY
    unit, left, top = _digits_place(width, height)
    field = np.s_[top - unit : top + 8 * unit, left - unit : left + 34 * unit]
    picture[:height][field] = _BLACK
    halved = np.s_[
        (top - unit) // 2 : top // 2 + 4 * unit, (left - unit) // 2 : left // 2 + 17 * unit
    ]
    chroma[0][halved] = chroma[1][halved] = _GREY
    return picture


def _digits_place(width: int, height: int) -> tuple[int, int, int]:
    """Return the size of a segment's unit, and where the digits begin: left, top."""
    return max(1, height // 70), width // 20, height // 3
