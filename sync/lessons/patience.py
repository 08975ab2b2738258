"""How long to wait before what failed is tried again: twice as long each time. Pure.

As a receiver of layered multicast has tried its layers since 1996 (McCanne, Jacobson, Vetterli:
Receiver-driven Layered Multicast, §2: join timers): a failure is not forgotten because the next
try went well for a while, but wears off while it does.
"""

import math
from dataclasses import dataclass

EASED_S = 120.0
"""One failure is forgotten for each two minutes that go well."""
FAILURES_MAX = 8.0


@dataclass(frozen=True, slots=True)
class Patience:
    """What is remembered of a thing that failed so often of late."""

    failures: float = 0.0

    @property
    def times(self) -> float:
        """How many times longer than at first to wait: 1, 2, 4 and so on."""
        return math.exp2(max(0.0, self.failures - 1))

    def eased(self, lasted_s: float) -> "Patience":
        """Return what is left of it after so long without a failure."""
        return Patience(max(0.0, self.failures - lasted_s / EASED_S))

    def failed(self) -> "Patience":
        """Return it after one failure more."""
        return Patience(min(self.failures + 1, FAILURES_MAX))
