"""Faulted Modbus replies, and who believes them: the box's bus, pymodbus, and a naive codec.

Eight simulated buses of three probes on real ptys; of each hundred replies some come late (beyond
the timeout), some never, some with a wrong bit and some cut short. A silently wrong value is one
that a program took for good though no sound reply in the devices' ledger held it.
"""

import asyncio
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from benchmarks.report import (
    Figure,
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from drivers.bus import ModbusBus
from drivers.codecs.modbus import ReadRequest
from drivers.codecs.modbus_rtu import crc16, encode_rtu
from drivers.entities import DeviceEvent, DeviceId, Measurement, Quality
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.planner import plan_blocks
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.modbus_rtu import Faults, ModbusRtuSimulator, SimulatedUnit
from drivers.transports.serial_address import SerialAddress
from drivers.transports.serial_port import SerialPort
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId

BAUD = 115_200
BUSES = 8
TIMEOUT_S = 0.04
PERIOD_S = 0.01
FAULTS = Faults(late=0.03, lost=0.02, corrupt=0.03, half=0.03, late_s=(0.045, 0.3))
UNITS = {11: "soil-sen0601", 12: "air-485-07d0", 13: "light-485-200klx"}
SETTLE_S = 1.0

Believed = Counter[tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program did on all buses."""

    reads: int
    good: int
    wrong: int
    wall_s: float


@dataclass(slots=True)
class Tally:
    """Reads begun on all buses so far; each program stops when they are enough."""

    wanted: int
    reads: int = 0

    @property
    def is_over(self) -> bool:
        return self.reads >= self.wanted


Reader = Callable[[Path, Tally, random.Random], Awaitable[Believed]]


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--reads", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    machine = read_machine()
    programs: Mapping[str, Reader] = {"ours": _ours, "pymodbus": _pymodbus, "naive": _naive}
    outcomes: dict[str, Outcome] = {}
    with progress("modbus_faults") as step, tempfile.TemporaryDirectory() as folder:
        for name, reader in programs.items():
            step(f"{name}: {given.reads} reads")
            place = Path(folder) / name
            outcomes[name] = asyncio.run(_measure(place, reader, given.reads, given.seed))
    report = Report(
        benchmark="modbus_faults",
        machine=machine,
        versions=read_versions("pymodbus", "pyserial"),
        figures=list(_figures(outcomes)),
        notes=[
            (
                f"{BUSES} buses at {BAUD} baud; of replies {FAULTS.late:.0%} late by up to"
                f" {FAULTS.late_s[1]} s, {FAULTS.lost:.0%} lost, {FAULTS.corrupt:.0%} with a wrong"
                f" bit, {FAULTS.half:.0%} cut short; everyone waits {TIMEOUT_S * 1000:.0f} ms."
            ),
            "naive: writes, reads as many bytes as the reply has, checks unit, function and CRC.",
            "ours leaves a unit that failed three times in a row alone for ten seconds.",
            "A sound reply that a busy machine delays beyond the timeout counts as sound.",
        ],
    )
    publish(report, as_json=given.json)


async def _measure(folder: Path, reader: Reader, reads: int, seed: int) -> Outcome:
    rng = random.Random(seed)
    tally = Tally(reads)
    simulators = [_simulator(folder / str(number), rng) for number in range(BUSES)]
    began = time.perf_counter()
    answering = [asyncio.ensure_future(each.run()) for each in simulators]
    believed = await asyncio.gather(
        *(reader(each.link.path, tally, random.Random(rng.random())) for each in simulators)
    )
    wall_s = time.perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    for task in answering:
        task.cancel()
    await asyncio.wait(answering)
    wrong = sum(
        (found - _sent(folder / str(number), is_by_point=reader is _ours)).total()
        for number, found in enumerate(believed)
    )
    good = sum(found.total() for found in believed)
    return Outcome(reads=tally.reads, good=good, wrong=wrong, wall_s=wall_s)


def _simulator(folder: Path, rng: random.Random) -> ModbusRtuSimulator:
    folder.mkdir(parents=True)
    return ModbusRtuSimulator(
        path=folder / "bus0",
        baud=BAUD,
        units=[SimulatedUnit(unit, profile, rng) for unit, profile in _profiles().items()],
        ledger=Ledger(folder / "bus0.jsonl", _now_ms),
        now_ms=_now_ms,
        rng=rng,
        faults=FAULTS,
    )


def _profiles() -> dict[int, Profile]:
    catalog = load_catalog().profiles
    profiles = {}
    for unit, name in UNITS.items():
        profile = catalog[ProfileId(name)]
        link = msgspec.structs.replace(
            profile.links[0],
            baud=(BAUD,),
            baud_codes={BAUD: 2},
            timeout_ms=round(TIMEOUT_S * 1000),
            quiet_ms=10,
            gap_ms=0,
        )
        profiles[unit] = msgspec.structs.replace(profile, links=(link,))
    return profiles


def _sent(folder: Path, *, is_by_point: bool) -> Believed:
    """Count what sound replies held: values of points, or of whole reads."""
    sent: Believed = Counter()
    for line in read_ledger(folder / "bus0.jsonl"):
        if line["kind"] != "reply_begun" or line["fault"] is not None:
            continue
        values, registers = line["values"], line["registers"]
        assert isinstance(values, dict)
        assert isinstance(registers, list)
        if is_by_point:
            sent.update((line["unit"], point, value) for point, value in values.items())
        else:
            sent[line["unit"], line["address"], *registers] += 1
    return sent


async def _ours(path: Path, tally: Tally, rng: random.Random) -> Believed:
    believed: Believed = Counter()

    def take(event: DeviceEvent) -> None:
        if isinstance(event, Measurement) and event.quality is not Quality.BAD:
            believed[int(event.device), event.point, event.value] += 1

    address = SerialAddress(path=path, baud=BAUD)
    units = [
        AdoptedUnit(device=DeviceId(str(unit)), unit=unit, profile=profile)
        for unit, profile in _profiles().items()
    ]
    bus = ModbusBus(
        address=address,
        settings=modbus_settings(units[0].profile, address),
        units=units,
        now_ms=_now_ms,
        sink=take,
        rng=rng,
        periods_s={"edge": PERIOD_S, "fast": PERIOD_S, "normal": PERIOD_S, "slow": PERIOD_S},
    )
    running = asyncio.ensure_future(bus.run())
    counted = 0
    while not tally.is_over:
        await asyncio.sleep(0.05)
        tally.reads += bus.statistics.polls - counted
        counted = bus.statistics.polls
    running.cancel()
    await asyncio.wait([running])
    return believed


async def _pymodbus(path: Path, tally: Tally, rng: random.Random) -> Believed:
    believed: Believed = Counter()
    client = AsyncModbusSerialClient(
        str(path), framer=FramerType.RTU, baudrate=BAUD, timeout=TIMEOUT_S, retries=0
    )
    await client.connect()
    for request in _requests(tally, rng):
        with suppress(ModbusException, asyncio.TimeoutError):
            if not client.connected:
                await client.connect()
            reply = await client.read_holding_registers(
                request.address, count=request.count, device_id=request.unit
            )
            if not reply.isError():
                believed[request.unit, request.address, *reply.registers] += 1
    client.close()
    return believed


async def _naive(path: Path, tally: Tally, rng: random.Random) -> Believed:
    believed: Believed = Counter()
    address = SerialAddress(path=path, baud=BAUD)
    port = SerialPort(path, modbus_settings(next(iter(_profiles().values())), address))
    buffer = b""
    for request in _requests(tally, rng):
        await port.write(encode_rtu(request))
        length = 5 + 2 * request.count
        buffer += await port.read(TIMEOUT_S, length - len(buffer))
        frame, buffer = buffer[:length], buffer[length:]
        if frame[:2] == bytes((request.unit, 3)) and crc16(frame[:-2]) == frame[-2:]:
            registers = [int.from_bytes(frame[at : at + 2]) for at in range(3, length - 2, 2)]
            believed[request.unit, request.address, *registers] += 1
        elif len(frame) < length:
            buffer = b""  # nothing more came: begin anew
    port.close()
    return believed


def _requests(tally: Tally, rng: random.Random) -> Iterator[ReadRequest]:
    """Yield the reads the box would do, in another order each time."""
    blocks: Sequence[ReadRequest] = [
        block.request
        for unit, profile in _profiles().items()
        for block in plan_blocks(profile, unit, profile.links[0])
    ]
    while not tally.is_over:
        for request in rng.sample(blocks, len(blocks)):
            tally.reads += 1
            yield request


def _figures(outcomes: Mapping[str, Outcome]) -> Iterator[Figure]:
    for name, outcome in outcomes.items():
        goal = 0 if name == "ours" else None
        yield measured(f"{name}_reads", [outcome.reads], "reads", "higher")
        yield measured(f"{name}_good", [outcome.good], "values", "higher")
        yield measured(f"{name}_silently_wrong", [outcome.wrong], "values", "lower", goal)
        yield measured(f"{name}_reads_a_second", [outcome.reads / outcome.wall_s], "1/s", "higher")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
