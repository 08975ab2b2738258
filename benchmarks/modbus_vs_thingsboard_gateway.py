"""One Modbus line, polled by the box and by thingsboard-gateway: points, lateness, CPU, memory.

Sixteen units of eight registers on a real pty, once at the pace of 9,600 baud asked once a second,
once without pace and asked as fast as the program can. Ours decodes, stores durably and numbers
each reading for sync; theirs decodes and hands each value to a storage that counts and drops it.
The devices run in a process of their own; late is counted against what they wrote down.
"""

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from benchmarks.bus_box import Outcome
from benchmarks.bus_devices import BAUD, POINTS_A_UNIT, UNITS, UNPACED_BAUD
from benchmarks.peer_environment import PEERS, peer_python
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
UNPACED_PERIOD_MS = 10
HERE = Path(__file__).parent
_PEER = "thingsboard_gateway"
_START_S_MAX = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How the line is paced and how often each point is asked for."""

    name: str
    baud: int
    period_ms: int
    devices: tuple[str, ...] = ()


PACED = Line(name="paced", baud=BAUD, period_ms=PERIOD_MS)
UNPACED = Line(
    name="unpaced", baud=UNPACED_BAUD, period_ms=UNPACED_PERIOD_MS, devices=("--at-once",)
)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What a program did in one window."""

    wall_s: float
    cpu_s: float
    from_ms: int
    until_ms: int
    values: int
    peak_rss_mb: float
    late: int = 0


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=20.0, help="length of each window")
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    machine = read_machine()
    python = peer_python(_PEER)
    programs = {"ours": None, "theirs": (), "theirs_ranges": ("--ranges",)}
    windows: dict[tuple[str, str], list[Window]] = defaultdict(list)
    with progress(Path(__file__).stem) as step, tempfile.TemporaryDirectory() as folder:
        for run in range(given.runs):
            for line in (PACED, UNPACED):
                for program, how in programs.items():
                    step(f"run {run + 1} of {given.runs}: {program}, {line.name} line")
                    place = Path(folder) / f"{run}-{line.name}-{program}"
                    place.mkdir()
                    window = (
                        measure_ours(place, line, run, given.seconds)
                        if how is None
                        else measure_theirs(place, line, run, given.seconds, python, how)
                    )
                    windows[line.name, program].append(window)
    report = Report(
        benchmark=Path(__file__).stem,
        machine=machine,
        versions={
            **read_versions("msgspec", "pyserial", "uvloop"),
            "thingsboard-gateway": "3.8.5 (pymodbus 3.9.2)",
        },
        figures=list(_figures(windows)),
        notes=[
            (
                f"{len(UNITS)} units of {POINTS_A_UNIT} registers; every value differs from the"
                " last, so that each of ours is stored."
            ),
            (
                f"Paced: {BAUD} baud, asked once a second. Unpaced: units answer at once, and each"
                f" is due again {UNPACED_PERIOD_MS} ms after its last turn."
            ),
            "theirs: one item a register, as its examples are; theirs_ranges: one range a unit.",
            "CPU is the whole process's. Ours stores with synchronous=FULL; theirs stores nothing.",
            f"Late: points not asked for within {LATE_MS} ms of their turn, by the ledger.",
        ],
    )
    publish(report, as_json=given.json)


def measure_ours(folder: Path, line: Line, seed: int, seconds: float) -> Window:
    """Poll a new line for a while with the box's own bus, recorder and store."""
    with _devices(folder, line, seed) as (port, ledger):
        done = subprocess.run(
            [
                sys.executable,
                HERE / "bus_box.py",
                f"--line={port}",
                f"--folder={folder}",
                f"--seconds={seconds}",
                f"--baud={line.baud}",
                f"--period-ms={line.period_ms}",
            ],
            stdout=subprocess.PIPE,
            check=True,
        )
    box = msgspec.json.decode(done.stdout, type=Outcome)
    with closing(connect_readonly(folder / "box.db")) as store:
        (values,) = store.execute(
            "SELECT count(*) FROM reading WHERE value IS NOT NULL AND at_ms >= ? AND at_ms < ?",
            (box.from_ms, box.until_ms),
        ).fetchone()
    window = Window(
        wall_s=box.wall_s,
        cpu_s=box.cpu_s,
        from_ms=box.from_ms,
        until_ms=box.until_ms,
        values=values,
        peak_rss_mb=box.peak_rss_mb,
    )
    return msgspec.structs.replace(window, late=late_points(read_ledger(ledger), window))


