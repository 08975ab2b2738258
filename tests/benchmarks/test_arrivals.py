"""The taps that benchmarks send: the same for every peer, and as hard to compress as stated."""

import math
import random
import zlib
from collections import Counter
from itertools import pairwise

import msgspec

from benchmarks.arrivals import (
    DAY_MS,
    PUPILS,
    READERS,
    TAPS_A_DAY,
    draw_taps,
    entropy_bits_a_tap,
)


def test_one_seed_gives_the_same_taps_and_another_gives_others() -> None:
    assert draw_taps(1, 3000) == draw_taps(1, 3000)
    assert draw_taps(1, 3000)[500:] == draw_taps(1, 2500, skip=500)
    assert draw_taps(1, 10) != draw_taps(2, 10)


def test_everybody_taps_once_in_and_once_out_each_day() -> None:
    taps = draw_taps(3, 3 * TAPS_A_DAY)
    pupils = {tap.person for tap in taps}
    assert len(pupils) == PUPILS
    for start in range(0, len(taps), PUPILS):
        half = taps[start : start + PUPILS]
        assert {tap.person for tap in half} == pupils
        assert half[-1].at_ms - half[0].at_ms < DAY_MS / 2


def test_taps_come_in_order_and_no_two_at_one_moment() -> None:
    taps = draw_taps(4, 2 * TAPS_A_DAY)
    assert all(before.at_ms < after.at_ms for before, after in pairwise(taps))


def test_readers_are_used_as_often_as_stated() -> None:
    taps = draw_taps(5, 20 * TAPS_A_DAY)
    used = Counter(tap.reader for tap in taps)
    for reader, chance in READERS:
        assert math.isclose(used[reader] / len(taps), chance, abs_tol=0.02)


def test_no_compressor_goes_below_the_stated_entropy() -> None:
    """Rows of drawn gaps, persons and readers, packed as tightly as a general packer can."""
    taps = draw_taps(6, 20 * TAPS_A_DAY)
    gaps = [after.at_ms - before.at_ms for before, after in pairwise(taps)]
    order = {person: place for place, person in enumerate(sorted({tap.person for tap in taps}))}
    names = [name for name, _ in READERS]
    columns = (
        b"".join(gap.to_bytes(4, "big") for gap in gaps),
        b"".join(order[tap.person].to_bytes(2, "big") for tap in taps),
        bytes(names.index(tap.reader) for tap in taps),
    )
    packed = sum(len(zlib.compress(column, 9)) for column in columns)
    assert packed * 8 / len(taps) > entropy_bits_a_tap()


def test_the_gap_part_of_the_entropy_is_that_of_an_exponential_draw() -> None:
    """log2(e m) for mean m, held against the empirical entropy of draws like the generator's."""
    rng, mean = random.Random(7), 40.0
    draws = Counter(math.ceil(rng.expovariate(1 / mean)) for _ in range(200_000))
    total = draws.total()
    empirical = -sum(n / total * math.log2(n / total) for n in draws.values())
    assert math.isclose(empirical, math.log2(math.e * mean), abs_tol=0.03)


def test_a_row_holds_what_a_recorder_writes_for_a_known_card() -> None:
    (tap,) = draw_taps(8, 1)
    assert tap.row == {
        "at_ms": tap.at_ms,
        "device": f"card:{tap.reader}",
        "person": tap.person,
        "room": tap.reader,
        "card": None,
    }
    assert msgspec.json.encode(tap.row)
