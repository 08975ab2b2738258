"""Crashed at every write of its disk, failed at every call: nothing acknowledged is lost.

The default run takes a slice of the points, drawn from a seed, and of the history's day some of
each phase. ``SCHOOLNODE_EVERY_CRASH=1`` takes all of them, but of the calls of the history's day
each third (an hour or two).
"""

import os
import random
from collections.abc import Sequence

import pytest

from tests.simulation.books import BrokenInvariantError
from tests.simulation.crash_points import MACHINES, Day, count_calls, crash_at, fail_at
from tests.simulation.disk import Survival
from tests.simulation.history_day import history_day
from tests.simulation.planted import acknowledged_before_it_is_durable
from tests.simulation.school_day import school_day

EVERY = os.environ.get("SCHOOLNODE_EVERY_CRASH") == "1"
SLICE = 36
SLICE_OF_A_PHASE = 1
NAMES = {"0": "hub", "1": "box"}
pytestmark = pytest.mark.timeout(7200 if EVERY else 120)


def points(begin: int, end: int, count: int, seed: str, every: int = 1) -> Sequence[int]:
    if EVERY:
        return range(begin, end, every)
    return sorted(random.Random(seed).sample(range(begin, end), count))


@pytest.mark.parametrize("machine", MACHINES)
def test_no_crash_at_any_write_loses_or_doubles_a_row(
    machine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (day,) = count_calls(machine, school_day)
    chosen = points(0, day.end.changes, SLICE, machine)
    tried = crash(machine, chosen, school_day)
    with capsys.disabled():
        print(f" [{NAMES[machine]}: {tried} crashes at {len(chosen)} of {day.end.changes} writes]")  # noqa: T201 - how many is part of the result


@pytest.mark.parametrize("full", [False, True], ids=["bad disk", "full disk"])
@pytest.mark.parametrize("machine", MACHINES)
def test_no_failing_call_of_a_disk_loses_or_doubles_a_row(
    machine: str,
    full: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (day,) = count_calls(machine, school_day)
    calls = day.end.writes if full else day.end.calls
    chosen = points(0, calls, SLICE, machine)
    fail(machine, chosen, school_day, full=full)
    with capsys.disabled():
        print(f" [{NAMES[machine]}: calls failed from {len(chosen)} of {calls} on]")  # noqa: T201 - as above


@pytest.mark.parametrize("machine", MACHINES)
def test_no_crash_while_history_goes_or_a_stick_travels_loses_or_doubles_a_row(
    machine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for phase in count_calls(machine, history_day):
        begin, end = phase.begin.changes, phase.end.changes
        chosen = points(begin, end, SLICE_OF_A_PHASE, f"{machine} {phase.name}")
        crash(machine, chosen, history_day)
        counts.append(f"{phase.name} {len(chosen)} of {end - begin}")
    with capsys.disabled():
        print(f" [{NAMES[machine]} crashes, writes: {', '.join(counts)}]")  # noqa: T201 - as above


@pytest.mark.parametrize("full", [False, True], ids=["bad disk", "full disk"])
@pytest.mark.parametrize("machine", MACHINES)
def test_no_failing_call_while_history_goes_or_a_stick_travels_loses_or_doubles_a_row(
    machine: str, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for place, phase in enumerate(count_calls(machine, history_day)):
        begin, end = (each.writes if full else each.calls for each in (phase.begin, phase.end))
        # In a slice a full disk and a bad one take turns from phase to phase.
        count = SLICE_OF_A_PHASE if (place + int(machine) + full) % 2 else 0
        chosen = points(begin, end, count, f"{machine} {phase.name} {full}", every=3)
        fail(machine, chosen, history_day, full=full)
        counts.append(f"{phase.name} {len(chosen)} of {end - begin}")
    with capsys.disabled():
        print(f" [{NAMES[machine]} fails, calls: {', '.join(counts)}]")  # noqa: T201 - as above


def crash(machine: str, changes: Sequence[int], day: Day) -> int:
    """Crash at each of these changes; return how many crashes there were."""
    tried = [
        crash_at(machine, change, survival, day)
        for change in changes
        for survival in (
            Survival if EVERY and day is school_day else [list(Survival)[change % len(Survival)]]
        )
    ]
    assert all(tried)
    return len(tried)


def fail(machine: str, calls: Sequence[int], day: Day, *, full: bool) -> None:
    """Fail from each of these calls on, once and so often that the next tries fail too."""
    failures = [
        fail_at(machine, call + 1, day, full=full, times=times)
        for call in calls
        for times in ((1, 30) if EVERY and day is school_day else (1 if call % 2 else 30,))
    ]
    assert all(failures)


def test_a_store_that_does_not_wait_for_its_disk_is_found_out() -> None:
    """The measure can come out badly: with ``synchronous=NORMAL`` some crash loses a row."""
    lost = []
    with acknowledged_before_it_is_durable():
        changes = count_calls("0", school_day)[0].end.changes
        for change in range(changes // 2, changes, 9):
            try:
                crash_at("0", change, Survival.NONE, school_day)
            except BrokenInvariantError as error:
                lost.append(str(error))
    assert lost
