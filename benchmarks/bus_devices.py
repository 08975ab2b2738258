"""Sixteen simulated probes with eight registers each on one real pty; started by benchmarks.

They answer at the pace of 9,600 baud, or at once, and write their ledger; what they cost is not
measured.
"""

import argparse
import asyncio
import random
import time
from pathlib import Path

import msgspec

from drivers.codecs.modbus import ReadReply
from drivers.codecs.modbus_rtu import decode_request_rtu, encode_reply_rtu
from drivers.errors import ProtocolError
from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator, SimulatedUnit
from drivers.simulators.pty_link import PtyLink, closing_line
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Point, Profile, ProfileId

BAUD = 9_600
UNPACED_BAUD = 115_200
"""What an unpaced line is opened with: its own gaps between frames are then short."""
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
    link = msgspec.structs.replace(
        soil.links[0], baud=(BAUD, UNPACED_BAUD), gap_ms=0, baud_codes={}
    )
    return msgspec.structs.replace(soil, id="benchmark-probe", points=points, links=(link,))


def main() -> None:
    """Answer until stopped."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--line", type=Path, required=True)
    options.add_argument("--ledger", type=Path, required=True)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--at-once", action="store_true", help="answer without the line's pace")
    given = options.parse_args()
    answer = _answer_at_once if given.at_once else _answer
    asyncio.run(answer(given.line, given.ledger, random.Random(given.seed)))


async def _answer(line: Path, ledger: Path, rng: random.Random) -> None:
    profile = probe_profile()
    bus = ModbusRtuSimulator(
        path=line,
        baud=BAUD,
        units=[SimulatedUnit(unit, profile, rng) for unit in UNITS],
        ledger=Ledger(ledger, _now_ms),
        now_ms=_now_ms,
        rng=rng,
    )
    await bus.run()


async def _answer_at_once(line: Path, ledger: Path, rng: random.Random) -> None:
    profile = probe_profile()
    units = {unit: SimulatedUnit(unit, profile, rng) for unit in UNITS}
    book = Ledger(ledger, _now_ms)
    link = PtyLink(line)
    heard = b""
    async with closing_line(link):
        while True:
            heard += await link.read()
            try:
                request = decode_request_rtu(heard)
            except ProtocolError:
                heard = b""
                continue
            if request is None:
                continue
            heard = b""
            reply, values = units[request.unit].answer(request, UNPACED_BAUD)
            begun_ms = _now_ms()
            link.write(encode_reply_rtu(request, reply))
            for kind in ("reply_begun", "reply"):
                book.write(
                    kind,
                    unit=request.unit,
                    address=request.address,
                    count=len(reply.values) if isinstance(reply, ReadReply) else 0,
                    values=values,
                    begun_ms=begun_ms,
                    heard=True,
                )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
