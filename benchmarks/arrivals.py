"""Taps at a school's gates over its days, drawn from a seed with a stated entropy.

A school of 539 pupils taps 1,078 times a day: in before the first lesson, out class by class.
Each tap is three independent draws, so that what a tap tells is known:

- the gap since the last tap, exponential with the phase's mean, in whole milliseconds:
  log2(e x mean in ms) bits;
- who it is, evenly among those of the phase's pupils who have not tapped yet: log2 of their number;
- at which of three readers, with chances 0.5, 0.3 and 0.2: 1.49 bits.

No encoding of the rows can be shorter than that on average. Every peer is given the same rows.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from sync.persons.vault import PERSON_MAX
from sync.segments.columnar import Value

DAY_MS = 24 * 3600 * 1000
PUPILS = 539
TAPS_A_DAY = 2 * PUPILS
READERS = (("gate-east", 0.5), ("gate-west", 0.3), ("dormitory", 0.2))
_FIRST_DAY_MS = 1_788_192_000_000  # 2026-09-01 00:00 in China


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the day: ``taps`` of pupils ``first`` onwards, ``mean_gap_s`` apart."""

    starts_s: int
    taps: int
    mean_gap_s: float
    first: int


@dataclass(frozen=True, slots=True)
class Tap:
    at_ms: int
    person: int
    reader: str

    @property
    def row(self) -> dict[str, Value]:
        """The tap as the recorder of a box writes it for a card it knows."""
        return {
            "at_ms": self.at_ms,
            "device": f"card:{self.reader}",
            "person": self.person,
            "room": self.reader,
            "card": None,
        }


def _clock(hour: int, minute: int) -> int:
    return (hour * 60 + minute) * 60


# In: early ones, a bus, walkers, a second bus, the rush, the late. The whole school is one pool.
_IN = (
    (_clock(6, 50), 60, 18.0),
    (_clock(7, 12), 45, 1.6),
    (_clock(7, 14), 90, 6.0),
    (_clock(7, 26), 48, 1.6),
    (_clock(7, 28), 250, 2.2),
    (_clock(7, 42), 46, 15.0),
)
# Out: eight classes of 45 led to the gate one after the other, the others after club hours.
_OUT = [Phase(_clock(16, 20) + 240 * place, 45, 1.3, 45 * place) for place in range(8)]
_OUT.append(Phase(_clock(17, 30), PUPILS - 360, 4.0, 360))


def school_days(seed: int) -> Iterator[Tap]:
    """Yield taps of one day after the other, in the order in which they happen, without end."""
    rng = random.Random(seed)
    pupils = rng.sample(range(1, PERSON_MAX), PUPILS)
    midnight_ms = _FIRST_DAY_MS
    while True:
        last_ms = midnight_ms
        for phase, pool in _phases(pupils, rng):
            at = max(last_ms, midnight_ms + phase.starts_s * 1000)
            for person in pool:
                at += math.ceil(rng.expovariate(1 / (phase.mean_gap_s * 1000)))
                yield Tap(at, person, _reader(rng))
            last_ms = at
        midnight_ms += DAY_MS


def draw_taps(seed: int, count: int, skip: int = 0) -> list[Tap]:
    """Return ``count`` taps of a school, after ``skip`` earlier ones."""
    return list(islice(school_days(seed), skip, skip + count))


def entropy_bits_a_tap() -> float:
    """Return what one tap tells on average, in bits."""
    bits = math.log2(math.factorial(PUPILS))
    for phase in _OUT:
        bits += math.log2(math.factorial(phase.taps))
    stretches = [(taps, gap_s) for _, taps, gap_s in _IN]
    stretches += [(phase.taps, phase.mean_gap_s) for phase in _OUT]
    bits += sum(taps * math.log2(math.e * gap_s * 1000) for taps, gap_s in stretches)
    bits -= TAPS_A_DAY * sum(chance * math.log2(chance) for _, chance in READERS)
    return bits / TAPS_A_DAY


def _phases(pupils: list[int], rng: random.Random) -> Iterator[tuple[Phase, list[int]]]:
    arriving = rng.sample(pupils, PUPILS)
    first = 0
    for starts_s, taps, gap_s in _IN:
        yield Phase(starts_s, taps, gap_s, first), arriving[first : first + taps]
        first += taps
    for phase in _OUT:
        yield phase, rng.sample(pupils[phase.first : phase.first + phase.taps], phase.taps)


def _reader(rng: random.Random) -> str:
    (reader,) = rng.choices([name for name, _ in READERS], [chance for _, chance in READERS])
    return reader
