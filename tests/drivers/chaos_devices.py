"""A school's simulated devices that can be unplugged, disturbed and moved, each with its ledger."""

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.entities import DeviceId, NowMs
from drivers.simulators.card_reader import CardReaderSimulator
from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator, SimulatedUnit
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_replies import CameraStream
from drivers.simulators.panel import PanelFaults, SimulatedPanel
from drivers.simulators.pjlink_projector import PjlinkProjector
from drivers.simulators.pty_link import PtyLink
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from tests.drivers.chaos_plan import Fault
from tests.drivers.serial_bench import now_ms
from tests.loopback import own_address

NETWORK = f"{own_address('70.1')}/24"
PROJECTOR, PANEL, STEADY_CAMERA = (own_address(f"70.{host}") for host in (21, 22, 30))
CAMERA_HOSTS = [own_address(f"70.{host}") for host in range(31, 61)]
PANEL_PORT = 1515
BAUD = 9600
UNITS = (11, 12, 13)
VICTIM = 12
CARDS = [f"6F{number:08X}" for number in range(200)]
CAMERA_PASSWORD = Credentials(user="admin", password="planted-secret-4712")
TIMEOUT_S = 0.15
"""How long the unit that is to fail is waited for."""
NOISE_BYTES = (1, 40)
NOISE_EVERY_S = (0.01, 0.2)
CLOCK_AHEAD_MS = 3_600_000


