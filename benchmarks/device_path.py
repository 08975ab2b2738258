"""From a simulated bus to rows queued for sync: what a point costs, and whether any is late.

Sixteen units of eight registers on a real pty at 9,600 baud, each read once a second by the box's
own driver; every reading is decoded, stored durably in a box's store and numbered in its log. The
devices run in a process of their own, which is not measured; lost, doubled and late are counted
against what they wrote down.
"""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from benchmarks.bus_box import Outcome
from benchmarks.bus_devices import BAUD, POINTS_A_UNIT, UNITS
from benchmarks.report import (
    Figure,
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from drivers.simulators.ledger import read_ledger
from sync.store import connect_readonly

PERIOD_MS = 1000
LATE_MS = 500
"""A reading is late when its unit was not asked within half a period of its turn."""
POINTS_A_SECOND = len(UNITS) * POINTS_A_UNIT
_START_S_MAX = 10.0
_Value = tuple[int, str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One window: what the box tells of itself, and points counted outside of it."""

    box: Outcome
    stored: int
    a_second: float
    late: int
    lost: int
    doubled: int


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=30.0, help="length of each window")
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    machine = read_machine()
    runs = []
    with progress("device_path") as step, tempfile.TemporaryDirectory() as folder:
        for number in range(given.runs):
            step(f"window {number + 1} of {given.runs}, {given.seconds:.0f} s")
            place = Path(folder) / str(number)
            place.mkdir()
            runs.append(measure(place, number, given.seconds))
    report = Report(
        benchmark="device_path",
        machine=machine,
        versions=read_versions("msgspec", "pyserial", "uvloop"),
        figures=list(_figures(runs)),
        notes=[
            (
                f"One bus of {BAUD} baud, {len(UNITS)} units of {POINTS_A_UNIT} registers, asked"
                " once a second; every value differs from the last, so that each is stored."
            ),
            (
                "CPU is the box's process over the window, its idle turns included: driver,"
                " recorder, store with synchronous=FULL; sealing and sending are sync_taps' matter."
            ),
            f"Late: not asked within {LATE_MS} ms of its turn, by the devices' ledger.",
            "Not tried here: real lines and adapters, several buses, cameras, ARM.",
        ],
    )
    publish(report, as_json=given.json)


def measure(folder: Path, seed: int, seconds: float) -> Run:
    """Poll one new bus for a while; ``folder`` is empty."""
    line, ledger = folder / "bus0", folder / "bus0.jsonl"
    with _devices(line, ledger, seed):
        program = str(Path(__file__).with_name("bus_box.py"))
        done = subprocess.run(
            [
                sys.executable,
                program,
                f"--line={line}",
                f"--folder={folder}",
                f"--seconds={seconds}",
            ],
            stdout=subprocess.PIPE,
            check=True,
        )
        time.sleep(1)  # the devices write down half a second later what was heard
    box = msgspec.json.decode(done.stdout, type=Outcome)
    lines = read_ledger(ledger)
    with closing(connect_readonly(folder / "box.db")) as store:
        rows = store.execute("SELECT * FROM reading WHERE value IS NOT NULL").fetchall()
    stored = Counter(
        (int(row["device"].rsplit(":", 1)[1]), row["point"], row["value"]) for row in rows
    )
    in_window = [row for row in rows if box.from_ms <= row["at_ms"] < box.until_ms]
    heard = _sent_values([each for each in lines if each["kind"] == "reply" and each["heard"]])
    begun = _sent_values([each for each in lines if each["kind"] == "reply_begun"])
    return Run(
        box=box,
        stored=len(in_window),
        a_second=_points_a_second(in_window),
        late=_late_points(lines, box),
        lost=(heard - stored).total(),
        doubled=(stored - begun).total(),
    )


@contextmanager
def _devices(line: Path, ledger: Path, seed: int) -> Iterator[None]:
    program = str(Path(__file__).with_name("bus_devices.py"))
    process = subprocess.Popen(
        [sys.executable, program, f"--line={line}", f"--ledger={ledger}", f"--seed={seed}"]
    )
    try:
        deadline = time.monotonic() + _START_S_MAX
        while not line.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the simulated bus does not start; run bus_devices.py by hand")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _points_a_second(rows: Sequence[sqlite3.Row]) -> float:
    """Return the sum of each point's own rate, from its first to its last reading."""
    moments: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        moments[row["device"], row["point"]].append(row["at_ms"])
    return sum(
        (len(each) - 1) / (max(each) - min(each)) * 1000
        for each in moments.values()
        if len(each) > 1
    )


def _sent_values(lines: Sequence[dict[str, object]]) -> Counter[_Value]:
    sent: Counter[_Value] = Counter()
    for line in lines:
        values, unit = line["values"], line["unit"]
        assert isinstance(values, dict)
        assert isinstance(unit, int)
        sent.update((unit, point, float(value)) for point, value in values.items())
    return sent


def _late_points(lines: Sequence[dict[str, object]], box: Outcome) -> int:
    """Count the points of turns in the window at which a unit was not asked in time."""
    late = 0
    for unit in UNITS:
        asked = [
            moment
            for line in lines
            if line["kind"] == "reply_begun" and line["unit"] == unit
            for moment in [line["begun_ms"]]
            if isinstance(moment, int) and box.from_ms - LATE_MS <= moment < box.until_ms
        ]
        asked = [box.from_ms, *asked, box.until_ms]
        for before, after in pairwise(asked):
            late += max(0, after - before - LATE_MS) // PERIOD_MS
    return late * POINTS_A_UNIT


def _figures(runs: Sequence[Run]) -> Iterator[Figure]:
    cpu = [run.box.cpu_s / run.stored * 1e6 for run in runs]
    share = [100 * run.box.cpu_s / run.box.wall_s for run in runs]
    # To whole points: a reading some milliseconds sooner or later is no other rate.
    rate = [round(run.a_second) for run in runs]
    yield measured("cpu_a_point_stored_and_queued", cpu, "µs", "lower", 60)
    yield measured("bus_cpu_share_of_a_core", share, "%", "lower", 1)
    yield measured("bus_points_a_second", rate, "points/s", "higher", POINTS_A_SECOND)
    yield measured("bus_points_late", [run.late for run in runs], "points", "lower", 0)
    yield measured("readings_lost", [run.lost for run in runs], "rows", "lower", 0)
    yield measured("readings_doubled", [run.doubled for run in runs], "rows", "lower", 0)
    failed = [run.box.unanswered for run in runs]
    yield measured("polls_unanswered", failed, "polls", "lower", 0)
    memory = [run.box.peak_rss_mb for run in runs]
    yield measured("peak_memory_of_the_path", memory, "MB", "lower")


if __name__ == "__main__":
    main()
