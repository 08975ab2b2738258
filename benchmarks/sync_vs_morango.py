"""The same rows through this product and through Morango, Kolibri's sync, in one run.

Ours: rows are captured durably at an enrolled box, sealed, carried over HTTPS with mutual TLS,
verified, opened, folded and committed by ``schoolnode-hub run``; the clock stops at the receipt of
the last. Morango's: written by its client, signed, pushed over plain HTTP, integrated into the
server's tables; the clock stops when the server has said so. Both are connected before the clock
runs, and durable at both ends. Taps are
new rows; edits write subject and teacher of as many timetable slots that exist already.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.arrivals import TAPS_A_DAY, draw_taps
from benchmarks.both_sides import SEED, Carried, OurSide, last_edits, push_edits, push_taps
from benchmarks.hub_disk import read_disk_use
from benchmarks.morango import SETTINGS_NOTE, SHIPPED, TUNED, Setting
from benchmarks.raw_sqlite import SETTINGS, insert_taps, upsert_swaps
from benchmarks.real_district import Hub, running_hub
from benchmarks.report import (
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
from benchmarks.swaps import draw_edits
from benchmarks.wire import WireCost, measure_wire

SCHOOL_ON_THE_LINE = 2
EDITS = "edits"
RAW_TRIES = 3
"""The ceiling is the best of so many; a pause of the machine is not SQLite's."""
FIRST_EDITS_SEED = 1_000_000


