"""All cables of the hub are pulled for ten minutes in mid-lesson, in virtual time.

Meanwhile each class has a plan: what it has, what it will get, when. Afterwards it lacks nothing.
"""

import asyncio
from pathlib import Path

from edge.lesson.lesson_plan import PlanFacts, make_plan
from edge.lesson.preparing.checks import LessonPlan
from edge.lesson.status import Cause, Phase
from tests.edge.lesson_bench import fingerprints
from tests.edge.lesson_machines import LessonMachines
from tests.edge.storm_machines import School
from tests.edge.virtual_time import run_in_virtual_time

BELL_TO_CUT_S, CUT_S, AFTER_S = 300, 600, 300


async def hold(lesson: LessonMachines) -> list[LessonPlan]:
    """Hold a lesson; return the plans that the classes' pages show when the cut has lasted."""
    async with asyncio.TaskGroup() as tasks:
        await lesson.start(tasks)
        await film(lesson, BELL_TO_CUT_S)
        for machine in lesson.all:
            await machine.line.silence()
        await film(lesson, CUT_S)
        plans = [plan_of(school) for school in lesson.schools]
        for machine in lesson.all:
            await machine.line.mend()
        await film(lesson, AFTER_S)
        lesson.finish()
        await lesson.settle()
    return plans


async def film(lesson: LessonMachines, seconds: int) -> None:
    for _ in range(seconds):
        lesson.flagship.film(int(asyncio.get_running_loop().time()))
        await asyncio.sleep(1)


def plan_of(school: School) -> LessonPlan:
    """Return the plan that the class's page shows."""
    assert school.status.cause is Cause.HUB_UNREACHABLE
    return make_plan(PlanFacts(is_over=False, status=school.status, takes=school.recorded()))


def test_each_class_has_a_plan_for_ten_minutes_without_the_hub_and_then_lacks_nothing(
    tmp_path: Path,
) -> None:
    lesson = LessonMachines(tmp_path, seed=0, third=48)
    plans = run_in_virtual_time(lambda: hold(lesson))
    assert len(plans) == len(lesson.schools)
    for plan in plans:
        assert plan.has == ("5 minutes of the lesson are on this school's box.",)
        assert plan.gets[0].startswith("The line to the hub is away. The box tries again")
        assert plan.gets[1].startswith("When it is back, the class goes on where it stopped")
        assert plan.gets[-1].endswith("at night at the latest.")
    whole = fingerprints(lesson.flagship.folder)
    assert whole
    for school in lesson.schools:
        assert school.status.phase is Phase.DONE
        assert fingerprints(school.folder) == whole
