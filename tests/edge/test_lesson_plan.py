"""A class always has a plan: what it has, what it gets and when, whatever is away."""

from dataclasses import replace

import pytest

from edge.lesson.lesson_plan import PlanFacts, make_plan
from edge.lesson.status import Cause, LessonStatus, Phase, waiting
from edge.lesson.transfer.recording import Gap, RecordedTake
from sync.lessons.fragment_log import TakeId

TAKE = TakeId(bytes(8))
GONE = replace(waiting(0), phase=Phase.DEGRADED, cause=Cause.HUB_UNREACHABLE)


def take(seconds: float, missing_s: float = 0.0) -> RecordedTake:
    gaps = (Gap(take=TAKE, track=1, first=0, last=9, seconds=missing_s),) if missing_s else ()
    return RecordedTake(
        take=TAKE,
        started_ms=0,
        seconds={1: seconds, 2: seconds},
        stored_bytes=1,
        gaps=gaps,
        unproven=0,
        final=False,
    )


def test_without_the_hub_a_class_reads_what_it_has_what_it_gets_and_when() -> None:
    plan = make_plan(PlanFacts(is_over=False, status=GONE, takes=[take(725, 60)], slides=12))
    assert plan.has == (
        "12 minutes of the lesson are on this school's box.",
        "12 pictures of the lesson's slides are here.",
    )
    assert plan.gets[0].startswith("The line to the hub is away. The box tries again every two")
    assert "goes on where it stopped" in plan.gets[1]
    assert plan.gets[-1].endswith("at night at the latest.")


def test_one_of_a_thing_is_told_as_one() -> None:
    plan = make_plan(PlanFacts(is_over=True, status=GONE, takes=[take(65, 60)], slides=1))
    assert plan.has == (
        "One minute of the lesson is on this school's box.",
        "One picture of the lesson's slides is here.",
    )
    assert plan.gets[0] == "One minute is missing; it comes by itself."


@pytest.mark.parametrize("phase", [each for each in Phase if each not in {Phase.DONE, Phase.LIVE}])
@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("is_over", [False, True])
def test_nobody_is_left_without_a_plan(phase: Phase, cause: Cause, *, is_over: bool) -> None:
    status: LessonStatus = replace(waiting(0), phase=phase, cause=cause)
    plan = make_plan(PlanFacts(is_over=is_over, status=status, takes=[]))
    assert plan.has
    assert plan.gets


def test_a_whole_lesson_promises_nothing_more() -> None:
    done = replace(waiting(0), phase=Phase.DONE)
    assert make_plan(PlanFacts(is_over=True, status=done, takes=[take(2400)])).gets == ()


def test_a_line_paid_by_the_byte_names_its_night() -> None:
    facts = PlanFacts(is_over=True, status=GONE, takes=[take(60, 300)], night="23:00-06:00")
    assert make_plan(facts).gets == (
        "5 minutes are missing; they come by themselves.",
        "What is left then is fetched tonight, 23:00-06:00: this line is paid by the byte.",
    )


def test_a_recording_that_may_stand_in_is_promised_only_where_it_is() -> None:
    silent = replace(GONE, cause=Cause.FLAGSHIP_SILENT)
    facts = PlanFacts(is_over=False, status=silent, takes=[], substitute="圆的周长")
    assert "is not on this school's box" in make_plan(facts).gets[0]
    here = make_plan(replace(facts, has_substitute=True))
    assert here.gets[0] == "Until the flagship is back, the recording plays."
    assert "圆的周长" in here.has[-1]
