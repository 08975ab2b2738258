"""Attendance taps from the school's disk to the hub's, held against SQLite alone.

Rows are captured durably, sealed, carried, verified, opened, folded, and count when the box has
the hub's receipt; the hub commits before it answers. Two ways: through the frames of
``sync.exchange.conversation`` in one process, and over HTTPS with mutual TLS between an enrolled
box and ``schoolnode-hub run``.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.arrivals import TAPS_A_DAY, draw_taps, entropy_bits_a_tap, school_days
from benchmarks.hub_disk import count_taps, read_disk_use
from benchmarks.processes import cpu_s
from benchmarks.raw_sqlite import (
    SETTINGS,
    insert_taps,
    insert_taps_keyed,
    upsert_swaps,
    upsert_swaps_keyed,
)
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
from benchmarks.swaps import draw_swaps
from benchmarks.tap_box import Outcome
from benchmarks.two_nodes import Passed, TwoNodes
from benchmarks.wire import Counted, WireCost, measure_wire

SEED = 1
SCHOOL, SCHOOL_ON_THE_LINE = 1, 2
MORANGO_ROWS_A_S = 402.0
MORANGO_CPU_US_A_ROW = 1170.0
"""Morango 0.8.15 tuned, measured earlier elsewhere; its own run in this benchmark comes later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """``rows`` of each run, ``runs`` of each kind, ``many`` rows for memory and disk."""

    rows: int
    runs: int
    many: int


@dataclass(frozen=True, slots=True)
class Carried:
    """One run over HTTPS: what the box tells, and CPU seconds of the hub."""

    box: Outcome
    hub_cpu_s: float


@dataclass(slots=True)
class Samples:
    """What was measured, a number a run."""

    raw: list[float] = field(default_factory=list)
    raw_keyed: list[float] = field(default_factory=list)
    raw_swaps: list[float] = field(default_factory=list)
    raw_swaps_keyed: list[float] = field(default_factory=list)
    raw_many: list[float] = field(default_factory=list)
    taps: list[Passed] = field(default_factory=list)
    swaps: list[Passed] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)
    carried_swaps: list[Carried] = field(default_factory=list)
    offline: list[Carried] = field(default_factory=list)
    offline_swaps: list[Carried] = field(default_factory=list)
    offline_many: list[Carried] = field(default_factory=list)
    many: list[Carried] = field(default_factory=list)
    disk_with_logs: list[float] = field(default_factory=list)
    disk_without_logs: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=10_000, help="rows of each run")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--many", type=int, default=1_000_000, help="rows for memory and disk")
    given = options.parse_args()
    size = Size(rows=given.rows, runs=given.runs, many=given.many)
    machine = read_machine()
    with progress("sync_taps") as step, tempfile.TemporaryDirectory() as folder:
        samples = Samples()
        measure_one_process(Path(folder), size, samples, step)
        with running_hub(Path(folder) / "hub") as hub:
            measure_https(hub, Path(folder), size, samples, step)
            step("counts the bytes on the line")
            box = Path(folder) / "line"
            wire = asyncio.run(measure_wire(hub, SCHOOL_ON_THE_LINE, box, SEED, size.runs))
    report = Report(
        benchmark="sync_taps",
        machine=machine,
        versions=read_versions("aiohttp", "cryptography", "msgspec", "uvloop", "zstandard"),
        figures=[*_speed(samples, size), *_bytes(wire), *_room(samples, size)],
        notes=_notes(size, wire),
    )
    publish(report, as_json=given.json)


def measure_one_process(folder: Path, size: Size, samples: Samples, step: Step) -> None:
    """Take turns: taps through both nodes, swaps through both nodes."""
    days = school_days(SEED)
    with TwoNodes(folder) as nodes:
        nodes.pass_rows("card_tap", [next(days).row])
        for run in range(size.runs):
            step(f"one process, run {run + 1} of {size.runs}")
            taps = list(islice(days, size.rows))
            samples.taps.append(nodes.pass_rows("card_tap", [tap.row for tap in taps]))
            swaps = list(draw_swaps(run, size.rows))
            samples.swaps.append(nodes.pass_rows("timetable_slot", swaps))


