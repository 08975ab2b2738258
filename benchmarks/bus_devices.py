"""Sixteen simulated probes with eight registers each on one real pty; started by device_path.py.

They answer at the pace of 9,600 baud and write their ledger; what they cost is not measured.
"""

import argparse
import asyncio
import random
import time
from pathlib import Path

import msgspec

from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator, SimulatedUnit
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Point, Profile, ProfileId

BAUD = 9_600
UNITS = tuple(range(11, 27))
POINTS_A_UNIT = 8
DEADBAND = 5.0
"""Each reply moves a value by more than this, so that every reading is recorded."""


def probe_profile() -> Profile:
    """Return a bundled soil probe's profile with eight fast points in one block."""
    soil = load_catalog().profiles[ProfileId("soil-sen0601")]
    points = tuple(
        Point(
            id=f"value-{register}",
            capability="measurement",
            function=3,
            register=register,
            poll="fast",
            deadband=DEADBAND,
        )
        for register in range(POINTS_A_UNIT)
    )
    return msgspec.structs.replace(soil, id="benchmark-probe", points=points)


def main() -> None:
    """Answer until stopped."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--line", type=Path, required=True)
    options.add_argument("--ledger", type=Path, required=True)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    asyncio.run(_answer(given.line, given.ledger, random.Random(given.seed)))


async def _answer(line: Path, ledger: Path, rng: random.Random) -> None:
    profile = probe_profile()
    bus = ModbusRtuSimulator(
        path=line,
        baud=BAUD,
        units=[SimulatedUnit(unit, profile, rng) for unit in UNITS],
        ledger=Ledger(ledger, lambda: time.time_ns() // 1_000_000),
        now_ms=lambda: time.time_ns() // 1_000_000,
        rng=rng,
    )
    await bus.run()


if __name__ == "__main__":
    main()
