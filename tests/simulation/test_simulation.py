"""A district in every weather keeps what it acknowledged; a slice of ``make simulate``."""

import subprocess
import sys
from pathlib import Path

import pytest

from sync.logs.oplog import Row
from tests.simulation.books import BrokenInvariantError
from tests.simulation.checks import StepCheck
from tests.simulation.ledger import Entry
from tests.simulation.planted import BUGS
from tests.simulation.run import SMALL, SeedFailedError, run_seed
from tests.simulation.world import World

pytestmark = pytest.mark.timeout(240)  # a planted bug may need twelve seeds, beside others

ROOT = Path(__file__).parents[2]
SEEDS = range(20)
PLANTED_SEEDS = 12
"""Within so many seeds each planted bug shows."""
FIRST_SEEDS = {
    "school_that_is_not_taken_back": 2,
    "revocation_that_ends_no_epoch": 6,
    "eviction_that_is_not_heeded": 2,
    "stick_that_anybody_signed": 3,
    "share_that_outlives_an_erasure": 9,
    "vault_that_hears_of_no_erasure": 50,
    "salt_from_the_position": 12,
    "tombstones_dropped_at_once": 4,
    "reissue_that_leaves_the_row_behind": 2,
    "fork_that_stops_a_neighbour": 9,
}
"""Where to begin with bugs that need what few seeds have."""


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost_nothing_doubles_and_all_settle(seed: int) -> None:
    account = run_seed(seed, SMALL)
    assert account.rows > 100
    assert account.acknowledged > account.rows // 2
    assert len(account.faults) > 1
    assert account.logs > 24


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_planted_bug_breaks_an_invariant_that_does_not_name_it(bug: str) -> None:
    first = FIRST_SEEDS.get(bug, 0)
    failures = ((seed, _failure(bug, seed)) for seed in range(first, first + PLANTED_SEEDS))
    seed, found = next((each for each in failures if each[1] is not None), (first, None))
    assert found is not None
    assert isinstance(found.__cause__, BrokenInvariantError)
    if seed not in SEEDS:  # those are run without any bug above
        run_seed(seed, SMALL)


def test_a_row_that_is_there_twice_is_seen_in_the_step_that_doubled_it() -> None:
    world = World(seed=1, schools=1)
    box, steps = world.machines["1"], StepCheck(world, cloned=set())
    world.start(box)
    batch = world.ledger.begin_batch()
    entry = Entry("alarm", 1, 1, box.name, batch, cell=None, keyed=False)
    serial = world.ledger.enter(entry)
    alarm: Row = {"at_ms": serial, "device": "button", "alarm": "panic"}
    try:
        box.record({"alarm": [alarm]})
        steps.check()
        box.record({"alarm": [alarm]})
        with pytest.raises(BrokenInvariantError, match=f"alarm {serial} of 1 is at 1 twice"):
            steps.check()
        steps.cloned.add(1)
        steps.check()
    finally:
        box.scrap()


def _failure(bug: str, seed: int) -> SeedFailedError | None:
    try:
        with BUGS[bug]():
            run_seed(seed, SMALL)
    except SeedFailedError as error:
        return error
    return None


def test_a_seed_tells_the_same_story_in_any_process() -> None:
    program = (
        "from tests.simulation.run import SMALL, tell_seed;"
        "import hashlib;"
        "print(hashlib.sha256('\\n'.join(tell_seed(3, SMALL)).encode()).hexdigest())"
    )
    stories = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(stories) == 1