class Switch:
    """Plugs a device in and out: its ``run`` goes on, or is cancelled and waited for."""

    def __init__(self, run: Coroutine[Any, Any, Any]) -> None:
        self._task = asyncio.get_running_loop().create_task(run)

    async def out(self) -> None:
        """Unplug; raises what the device failed with."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()


class CountingLedger(Ledger):
    """A ledger that also counts the answers of each unit, for who waits for them."""

    def __init__(self, path: Path, clock: NowMs) -> None:
        super().__init__(path, clock)
        self.answers: Counter[object] = Counter()

    def write(self, kind: str, **fields: object) -> None:
        super().write(kind, **fields)
        if kind == "reply_begun":
            self.answers[fields["unit"]] += 1


@dataclass
class Devices:
    """All devices of one school in ``folder``; ``unplug`` ends them."""

    folder: Path
    seed: int
    profiles: Path
    volumes: set[float] = field(default_factory=lambda: {0.0})
    """Every volume that the panel ever had."""

    def __post_init__(self) -> None:
        self._ledgers: dict[str, CountingLedger] = {}
        catalog = load_catalog(self.profiles).profiles
        self.rng = random.Random(f"{self.seed}/devices")
        self.buses = {
            name: ModbusRtuSimulator(
                path=self.folder / "lines" / name,
                baud=BAUD,
                units=[
                    SimulatedUnit(unit, catalog[ProfileId(profile_of(name, unit))], self.rng)
                    for unit in UNITS
                ],
                ledger=self.ledger(name),
                now_ms=now_ms,
                rng=self.rng,
            )
            for name in ("steady", "bus", "units")
        }
        self.gate = CardReaderSimulator(
            path=self.folder / "lines" / "gate",
            cards=CARDS,
            ledger=self.ledger("gate"),
            now_ms=now_ms,
            rng=self.rng,
            pause_s=(0.05, 0.2),
            broken_frames=0.1,
        )
        self.panel = SimulatedPanel(
            catalog[ProfileId("panel-impatient")], self.ledger("panel"), self.rng, warm_up_s=0.1
        )
        self.projector = PjlinkProjector(
            IPv4Interface(f"{PROJECTOR}/24"),
            self.ledger("projector"),
            self.rng,
            lamp_times_s=(0.1, 0.1),
        )
        self.steady_camera = self._camera(STEADY_CAMERA, "steady_camera")
        self._camera_hosts = list(CAMERA_HOSTS)
        self.camera = self._camera(self._camera_hosts.pop(0), "camera")
        self._switches = {
            **{name: Switch(bus.run()) for name, bus in self.buses.items()},
            "gate": Switch(self.gate.run()),
            "panel": Switch(self.panel.serve_tcp(PANEL, PANEL_PORT)),
            "projector": Switch(self.projector.run()),
            "steady_camera": Switch(self.steady_camera.run()),
            "camera": Switch(self.camera.run()),
        }

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def ledger(self, name: str) -> "CountingLedger":
        """Return the one ledger of a device, also of one that comes back elsewhere."""
        if name not in self._ledgers:
            self._ledgers[name] = CountingLedger(self.path(name), now_ms)
        return self._ledgers[name]

    def late_answers(self) -> int:
        """Count what the unit that may be slow answered so far, in time or not."""
        return self._ledgers["units"].answers[VICTIM]

    def candidates(self) -> list[Candidate]:
        """Return what a search would find, for a person to adopt."""
        return [
            *(self._unit(name, unit) for name in self.buses for unit in UNITS),
            candidate("card:gate", DeviceKind.CARD_READER, "rdm6300", self._serial("gate")),
            candidate(
                "panel",
                DeviceKind.BLACKBOARD,
                "panel-impatient",
                f"tcp://{PANEL}:{PANEL_PORT}?unit=1",
            ),
            candidate(
                "projector", DeviceKind.BLACKBOARD, "pjlink-projector", f"pjlink://{PROJECTOR}:4352"
            ),
            *(
                candidate(camera_id(each), DeviceKind.CAMERA, "onvif-camera", each.address)
                for each in (self.steady_camera, self.camera)
            ),
        ]

    def devices_of(self, victim: str) -> Sequence[DeviceId]:
        """Return the adopted devices that a victim's faults befall."""
        match victim:
            case "bus":
                return [unit_id("bus", unit) for unit in UNITS]
            case "units":
                return [unit_id("units", VICTIM)]
            case "camera":
                return [camera_id(self.camera)]
            case "gate":
                return [DeviceId("card:gate")]
            case _:
                return [DeviceId(victim)]

    async def begin(self, victim: str, fault: Fault) -> None:
        """Let a fault befall its victim; what does not hold by itself lasts as long as it says."""
        rng = random.Random(fault.seed)
        match victim, fault.kind:
            case (("bus" | "gate"), "unplugged"):
                self._line(victim).unplug()
            case (("bus" | "gate"), "noise"):
                await self._make_noise(self._line(victim), fault.lasts_s, rng)
            case "units", "dead":
                self.buses["units"].delays_s[VICTIM] = math.inf
            case "units", "slow":
                self.buses["units"].delays_s[VICTIM] = TIMEOUT_S + fault.lasts_s / 4
            case "panel", "garbage":
                self.panel.faults = PanelFaults(lost=0.1, spoilt=0.3, noise=0.3)
            case "projector", "garbage":
                self.projector.garbage = 0.7
            case (("panel" | "projector" | "camera"), ("power cut" | "another address")):
                await self._switches.pop(victim).out()
            case "camera", "wrong clock":
                ahead = rng.choice((-1, 1)) * CLOCK_AHEAD_MS
                self.camera.clock_offset_ms = ahead
                self._camera_sees_something()
            case "camera", "slow":
                self.camera.delay_s = 2 * fault.lasts_s
            case _:
                raise AssertionError(f"{victim} knows no {fault.kind}")

    def end(self, victim: str, fault: Fault) -> None:
        """Let a fault be over."""
        match victim, fault.kind:
            case (("bus" | "gate"), "unplugged"):
                self._line(victim).plug()
            case "units", _:
                self.buses["units"].delays_s.clear()
            case "panel", "power cut":
                self._switches["panel"] = Switch(self.panel.serve_tcp(PANEL, PANEL_PORT))
            case "panel", "garbage":
                self.panel.faults = PanelFaults()
            case "projector", "power cut":
                self._switches["projector"] = Switch(self.projector.run())
            case "projector", "garbage":
                self.projector.garbage = 0.0
            case "camera", "another address":
                self.camera = self._camera(self._camera_hosts.pop(0), "camera")
                self._switches["camera"] = Switch(self.camera.run())
            case "camera", "wrong clock":
                self.camera.clock_offset_ms = 0
                self._camera_sees_something()
            case "camera", "slow":
                self.camera.delay_s = 0.0
                self._camera_sees_something()

    async def unplug(self) -> None:
        for switch in self._switches.values():
            await switch.out()
        for ledger in self._ledgers.values():
            ledger.close()

    def _camera_sees_something(self) -> None:
        self.camera.events.set_motion(True)
        self.camera.events.set_motion(False)

    async def _make_noise(self, link: PtyLink, lasts_s: float, rng: random.Random) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + lasts_s
        while loop.time() < until:
            link.write(rng.randbytes(rng.randrange(*NOISE_BYTES)))
            await asyncio.sleep(rng.uniform(*NOISE_EVERY_S))

    def _line(self, victim: str) -> PtyLink:
        return self.gate.link if victim == "gate" else self.buses[victim].link

    def _unit(self, bus: str, unit: int) -> Candidate:
        address = f"{self._serial(bus)}&unit={unit}"
        return candidate(unit_id(bus, unit), DeviceKind.FARM_SENSOR, profile_of(bus, unit), address)

    def _serial(self, name: str) -> str:
        return f"serial:{self.folder / 'lines' / name}?baud={BAUD}"

    def _camera(self, host: str, name: str) -> SimulatedOnvifCamera:
        stream = CameraStream(
            uri=f"rtsp://{host}:8554/main", width=1280, height=720, fps=25, kbps=2000
        )
        return SimulatedOnvifCamera(
            IPv4Interface(f"{host}/24"),
            CameraMedia(main=stream, sub=stream, snapshot=lambda: b""),
            self.ledger(name),
            now_ms,
            random.Random(f"{self.seed}/{name}"),  # the same camera wherever it stands
            name=name,
            credentials=CAMERA_PASSWORD,
        )


