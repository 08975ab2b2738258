"""All cables of the hub are pulled for ten minutes in mid-lesson, in virtual time.

Meanwhile each class has a plan: what it has, what it will get, when. Afterwards it lacks nothing.
"""

import asyncio
import random
from pathlib import Path

from edge.lesson.lesson_plan import PlanFacts, make_plan
from edge.lesson.preparing.checks import LessonPlan
from edge.lesson.status import Cause, Phase
from tests.edge.lesson_bench import fingerprints
from tests.edge.storm_line import Line
from tests.edge.storm_machines import Book, Flagship, Hub, School
from tests.edge.virtual_time import run_in_virtual_time
from tests.loopback import own_address

BELL_TO_CUT_S, CUT_S, AFTER_S = 300, 600, 300
SETTLED_S_MAX = 180.0
HUB_PORT, LINE_PORT = 7445, 7446


class Lesson:
    """A flagship and two schools around a hub, on lines that are pulled at the hub's end."""

    def __init__(self, folder: Path) -> None:
        hub = (own_address("48.1"), HUB_PORT)
        lines = [Line((own_address(f"48.{10 + number}"), LINE_PORT), hub) for number in range(4)]
        self._is_over = False
        self.hub = Hub(folder / "hub", random.Random(0), lines[0], hub)
        self.flagship = Flagship(
            folder / "flagship", random.Random(1), lines[1], Book(), lambda: self._is_over
        )
        self.schools = [
            School(
                folder / f"school-{number}",
                random.Random(number),
                lines[number],
                number,
                lambda: self._is_over,
            )
            for number in (2, 3)
        ]
        self.machines = (self.hub, self.flagship, *self.schools)
        self.plans: list[LessonPlan] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for machine in self.machines:
                await machine.line.open()
                machine.start(tasks)
            await self._film(BELL_TO_CUT_S)
            for machine in self.machines:
                await machine.line.silence()
            await self._film(CUT_S)
            self.plans = [plan_of(school) for school in self.schools]
            for machine in self.machines:
                await machine.line.mend()
            await self._film(AFTER_S)
            self._is_over = True
            self.flagship.finish()
            for school in self.schools:
                school.finish()
            async with asyncio.timeout(SETTLED_S_MAX):
                for party in (self.flagship, *self.schools):
                    await party.over()
            for machine in self.machines:
                await machine.stop()
                machine.line.close()
            await asyncio.sleep(0)  # closing goes on in the loop's next turn

    async def _film(self, seconds: int) -> None:
        for _ in range(seconds):
            self.flagship.film(int(asyncio.get_running_loop().time()))
            await asyncio.sleep(1)


def plan_of(school: School) -> LessonPlan:
    """Return the plan that the class's page shows."""
    assert school.status.cause is Cause.HUB_UNREACHABLE
    return make_plan(PlanFacts(is_over=False, status=school.status, takes=school.recorded()))


def test_each_class_has_a_plan_for_ten_minutes_without_the_hub_and_then_lacks_nothing(
    tmp_path: Path,
) -> None:
    lesson = Lesson(tmp_path)
    run_in_virtual_time(lesson.run)
    assert len(lesson.plans) == len(lesson.schools)
    for plan in lesson.plans:
        assert plan.has == ("5 minutes of the lesson are on this school's box.",)
        assert plan.gets[0].startswith("The line to the hub is away. The box tries again")
        assert plan.gets[1].startswith("When it is back, the class goes on where it stopped")
        assert plan.gets[-1].endswith("at night at the latest.")
    whole = fingerprints(lesson.flagship.folder)
    assert whole
    for school in lesson.schools:
        assert school.status.phase is Phase.DONE
        assert fingerprints(school.folder) == whole
