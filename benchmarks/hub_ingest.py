"""What one hub process takes from many schools at once, and how it stands a storm.

Real certificates, keys and sealed segments, HTTPS with mutual TLS, one ``schoolnode-hub run``. All
schools live in this process, which shares the machine's cores with the hub and is not measured:
"a core" is CPU seconds of the hub, from the kernel. First schools that are connected drain what
they have; then they send as on a school day, at their own moments; then, with a month to tell
each, all call at one moment, as when power comes back to a county, each with the daemon's own
uplink.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import uvloop

from benchmarks.arrivals import TAPS_A_DAY, draw_taps
from benchmarks.hub_load import (
    DAY_GAP_S,
    DAY_SEED_FIRST,
    TAPS_A_SEGMENT,
    HubMeter,
    Phase,
    drain,
    pass_day,
)
from benchmarks.hub_storm import Storm, storm
from benchmarks.processes import peak_rss_mb
from benchmarks.real_district import Hub, running_hub, write_hub_config
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
from benchmarks.school_calls import connected
from benchmarks.school_fleet import (
    SEEDS,
    School,
    allow_files,
    enrol_schools,
    fill_schools,
    opened,
)
from sync.store import connect_readonly
from sync.writer import Writer

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``schools`` drain ``days`` each and send for ``day_s``; ``storm_schools`` storm."""

    schools: int
    days: float
    day_s: float
    storm_schools: int
    storm_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """``sent`` are the taps of each school on the day."""

    connecting: Phase
    draining: Phase
    day: Phase
    sent: list[int]


def lost_and_doubled(
    store: Path, schools: Sequence[School], ledgers: Sequence[Sequence[tuple[int, int]]]
) -> tuple[int, int]:
    """Hold the hub's rows of each school against what was drawn for it."""
    lost = doubled = 0
    with closing(connect_readonly(store)) as connection:
        connection.row_factory = None
        for school, ledger in zip(schools, ledgers, strict=True):
            held = connection.execute(
                "SELECT at_ms, person FROM card_tap WHERE school = ? ORDER BY 1, 2",
                (school.number,),
            ).fetchall()
            expected = sorted(ledger)
            if held != expected:
                drawn, there = Counter(expected), Counter(held)
                lost += (drawn - there).total()
                doubled += (there - drawn).total()
    return lost, doubled


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--schools", type=int, default=500)
    options.add_argument("--days", type=float, default=2.0, help="school days each drains")
    options.add_argument("--day-seconds", type=float, default=60.0, help="length of the day")
    options.add_argument("--storm-schools", type=int, default=1000)
    options.add_argument("--storm-days", type=float, default=30.0)
    given = options.parse_args()
    plan = Plan(
        schools=given.schools,
        days=given.days,
        day_s=given.day_seconds,
        storm_schools=given.storm_schools,
        storm_days=given.storm_days,
    )
    machine = read_machine()
    with progress("hub_ingest") as step, tempfile.TemporaryDirectory() as folder:
        figures = list(measure(Path(folder), plan, step))
    report = Report(
        benchmark="hub_ingest",
        machine=machine,
        versions=read_versions("aiohttp", "cryptography", "msgspec", "uvloop", "zstandard"),
        figures=figures,
        notes=_notes(plan),
    )
    publish(report, as_json=given.json)


def measure(folder: Path, plan: Plan, step: Step) -> Iterator[Figure]:
    """Enrol, drain, pass a day, storm; yield the figures."""
    allow_files()
    config = write_hub_config(folder / "hub")
    step(f"enrols {max(plan.schools, plan.storm_schools)} schools")
    everyone = enrol_schools(config, folder / "schools", max(plan.schools, plan.storm_schools))
    schools, stormers = everyone[: plan.schools], everyone[: plan.storm_schools]
    step(f"fills {plan.schools} schools with {plan.days:g} days each")
    rows = fill_schools(schools, plan.days)
    with running_hub(folder / "hub") as hub:
        fresh_mb = peak_rss_mb(hub.pid)
        ingest = _run(_ingest(hub, schools, plan, rows, step))
        ingested_mb = peak_rss_mb(hub.pid)
        step(f"fills {plan.storm_schools} schools with {plan.storm_days:g} days each")
        more = fill_schools(stormers, plan.storm_days, plan.days)
        stormed = _run(_let_storm(hub, stormers, more, step))
        stormed_mb = peak_rss_mb(hub.pid)
        step("holds the hub's rows against the generator's")
        ledgers = list(_ledgers(everyone, plan, rows, more, ingest.sent))
        lost, doubled = lost_and_doubled(hub.store, everyone, ledgers)
    yield from _ingest_figures(ingest)
    yield from _storm_figures(stormed)
    yield measured("hub_rss_mb_before", [fresh_mb], "MB", "lower")
    yield measured("hub_rss_mb_ingest", [ingested_mb], "MB", "lower")
    yield measured("hub_rss_mb_storm", [stormed_mb], "MB", "lower")
    yield measured("rows_lost", [lost], "rows", "lower", 0)
    yield measured("rows_doubled", [doubled], "rows", "lower", 0)


