"""The demo's story, from an empty folder to a district at work, and its proof."""

import asyncio
import contextlib
import os
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

from drivers.simulators.ledger import read_ledger
from edge.box_store import setup_code
from edge.demo import evidence, person
from edge.demo.duties import try_bands, try_button
from edge.demo.link import Link
from edge.demo.plan import (
    BOX_PORT,
    DEVICES,
    NETWORK,
    SERIAL,
    DemoConfig,
    DemoPlan,
    SchoolPlan,
    make_plan,
    write_files,
)
from edge.demo.processes import Processes
from edge.demo.progress import DemoProgress, ProgressView, SchoolProgress
from edge.demo.roof import try_roof
from edge.demo.teaching import teach
from edge.errors import BoxSetupError

START_S_MAX = 150.0
LESSON_IN_S = 6.0
LESSON_S_MIN = 40.0
LESSON_MINUTES = 40.0
PLAYING_S_MAX = 40.0
CUT_AFTER_S = 5.0
AFTER_LESSON_S = 12.0
CUT_S = 20.0
DRAIN_S_MAX = 40.0
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
        while self._now_ms() < self._lesson["ends_ms"]:  # noqa: ASYNC110 - a moment of the wall clock
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
            _report(school).unlink(missing_ok=True)  # of an earlier run
            self.processes.start(f"classroom-{school.number}", _watcher(school))
        async with asyncio.timeout(PLAYING_S_MAX):
            while not all(  # noqa: ASYNC110 - another process's report
                evidence.read_watch(_report(school), 0).frames for school in self._plan.schools[1:]
            ):
                await asyncio.sleep(0.2)

    async def look(self, view: ProgressView) -> None:
        """Keep the progress view fresh."""
        while True:
            for school in self._plan.schools:
                with contextlib.suppress(BoxSetupError):
                    seen = self._progress.schools[school.number]
                    _take_status(seen, await person.status(school), self._now_ms())
                    seen.lesson = _watch_line(_report(school), self._now_ms())
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
        hub = self._plan.hub_config.parent / "hub.db"
        taps, readings = evidence.Account(0, 0, 0), evidence.Account(0, 0, 0)
        networked = [school for school in simulated if NETWORK in school.simulated]
        wired = [school for school in simulated if SERIAL in school.simulated]
        for school in wired:
            taps += evidence.account_for_taps(hub, school, os.urandom)
            readings += evidence.account_for_readings(hub, school)
        rows = evidence.count_rows_at_hub(hub)
        wire = evidence.sealed_bytes_at_hub(hub)
        controlled = evidence.search_finds_names(self._plan)
        observed = {
            "enrolled": sum(
                (school.folder / "data" / "identity" / "identity.json").exists()
                for school in self._plan.schools
            ),
            "discovered": dict(self._discovered),
            "adopted": dict(evidence.devices_at_hub(hub)),
            "readings_stored": readings.stored,
            "taps_stored": taps.stored,
            "panels_on": evidence.panels_on(hub),
            "terminals_heard": evidence.terminals_heard(hub),
            "roofs_watered": evidence.roofs_watered(hub),
            "cameras_turned": sum(evidence.camera_was_turned(school) for school in networked),
            "emergency_shown_ms": evidence.emergencies_at_hub(hub),
            "drills_held": evidence.drills_at_hub(hub),
            "exercise_lessons": evidence.exercise_lessons_at_hub(hub),
            "heart_rates_at_hub": evidence.heart_rates_at_hub(hub),
            "rows_folded_at_hub": rows,
            "rows_lost": taps.lost + readings.lost,
            "rows_doubled": taps.doubled + readings.doubled,
            "wire_bytes_per_row": round(wire / max(rows, 1), 1),
            "plaintext_names_at_hub": evidence.count_names_at_hub(self._plan),
            "plaintext_names_control_found": controlled,
            "link_cut_seconds_survived": round(self._cut_s, 1) if drained else 0.0,
            "notice_at_schools": evidence.schools_with_notice(self._plan, self._notice),
            **self._taught,
            **self._lesson_figures(archived=archived),
            "restarts": restarts,
            "peak_rss_mb": self._peak_rss_mb,
            "peak_rss_mb_before_lesson": self._idle_rss_mb,
            "startup_s": self._started_s,
            "lesson_playing_after_s": self._playing_s,
        }
        expected = sum(_devices_expected(school) for school in self._plan.schools)
        observed["failed"] = _failures(
            observed, len(self._plan.schools), expected, len(wired), len(networked)
        )
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
        expected = _devices_expected(school)
        found = await person.adopt_what_is_found(school, expected)
        self._discovered += found
        seen.step = "tries what it adopted"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(person.try_relays(school))
            tasks.create_task(try_roof(school, seen.setup_code))
            tasks.create_task(person.try_panel(school))
            tasks.create_task(person.try_camera(school))
            tasks.create_task(person.try_terminal(school))
            tasks.create_task(person.try_class_card(school, seen.setup_code))
            tasks.create_task(try_bands(school, seen.setup_code))
            tasks.create_task(try_button(school, seen.setup_code))
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

    def _lesson_figures(self, *, archived: bool) -> dict[str, object]:
        lesson: str = self._lesson["lesson"]
        watched = {
            school.number: evidence.read_watch(_report(school), self._mended_ms)
            for school in self._plan.schools[1:]
        }
        folders = {"hub": self._plan.hub_config.parent / "lessons"}
        for school in self._plan.schools:
            folders[f"school-{school.number}"] = school.folder / "data" / "lessons"
        recorded = {
            name: evidence.read_recording(folder, lesson) for name, folder in folders.items()
        }
        latencies = sorted(each for seen in watched.values() for each in seen.latencies_ms)
        return {
            "lesson_archived": archived,
            "lesson_frames_at_each_classroom": {
                f"school-{number}": seen.frames for number, seen in watched.items()
            },
            "lesson_frames_after_the_cut": {
                f"school-{number}": seen.frames_after_ms for number, seen in watched.items()
            },
            "lesson_sounds_with_tone": {
                f"school-{number}": seen.tones for number, seen in watched.items()
            },
            "lesson_glass_to_glass_ms_p50": _percentile(latencies, 0.50),
            "lesson_glass_to_glass_ms_p95": _percentile(latencies, 0.95),
            "recording_seconds_at_each_node": {
                name: each.seconds for name, each in recorded.items()
            },
            "recording_gap_seconds_at_each_node": {
                name: each.gap_seconds for name, each in recorded.items()
            },
            "recordings_equal": len({each.digest for each in recorded.values()}) == 1,
        }

    async def _wait_for_archive(self) -> bool:
        """Wait until every school has written its lesson down; tell whether all did."""
        hub = self._plan.hub_config.parent / "hub.db"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S_MAX):
                lesson, schools = self._lesson["lesson"], len(self._plan.schools)
                while evidence.schools_with_minutes(hub, lesson) < schools:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.5)
                return True
        return False

    async def _drain(self) -> bool:
        """Wait until the hub has receipted every row of every school; tell whether it did."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S_MAX):
                for school in self._plan.schools:
                    while await _waiting_rows(school):  # noqa: ASYNC110 - another process's count
                        await asyncio.sleep(0.3)
                return True
        return False


def _take_status(seen: SchoolProgress, status: dict[str, Any], now_ms: int) -> None:
    sync, devices = status["sync"], status["devices"]
    seen.devices = len(devices)
    seen.answering = sum(device["state"] == "good" for device in devices)
    last_ms = sync["last_exchange_ms"]
    heard = f"heard {(now_ms - last_ms) / 1000:.0f} s ago" if last_ms else "not heard yet"
    seen.link = f"{sync['link']}, {heard}"
    lanes = sync["lanes"]
    if lanes:
        seen.waiting_rows = sum(lane["waiting_rows"] for lane in lanes)
        seen.taps = lanes[2]["stored"] + lanes[2]["waiting_rows"]
        seen.readings = lanes[4]["stored"] + lanes[4]["waiting_rows"]


def _watch_line(report: Path, now_ms: int) -> str:
    """Say what a classroom without a screen saw in its last second."""
    lines = read_ledger(report)[-1:]
    if not lines:
        return "-"
    frames, latencies = lines[0]["frames"], lines[0]["latencies_ms"]
    at_ms = lines[0]["t_ms"]
    assert isinstance(latencies, list)
    assert isinstance(at_ms, int)
    if now_ms - at_ms > 3000:  # noqa: PLR2004 - the report has a line a second
        return f"no picture for {(now_ms - at_ms) / 1000:.0f} s"
    return f"{frames} pictures/s, {_percentile(sorted(latencies), 0.5) or 0} ms behind"


async def _waiting_rows(school: SchoolPlan) -> int:
    try:
        lanes = (await person.status(school))["sync"]["lanes"]
    except BoxSetupError:
        return 1
    return sum(lane["waiting_rows"] for lane in lanes) if lanes else 1


def _devices_expected(school: SchoolPlan) -> int:
    """Return how many devices must be found; of a real part at least one."""
    return sum(count if part in school.simulated else 1 for part, count in DEVICES.items())


def _failures(
    observed: dict[str, object], schools: int, devices: int, wired: int, networked: int
) -> list[str]:
    """Return which steps were not really observed."""
    adopted = observed["adopted"]
    assert isinstance(adopted, dict)
    covered = observed["emergency_shown_ms"]
    assert isinstance(covered, dict)
    checks = {
        "enrolled": observed["enrolled"] == schools,
        "adopted": sum(adopted.values()) >= devices,
        "readings_stored": not wired or observed["readings_stored"] != 0,
        "taps_stored": not wired or observed["taps_stored"] != 0,
        "panels_on": observed["panels_on"] == networked,
        "terminals_heard": observed["terminals_heard"] == networked,
        "roofs_watered": observed["roofs_watered"] == wired,
        "cameras_turned": observed["cameras_turned"] == networked,
        "emergency_shown_ms": len(covered) == schools,
        "drills_held": observed["drills_held"] == wired,
        "exercise_lessons": observed["exercise_lessons"] == wired,
        "heart_rates_at_hub": observed["heart_rates_at_hub"] == 0,
        "rows_lost": observed["rows_lost"] == 0,
        "rows_doubled": observed["rows_doubled"] == 0,
        "plaintext_names_at_hub": observed["plaintext_names_at_hub"] == 0,
        "plaintext_names_control_found": observed["plaintext_names_control_found"] is True,
        "link_cut_seconds_survived": observed["link_cut_seconds_survived"] != 0,
        "notice_at_schools": observed["notice_at_schools"] == schools,
        "slide_at_classes": observed["slide_at_classes"] == schools - 1,
        "hand_on_the_wall": observed["hand_on_the_wall"] is True,
        "answer_on_the_wall": observed["answer_on_the_wall"] is True,
        "lesson_frames_at_each_classroom": _all_positive(observed, "lesson_frames_after_the_cut"),
        "lesson_sounds_with_tone": _all_positive(observed, "lesson_sounds_with_tone"),
        "lesson_archived": observed["lesson_archived"] is True,
        "recording_seconds_at_each_node": _all_positive(observed, "recording_seconds_at_each_node"),
        "recordings_equal": observed["recordings_equal"] is True
        or _any_positive(observed, "recording_gap_seconds_at_each_node"),
    }
    return [name for name, held in checks.items() if not held]


def _all_positive(observed: dict[str, object], name: str) -> bool:
    values = observed[name]
    assert isinstance(values, dict)
    return bool(values) and all(value > 0 for value in values.values())


def _any_positive(observed: dict[str, object], name: str) -> bool:
    values = observed[name]
    assert isinstance(values, dict)
    return any(value > 0 for value in values.values())


def _percentile(sorted_values: list[int], share: float) -> int | None:
    return sorted_values[int(share * (len(sorted_values) - 1))] if sorted_values else None


def _report(school: SchoolPlan) -> Path:
    return school.folder / "classroom.jsonl"


def _watcher(school: SchoolPlan) -> list[str]:
    return [
        sys.executable,
        "-m",
        "edge.demo.watch",
        f"--url=https://{school.address}:{school.pages_port}",
        f"--room={school.room}",
        f"--root={school.folder / 'data' / 'identity' / 'root.pem'}",
        f"--report={_report(school)}",
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
