"""The figures of one real day through the whole house: ``schoolnode demo --for N --json``.

One hub, three schools, simulated devices, a lesson, a line that is cut for 20 s; the counts are the
demo's own, which holds the devices' ledgers against the hub's rows. Memory of a box is taken from
outside, with the processes that it starts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.processes import tree_rss_mb
from benchmarks.report import (
    Direction,
    Figure,
    Report,
    Step,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)

NETWORK = 102
"""Second octet of the loopback addresses, apart from those of a demo that somebody looks at."""
LOOK_EVERY_S = 0.5
_NEVER_S = 1000.0
"""Stands for what never happened, so that no goal is met by it."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What of the demo's JSON is held against a goal or shown."""

    failed: list[str]
    readings_stored: int
    taps_stored: int
    rows_folded_at_hub: int
    rows_lost: int
    rows_doubled: int
    wire_bytes_per_row: float
    plaintext_names_at_hub: int
    plaintext_names_control_found: bool
    link_cut_seconds_survived: float
    lesson_frames_after_the_cut: dict[str, int]
    lesson_glass_to_glass_ms_p50: int | None
    lesson_glass_to_glass_ms_p95: int | None
    recording_seconds_at_each_node: dict[str, float]
    recording_gap_seconds_at_each_node: dict[str, float]
    peak_rss_mb: dict[str, float]
    startup_s: float
    lesson_playing_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One run; memory in MB, the greatest of the three boxes with all their processes."""

    demo: Observed
    box_mb_before_lesson: float
    box_mb: float


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=90.0, help="the demo's --for")
    options.add_argument("--runs", type=int, default=1)
    given = options.parse_args()
    machine = read_machine()
    days = []
    folder = Path(tempfile.mkdtemp(prefix="demo-day-"))
    with progress("demo_day") as step:
        for number in range(given.runs):
            step(f"run {number + 1} of {given.runs}, {given.seconds:.0f} s and a little")
            days.append(run_day(folder, seed=number + 1, seconds=given.seconds, step=step))
    if any(day.demo.failed for day in days):
        sys.stderr.write(f"not everything was observed; ledgers, logs and stores: {folder}\n")
    else:
        shutil.rmtree(folder)
    report = Report(
        benchmark="demo_day",
        machine=machine,
        versions=read_versions("aiohttp", "av", "cryptography", "msgspec", "uvloop"),
        figures=list(_figures(days)),
        notes=_notes(days),
    )
    publish(report, as_json=given.json)


def run_day(folder: Path, *, seed: int, seconds: float, step: Step) -> Day:
    """Run the demo once on a new folder; ends the program when it told nothing."""
    config = folder / f"demo-{seed}.toml"
    config.write_text(f"seed = {seed}\nnetwork = {NETWORK}\n")
    data = folder / f"demo-{seed}"
    argv = [sys.executable, "-m", "edge", "demo", f"--for={seconds}", "--json"]
    argv += [f"--folder={data}", f"--config={config}"]
    output, notes = folder / "observed.json", folder / "notes.txt"
    with output.open("wb") as told, notes.open("wb") as said:
        process = subprocess.Popen(argv, stdout=told, stderr=said)
    before: dict[str, float] = defaultdict(float)
    ever: dict[str, float] = defaultdict(float)
    shown = 0
    try:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            _look_at_boxes(data / "logs" / "processes.json", before, ever)
            lines = notes.read_text(errors="replace").splitlines()
            for line in lines[shown:]:
                step(line)
            shown = len(lines)
    finally:
        process.terminate()
        process.wait()
    try:
        demo = msgspec.json.decode(output.read_bytes(), type=Observed)
    except msgspec.DecodeError as error:
        tail = notes.read_text(errors="replace")[-1000:]
        raise SystemExit(
            f"{data}: the demo told nothing that can be read ({error}):\n{tail}"
        ) from error
    return Day(demo=demo, box_mb_before_lesson=max(before.values()), box_mb=max(ever.values()))


def _look_at_boxes(pids: Path, before: dict[str, float], ever: dict[str, float]) -> None:
    """Note the boxes' memory; ``before`` grows until somebody opens a classroom."""
    try:
        running: dict[str, int] = json.loads(pids.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return  # not started yet, or just being written
    lesson = any(name.startswith("classroom-") for name in running)
    for name, pid in running.items():
        if name.startswith("school-"):
            ever[name] = max(ever[name], tree_rss_mb(pid))
            if not lesson:
                before[name] = max(before[name], tree_rss_mb(pid))


_Reading = Callable[[Observed], float | None]
_FIGURES: tuple[tuple[str, _Reading, str, Direction, float | None], ...] = (
    ("steps_not_observed", lambda day: len(day.failed), "steps", "lower", 0),
    ("rows_lost", lambda day: day.rows_lost, "rows", "lower", 0),
    ("rows_doubled", lambda day: day.rows_doubled, "rows", "lower", 0),
    ("plaintext_names_at_hub", lambda day: day.plaintext_names_at_hub, "names", "lower", 0),
    (
        "plaintext_names_control_found",
        lambda day: day.plaintext_names_control_found,
        "of 1",
        "higher",
        1,
    ),
    ("link_cut_survived", lambda day: day.link_cut_seconds_survived, "s", "higher", 20),
    ("startup", lambda day: day.startup_s, "s", "lower", None),
    ("lesson_playing_after", lambda day: day.lesson_playing_after_s, "s", "lower", 90),
    ("glass_to_glass_p50", lambda day: day.lesson_glass_to_glass_ms_p50, "ms", "lower", 600),
    ("glass_to_glass_p95", lambda day: day.lesson_glass_to_glass_ms_p95, "ms", "lower", None),
    (
        "frames_after_the_cut_least_classroom",
        lambda day: min(day.lesson_frames_after_the_cut.values(), default=0),
        "frames",
        "higher",
        1,
    ),
    (
        "recording_least_node",
        lambda day: min(day.recording_seconds_at_each_node.values(), default=0.0),
        "s",
        "higher",
        None,
    ),
    (
        "recording_gap_worst_node",
        lambda day: max(day.recording_gap_seconds_at_each_node.values(), default=_NEVER_S),
        "s",
        "lower",
        None,
    ),
    ("readings_stored", lambda day: day.readings_stored, "rows", "higher", None),
    ("taps_stored", lambda day: day.taps_stored, "rows", "higher", None),
    ("rows_folded_at_hub", lambda day: day.rows_folded_at_hub, "rows", "higher", None),
    ("wire_segments", lambda day: day.wire_bytes_per_row, "B a row", "lower", None),
    ("hub_peak_memory", lambda day: day.peak_rss_mb.get("hub"), "MB", "lower", None),
)


def _figures(days: Sequence[Day]) -> Iterator[Figure]:
    for name, reading, unit, direction, goal in _FIGURES:
        missing = _NEVER_S * 1000 if direction == "lower" else 0.0
        told = [reading(day.demo) for day in days]
        samples = [missing if value is None else float(value) for value in told]
        yield measured(name, samples, unit, direction, goal)
    before = [day.box_mb_before_lesson for day in days]
    yield measured("box_memory_before_lesson", before, "MB", "lower", 120)
    yield measured("box_memory_with_lesson", [day.box_mb for day in days], "MB", "lower")


def _notes(days: Sequence[Day]) -> list[str]:
    failed = sorted({name for day in days for name in day.demo.failed})
    return [
        (
            "Boxes, hub, simulated devices, the camera's encoder and the classrooms' decoders share"
            f" this machine's {os.cpu_count()} cores."
        ),
        (
            "Memory of a box: the greatest of three, its daemon and the processes it starts, summed"
            " resident sizes (pages they share count each time)."
        ),
        (
            "Glass to glass: the clock in the decoded pixels against the moment the picture reached"
            " the classroom's viewer, on loopback; decoding and a page's play-out buffer come on"
            " top."
        ),
        f"Steps not observed: {', '.join(failed) or 'none'}.",
    ]


if __name__ == "__main__":
    main()
