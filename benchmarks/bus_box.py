"""The device path of a box as a measured process: bus, recorder, node; started by benchmarks.

Polls the simulated bus with the box's own driver, writes every reading durably into a box's store,
where it stands numbered in its log for sync. Prints one JSON object (:class:`Outcome`).
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from benchmarks.bus_devices import BAUD, DEADBAND, UNITS, probe_profile
from benchmarks.processes import peak_rss_mb
from drivers.bus import ModbusBus
from drivers.entities import DeviceId
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.planner import POLL_PERIODS_S
from drivers.transports.serial_address import SerialAddress
from edge.recorder import Recorder
from edge.roster import Roster
from firmware_profiles.model import Profile
from sync.node import Node, NodeKeys
from sync.persons.vault import PersonVault
from sync.segments.signing import SignerId
from sync.store import connect_readonly, open_store
from sync.writer import Writer

SCHOOL = 1
WARM_UP_S = 2.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """CPU and wall time of the window, what it polled, and memory of the whole process."""

    wall_s: float
    cpu_s: float
    from_ms: int
    until_ms: int
    peak_rss_mb: float
    unanswered: int


class NobodyElse:
    """A directory of a box that never met its hub."""

    def signing_key(self, _origin: int, _signer: SignerId) -> Ed25519PublicKey | None:
        return None

    def may_speak(self, _origin: int, _signer: SignerId) -> bool:
        return False

    def sealing_key(self, _origin: int, _signer: SignerId) -> X25519PublicKey | None:
        return None

    def sealing_keys(self, _school: int) -> Sequence[X25519PublicKey]:
        return []

    def members(self, _audience: str) -> frozenset[int]:
        return frozenset({SCHOOL})


def main() -> None:
    """Run once."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--line", type=Path, required=True)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--baud", type=int, default=BAUD)
    options.add_argument("--period-ms", type=int, default=1000)
    given = options.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_poll(given))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


async def _poll(given: argparse.Namespace) -> Outcome:
    folder: Path = given.folder
    store = folder / "box.db"
    connection = open_store(store)
    keys = NodeKeys(
        origin=SCHOOL, signing=Ed25519PrivateKey.generate(), sealing=X25519PrivateKey.generate()
    )
    node = Node(connection, keys, _now_ms, os.urandom, NobodyElse(), b"benchmark")
    profile = probe_profile()
    units = _units(profile)
    with Writer() as writer:
        recorder = Recorder(
            node,
            writer,
            Roster(node, PersonVault(folder / "vault.db", os.urandom), connect_readonly(store)),
            deadbands=_deadbands(units),
            room_of=lambda _: None,
            changed=lambda _: None,
        )
        address = SerialAddress(path=given.line, baud=given.baud)
        bus = ModbusBus(
            address=address,
            settings=modbus_settings(profile, address),
            units=units,
            now_ms=_now_ms,
            sink=recorder.take,
            rng=random.Random(),
            periods_s={**POLL_PERIODS_S, "fast": given.period_ms / 1000},
        )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in (bus.run(), recorder.run())]
            await asyncio.sleep(WARM_UP_S)
            from_ms, wall, cpu = _now_ms(), time.perf_counter(), time.process_time()
            await asyncio.sleep(given.seconds)
            wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            until_ms = _now_ms()
            for task in running:
                task.cancel()
        await recorder.flush()
    node.close()
    return Outcome(
        wall_s=wall_s,
        cpu_s=cpu_s,
        from_ms=from_ms,
        until_ms=until_ms,
        peak_rss_mb=peak_rss_mb(os.getpid()),
        unanswered=bus.statistics.silent + bus.statistics.broken + bus.statistics.refused,
    )


def _units(profile: Profile) -> list[AdoptedUnit]:
    return [
        AdoptedUnit(device=DeviceId(f"modbus:bus0:{unit}"), unit=unit, profile=profile)
        for unit in UNITS
    ]


def _deadbands(units: Sequence[AdoptedUnit]) -> Mapping[tuple[DeviceId, str], float]:
    return {(unit.device, point.id): DEADBAND for unit in units for point in unit.profile.points}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
