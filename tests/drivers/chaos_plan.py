"""What happens to the devices of a school, drawn from a seed: the same seed, the same faults."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KINDS: Mapping[str, tuple[str, ...]] = {
    "bus": ("unplugged", "noise"),
    "units": ("dead", "slow"),
    "gate": ("unplugged", "noise"),
    "panel": ("power cut", "garbage"),
    "projector": ("power cut", "garbage"),
    "camera": ("another address", "wrong clock", "slow"),
}
"""Which faults befall what; ``units`` is one unit of a bus, whose neighbours go on."""
BEFORE_S = (0.0, 0.4)
LASTS_S = (0.2, 0.6)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: how long after the one before it begins, how long it lasts, its own chance."""

    kind: str
    before_s: float
    lasts_s: float
    seed: int


Plan = Mapping[str, Sequence[Fault]]


def draw_plan(seed: int, rounds: int) -> Plan:
    """Return each victim's faults in their order; every kind comes once a round."""
    plan: dict[str, list[Fault]] = {}
    for victim, kinds in KINDS.items():
        rng = random.Random(f"{seed}/{victim}")
        plan[victim] = [
            Fault(kind, rng.uniform(*BEFORE_S), rng.uniform(*LASTS_S), rng.getrandbits(32))
            for _ in range(rounds)
            for kind in rng.sample(kinds, len(kinds))
        ]
    return plan
