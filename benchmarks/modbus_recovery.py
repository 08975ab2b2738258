"""How soon a Modbus bus notices trouble: a wrong checksum, a pulled plug, and the plug put back.

One simulated unit on a real pty. A checksum is timed from the device's last byte to the error; the
plug from the hang-up to the event that a person sees, and from the new line to the first value.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop

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
from drivers.codecs.modbus import ReadReply, ReadRequest
from drivers.codecs.modbus_rtu import encode_reply_rtu
from drivers.entities import DeviceEvent, DeviceId, Measurement, Presence, Quality
from drivers.errors import ProtocolError
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.modbus_line import RtuLine
from drivers.planner import Cadence
from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator, SimulatedUnit
from drivers.simulators.pty_link import PtyLink
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_address import SerialAddress
from drivers.transports.serial_port import SerialPort
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId

BAUD = 9_600
UNIT = 17
REQUEST = ReadRequest(unit=UNIT, function=3, address=0, count=8)
WAIT_S_MAX = 10.0
PERIODS_S: Mapping[Cadence, float] = {"edge": 0.2, "fast": 0.2, "normal": 0.2, "slow": 0.2}


@dataclass(slots=True)
class Watch:
    """When each kind of event was last seen, on the clock of ``time.perf_counter``."""

    offline_at: float = 0.0
    value_at: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: DeviceEvent) -> None:
        match event:
            case Presence(online=False):
                self.offline_at = time.perf_counter()
            case Measurement(quality=Quality.GOOD):
                self.value_at = time.perf_counter()
        self.changed.set()

    async def later_than(self, name: str, moment: float) -> float:
        """Return how many seconds after ``moment`` something was seen."""
        async with asyncio.timeout(WAIT_S_MAX):
            while (seen := getattr(self, name)) <= moment:
                self.changed.clear()
                await self.changed.wait()
        return float(seen - moment)


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--errors", type=int, default=100)
    options.add_argument("--plugs", type=int, default=10)
    given = options.parse_args()
    machine = read_machine()
    with (
        progress("modbus_recovery") as step,
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        step(f"{given.errors} wrong checksums")
        errors = runner.run(_checksums(Path(folder) / "errors", given.errors))
        step(f"{given.plugs} plugs pulled and put back")
        unplugs, replugs = runner.run(_plugs(Path(folder) / "plugs", given.plugs))
    report = Report(
        benchmark="modbus_recovery",
        machine=machine,
        versions=read_versions("pyserial", "uvloop"),
        figures=list(_figures(errors, unplugs, replugs)),
        notes=[
            "Values are the worst of all; a pty has neither an adapter's latency nor its USB.",
            "Back: the new line is there, until a value of the unit was read.",
        ],
    )
    publish(report, as_json=given.json)


async def _checksums(folder: Path, count: int) -> list[float]:
    link = PtyLink(folder / "bus0")
    port = SerialPort(link.path, LineSettings(baud=BAUD))
    line = RtuLine(port, quiet_s=0.02)
    sound = encode_reply_rtu(REQUEST, ReadReply(unit=UNIT, function=3, values=(7,) * 8))
    spoilt = sound[:-1] + bytes((sound[-1] ^ 1,))
    waits_ms = []
    for _ in range(count):
        asked = asyncio.ensure_future(line.ask(REQUEST, 0.5))
        await link.read()
        sent_at = time.perf_counter()
        link.write(spoilt)
        try:
            await asked
        except ProtocolError:
            waits_ms.append((time.perf_counter() - sent_at) * 1000)
    assert len(waits_ms) == count, "a spoilt reply was believed"
    port.close()
    link.unplug()
    return waits_ms


async def _plugs(folder: Path, count: int) -> tuple[list[float], list[float]]:
    profile = load_catalog().profiles[ProfileId("soil-sen0601")]
    watch, rng = Watch(), random.Random(1)
    simulator = ModbusRtuSimulator(
        path=folder / "bus0",
        baud=BAUD,
        units=[SimulatedUnit(UNIT, profile, rng)],
        ledger=Ledger(folder / "bus0.jsonl", _now_ms),
        now_ms=_now_ms,
        rng=rng,
    )
    address = SerialAddress(path=folder / "bus0", baud=BAUD)
    bus = ModbusBus(
        address=address,
        settings=modbus_settings(profile, address),
        units=[AdoptedUnit(device=DeviceId("probe"), unit=UNIT, profile=profile)],
        now_ms=_now_ms,
        sink=watch.take,
        rng=rng,
        periods_s=PERIODS_S,
    )
    work = [asyncio.ensure_future(each) for each in (simulator.run(), bus.run())]
    unplugs_ms, replugs_s = [], []
    await watch.later_than("value_at", 0.0)
    for _ in range(count):
        await asyncio.sleep(rng.uniform(0.1, 0.4))
        moment = time.perf_counter()
        simulator.link.unplug()
        unplugs_ms.append(await watch.later_than("offline_at", moment) * 1000)
        await asyncio.sleep(rng.uniform(0.5, 3))
        moment = time.perf_counter()
        simulator.link.plug()
        replugs_s.append(await watch.later_than("value_at", moment))
    for task in work:
        task.cancel()
    await asyncio.wait(work)
    return unplugs_ms, replugs_s


def _figures(errors: list[float], unplugs: list[float], replugs: list[float]) -> Iterator[Figure]:
    for name, samples, unit, goal in (
        ("crc_error_reported", errors, "ms", 50),
        ("unplug_noticed", unplugs, "ms", 10),
        ("replug_recovered", replugs, "s", 3),
    ):
        worst = measured(name, [max(samples)], unit, "lower", goal)
        yield msgspec.structs.replace(
            worst, spread=(float(f"{min(samples):.3g}"), worst.value), runs=len(samples)
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