def measure_https(hub: Hub, folder: Path, size: Size, samples: Samples, step: Step) -> None:
    """Carry taps and swaps from an enrolled box's process to the hub's process."""
    box = hub.enrol(SCHOOL, folder / "box")
    used = 1
    _carry(hub, box, "card_tap", 1, 0)
    for run in range(size.runs):
        step(f"HTTPS, run {run + 1} of {size.runs}")
        taps = draw_taps(SEED, size.rows, skip=used)
        swaps = list(draw_swaps(run, size.rows))
        samples.raw.append(insert_taps(folder / f"raw-{run}.db", taps))
        samples.raw_keyed.append(insert_taps_keyed(folder / f"raw-keyed-{run}.db", taps))
        samples.raw_swaps.append(upsert_swaps(folder / f"raw-swaps-{run}.db", swaps))
        samples.raw_swaps_keyed.append(
            upsert_swaps_keyed(folder / f"raw-swaps-keyed-{run}.db", swaps)
        )
        samples.carried.append(_carry(hub, box, "card_tap", size.rows, used))
        used += size.rows
        samples.carried_swaps.append(_carry(hub, box, "timetable_slot", size.rows, run))
        samples.offline.append(
            _carry(hub, box, "card_tap", size.rows, used, before_connecting=True)
        )
        used += size.rows
        samples.offline_swaps.append(
            _carry(hub, box, "timetable_slot", size.rows, run, before_connecting=True)
        )
    step(f"HTTPS, {size.many:,} rows")
    many = draw_taps(SEED, size.many, skip=used)
    samples.raw_many.append(insert_taps(folder / "raw-many.db", many))
    del many
    before = read_disk_use(hub.store, folder)
    samples.many.append(_carry(hub, box, "card_tap", size.many, used))
    used += size.many
    after = read_disk_use(hub.store, folder)
    samples.disk_with_logs.append((after.with_logs - before.with_logs) / size.many)
    samples.disk_without_logs.append((after.without_logs - before.without_logs) / size.many)
    samples.offline_many.append(
        _carry(hub, box, "card_tap", size.many, used, before_connecting=True)
    )
    used += size.many
    step("holds the hub's rows against the generator's")
    held = count_taps(hub.store, SCHOOL)
    for tap in islice(school_days(SEED), used):
        samples.lost += not held.pop((tap.at_ms, tap.person), 0)
    samples.doubled = sum(held.values())
    total = sum(count_taps(hub.store, SCHOOL).values())
    samples.doubled += max(0, total - used)


def _carry(
    hub: Hub, box: Path, table: str, rows: int, skip: int, *, before_connecting: bool = False
) -> Carried:
    argv = [sys.executable, str(Path(__file__).with_name("tap_box.py")), f"--config={box}"]
    argv += [f"--table={table}", f"--rows={rows}", f"--seed={SEED}", f"--skip={skip}"]
    if before_connecting:
        argv.append("--before-connecting")
    before = cpu_s(hub.pid)
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return Carried(msgspec.json.decode(done.stdout, type=Outcome), cpu_s(hub.pid) - before)


