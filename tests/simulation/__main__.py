"""Run seeds of the simulation: ``make simulate SEEDS=200``, or one again with ``SEED=17``."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial

from tests.simulation.run import WHOLE, Account, SeedFailedError, Size, run_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many, from 0 on")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one only, with its last events")
    parser.add_argument("--schools", type=int, default=WHOLE.schools)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    size = replace(WHOLE, schools=options.schools)
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    tally = _Tally(len(seeds), time.monotonic())
    for seed, outcome in _outcomes(seeds, size, options.jobs):
        tally.add(seed, outcome, time.monotonic())
        if isinstance(outcome, str):
            sys.stdout.write(f"\n{outcome}\n")
        sys.stdout.write(f"\r{tally.progress()} ")
        sys.stdout.flush()
    sys.stdout.write(f"\n{tally.summary(size)}\n")
    if tally.failed:
        sys.exit(f"failed: {len(tally.failed)} of {len(seeds)} seeds: {sorted(tally.failed)}")


@dataclass
class _Tally:
    """What came of the seeds so far; moments are monotonic seconds."""

    seeds: int
    begun_s: float
    passed_s: float = 0
    done: int = 0
    failed: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, outcome: Account | str, now_s: float) -> None:
        self.done += 1
        self.passed_s = now_s - self.begun_s
        if isinstance(outcome, str):
            self.failed.append(seed)
            return
        self.faults.update(outcome.faults)
        self.totals.update(
            rows=outcome.rows, acknowledged=outcome.acknowledged, messages=outcome.messages
        )

    def progress(self) -> str:
        left_s = self.passed_s / self.done * (self.seeds - self.done)
        return (
            f"{self.done} of {self.seeds} seeds, {len(self.failed)} failed,"
            f" {_clock(self.passed_s)} passed, {_clock(left_s)} to go"
        )

    def summary(self, size: Size) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        return (
            f"{self.done} seeds with {size.schools} schools each in {_clock(self.passed_s)}:"
            f" {self.totals['rows']} rows written by devices, {self.totals['acknowledged']}"
            f" acknowledged, {self.totals['messages']} messages\n"
            f"{self.faults.total()} faults: {faults}\n"
            f"{len(self.failed)} seeds failed"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def _outcomes(seeds: range, size: Size, jobs: int) -> Iterator[tuple[int, Account | str]]:
    """Yield what became of each seed, as they end."""
    try_seed = partial(_try_seed, size=size)
    if jobs == 1 or len(seeds) == 1:
        yield from zip(seeds, map(try_seed, seeds), strict=True)
        return
    with ProcessPoolExecutor(jobs) as pool:
        begun = {pool.submit(try_seed, seed): seed for seed in seeds}
        for future in as_completed(begun):
            yield begun[future], future.result()


def _try_seed(seed: int, size: Size) -> Account | str:
    try:
        return run_seed(seed, size)
    except SeedFailedError as error:
        return str(error)


if __name__ == "__main__":
    main()
