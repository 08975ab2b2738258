"""The demo's story, from an empty folder to a district at work, and its proof."""

import asyncio
import contextlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.box_store import setup_code
from edge.demo import evidence, hub_figures, person
from edge.demo.duties import try_bands, try_safety
from edge.demo.link import Link
from edge.demo.plan import (
    BOX_PORT,
    DemoConfig,
    DemoPlan,
    SchoolPlan,
    make_plan,
    write_files,
)
from edge.demo.processes import Processes
from edge.demo.progress import DemoProgress, ProgressView, SchoolProgress
from edge.demo.proof import device_figures, failures, lesson_figures
from edge.demo.roof import try_lamp, try_roof
from edge.demo.teaching import teach
from edge.errors import BoxSetupError
from sync.exchange.conversation import PATIENT_RECEIPT_MS

START_S_MAX = 150.0
LESSON_IN_S = 6.0
LESSON_S_MIN = 40.0
LESSON_MINUTES = 40.0
PLAYING_S_MAX = 40.0
CUT_AFTER_S = 5.0
AFTER_LESSON_S = 12.0
CUT_S = 20.0
DRAIN_S_MAX = PATIENT_RECEIPT_MS / 1000 + 30.0
"""The receipt of a box's last rows: of devices that it found gone a while after they stopped."""
LOOK_EVERY_S = 1.0
_QUIET_S = 1.5
"""After the devices stop: their ledgers' last lines come half a second later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoWish:
    """What the person at the keyboard asked for; ``for_s`` of None runs until Ctrl-C."""

    folder: Path
    config: DemoConfig
    for_s: float | None
    keep: bool


async def run_demo(
    wish: DemoWish, console: Console, now_ms: Callable[[], int]
) -> dict[str, object]:
    """Run the district and return what was observed; raises BoxSetupError when it cannot start."""
    if not wish.keep and wish.folder.exists():
        _remove(wish.folder)
    plan = make_plan(wish.folder, wish.config)
    write_files(plan)
    progress = DemoProgress({school.number: SchoolProgress() for school in plan.schools})
    demo = Demo(plan, progress, now_ms)
    with ProgressView(plan, progress, console) as view:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(demo.processes.stop)
            stack.callback(view.refresh)
            try:
                async with asyncio.TaskGroup() as tasks:
                    helpers = [
                        tasks.create_task(demo.processes.watch()),
                        tasks.create_task(demo.look(view)),
                    ]
                    await demo.story(stack, wish.for_s)
                    observed = await demo.proof()
                    for helper in helpers:
                        helper.cancel()
            except BaseExceptionGroup as group:
                error = _sentence(group, plan, progress)
                if error is None:
                    raise
                raise error from group
            return observed


def _sentence(
    group: BaseExceptionGroup, plan: DemoPlan, progress: DemoProgress
) -> BaseException | None:
    """Return the one error that a person is told; None where it is a fault of ours."""
    error: BaseException | None = group.subgroup(BoxSetupError)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None and group.subgroup(TimeoutError):
        steps = [f"{each.name_en} {progress.schools[each.number].step}" for each in plan.schools]
        error = BoxSetupError(
            f"the demo did not get on ({', '.join(steps)}); look into {plan.folder / 'logs'}, and"
            " at what a real port or camera of its configuration does"
        )
    return error


class Demo:
    """The district's processes and what was observed of them."""

    def __init__(self, plan: DemoPlan, progress: DemoProgress, now_ms: Callable[[], int]) -> None:
        self._plan = plan
        self._now_ms = now_ms
        self._progress = progress
        self._links: dict[int, Link] = {}
        self._discovered: Counter[str] = Counter()
        self._started_s = 0.0
        self._cut_s = 0.0
        self._peak_rss_mb: dict[str, float] = {}
        self._idle_rss_mb: dict[str, float] = {}
        self._lesson: dict[str, Any] = {}
        self._taught: dict[str, object] = {}
        self._notice = ""
        self._mended_ms = 0
        self._hub_store = plan.hub_config.parent / "hub.db"
        self._playing_s = 0.0
        self.processes = Processes(plan.folder / "logs")

    async def story(self, stack: AsyncExitStack, for_s: float | None) -> None:
        """Enrol, discover, collect, cut a link, mend it; then run on until the time is over."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await self._start_hub(stack)
        async with asyncio.timeout(START_S_MAX), asyncio.TaskGroup() as tasks:
            for school in self._plan.schools:
                tasks.create_task(self._open_school(school))
        self._started_s = round(loop.time() - begun, 1)
        self._progress.note(f"All three schools are enrolled and at work ({self._started_s} s).")
        self._idle_rss_mb = self.processes.peak_rss_mb()
        left_s = LESSON_MINUTES * 60 if for_s is None else for_s - (loop.time() - begun)
        await self._begin_lesson(max(LESSON_S_MIN, left_s - LESSON_IN_S - AFTER_LESSON_S))
        self._playing_s = round(loop.time() - begun, 1)
        self._progress.note(
            f"All three schools enrolled, lesson playing in both classrooms ({self._playing_s} s)."
        )
        if for_s is None:
            await asyncio.Event().wait()
            return
        taught_s = loop.time()
        flagship, *classes = self._plan.schools
        code = self._progress.schools[flagship.number].setup_code
        self._taught = await teach(flagship, code, classes)
        self._progress.note("The teacher showed a slide; a class raised its hand and answered.")
        await asyncio.sleep(max(0.0, CUT_AFTER_S - (loop.time() - taught_s)))
        await self._cut_a_link(loop)
        hub, lesson, planned_ms = self._hub_store, self._lesson["lesson"], self._lesson["ends_ms"]
        while self._now_ms() < hub_figures.lesson_ends_ms(hub, lesson, planned_ms):  # noqa: ASYNC110 - the teacher may end it
            await asyncio.sleep(LOOK_EVERY_S)
        self._progress.note("The lesson is over; recordings are completed.")

    async def _begin_lesson(self, lasts_s: float) -> None:
        """Confirm partners, schedule, open both rural classrooms, and wait until they play."""
        self._notice = await person.post_notice(self._plan)
        async with asyncio.TaskGroup() as tasks:
            for school in self._plan.schools:
                tasks.create_task(person.confirm_partners(self._plan, school))
        self._lesson = await person.schedule_lesson(self._plan, LESSON_IN_S, lasts_s / 60)
        self._progress.note("A lesson is scheduled; nobody touches a classroom page.")
        for school in self._plan.schools[1:]:
            school.report.unlink(missing_ok=True)  # of an earlier run
            self.processes.start(f"classroom-{school.number}", _watcher(school))
        async with asyncio.timeout(PLAYING_S_MAX):
            while not all(  # noqa: ASYNC110 - another process's report
                evidence.read_watch(school.report, 0).frames for school in self._plan.schools[1:]
            ):
                await asyncio.sleep(0.2)

    async def look(self, view: ProgressView) -> None:
        """Keep the progress view fresh."""
        while True:
            for school in self._plan.schools:
                with contextlib.suppress(BoxSetupError):
                    seen = self._progress.schools[school.number]
                    seen.take_status(await person.status(school), self._now_ms())
                    seen.take_watch(school.report, self._now_ms())
            view.refresh()
            await asyncio.sleep(LOOK_EVERY_S)

    async def proof(self) -> dict[str, object]:
        """Stop the devices, let everything drain, and hold ledgers against the hub."""
        simulated = [school for school in self._plan.schools if school.simulated]
        self._peak_rss_mb = self.processes.peak_rss_mb()
        await self.processes.stop([_devices(school) for school in simulated])
        await asyncio.sleep(_QUIET_S)
        archived = await self._wait_for_archive()
        drained = await self._drain()
        restarts = self.processes.restarts()
        await self.processes.stop()
        observed: dict[str, object] = {
            **device_figures(self._plan, self._discovered),
            "link_cut_seconds_survived": round(self._cut_s, 1) if drained else 0.0,
            "notice_at_schools": evidence.schools_with_notice(self._plan, self._notice),
            **self._taught,
            "lesson_archived": archived,
            **lesson_figures(self._plan, self._lesson["lesson"], self._mended_ms),
            "restarts": restarts,
            "peak_rss_mb": self._peak_rss_mb,
            "peak_rss_mb_before_lesson": self._idle_rss_mb,
            "startup_s": self._started_s,
            "lesson_playing_after_s": self._playing_s,
        }
        observed["failed"] = failures(observed, self._plan)
        return observed

    async def _start_hub(self, stack: AsyncExitStack) -> None:
        self.processes.start("hub", [*person.HUB, "run", f"--config={self._plan.hub_config}"])
        await self._wait_for_hub()
        self._progress.hub_code = (self._plan.hub_config.parent / "admin-code").read_text()
        for school in self._plan.schools:
            link = Link((school.route, BOX_PORT), (self._plan.hub_address, BOX_PORT))
            await link.start(stack)
            self._links[school.number] = link
        self._progress.note(f"The hub serves {self._plan.hub_pages}")

    async def _wait_for_hub(self) -> None:
        async with asyncio.timeout(person.DAEMON_S_MAX):
            while True:
                try:
                    _, writer = await asyncio.open_connection(self._plan.hub_address, BOX_PORT)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    return

    async def _open_school(self, school: SchoolPlan) -> None:
        seen = self._progress.schools[school.number]
        if school.simulated:
            self.processes.start(
                _devices(school), _simulators(school), partial(_remove_lines, school.lines)
            )
        seen.step = "claims its box with a join code"
        await person.enrol(self._plan, school)
        seen.setup_code = setup_code(school.folder / "data")
        seen.step = "starts its daemon"
        argv = [*person.EDGE, "edge", "run", f"--config={school.config}"]
        self.processes.start(f"school-{school.number}", argv)
        await person.wait_for_daemon(school)
        await person.import_roster(school)
        seen.step = "searches for devices"
        expected = school.devices_expected
        found = await person.adopt_what_is_found(school, expected)
        self._discovered += found
        seen.step = "tries what it adopted"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(person.try_relays(school))
            tasks.create_task(try_roof(school, seen.setup_code))
            tasks.create_task(try_lamp(school, seen.setup_code))
            tasks.create_task(person.try_panel(school))
            tasks.create_task(person.try_camera(school))
            tasks.create_task(person.try_terminals(school))
            tasks.create_task(person.try_class_card(school, seen.setup_code))
            tasks.create_task(try_bands(school, seen.setup_code))
            tasks.create_task(try_safety(school, seen.setup_code))
        seen.step = "at work"
        self._progress.note(f"{school.name_en}: enrolled, {found.total()} devices adopted.")

    async def _cut_a_link(self, loop: asyncio.AbstractEventLoop) -> None:
        cut = self._plan.schools[-1]
        self._progress.note(f"The line of {cut.name_en} is cut.")
        self._links[cut.number].cut()
        cut_at = loop.time()
        await asyncio.sleep(CUT_S)
        self._links[cut.number].mend()
        self._cut_s = loop.time() - cut_at
        self._mended_ms = self._now_ms()
        self._progress.note(f"The line of {cut.name_en} is whole again.")

    async def _wait_for_archive(self) -> bool:
        """Wait until every school has written its lesson down; tell whether all did."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S_MAX):
                lesson, schools = self._lesson["lesson"], len(self._plan.schools)
                while hub_figures.schools_with_minutes(self._hub_store, lesson) < schools:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.5)
                return True
        return False

    async def _drain(self) -> bool:
        """Wait until the hub has receipted every row of every school; tell whether it did.

        Of the rows that there are now: a box at work writes on, so that some row always waits.
        """
        async with asyncio.TaskGroup() as tasks:
            drained = [tasks.create_task(self._drain_one(school)) for school in self._plan.schools]
        return all(each.result() for each in drained)

    async def _drain_one(self, school: SchoolPlan) -> bool:
        written: dict[str, int] = {}
        receipted: dict[str, int] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S_MAX):
                while not written or any(receipted[lane] < written[lane] for lane in written):
                    await asyncio.sleep(0.3)
                    with contextlib.suppress(BoxSetupError):
                        lanes = (await person.status(school))["sync"]["lanes"]
                        receipted = {each["lane"]: each["stored"] for each in lanes}
                        written = written or {
                            each["lane"]: each["stored"] + each["waiting_rows"] for each in lanes
                        }
                return True
        waiting = {
            lane: f"{receipted[lane]} of {rows}"
            for lane, rows in written.items()
            if receipted[lane] < rows
        }
        self._progress.note(
            f"{school.name_en}: the hub did not receipt all rows in {DRAIN_S_MAX:.0f} s: {waiting}"
        )
        return False


def _watcher(school: SchoolPlan) -> list[str]:
    return [
        sys.executable,
        "-m",
        "edge.demo.watch",
        f"--url=https://{school.address}:{school.pages_port}",
        f"--room={school.room}",
        f"--root={school.folder / 'data' / 'identity' / 'root.pem'}",
        f"--report={school.report}",
    ]


def _devices(school: SchoolPlan) -> str:
    return f"devices-{school.number}"


def _simulators(school: SchoolPlan) -> list[str]:
    return [
        sys.executable,
        "-m",
        "drivers.simulators",
        f"--seed={school.seed}",
        f"--network={school.network}",
        f"--lines={school.lines}",
        f"--ledgers={school.ledgers}",
        f"--cards={school.folder / 'cards'}",
        *(f"--with={part}" for part in sorted(school.simulated)),
    ]


def _remove_lines(folder: Path) -> None:
    """Remove the names of serial lines whose terminals are gone, and soon somebody else's."""
    for line in folder.glob("*"):
        line.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove the data of an earlier demo, and nothing else."""
    if not (folder / "hub" / "hub.toml").exists():
        raise BoxSetupError(
            f"{folder} is there and is no demo's folder; name another with --folder"
        )
    shutil.rmtree(folder)
