"""One enrolled box as a measured process: it is connected, records rows, and they come home.

Started by sync_taps.py and others. It opens the box's real folder and runs the daemon's own uplink,
and nothing else of the daemon. With ``--before-connecting`` all rows are recorded while offline,
and the connection is a part of the way. Prints one JSON object (:class:`Outcome`).
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
from benchmarks.processes import peak_rss_mb, tree_rss_mb
from benchmarks.swaps import draw_edits, draw_swaps
from edge.box_store import BoxStore, open_box
from edge.config import load_config
from edge.uplink import Uplink
from provisioning.tls import box_client_context
from sync.logs.oplog import Row
from sync.logs.sealer import ROWS_A_SEGMENT_MAX
from sync.node import Node, SealPolicy
from sync.segments.segment import HUB
from sync.writer import Writer

ROWS_A_TRANSACTION = 1000
_HOME_S_MAX = 600.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``wall_s`` is from the first row's capture to the hub's receipt of the last.

    ``connect_s`` is what the connection took, TLS, HTTP and the first messages, where that stood
    before the first row; 0 where it is a part of ``wall_s``. ``peak_rss_mb`` is without rows that
    wait for their turn to be recorded.
    """

    wall_s: float
    cpu_s: float
    connect_s: float
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
    options.add_argument(
        "--before-connecting", action="store_true", help="record all rows while offline"
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--skip", type=int, default=0, help="taps that were used before")
    given = options.parse_args()
    draw_writes = draw_edits if given.each_once else draw_swaps
    rows: Iterator[Row] = draw_writes(given.seed, given.rows)
    if given.table == "card_tap":
        taps = islice(school_days(given.seed), given.skip, given.skip + given.rows)
        rows = (tap.row for tap in taps)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(
            _bring_home(given.config, given.table, rows, before_connecting=given.before_connecting)
        )
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


async def _bring_home(
    config: Path, table: str, rows: Iterator[Row], *, before_connecting: bool
) -> Outcome:
    watch = _Stopwatch()
    drawn_mb = connect_s = 0.0
    # The writer's thread ends before the store that it writes to is closed.
    with open_box(load_config(config), _now_ms) as box, Writer() as writer:
        home = _Home(box, writer)
        if before_connecting:
            while batch := list(islice(rows, ROWS_A_TRANSACTION)):
                stop = watch.start()
                await writer.call(box.node.record, table, batch)
                stop()
            stop = watch.start()
            async with asyncio.timeout(_HOME_S_MAX), asyncio.TaskGroup() as tasks:
                running = tasks.create_task(home.uplink.run())
                await home.reached()
                stop()
                running.cancel()
        else:
            resident_mb = tree_rss_mb(os.getpid())
            # Drawn before the clock runs, and kept: what they take is not the box's.
            drawn = list(rows)
            drawn_mb = tree_rss_mb(os.getpid()) - resident_mb
            async with asyncio.timeout(_HOME_S_MAX), asyncio.TaskGroup() as tasks:
                began = time.perf_counter()
                running = tasks.create_task(home.uplink.run())
                await home.connected()
                connect_s = time.perf_counter() - began
                await home.reached()
                stop = watch.start()
                for start in range(0, len(drawn), ROWS_A_TRANSACTION):
                    batch = drawn[start : start + ROWS_A_TRANSACTION]
                    await writer.call(box.node.record, table, batch)
                if len(drawn) % ROWS_A_SEGMENT_MAX:
                    await home.seal_rest()
                await home.reached()
                stop()
                running.cancel()
    return Outcome(
        wall_s=watch.wall_s,
        cpu_s=watch.cpu_s,
        connect_s=connect_s,
        peak_rss_mb=peak_rss_mb(os.getpid()) - drawn_mb,
        sent_bytes=home.uplink.state.sent_bytes,
        received_bytes=home.uplink.state.received_bytes,
    )


class _Home:
    """A box's uplink as in the daemon, and whether all its rows have reached the hub."""

    def __init__(self, box: BoxStore, writer: Writer) -> None:
        self._node = box.node
        self._writer = writer
        self._changed = asyncio.Event()
        self.uplink = Uplink(
            box.identity,
            box_client_context(box.identity, _now_ms),
            box.node,
            writer,
            policy=SealPolicy(),
            rng=random.Random(),
            on_import=lambda _: None,
            on_change=self._changed.set,
        )

    async def connected(self) -> None:
        while not self.uplink.state.connected:
            self._changed.clear()
            await self._changed.wait()

    async def seal_rest(self) -> None:
        """Seal what is no whole segment, as a box does a minute later."""
        if await self._writer.call(self._node.seal_all):
            self.uplink.nudge()

    async def reached(self) -> None:
        while not await self._writer.call(is_home, self._node):
            self._changed.clear()
            await self._changed.wait()


def is_home(node: Node) -> bool:
    """Tell whether the hub has receipted every row as stored and folded."""
    held = node.peers.cursors(HUB)
    own = [log for log in node.logs() if log.name.origin == node.origin]
    return all(
        log.last_row == log.sealed_row and held.get(log.id) == (log.stored, log.stored)
        for log in own
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
