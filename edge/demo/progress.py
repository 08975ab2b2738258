"""What a person sees of the demo while it runs: addresses, and what happens where."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from drivers.simulators.ledger import read_ledger
from edge.demo.plan import DemoPlan
from edge.terminal import retold, say


@dataclass(slots=True)
class SchoolProgress:
    """What is known of one school; ``step`` is what happens there now."""

    step: str = "waiting"
    devices: int = 0
    answering: int = 0
    taps: int = 0
    readings: int = 0
    waiting_rows: int = 0
    link: str = "-"
    lesson: str = "-"
    setup_code: str = ""

    def take_status(self, status: dict[str, Any], now_ms: int) -> None:
        """Take what the school's daemon says of itself."""
        sync, devices = status["sync"], status["devices"]
        self.devices = len(devices)
        self.answering = sum(device["state"] == "good" for device in devices)
        last_ms = sync["last_exchange_ms"]
        heard = f"heard {(now_ms - last_ms) / 1000:.0f} s ago" if last_ms else "not heard yet"
        self.link = f"{sync['link']}, {heard}"
        lanes = sync["lanes"]
        if lanes:
            self.waiting_rows = sum(lane["waiting_rows"] for lane in lanes)
            self.taps = lanes[2]["stored"] + lanes[2]["waiting_rows"]
            self.readings = lanes[4]["stored"] + lanes[4]["waiting_rows"]

    def take_watch(self, report: Path, now_ms: int) -> None:
        """Take what a classroom without a screen saw in its last second."""
        self.lesson = _watch_line(report, now_ms)


@dataclass(slots=True)
class DemoProgress:
    schools: dict[int, SchoolProgress]
    hub_code: str = ""
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes = [*self.notes[-5:], text]


class ProgressView:
    """Redraws a table in a terminal; elsewhere prints each note once."""

    def __init__(self, plan: DemoPlan, progress: DemoProgress, console: Console) -> None:
        self._plan = plan
        self._progress = progress
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._printed: list[str] = []

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self.refresh()
            self._live.stop()

    def refresh(self) -> None:
        if self._live:
            self._live.update(self._draw(), refresh=True)
            return
        for note in self._progress.notes:
            if note not in self._printed:
                self._printed.append(note)
                self._console.print(retold(note), highlight=False, soft_wrap=True)

    def _draw(self) -> RenderableType:
        table = Table(expand=True)
        for column in (
            say("school"),
            say("now"),
            say("link"),
            say("devices"),
            say("taps"),
            say("readings"),
            say("rows waiting"),
            say("lesson"),
        ):
            table.add_column(column)
        for school in self._plan.schools:
            seen = self._progress.schools[school.number]
            table.add_row(
                f"{school.name}\n{school.name_en}",
                retold(seen.step),
                retold(seen.link),
                say("{n} of {all} answer", n=seen.answering, all=seen.devices),
                str(seen.taps),
                str(seen.readings),
                str(seen.waiting_rows),
                retold(seen.lesson),
            )
        return Group(
            Panel(
                "\n".join(map(retold, addresses(self._plan, self._progress))),
                title=say("Open in a browser"),
            ),
            table,
            *map(retold, self._progress.notes),
        )


def addresses(plan: DemoPlan, progress: DemoProgress) -> list[str]:
    """Return the addresses to open, with the codes they ask for."""
    lines = [f"hub         {plan.hub_pages}   administrator's code {progress.hub_code}"]
    for school in plan.schools:
        host = school.pages_addresses[-1]
        base = f"https://{host}:{school.pages_port}"
        code = progress.schools[school.number].setup_code
        lines += [
            f"{school.name_en}",
            f"  set-up     {base}/   set-up code {code}",
            f"  class card {base}/class-card?room={school.room}",
            f"  classroom  {base}/classroom?room={school.room}",
            f"  how a device comes to trust it: http://{host}:{school.plain_port}/trust",
        ]
    return lines


def percentile(sorted_values: list[int], share: float) -> int | None:
    """Return the value below which a share of them lies; None of none."""
    return sorted_values[int(share * (len(sorted_values) - 1))] if sorted_values else None


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
    return f"{frames} pictures/s, {percentile(sorted(latencies), 0.5) or 0} ms behind"