def unit_id(bus: str, unit: int) -> DeviceId:
    return DeviceId(f"modbus:{bus}:{unit}")


def camera_id(camera: SimulatedOnvifCamera) -> DeviceId:
    """Return the identity under which a search finds a camera that keeps its serial to itself."""
    return DeviceId(f"onvif:{camera.identity.endpoint}")


def profile_of(bus: str, unit: int) -> str:
    return "probe-impatient" if bus == "units" and unit == VICTIM else "probe-patient"


def candidate(identity: str, kind: DeviceKind, profile: str, address: str) -> Candidate:
    return Candidate(
        identity=identity,
        kind=kind,
        address=address,
        name=identity,
        profile=profile,
        evidence=(),
        confidence=1.0,
    )


PROBE, PANEL_MODEL = ("farm_sensor", "soil-sen0601"), ("blackboard", "samsung-mdc")
VARIANTS: Mapping[str, tuple[tuple[str, str], int]] = {
    "probe-patient": (PROBE, 3_000),
    "probe-impatient": (PROBE, round(TIMEOUT_S * 1000)),
    "panel-impatient": (PANEL_MODEL, 400),
}
"""Of which bundled profile, and its timeout in milliseconds.

A busy machine must not look like a fault: only what is to fail is given up soon.
"""


def write_profiles(folder: Path) -> Path:
    """Write the variants; probes are read each second, one point a read."""
    for name, ((kind, bundled), timeout_ms) in VARIANTS.items():
        path = files("firmware_profiles") / "devices" / kind / f"{bundled}.toml"
        text = re.sub(r"timeout_ms = \d+", f"timeout_ms = {timeout_ms}", path.read_text())
        if kind == "farm_sensor":
            text = text.replace('poll = "normal"', 'poll = "fast"')
            alone = 'quirks = [{ id = "one_point_a_read", unconfirmed = true }]'
            text = text.replace("version = 1", f"version = 1\n{alone}", 1)
        text = text.replace(f'id = "{bundled}"', f'id = "{name}"')
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{name}.toml").write_text(text)
    return folder
