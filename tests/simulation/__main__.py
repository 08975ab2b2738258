"""Run seeds of the simulation: ``make simulate SEEDS=200``, or one again with ``SEED=17``."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
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
    begun_s = time.monotonic()
    faults: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    failed = []
    for done, (seed, outcome) in enumerate(_outcomes(seeds, size, options.jobs), start=1):
        if isinstance(outcome, Account):
            faults.update(outcome.faults)
            totals.update(
                rows=outcome.rows, acknowledged=outcome.acknowledged, messages=outcome.messages
            )
        else:
            failed.append(seed)
            sys.stdout.write(f"\n{outcome}\n")
        seconds = time.monotonic() - begun_s
        sys.stdout.write(f"\r{done} of {len(seeds)} seeds, {len(failed)} failed, {seconds:.0f} s ")
        sys.stdout.flush()
    sys.stdout.write(
        f"\n{size.schools} schools a seed; {totals['rows']} rows written by devices,"
        f" {totals['acknowledged']} acknowledged, {totals['messages']} messages\n"
        f"{', '.join(f'{count} {kind}' for kind, count in sorted(faults.items()))}\n"
    )
    if failed:
        sys.exit(f"failed: seeds {sorted(failed)}")


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
