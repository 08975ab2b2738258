"""The short form of every benchmark; writes results.md beside this file."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks.report import Figure, Report, show, show_goal, show_met, show_spread

HERE = Path(__file__).parent
SHORT = (
    ("sync_taps.py", "--rows=10000", "--runs=5", "--many=200000"),
    ("sync_vs_morango.py", "--rows=10000", "--many=0", "--runs=1"),
    (
        "hub_ingest.py",
        "--schools=100",
        "--day-seconds=20",
        "--storm-schools=200",
        "--storm-days=5",
    ),
    ("thirty_days.py",),
    (
        "poor_link.py",
        "--runs=1",
        "--morango=day",
        "--only=day_steady",
        "--only=5_days_steady",
        "--only=5_days_black_hole",
        "--only=5_days_reset",
    ),
    ("demo_day.py", "--seconds=90", "--runs=1"),
    ("device_path.py", "--seconds=15", "--runs=3"),
    ("tap_to_screen.py", "--seconds=15", "--runs=2"),
    ("modbus_vs_thingsboard_gateway.py", "--seconds=10", "--runs=3"),
    ("modbus_faults.py", "--reads=10000"),
    ("onvif_scale.py", "--seconds=30"),
    ("box_memory.py", "--seconds=30"),
    ("modbus_recovery.py",),
    ("lesson_latency.py", "--runs=2", "--seconds=6"),
    ("lesson_fanout.py", "--seconds=5", "--runs=2"),
    ("lesson_hub.py", "--schools=150", "--seconds=6", "--runs=2"),
    ("lesson_long.py", "--minutes=5"),
    ("lesson_recovery.py", "--runs=1"),
    ("lesson_bell.py", "--runs=3"),
    ("lesson_poor_link.py", "--runs=1", "--poor=40", "--floor=60"),
    ("lesson_capture.py", "--seconds=10", "--runs=2"),
)


def main() -> None:
    """Run all in turn; exits 1 when one could not be run, not when a goal is missed.

    What is known is written after each, so that an end before the last loses nothing.
    """
    console = Console(stderr=True)
    reports: list[Report] = []
    lacking: list[str] = []
    began = time.monotonic()
    for place, (name, *arguments) in enumerate(SHORT, start=1):
        console.rule(name)
        done = subprocess.run(
            [sys.executable, str(HERE / name), "--json", *arguments],
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            lacking.append(name)
        else:
            reports.append(msgspec.json.decode(done.stdout, type=Report))
        minutes = (time.monotonic() - began) / 60
        not_reached = [each for each, *_ in SHORT[place:]]
        page = _page(reports, lacking, not_reached, datetime.now(UTC), minutes)
        (HERE / "results.md").write_text("\n".join(page) + "\n")
    console.print(f"written to {HERE / 'results.md'}")
    sys.exit(1 if lacking else 0)


def _page(
    reports: list[Report], lacking: list[str], not_reached: list[str], now: datetime, minutes: float
) -> Iterator[str]:
    yield "# Results of the short form"
    yield ""
    yield (
        f"Written by `make bench` on {now:%Y-%m-%d %H:%M} UTC in {minutes:.0f} minutes; what the"
        " figures ask and how to read them is in [README.md](README.md)."
    )
    if reports:
        machine = reports[0].machine
        yield ""
        yield (
            f"Machine: {show(float(machine['cores']))} cores of {machine['cpu']},"
            f" {machine['memory_gb']} GB, Linux {machine['kernel']}, Python {machine['python']}."
        )
    for name in lacking:
        yield ""
        yield f"**{name} could not be run**; run it alone to see why."
    if not_reached:
        yield ""
        yield f"Ended before {', '.join(not_reached)}."
    missed = [
        f"{report.benchmark} {figure.name}"
        for report in reports
        for figure in report.figures
        if figure.met is False
    ]
    yield ""
    yield f"Goals not met: {', '.join(missed) or 'none'}."
    for report in reports:
        yield from _section(report)


def _section(report: Report) -> Iterator[str]:
    yield ""
    yield f"## {report.benchmark}"
    yield ""
    yield "| Figure | Median | Least … greatest | Runs | Goal | |"
    yield "|---|--:|--:|--:|--:|---|"
    for figure in report.figures:
        yield _row(figure)
    yield ""
    for note in report.notes:
        yield f"- {note}"
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    yield f"- Load of the machine before: {report.machine['load_before']}. Versions: {versions}."


def _row(figure: Figure) -> str:
    cells = (
        figure.name.replace("_", " "),
        f"{show(figure.value)} {figure.unit}",
        show_spread(figure),
        str(figure.runs),
        show_goal(figure),
        show_met(figure),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
