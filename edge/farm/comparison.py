"""Whether two plots differ: means, spread, and the paired difference with its interval.

Days are the pairs: readings within a day follow each other and would count as many and be one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import fmean, stdev

PAIRS_MIN = 5
"""With fewer days an interval says nothing that a class should conclude from."""

# Student's t, 97.5 %, by degrees of freedom (NIST/SEMATECH e-Handbook 1.3.6.7.2).
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Finding(StrEnum):
    """What the pairs allow to say."""

    TOO_FEW = "too_few"
    UNDECIDED = "undecided"  # the interval holds zero
    A_MORE = "a_more"
    B_MORE = "b_more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``difference`` is A minus B, with the 95 % interval of its mean from low to high.

    What cannot be worked out from so few pairs is None.
    """

    pairs: int
    mean_a: float | None
    mean_b: float | None
    spread_a: float | None
    spread_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    finding: Finding


def compare(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """Compare values taken at the same times (paired t interval)."""
    count = len(pairs)
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    differences = [a - b for a, b in pairs]
    mean = fmean(differences) if count else None
    low = high = None
    finding = Finding.TOO_FEW
    if mean is not None and count >= PAIRS_MIN:
        half = t_quantile(count - 1) * stdev(differences) / sqrt(count)
        low, high = mean - half, mean + half
        finding = Finding.UNDECIDED
        if low > 0:
            finding = Finding.A_MORE
        elif high < 0:
            finding = Finding.B_MORE
    return Comparison(
        pairs=count,
        mean_a=fmean(first) if count else None,
        mean_b=fmean(second) if count else None,
        spread_a=stdev(first) if count > 1 else None,
        spread_b=stdev(second) if count > 1 else None,
        difference=mean,
        low=low,
        high=high,
        finding=finding,
    )


def t_quantile(degrees: int) -> float:
    """Return Student's t at 97.5 %; beyond 30 degrees of freedom that of 30, on the safe side."""
    return _T[min(degrees, len(_T)) - 1]
