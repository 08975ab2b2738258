"""Some buses of sixteen simulated probes, each line a pty, in one process; started by benchmarks.

Ends with its standard input. What the probes say is written nowhere.
"""

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator, SimulatedUnit
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId

BAUD = 9600
PROBE = "soil-sen0601"
UNITS = range(1, 17)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=Path, required=True, help="folder of the lines, 0 and up")
    parser.add_argument("--buses", type=int, required=True)
    options = parser.parse_args()
    profile, rng = load_catalog().profiles[ProfileId(PROBE)], random.Random(1)
    nowhere = Ledger(Path("/dev/null"), _now_ms)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(
                ModbusRtuSimulator(
                    path=options.lines / str(bus),
                    baud=BAUD,
                    units=[SimulatedUnit(unit, profile, rng) for unit in UNITS],
                    ledger=nowhere,
                    now_ms=_now_ms,
                    rng=rng,
                ).run()
            )
            for bus in range(options.buses)
        ]
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    asyncio.run(_main())
