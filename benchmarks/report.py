"""One shape for every benchmark's outcome, for programs and for a person.

``--json`` prints one object: ``{"benchmark", "machine", "versions", "figures", "notes"}``; a figure
is ``{"name", "value", "unit", "direction", "goal", "met", "spread", "runs"}`` with ``goal`` and
``met`` null where nobody set one, ``value`` the median and ``spread`` the least and greatest of
``runs`` measurements. Progress goes to standard error.
"""

import argparse
import os
import platform
import shutil
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = "results.md"
"""Where ``make bench`` writes, in this folder."""
Direction = Literal["higher", "lower"]
_FILE_COLUMNS = 120
Step = Callable[[str], None]
"""Tells the person who waits what is measured now."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured quantity; see the module."""

    name: str
    value: float
    unit: str
    direction: Direction
    goal: float | None
    met: bool | None
    spread: tuple[float, float]
    runs: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    benchmark: str
    machine: dict[str, str | float]
    versions: dict[str, str]
    figures: list[Figure]
    notes: list[str]


def measured(
    name: str,
    samples: Sequence[float],
    unit: str,
    direction: Direction,
    goal: float | None = None,
) -> Figure:
    """Return the median of ``samples`` held against its goal: at least, or at most, that much."""
    middle = median(samples)
    met = None
    if goal is not None:
        met = middle >= goal if direction == "higher" else middle <= goal
    return Figure(
        name=name,
        value=_rounded(middle),
        unit=unit,
        direction=direction,
        goal=goal,
        met=met,
        spread=(_rounded(min(samples)), _rounded(max(samples))),
        runs=len(samples),
    )


def read_machine() -> dict[str, str | float]:
    """Return what the figures were taken on, and how busy it was with other things.

    ``commit`` is the one that is checked out, with a ``+`` when files differ from it.
    """
    memory_kb = int(_line_of("/proc/meminfo", "MemTotal").split()[0])
    return {
        "cores": float(os.cpu_count() or 1),
        "cpu": _line_of("/proc/cpuinfo", "model name"),
        "memory_gb": round(memory_kb * 1024 / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
    }


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def ask(*question: str) -> str:
        done = subprocess.run(
            [git, "-C", HERE, *question], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = ask("status", "--porcelain", "--", ":/", f":!{RESULTS}")
    return (ask("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def read_versions(*packages: str) -> dict[str, str]:
    """Return the versions of installed packages, and of what Python itself brings."""
    found = {name: version(name) for name in packages}
    return {**found, "sqlite": sqlite3.sqlite_version, "openssl": ssl.OPENSSL_VERSION.split()[1]}


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a command line with what all benchmarks understand."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


@contextmanager
def progress(title: str) -> Iterator[Step]:
    """Show on standard error what happens: a line that changes, or in a file a line a step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: console.print(f"{title}: {text}", highlight=False, soft_wrap=True)
        return
    with console.status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")


def publish(report: Report, *, as_json: bool) -> None:
    """Print a report on standard output."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_COLUMNS)
    table = Table(title=report.benchmark)
    for column in ("figure", "median", "least … greatest", "runs", "goal", ""):
        is_text = column in {"figure", ""}
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    for figure in report.figures:
        table.add_row(
            figure.name,
            f"{show(figure.value)} {figure.unit}",
            show_spread(figure),
            str(figure.runs),
            show_goal(figure),
            show_met(figure),
        )
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", highlight=False)
    for about in (report.machine, report.versions):
        console.print(", ".join(f"{name} {value}" for name, value in about.items()), style="dim")


def show(value: float) -> str:
    """Return a number as a person reads it: whole above a hundred, else as measured."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:g}"  # noqa: PLR2004 - see above


def show_spread(figure: Figure) -> str:
    if figure.runs == 1:
        return ""
    return f"{show(figure.spread[0])} … {show(figure.spread[1])}"


def show_goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'≥' if figure.direction == 'higher' else '≤'} {show(figure.goal)}"


def show_met(figure: Figure) -> str:
    return {None: "", True: "met", False: "NOT met"}[figure.met]


def _rounded(value: float) -> float:
    """Keep four significant digits; nothing here is measured better."""
    return float(f"{value:.4g}")


def _line_of(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        label, _, value = line.partition(":")
        if label.strip() == name:
            return value.strip()
    return "not told"
