"""Every school of a district calls its hub at one moment, with the daemon's own uplink."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.hub_load import HubMeter
from benchmarks.real_district import Hub
from benchmarks.report import Step
from benchmarks.school_fleet import now_ms
from benchmarks.tap_box import is_home
from edge.box_store import BoxStore
from edge.uplink import Uplink
from provisioning.tls import box_client_context
from sync.node import SealPolicy
from sync.segments.segment import HUB
from sync.writer import Writer

STORM_S_MAX = 3600.0
_SEED = 1
_TOLD_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """``home_s`` is when each school had all receipted, ``waited_s`` its longest standstill."""

    rows: int
    wall_s: float
    hub_cpu_s: float
    home_s: list[float]
    waited_s: list[float]
    late: int


@dataclass(slots=True)
class _Caller:
    """A school in the storm."""

    box: BoxStore
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stored: int = -1
    moved_s: float = 0.0
    waited_s: float = 0.0
    home_s: float | None = None


async def storm(
    boxes: Sequence[BoxStore], writer: Writer, hub: Hub, rows: int, step: Step
) -> Storm:
    """Let all schools call at one moment and drain; a school stays connected when it is home."""
    meter = HubMeter(hub)
    rng = random.Random(_SEED)
    began_s = time.perf_counter()
    callers = [_Caller(box) for box in boxes]
    late = 0
    try:
        async with asyncio.timeout(STORM_S_MAX), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_uplink(caller, writer, rng.random()).run()) for caller in callers
            ]
            watching = [tasks.create_task(_watch(caller, writer, began_s)) for caller in callers]
            while not all(task.done() for task in watching):
                await asyncio.wait(watching, timeout=_TOLD_EVERY_S)
                home = sum(caller.home_s is not None for caller in callers)
                step(f"storm: {home} of {len(callers)} schools are home")
            for task in running:
                task.cancel()
    except TimeoutError:
        late = sum(caller.home_s is None for caller in callers)
    phase = meter.phase(rows * len(boxes), [])
    return Storm(
        rows=phase.rows,
        wall_s=phase.wall_s,
        hub_cpu_s=phase.hub_cpu_s,
        home_s=[caller.home_s for caller in callers if caller.home_s is not None],
        waited_s=[caller.waited_s for caller in callers],
        late=late,
    )


def _uplink(caller: _Caller, writer: Writer, chance: float) -> Uplink:
    identity = caller.box.identity
    return Uplink(
        identity,
        box_client_context(identity, now_ms),
        caller.box.node,
        writer,
        policy=SealPolicy(),
        rng=random.Random(chance),
        on_import=lambda _: None,
        on_change=caller.changed.set,
    )


async def _watch(caller: _Caller, writer: Writer, began_s: float) -> None:
    """Return when the school is home; note how long it ever stood still before."""
    node = caller.box.node
    while caller.home_s is None:
        await caller.changed.wait()
        caller.changed.clear()
        cursors = await writer.call(node.peers.cursors, HUB)
        stored, now_s = sum(stored for stored, _ in cursors.values()), time.perf_counter() - began_s
        if stored > caller.stored:
            caller.waited_s = max(caller.waited_s, now_s - caller.moved_s)
            caller.stored, caller.moved_s = stored, now_s
        if await writer.call(is_home, node):
            caller.home_s = now_s