@dataclass(slots=True)
class Load:
    """One kind of rows and all that was measured with it; ``peer`` by Morango's setting."""

    name: str
    rows: int
    raw: list[float] = field(default_factory=list)
    ours: list[Carried] = field(default_factory=list)
    ours_before: list[Carried] = field(default_factory=list)  # recorded before connecting
    peer: dict[str, list[Carried]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``runs`` of ours and of Morango tuned; of Morango as shipped one, as it is slow."""

    rows: int
    many: int | None
    runs: int


class Measurement:
    """Takes turns between SQLite alone, ours, and Morango in its two settings."""

    def __init__(self, hub: Hub, folder: Path, plan: Plan, step: Step) -> None:
        self._folder = folder
        self._plan = plan
        self._step = step
        self._hub = hub
        step("enrols a box")
        self.ours = OurSide(hub, folder)
        self.ours.carry_edits(FIRST_EDITS_SEED, plan.rows)
        self.loads = [Load(f"{plan.rows}_taps", plan.rows), Load(EDITS, plan.rows)]
        if plan.many:
            self.loads.append(Load(f"{plan.many}_taps", plan.many))
        self.wrong_slots = 0
        self.disk: tuple[float, float] = (0.0, 0.0)
        self._numbers = count()

    def run(self) -> None:
        for load in self.loads:
            take = self._edits if load.name == EDITS else self._taps
            runs = self._plan.runs if load.rows == self._plan.rows else 1
            for run in range(runs):
                take(load, run)
        self._step("measures the hub's disk")
        self._measure_disk()

    def _taps(self, load: Load, run: int) -> None:
        taps = draw_taps(SEED, load.rows, skip=self.ours.used)
        self._step(f"{load.name}, run {run + 1}: SQLite alone, then ours")
        load.raw.append(max(insert_taps(self._new("raw"), taps) for _ in range(RAW_TRIES)))
        load.ours.append(self.ours.carry_taps(load.rows))
        load.ours_before.append(self.ours.carry_taps(load.rows, before_connecting=True))
        self._peers(load, run, lambda setting: push_taps(self._new("morango"), setting, taps))

    def _edits(self, load: Load, run: int) -> None:
        edits = list(draw_edits(run, load.rows))
        first = list(draw_edits(FIRST_EDITS_SEED, load.rows))
        self._step(f"{load.name}, run {run + 1}: SQLite alone, then ours")
        load.raw.append(max(upsert_swaps(self._new("raw"), edits) for _ in range(RAW_TRIES)))
        load.ours_before.append(self.ours.carry_edits(run, load.rows, before_connecting=True))
        load.ours.append(self.ours.carry_edits(run, load.rows))
        self.wrong_slots += self.ours.wrong_slots(last_edits(edits))
        self._peers(
            load, run, lambda setting: push_edits(self._new("morango"), setting, first, edits)
        )

    def _peers(self, load: Load, run: int, push: Callable[[Setting], Carried]) -> None:
        for setting in (TUNED, SHIPPED):
            if setting is SHIPPED and run:
                continue
            self._step(f"{load.name}, run {run + 1}: Morango {setting.name}")
            load.peer.setdefault(setting.name, []).append(push(setting))

    def _measure_disk(self) -> None:
        rows = self._plan.many or 100_000
        before = read_disk_use(self._hub.store, self._folder)
        self.ours.carry_taps(rows)
        after = read_disk_use(self._hub.store, self._folder)
        self.disk = (
            (after.with_logs - before.with_logs) / rows,
            (after.without_logs - before.without_logs) / rows,
        )

    def _new(self, name: str) -> Path:
        return self._folder / f"{name}-{next(self._numbers)}"


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=10_000, help="taps, and edits, of each run")
    options.add_argument(
        "--many", type=int, default=100_000, help="taps of one longer run; 0: none"
    )
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    machine = read_machine()
    plan = Plan(rows=given.rows, many=given.many or None, runs=given.runs)
    with progress("sync_vs_morango") as step, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_hub(folder / "hub") as hub:
            measurement = Measurement(hub, folder, plan, step)
            measurement.run()
            lost, doubled = measurement.ours.lost_and_doubled()
            step("counts the bytes on the line")
            box = folder / "line"
            wire = asyncio.run(measure_wire(hub, SCHOOL_ON_THE_LINE, box, SEED, plan.runs))
    report = Report(
        benchmark="sync_vs_morango",
        machine=machine,
        versions=read_versions("aiohttp", "cryptography", "msgspec", "uvloop", "zstandard"),
        figures=[
            *_against_morango(measurement.loads),
            *_against_sqlite(measurement.loads),
            *_bytes(measurement, wire),
            *_memory(measurement.loads),
            measured("rows_lost", [lost], "rows", "lower", 0),
            measured("rows_doubled", [doubled], "rows", "lower", 0),
            measured("slots_wrong", [measurement.wrong_slots], "slots", "lower", 0),
            *_peer_losses(measurement.loads),
        ],
        notes=_notes(plan),
    )
    publish(report, as_json=given.json)


def _against_morango(loads: Sequence[Load]) -> Iterator[Figure]:
    for place, load in enumerate(loads):
        suffix = f"_{load.name}" if place else ""
        speeds = [run.rows_a_second for run in load.ours]
        cpu_us = [run.cpu_s / run.rows * 1e6 for run in load.ours]
        for name, aim in ((SHIPPED.name, 100), (TUNED.name, 50)):
            peers, goal = load.peer[name], None if load.name == EDITS else aim
            ratios = [ours / run.rows_a_second for ours, run in zip(speeds, peers, strict=False)]
            yield measured(f"speedup_vs_morango_{name}{suffix}", ratios, "x", "higher", goal)
            before = [
                ours.rows_a_second / run.rows_a_second_with_connecting
                for ours, run in zip(load.ours_before, peers, strict=False)
            ]
            yield measured(
                f"speedup_vs_morango_{name}_connecting_in{suffix}", before, "x", "higher"
            )
        ratios = [
            run.cpu_s / run.rows * 1e6 / ours
            for ours, run in zip(cpu_us, load.peer[TUNED.name], strict=False)
        ]
        goal = None if load.name == EDITS else 70
        yield measured(f"cpu_ratio{suffix}", ratios, "x", "higher", goal)
        yield measured(f"rows_a_second{suffix}", speeds, "rows/s", "higher")
        yield measured(f"cpu_a_row_both_ends{suffix}", cpu_us, "µs", "lower")
        connecting = [run.connect_s * 1000 for run in load.ours]
        yield measured(f"connecting{suffix}", connecting, "ms", "lower")
        for name, peers in load.peer.items():
            connecting = [run.connect_s * 1000 for run in peers]
            yield measured(f"morango_{name}_connecting{suffix}", connecting, "ms", "lower")
            yield measured(
                f"morango_{name}_rows_a_second{suffix}",
                [run.rows_a_second for run in peers],
                "rows/s",
                "higher",
            )
            yield measured(
                f"morango_{name}_cpu_a_row_both_ends{suffix}",
                [run.cpu_s / run.rows * 1e6 for run in peers],
                "µs",
                "lower",
            )


def _against_sqlite(loads: Sequence[Load]) -> Iterator[Figure]:
    goals = {EDITS: ("fraction_of_raw_sqlite_lww", 0.2)}
    for place, load in enumerate(loads):
        name, goal = goals.get(load.name, ("fraction_of_raw_sqlite_events", 0.35))
        suffix = f"_{load.name}" if place and load.name != EDITS else ""
        ratios = [run.rows_a_second / raw for run, raw in zip(load.ours, load.raw, strict=True)]
        yield measured(f"{name}{suffix}", ratios, "of raw", "higher", goal)
        before = [
            run.rows_a_second / raw for run, raw in zip(load.ours_before, load.raw, strict=True)
        ]
        yield measured(f"{name}_recorded_before_connecting{suffix}", before, "of raw", "higher")
        yield measured(f"raw_sqlite_rows_a_second_{load.name}", load.raw, "rows/s", "higher")


def _bytes(measurement: Measurement, wire: WireCost) -> Iterator[Figure]:
    connected = [each.passed_bytes / each.rows for each in wire.connected_day]
    backlog = [each.passed_bytes / each.rows for each in wire.backlog]
    taps = measurement.loads[0]
    peer = [run.sent_bytes / run.rows for run in taps.peer[TUNED.name]]
    with_logs, without_logs = measurement.disk
    yield measured("wire_bytes_per_row_connected", connected, "B a row", "lower", 14)
    whole = [(each.passed_bytes + each.question_bytes) / each.rows for each in wire.connected_day]
    yield measured("wire_bytes_per_row_connected_with_heartbeats", whole, "B a row", "lower")
    yield measured("wire_bytes_per_row_backlog", backlog, "B a row", "lower", 8)
    yield measured("wire_handshake", wire.handshake_bytes, "B", "lower")
    questions = [float(each.question_bytes) for each in wire.connected_day]
    yield measured("wire_heartbeats_of_a_day", questions, "B", "lower")
    yield measured("morango_wire_bytes_per_row", peer, "B a row", "lower")
    yield measured("hub_bytes_per_row_with_sealed_logs", [with_logs], "B a row", "lower", 60)
    yield measured("hub_bytes_per_row_without_sealed_logs", [without_logs], "B a row", "lower", 60)


def _memory(loads: Sequence[Load]) -> Iterator[Figure]:
    largest = max(loads, key=lambda load: load.rows)
    edge = [max(run.client_rss_mb for load in loads for run in load.ours)]
    hub = [max(run.server_rss_mb for load in loads for run in load.ours)]
    yield measured("edge_rss_mb", edge, "MB", "lower", 80)
    yield measured("hub_rss_mb", hub, "MB", "lower")
    for name, peers in largest.peer.items():
        client = [run.client_rss_mb for run in peers]
        server = [run.server_rss_mb for run in peers]
        yield measured(f"morango_{name}_client_rss_mb", client, "MB", "lower")
        yield measured(f"morango_{name}_server_rss_mb", server, "MB", "lower")


def _peer_losses(loads: Sequence[Load]) -> Iterator[Figure]:
    runs = [run for load in loads for peers in load.peer.values() for run in peers]
    yield measured("morango_rows_lost", [sum(run.lost for run in runs)], "rows", "lower")
    yield measured("morango_rows_doubled", [sum(run.doubled for run in runs)], "rows", "lower")


def _notes(plan: Plan) -> list[str]:
    return [
        (
            f"Figures without a name behind them are of {plan.rows:,} taps. Both sides are given"
            " the same taps and the same edits in the same run; Morango starts from new databases"
            " each time, our box and hub go on with theirs."
        ),
        (
            "Ours has HTTPS with mutual TLS and sealed bodies in it. Of both sides the connection"
            " and its session stand before the first row is written, and their time is told beside;"
            " where a figure says connecting in, ours records all rows before it connects, and the"
            " time of connecting counts on both sides. CPU is that of both processes, making rows"
            " not counted."
        ),
        SETTINGS_NOTE,
        (
            "Edits: subject and teacher of slots that both ends have, each slot once, a thousand a"
            " transaction. The goals against Morango are set for taps."
        ),
        (
            f"Raw SQLite, best of {RAW_TRIES} before each run: {SETTINGS}; edits as INSERT … ON"
            " CONFLICT DO UPDATE of the same columns."
        ),
        (
            f"Connected: a day of {TAPS_A_DAY:,} taps as they arrive; bytes of TLS records both"
            " ways, receipts in, without the handshake and the question and answer of every 30 s,"
            " which an idle connection passes as well: both are beside it. A receipt rides on such"
            " an answer, its own bytes count. Morango's bytes are those that its client counts:"
            " bodies and headers both ways."
        ),
        f"Memory: peak resident size of each process; Morango's of its longest run. {_disk(plan)}",
        "Not tried here: PostgreSQL at either side, ARM, several clients of Morango at once.",
    ]


def _disk(plan: Plan) -> str:
    return f"Disk: what {plan.many or 100_000:,} more taps take in the hub's store."


if __name__ == "__main__":
    main()
