"""One enrolled box as a measured process: records rows while offline, then brings them home.

Started by sync_taps.py. It opens the box's real folder and runs the daemon's own uplink, and
nothing else of the daemon. Prints one JSON object (:class:`Outcome`).
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import uvloop

from benchmarks.arrivals import school_days
from benchmarks.processes import peak_rss_mb
from benchmarks.swaps import draw_edits, draw_swaps
from edge.box_store import open_box
from edge.config import load_config
from edge.uplink import Uplink
from provisioning.tls import box_client_context
from sync.logs.oplog import Row
from sync.node import Node, SealPolicy
from sync.segments.segment import HUB
from sync.writer import Writer

ROWS_A_TRANSACTION = 1000
_HOME_S_MAX = 600.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``wall_s`` is from the first row's capture to the hub's receipt of the last."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    sent_bytes: int
    received_bytes: int


@dataclass(slots=True)
class _Stopwatch:
    """Wall and CPU time of the stretches it was running; making the rows is not counted."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def start(self) -> Callable[[], None]:
        wall, cpu = time.perf_counter(), time.process_time()

        def stop() -> None:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu

        return stop


def main() -> None:
    """Run once."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--config", type=Path, required=True)
    options.add_argument("--rows", type=int, required=True)
    options.add_argument("--table", choices=("card_tap", "timetable_slot"), default="card_tap")
    options.add_argument("--each-once", action="store_true", help="as many slots, each once")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--skip", type=int, default=0, help="taps that were used before")
    given = options.parse_args()
    draw_writes = draw_edits if given.each_once else draw_swaps
    rows: Iterator[Row] = draw_writes(given.seed, given.rows)
    if given.table == "card_tap":
        taps = islice(school_days(given.seed), given.skip, given.skip + given.rows)
        rows = (tap.row for tap in taps)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_bring_home(given.config, given.table, rows))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


async def _bring_home(config: Path, table: str, rows: Iterator[Row]) -> Outcome:
    watch = _Stopwatch()
    changed = asyncio.Event()
    # The writer's thread ends before the store that it writes to is closed.
    with open_box(load_config(config), _now_ms) as box, Writer() as writer:
        while batch := list(islice(rows, ROWS_A_TRANSACTION)):
            stop = watch.start()
            await writer.call(box.node.record, table, batch)
            stop()
        stop = watch.start()
        uplink = Uplink(
            box.identity,
            box_client_context(box.identity, _now_ms),
            box.node,
            writer,
            policy=SealPolicy(),
            rng=random.Random(),
            on_import=lambda _: None,
            on_change=changed.set,
        )
        async with asyncio.timeout(_HOME_S_MAX), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(uplink.run())
            while not await writer.call(is_home, box.node):
                changed.clear()
                await changed.wait()
            stop()
            running.cancel()
    return Outcome(
        wall_s=watch.wall_s,
        cpu_s=watch.cpu_s,
        peak_rss_mb=peak_rss_mb(os.getpid()),
        sent_bytes=uplink.state.sent_bytes,
        received_bytes=uplink.state.received_bytes,
    )


def is_home(node: Node) -> bool:
    """Tell whether the hub has receipted every row as stored and folded."""
    held = node.peer_cursors(HUB)
    own = [log for log in node.logs() if log.name.origin == node.origin]
    return all(
        log.last_row == log.sealed_row and held.get(log.id) == (log.stored, log.stored)
        for log in own
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