def _speed(samples: Samples, size: Size) -> Iterator[Figure]:
    rows = size.rows
    https = [rows / run.box.wall_s for run in samples.carried]
    swaps = [rows / run.box.wall_s for run in samples.carried_swaps]
    direct = [rows / run.wall_s for run in samples.taps]
    direct_swaps = [rows / run.wall_s for run in samples.swaps]
    both = [(run.box.cpu_s + run.hub_cpu_s) / rows * 1e6 for run in samples.carried]
    box = [run.box.cpu_s / rows * 1e6 for run in samples.carried]
    hub = [rows / run.hub_cpu_s for run in samples.carried]
    many = [size.many / run.box.wall_s for run in samples.many]
    for name, ceiling in (
        ("raw_sqlite_rows_a_second", samples.raw),
        ("raw_sqlite_our_keys_rows_a_second", samples.raw_keyed),
        ("raw_sqlite_upserts_a_second", samples.raw_swaps),
        ("raw_sqlite_our_keys_upserts_a_second", samples.raw_swaps_keyed),
    ):
        yield measured(name, ceiling, "rows/s", "higher")
    yield measured("https_rows_a_second", https, "rows/s", "higher", 50 * MORANGO_ROWS_A_S)
    yield measured(
        "https_cpu_a_row_both_ends", both, "µs", "lower", round(MORANGO_CPU_US_A_ROW / 70, 1)
    )
    yield measured("https_cpu_a_row_box", box, "µs", "lower")
    yield measured(
        "https_against_raw_sqlite", _ratios(https, samples.raw), "of raw", "higher", 0.35
    )
    yield measured(
        "https_against_raw_sqlite_our_keys", _ratios(https, samples.raw_keyed), "of raw", "higher"
    )
    yield measured(f"https_rows_a_second_{size.many}_rows", many, "rows/s", "higher")
    yield measured(
        f"https_against_raw_sqlite_{size.many}_rows",
        _ratios(many, samples.raw_many),
        "of raw",
        "higher",
        0.35,
    )
    yield measured("https_last_writer_rows_a_second", swaps, "rows/s", "higher")
    yield measured(
        "https_last_writer_against_raw_sqlite",
        _ratios(swaps, samples.raw_swaps),
        "of raw",
        "higher",
        0.2,
    )
    yield measured(
        "https_last_writer_against_raw_sqlite_our_keys",
        _ratios(swaps, samples.raw_swaps_keyed),
        "of raw",
        "higher",
    )
    yield measured(
        "https_last_writer_cpu_a_row_both_ends",
        [(run.box.cpu_s + run.hub_cpu_s) / rows * 1e6 for run in samples.carried_swaps],
        "µs",
        "lower",
    )
    yield from _recorded_before_connecting(samples, size)
    yield measured("hub_rows_a_second_of_a_core", hub, "rows/s", "higher", 50_000)
    yield measured("one_process_rows_a_second", direct, "rows/s", "higher")
    yield measured(
        "one_process_cpu_a_row_both_ends",
        [run.cpu_s / rows * 1e6 for run in samples.taps],
        "µs",
        "lower",
    )
    yield measured(
        "one_process_against_raw_sqlite", _ratios(direct, samples.raw), "of raw", "higher"
    )
    yield measured(
        "one_process_last_writer_against_raw_sqlite",
        _ratios(direct_swaps, samples.raw_swaps),
        "of raw",
        "higher",
    )


def _recorded_before_connecting(samples: Samples, size: Size) -> Iterator[Figure]:
    connecting = [run.box.connect_s * 1000 for run in samples.carried]
    yield measured("https_connecting", connecting, "ms", "lower")
    for name, runs, ceiling, rows in (
        ("", samples.offline, samples.raw, size.rows),
        ("last_writer_", samples.offline_swaps, samples.raw_swaps, size.rows),
        (f"{size.many}_rows_", samples.offline_many, samples.raw_many, size.many),
    ):
        speeds = [rows / run.box.wall_s for run in runs]
        yield measured(
            f"https_{name}against_raw_sqlite_recorded_before_connecting",
            _ratios(speeds, ceiling),
            "of raw",
            "higher",
        )


