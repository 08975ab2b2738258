"""What connected schools do to a hub, and what it costs the hub: they drain, or pass a day."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from benchmarks.arrivals import school_days
from benchmarks.processes import cpu_s
from benchmarks.real_district import Hub
from benchmarks.school_calls import SchoolCall
from benchmarks.school_fleet import School

TAPS_A_SEGMENT = 14
"""What a school seals in a minute of an ordinary day, on average."""
DAY_GAP_S = 60.0
DAY_SEED_FIRST = 1000
"""The day's rows come from traces of their own, a seed for each school."""
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What the hub did in a stretch; ``took_s`` are messages' times to their receipts."""

    rows: int
    wall_s: float
    hub_cpu_s: float
    own_cpu_s: float
    took_s: list[float]


class HubMeter:
    """CPU and wall clock between two moments."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._hub_s = cpu_s(hub.pid)
        self._own_s = time.process_time()
        self._wall_s = time.perf_counter()

    def phase(self, rows: int, took_s: list[float]) -> Phase:
        return Phase(
            rows=rows,
            wall_s=time.perf_counter() - self._wall_s,
            hub_cpu_s=cpu_s(self._hub.pid) - self._hub_s,
            own_cpu_s=time.process_time() - self._own_s,
            took_s=took_s,
        )


async def drain(calls: Sequence[SchoolCall], hub: Hub, rows: int) -> Phase:
    """Let all schools send what they have sealed."""
    meter = HubMeter(hub)
    async with asyncio.TaskGroup() as tasks:
        sending = [tasks.create_task(call.send_all()) for call in calls]
    return meter.phase(rows * len(calls), [each for task in sending for each in task.result()])


async def pass_day(
    calls: Sequence[SchoolCall], schools: Sequence[School], hub: Hub, day_s: float
) -> tuple[list[int], Phase]:
    """Let each school seal and send a few taps once a minute, each at its own moment.

    Also returns how many taps each school sent.
    """
    meter = HubMeter(hub)
    rng = random.Random(_SEED)
    async with asyncio.TaskGroup() as tasks:
        days = [
            tasks.create_task(_school_day(call, school, rng.uniform(0, DAY_GAP_S), day_s))
            for call, school in zip(calls, schools, strict=True)
        ]
    took_s = [each for day in days for each in day.result()]
    sent = [len(day.result()) * TAPS_A_SEGMENT for day in days]
    return sent, meter.phase(sum(sent), took_s)


async def _school_day(
    call: SchoolCall, school: School, first_s: float, day_s: float
) -> list[float]:
    """Return the time of each message; each has one segment."""
    taps = school_days(DAY_SEED_FIRST + school.number)
    took_s: list[float] = []
    began_s, next_s = time.perf_counter(), first_s
    while next_s < day_s:
        await call.rest(began_s + next_s - time.perf_counter())
        rows = [tap.row for tap in islice(taps, TAPS_A_SEGMENT)]
        await call.writer.call(call.box.node.record, "card_tap", rows)
        await call.writer.call(call.box.node.seal_all)
        (sent_s,) = await call.send_all()
        took_s.append(sent_s)
        next_s += DAY_GAP_S
    return took_s