def measure_theirs(
    folder: Path, line: Line, seed: int, seconds: float, python: Path, how: Sequence[str]
) -> Window:
    """Poll a new line for a while with thingsboard-gateway's connector."""
    with _devices(folder, line, seed) as (port, ledger):
        done = subprocess.run(
            [
                python,
                PEERS / _PEER / "peer.py",
                f"--line={port}",
                f"--baud={line.baud}",
                f"--units={','.join(map(str, UNITS))}",
                f"--registers={POINTS_A_UNIT}",
                f"--period-ms={line.period_ms}",
                f"--seconds={seconds}",
                *how,
            ],
            stdout=subprocess.PIPE,
            check=True,
        )
    window = msgspec.json.decode(done.stdout, type=Window)
    return msgspec.structs.replace(window, late=late_points(read_ledger(ledger), window))


def late_points(lines: Sequence[Mapping[str, object]], window: Window) -> int:
    """Count the turns in the window at which a point was not asked for in time."""
    asked: dict[tuple[int, int], list[int]] = defaultdict(list)
    for line in lines:
        unit, address, count, moment = (
            line[name] for name in ("unit", "address", "count", "begun_ms")
        )
        assert isinstance(unit, int)
        assert isinstance(address, int)
        assert isinstance(count, int)
        assert isinstance(moment, int)
        if line["kind"] == "reply_begun" and window.from_ms - LATE_MS <= moment < window.until_ms:
            for register in range(address, address + count):
                asked[unit, register].append(moment)
    late = 0
    for unit in UNITS:
        for register in range(POINTS_A_UNIT):
            moments = [window.from_ms, *asked[unit, register], window.until_ms]
            for before, after in pairwise(moments):
                late += max(0, after - before - LATE_MS) // PERIOD_MS
    return late


@contextmanager
def _devices(folder: Path, line: Line, seed: int) -> Iterator[tuple[Path, Path]]:
    port, ledger = folder / "bus0", folder / "bus0.jsonl"
    process = subprocess.Popen(
        [
            sys.executable,
            HERE / "bus_devices.py",
            f"--line={port}",
            f"--ledger={ledger}",
            f"--seed={seed}",
            *line.devices,
        ]
    )
    try:
        deadline = time.monotonic() + _START_S_MAX
        while not port.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the simulated bus does not start; run bus_devices.py by hand")
            time.sleep(0.05)
        yield port, ledger
        time.sleep(1)  # the devices write down half a second later what was heard
    finally:
        process.terminate()
        process.wait()


def _figures(windows: Mapping[tuple[str, str], Sequence[Window]]) -> Iterator[Figure]:
    points = len(UNITS) * POINTS_A_UNIT
    for (line, program), runs in windows.items():
        ours, paced = program == "ours", line == PACED.name
        name = f"{program}_{line}"
        rate = [round(run.values / run.wall_s, 1) for run in runs]
        goal = 0.99 * points if ours and paced else None  # a window may end within a round
        yield measured(f"{name}_points_a_second", rate, "points/s", "higher", goal)
        cpu = [run.cpu_s / max(1, run.values) * 1e6 for run in runs]
        yield measured(f"{name}_cpu_a_point", cpu, "µs", "lower", 60 if ours else None)
        if paced:
            share = [100 * run.cpu_s / run.wall_s for run in runs]
            yield measured(f"{name}_share_of_a_core", share, "%", "lower", 1 if ours else None)
            late = [run.late for run in runs]
            yield measured(f"{name}_late", late, "points", "lower", 0 if ours else None)
        memory = [run.peak_rss_mb for run in runs]
        yield measured(f"{name}_peak_memory", memory, "MB", "lower")


if __name__ == "__main__":
    main()
