"""Crashed at every write of its disk, failed at every call: nothing acknowledged is lost.

The default run takes a slice of the points, drawn from a seed; ``SCHOOLNODE_EVERY_CRASH=1`` takes
all of them (minutes).
"""

import os
import random
from collections.abc import Sequence

import pytest

from tests.simulation.books import BrokenInvariantError
from tests.simulation.crash_points import MACHINES, count_calls, crash_at, fail_at
from tests.simulation.disk import Survival
from tests.simulation.planted import acknowledged_before_it_is_durable

EVERY = os.environ.get("SCHOOLNODE_EVERY_CRASH") == "1"
SLICE = 36
NAMES = {"0": "hub", "1": "box"}
pytestmark = pytest.mark.timeout(3600 if EVERY else 60)


def points(count: int, machine: str) -> Sequence[int]:
    if EVERY:
        return range(count)
    return sorted(random.Random(machine).sample(range(count), SLICE))


@pytest.mark.parametrize("machine", MACHINES)
def test_no_crash_at_any_write_loses_or_doubles_a_row(
    machine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = count_calls(machine).changes
    chosen = points(changes, machine)
    tried = [
        crash_at(machine, change, survival)
        for change in chosen
        for survival in (Survival if EVERY else [list(Survival)[change % len(Survival)]])
    ]
    assert all(tried)
    with capsys.disabled():
        print(f" [{NAMES[machine]}: {len(tried)} crashes at {len(chosen)} of {changes} writes]")  # noqa: T201 - how many is part of the result


@pytest.mark.parametrize("full", [False, True], ids=["bad disk", "full disk"])
@pytest.mark.parametrize("machine", MACHINES)
def test_no_failing_call_of_a_disk_loses_or_doubles_a_row(
    machine: str,
    full: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = count_calls(machine).writes if full else count_calls(machine).calls
    chosen = points(calls, machine)
    failures = [
        fail_at(machine, call + 1, full=full, times=times)
        for call in chosen
        for times in ((1, 30) if EVERY else (1 if call % 2 else 30,))
    ]
    assert all(failures)
    with capsys.disabled():
        print(f" [{NAMES[machine]}: calls failed from {len(chosen)} of {calls} on]")  # noqa: T201 - as above


def test_a_store_that_does_not_wait_for_its_disk_is_found_out() -> None:
    """The measure can come out badly: with ``synchronous=NORMAL`` some crash loses a row."""
    lost = []
    with acknowledged_before_it_is_durable():
        changes = count_calls("0").changes
        for change in range(changes // 2, changes, 9):
            try:
                crash_at("0", change, Survival.NONE)
            except BrokenInvariantError as error:
                lost.append(str(error))
    assert lost