def _run(work: Coroutine[None, None, _Result]) -> _Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _ingest(hub: Hub, schools: Sequence[School], plan: Plan, rows: int, step: Step) -> Ingest:
    # The writer's thread ends before the stores that it writes to are closed.
    with opened(schools) as boxes, Writer() as writer:
        step(f"{len(boxes)} schools connect")
        meter = HubMeter(hub)
        async with connected(boxes, writer) as calls:
            connecting = meter.phase(0, [])
            step(f"{len(boxes)} schools drain {rows:,} rows each")
            draining = await drain(calls, hub, rows)
            step(f"{len(boxes)} schools send through {plan.day_s:.0f} s of a day")
            sent, day = await pass_day(calls, schools, hub, plan.day_s)
    return Ingest(connecting=connecting, draining=draining, day=day, sent=sent)


async def _let_storm(hub: Hub, schools: Sequence[School], rows: int, step: Step) -> Storm:
    with opened(schools) as boxes, Writer() as writer:
        step(f"{len(boxes)} schools call at once, {rows:,} rows each")
        return await storm(boxes, writer, hub, rows, step)


def _ledgers(
    schools: Sequence[School], plan: Plan, rows: int, more: int, sent: Sequence[int]
) -> Iterator[list[tuple[int, int]]]:
    """Yield what was drawn for each school: its trace, and the day's own rows."""
    traces: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for place, school in enumerate(schools):
        drains, storms = place < plan.schools, place < plan.storm_schools
        skip, until = (0 if drains else rows), (rows + more if storms else rows)
        if (school.seed, skip) not in traces:
            traces[school.seed, skip] = [
                (tap.at_ms, tap.person) for tap in draw_taps(school.seed, until - skip, skip)
            ]
        today = draw_taps(DAY_SEED_FIRST + school.number, sent[place]) if drains else []
        yield [*traces[school.seed, skip], *((tap.at_ms, tap.person) for tap in today)]


def _ingest_figures(ingest: Ingest) -> Iterator[Figure]:
    connecting, draining, day = ingest.connecting, ingest.draining, ingest.day
    schools = len(ingest.sent)
    yield measured(
        "rows_a_second_of_a_core", [draining.rows / draining.hub_cpu_s], "rows/s", "higher", 50_000
    )
    yield measured("rows_a_second", [draining.rows / draining.wall_s], "rows/s", "higher")
    yield measured("hub_core_share", [draining.hub_cpu_s / draining.wall_s], "cores", "lower")
    yield measured("schools_core_share", [draining.own_cpu_s / draining.wall_s], "cores", "lower")
    yield measured("connect_cpu_a_school", [connecting.hub_cpu_s / schools * 1e3], "ms", "lower")
    for name, phase in (("drain", draining), ("day", day)):
        took_ms = sorted(each * 1e3 for each in phase.took_s)
        yield measured(f"{name}_messages", [len(took_ms)], "", "higher")
        yield measured(f"{name}_message_p50", [_quantile(took_ms, 0.5)], "ms", "lower")
        yield measured(f"{name}_message_p95", [_quantile(took_ms, 0.95)], "ms", "lower")
    cpu_ms = day.hub_cpu_s / max(1, len(day.took_s)) * 1e3
    yield measured("day_cpu_a_message", [cpu_ms], "ms", "lower")
    yield measured("day_hub_core_share", [day.hub_cpu_s / day.wall_s], "cores", "lower")


def _storm_figures(storm: Storm) -> Iterator[Figure]:
    home_s = sorted(storm.home_s)
    yield measured("storm_rows_a_second", [storm.rows / storm.wall_s], "rows/s", "higher")
    yield measured(
        "storm_rows_a_second_of_a_core", [storm.rows / storm.hub_cpu_s], "rows/s", "higher", 50_000
    )
    yield measured("storm_hub_core_share", [storm.hub_cpu_s / storm.wall_s], "cores", "lower")
    yield measured("storm_first_home", [home_s[0]], "s", "lower")
    yield measured("storm_median_home", [_quantile(home_s, 0.5)], "s", "lower")
    yield measured("storm_last_home", [home_s[-1]], "s", "lower")
    yield measured("storm_last_against_median", [home_s[-1] / _quantile(home_s, 0.5)], "x", "lower")
    yield measured("storm_last_against_first", [home_s[-1] / home_s[0]], "x", "lower")
    yield measured("storm_longest_standstill", [max(storm.waited_s)], "s", "lower")
    yield measured("storm_schools_not_home", [storm.late], "schools", "lower", 0)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _notes(plan: Plan) -> list[str]:
    month = round(plan.storm_days * TAPS_A_DAY)
    return [
        (
            "HTTPS with mutual TLS, one hub process; a core is CPU seconds of that process. The"
            f" schools share the machine's cores with it (schools_core_share). {SEEDS} traces are"
            " drawn, which schools share in turn; each seals with its own keys."
        ),
        (
            f"Drain: {plan.schools} connected schools send {plan.days:g} days"
            f" ({round(plan.days * TAPS_A_DAY):,} taps) each, all at once; a message's time is from"
            " sending it to the receipt, asked for at once, and waiting among the others is in it."
        ),
        (
            f"Day: each of them seals and sends {TAPS_A_SEGMENT} taps every {DAY_GAP_S:.0f} s, at"
            f" its own moments, for {plan.day_s:.0f} s."
        ),
        (
            f"Storm: {plan.storm_schools} schools call at one moment, {plan.storm_days:g} days of"
            f" {TAPS_A_DAY:,} taps ({month:,} rows) each, sealed before; first, median and last are"
            " when a school had the hub's receipt for all as stored and folded. A standstill is"
            " the longest time in which a school that was not home got no new receipt."
        ),
        "Not tried here: slow lines in the storm, PostgreSQL, a hub of several cores.",
    ]


if __name__ == "__main__":
    main()
