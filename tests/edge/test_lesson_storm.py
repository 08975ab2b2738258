"""Whatever breaks in a lesson, each school has all of it afterwards, and the same bytes.

Forty-five minutes in virtual time: kills, power cuts, cut and silent lines, camera restarts, wrong
clocks, full disks, all drawn from a seed. What the camera handed over is written down outside of
the machines. ``make soak`` rides out more seeds.
"""

import os
import sys
from pathlib import Path

import pytest

from edge.lesson.status import Phase
from edge.lesson.transfer.catch_up import CatchUp
from tests.edge.lesson_bench import SOUND
from tests.edge.lesson_storm import KINDS, MINUTES, Outcome, draw_troubles, ride_out

SOAK_SEEDS = [int(seed) for seed in os.environ.get("SCHOOLNODE_STORM_SEEDS", "").split()]
SEEDS = SOAK_SEEDS or [4]
UNSYNCED_S_MAX = 2.0
"""What a power cut may take: fragments are made durable each second."""
SCHOOLS = ("school-2", "school-3")


def test_a_seed_means_the_same_troubles() -> None:
    assert draw_troubles(7, MINUTES) == draw_troubles(7, MINUTES)
    assert draw_troubles(7, MINUTES) != draw_troubles(8, MINUTES)
    assert {each.kind for seed in range(9) for each in draw_troubles(seed, MINUTES)} == set(KINDS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_school_has_the_whole_lesson_whatever_broke(seed: int, tmp_path: Path) -> None:
    outcome = ride_out(seed, tmp_path)
    sys.stdout.write(told(outcome))
    check_all_is_done_or_waits_for_what_no_disk_took(outcome)
    check_recordings_are_equal(outcome)
    check_nothing_handed_over_is_lost(outcome)
    check_every_minute_is_there_or_never_was(outcome)


def test_a_school_that_never_asks_for_what_it_missed_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CatchUp, "next_wants", lambda _: [])
    phases = ride_out(4, tmp_path, minutes=3).phases
    assert phases["flagship"] is Phase.DONE
    assert phases["school-2"] is Phase.CATCHING_UP


def check_all_is_done_or_waits_for_what_no_disk_took(outcome: Outcome) -> None:
    """A school goes on asking for what was signed, and which neither disk nor line took."""
    held = set().union(*outcome.payloads.values())
    nowhere = [handed for payload, handed in outcome.book.handed.items() if payload not in held]
    waits = any(outcome.book.touches("disk flagship", each.at_s, each.at_s + 1) for each in nowhere)
    assert outcome.phases["flagship"] is Phase.DONE
    for school in SCHOOLS:
        assert outcome.phases[school] is Phase.DONE or waits, school


def check_recordings_are_equal(outcome: Outcome) -> None:
    flagship = outcome.records["flagship"]
    assert flagship
    for name, records in outcome.records.items():
        lacking = sorted(flagship.keys() - records.keys())
        more = sorted(records.keys() - flagship.keys())
        assert (name, lacking, more) == (name, [], [])
        assert records == flagship, name


def check_nothing_handed_over_is_lost(outcome: Outcome) -> None:
    """What was handed over is at every school; else it is nowhere, for a reason that is known."""
    book = outcome.book
    for school in SCHOOLS:
        for payload, handed in book.handed.items():
            if payload in outcome.payloads[school]:
                continue
            at_s = handed.at_s
            assert not any(payload in each for each in outcome.payloads.values()), (school, at_s)
            lost_with_power = book.touches("power flagship", at_s, at_s + UNSYNCED_S_MAX)
            assert lost_with_power or book.touches("disk flagship", at_s, at_s + 1), (school, at_s)
        assert outcome.payloads[school].keys() <= book.handed.keys()


def check_every_minute_is_there_or_never_was(outcome: Outcome) -> None:
    book = outcome.book
    for school in SCHOOLS:
        for minute in range(MINUTES):
            heard = [
                payload
                for payload, handed in book.handed.items()
                if handed.track == SOUND
                and minute * 60 <= handed.at_s < minute * 60 + 60
                and payload in outcome.payloads[school]
            ]
            reasons = [
                what
                for what in book.away
                if what.endswith("flagship") and book.touches(what, minute * 60, minute * 60 + 60)
            ]
            assert len(heard) == 60 or reasons, (school, minute, len(heard))


def told(outcome: Outcome) -> str:
    held = len(outcome.payloads[SCHOOLS[0]])
    lines = [
        f"{each.at_s:7.1f} s  {each.kind:8}{each.victim:10}{each.lasts_s:6.1f} s"
        for each in outcome.troubles
    ]
    return "\n".join(
        (*lines, f"{len(outcome.book.handed)} fragments handed over, {held} at each school\n")
    )
