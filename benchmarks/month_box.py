"""One enrolled box as a measured process that lived for days without a link, then brings all home.

Started by thirty_days.py. Each day brings taps, and a reading every five minutes; in the last
minute somebody presses the alarm. Prints one JSON object (:class:`Homecoming`).
"""

import argparse
import asyncio
import os
import random
import sqlite3
import sys
import time
from itertools import islice
from pathlib import Path

import msgspec
import uvloop

from benchmarks.arrivals import DAY_MS, TAPS_A_DAY, school_days
from benchmarks.processes import peak_rss_mb
from benchmarks.tap_box import is_home
from edge.box_store import open_box
from edge.config import load_config
from edge.uplink import Uplink
from provisioning.tls import box_client_context
from sync.logs.log_state import read_logs
from sync.logs.oplog import Row
from sync.logs.receipts import read_receipts
from sync.node import Node, SealPolicy
from sync.schema.model import Lane
from sync.segments.segment import HUB
from sync.writer import Writer

READINGS_A_DAY = 288
_ROWS_A_TRANSACTION = 40
_HOME_S_MAX = 600.0


class Homecoming(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds are from the moment the link may be used.

    ``rows_before_alarm``: receipted no later than the alarm, which counts itself.
    """

    rows: int
    alarm_s: float
    home_s: float
    rows_before_alarm: int
    peak_rss_mb: float
    sent_bytes: int


def main() -> None:
    """Run once."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--config", type=Path, required=True)
    options.add_argument("--days", type=int, required=True)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(_live(given.config, given.days, given.seed))
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


def record_days(node: Node, days: int, seed: int) -> int:
    """Record what happens at a school in so many days; return the number of rows."""
    taps = school_days(seed)
    rows = 0
    for _ in range(days):
        today = list(islice(taps, TAPS_A_DAY))
        for start in range(0, TAPS_A_DAY, _ROWS_A_TRANSACTION):
            node.record("card_tap", [t.row for t in today[start : start + _ROWS_A_TRANSACTION]])
            node.seal_due(SealPolicy(age_ms=DAY_MS))
        step_ms = DAY_MS // READINGS_A_DAY
        readings: list[Row] = [
            {"at_ms": today[0].at_ms + place * step_ms, "device": "meter", "value": 20.0}
            for place in range(READINGS_A_DAY)
        ]
        node.record("reading", readings)
        rows += len(today) + len(readings)
    alarm: Row = {"at_ms": today[-1].at_ms, "device": "button", "alarm": "panic"}
    node.record("alarm", [alarm])
    return rows + 1


async def _live(config: Path, days: int, seed: int) -> Homecoming:
    changed = asyncio.Event()
    # The writer's thread ends before the store that it writes to is closed.
    with open_box(load_config(config), _now_ms) as box, Writer() as writer:
        rows = await writer.call(record_days, box.node, days, seed)
        alarm_s, rows_before = 0.0, 0

        def note_receipt() -> None:
            """Look what is receipted; the uplink takes in no further receipt before it returns."""
            nonlocal alarm_s, rows_before
            if not alarm_s and (rows_home := _rows_home_with_alarm(box.reader.cursor())):
                alarm_s, rows_before = time.perf_counter() - began_s, rows_home
            changed.set()

        uplink = Uplink(
            box.identity,
            box_client_context(box.identity, _now_ms),
            box.node,
            writer,
            policy=SealPolicy(),
            rng=random.Random(),
            on_import=lambda _: None,
            on_change=note_receipt,
        )
        began_s = time.perf_counter()
        async with asyncio.timeout(_HOME_S_MAX), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(uplink.run())
            while not await writer.call(is_home, box.node):
                changed.clear()
                await changed.wait()
            home_s = time.perf_counter() - began_s
            running.cancel()
    assert alarm_s, "all is home, and no receipt told of the alarm"
    return Homecoming(
        rows=rows,
        alarm_s=alarm_s,
        home_s=home_s,
        rows_before_alarm=rows_before,
        peak_rss_mb=peak_rss_mb(os.getpid()),
        sent_bytes=uplink.state.sent_bytes,
    )


def _rows_home_with_alarm(store: sqlite3.Cursor) -> int:
    """Return rows that the hub has receipted, by segments' shares; 0 before the alarm's receipt."""
    stored = {log: receipt.stored for log, receipt in read_receipts(store, HUB).items()}
    own = read_logs(store, "WHERE origin <> ? AND stored > 0", HUB)
    if not any(log.name.lane is Lane.ALARM and stored.get(log.id) == log.stored for log in own):
        return 0
    return sum(log.last_row * stored.get(log.id, 0) // log.stored for log in own)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
