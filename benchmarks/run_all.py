"""The short form of every benchmark; writes results.md beside this file."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console

from benchmarks.report import HERE, RESULTS, Figure, Report, show, show_goal, show_met, show_spread

PAGE = HERE / RESULTS
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
    ("onvif_peers.py",),
    ("box_memory.py", "--seconds=30"),
    ("modbus_recovery.py",),
    ("device_chaos.py", "--seeds=2"),
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
    """Run all in turn, or those whose names begin as the arguments say; the others' results stand.

    Exits 1 when one could not be run, not when a goal is missed. What is known is written after
    each, so that an end before the last loses nothing.
    """
    console = Console(stderr=True)
    beginnings = tuple(sys.argv[1:]) or ("",)
    chosen = [each for each in SHORT if each[0].startswith(beginnings)]
    if not chosen:
        sys.exit(f"no benchmark begins with {' or '.join(beginnings)}; their names: README.md")
    sections = _sections(PAGE.read_text()) if PAGE.exists() else {}
    lacking: list[str] = []
    for name, *arguments in chosen:
        console.rule(name)
        done = subprocess.run(
            [sys.executable, str(HERE / name), "--json", *arguments],
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            lacking.append(name)
        else:
            report = msgspec.json.decode(done.stdout, type=Report)
            sections[name.removesuffix(".py")] = "\n".join(_section(report, datetime.now(UTC)))
        PAGE.write_text("\n".join(_page(sections, lacking)) + "\n")
    console.print(f"written to {PAGE}")
    sys.exit(1 if lacking else 0)


def _sections(page: str) -> dict[str, str]:
    """Return what a page of results says, by benchmark."""
    parts = page.split("\n## ")[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}" for part in parts}


def _page(sections: Mapping[str, str], lacking: Sequence[str]) -> Iterator[str]:
    yield "# Results of the short form"
    yield ""
    yield (
        "Written by `make bench`; what the figures ask and how to read them is in"
        " [README.md](README.md)."
    )
    for name in lacking:
        yield ""
        yield f"**{name} could not be run**; run it alone to see why."
    names = [name.removesuffix(".py") for name, *_ in SHORT]
    missed = [
        f"{name} {row.split('|')[1].strip()}"
        for name in names
        for row in sections.get(name, "").splitlines()
        if row.endswith("| NOT met |")
    ]
    yield ""
    yield f"Goals not met: {', '.join(missed) or 'none'}."
    never = [name for name in names if name not in sections]
    if never:
        yield ""
        yield f"Not run: {', '.join(never)}."
    for name in names:
        if name in sections:
            yield ""
            yield sections[name]


def _section(report: Report, now: datetime) -> Iterator[str]:
    machine = report.machine
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
    yield (
        f"- Run of commit {machine['commit']} at {now:%Y-%m-%d %H:%M} UTC"
        f" on {show(float(machine['cores']))} cores of"
        f" {machine['cpu']}, {machine['memory_gb']} GB, Linux {machine['kernel']}, Python"
        f" {machine['python']}; load before: {machine['load_before']}. Versions: {versions}."
    )


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