def _bytes(wire: WireCost) -> Iterator[Figure]:
    yield measured("wire_connected_day_all_in", _all_in(wire.connected_day), "B a row", "lower", 14)
    yield measured("wire_connected_day_segments", _sealed(wire.connected_day), "B a row", "lower")
    yield measured("wire_backlog_all_in", _all_in(wire.backlog), "B a row", "lower", 8)
    yield measured("wire_backlog_segments", _sealed(wire.backlog), "B a row", "lower")
    day = [float(each.passed_bytes) for each in wire.day_as_backlog]
    yield measured("wire_school_day_as_backlog", day, "B", "lower", 10_000)
    yield measured("wire_entropy_of_the_rows", [entropy_bits_a_tap() / 8], "B a row", "lower")
    yield measured("wire_handshake", wire.handshake_bytes, "B", "lower")
    yield measured("wire_idle_heartbeat", wire.heartbeat_bytes, "B", "lower")
    questions = [float(each.question_bytes) for each in wire.connected_day]
    yield measured("wire_heartbeats_of_a_day", questions, "B", "lower")


def _room(samples: Samples, size: Size) -> Iterator[Figure]:
    few = [run.box.peak_rss_mb for run in samples.carried]
    many = [run.box.peak_rss_mb for run in samples.many]
    yield measured(f"box_peak_memory_{size.rows}_rows", few, "MB", "lower", 80)
    yield measured(f"box_peak_memory_{size.many}_rows", many, "MB", "lower", 80)
    yield measured("hub_disk_with_sealed_logs", samples.disk_with_logs, "B a row", "lower", 60)
    yield measured(
        "hub_disk_without_sealed_logs", samples.disk_without_logs, "B a row", "lower", 60
    )
    yield measured("rows_lost", [samples.lost], "rows", "lower", 0)
    yield measured("rows_doubled", [samples.doubled], "rows", "lower", 0)


def _notes(size: Size, wire: WireCost) -> list[str]:
    day = wire.connected_day[0]
    return [
        (
            f"{size.rows:,} rows a run; one school day is {TAPS_A_DAY:,} taps of"
            f" {entropy_bits_a_tap():.1f} bits each."
        ),
        f"Raw SQLite: {SETTINGS}; measured before each run of the path.",
        (
            "Our keys: the same rows by executemany into the table of a node's store as it is"
            " (school, moment, log, row), which a carried row enters twice."
        ),
        (
            "HTTPS and mutual TLS are in: the box is connected, as a daemon is; rows are recorded a"
            " thousand a transaction; wall clock and the box's CPU from the first row's capture to"
            " the hub's receipt of the last, durable at both ends. Rows are drawn before. What"
            " connecting took (TLS, HTTP, the first messages) stands beside; the hub's CPU has it."
        ),
        (
            "Recorded before connecting: all rows are recorded while offline, and connecting is in"
            " the time; nothing can overlap the recording then."
        ),
        (
            "Last writer: changes of two columns of 1,200 timetable slots, against raw upserts of"
            " the same changes (INSERT … ON CONFLICT DO UPDATE by slot, else as above)."
        ),
        (
            "Connected day: sealed after 60 s or 1,000 rows as taps arrive"
            f" ({day.segments} segments); all in counts TLS records with HTTP, and a receipt for"
            " each segment, both ways, without handshake, heartbeats, TCP and IP headers. A receipt"
            " rides on the answer to a heartbeat, which passes on an idle line as well: what the"
            f" day's heartbeats cost beside ({day.question_bytes:,} B in 24 hours) is taken off, a"
            " receipt's own bytes are not. The connection is new at the day's beginning."
        ),
        (
            "Goals against Morango use its figures known from elsewhere"
            f" ({MORANGO_ROWS_A_S:.0f} rows/s tuned, {MORANGO_CPU_US_A_ROW:.0f} µs CPU a row);"
            " sync_vs_morango runs Morango itself, on this machine."
        ),
        "Not tried here: the 30 kbit/s link with cuts and delay, PostgreSQL, ARM, an SD card.",
    ]


def _ratios(path: Sequence[float], ceiling: Sequence[float]) -> list[float]:
    return [ours / raw for ours, raw in zip(path, ceiling, strict=True)]


def _all_in(counted: Sequence[Counted]) -> list[float]:
    return [each.passed_bytes / each.rows for each in counted]


def _sealed(counted: Sequence[Counted]) -> list[float]:
    return [each.segment_bytes / each.rows for each in counted]


if __name__ == "__main__":
    main()
