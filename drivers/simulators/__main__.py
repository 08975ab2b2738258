"""One school's simulated devices: ``python -m drivers.simulators --help``.

What hangs where, with which unit ids, speeds and addresses, comes from the seed alone.
"""

import argparse
import asyncio
import logging
import random
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta, timezone
from functools import partial
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from drivers.codecs.digest import Credentials
from drivers.discovery.panels import framed
from drivers.displays.framed_link import FRAMINGS
from drivers.simulators.adms_terminal import AdmsSimulator, Habits
from drivers.simulators.card_reader import RDM6300, WIEGAND_34, CardReaderSimulator, Frames
from drivers.simulators.contact_board import ContactBoard
from drivers.simulators.door_terminal import PASSWORD, DoorTerminal
from drivers.simulators.fitness_stations import FitnessStations
from drivers.simulators.isapi_terminal import IsapiSimulator
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator, SimulatedUnit
from drivers.simulators.onvif_camera import SimulatedOnvifCamera
from drivers.simulators.panel import SimulatedPanel
from drivers.simulators.passers_by import PassersBy
from drivers.simulators.pjlink_projector import PjlinkProjector
from drivers.simulators.profile_unit import ProfileUnit
from drivers.simulators.relay_module import MODULE_PORT, MODULES, RelayModule
from drivers.simulators.rtsp_camera import RtspCamera
from drivers.simulators.sports_gateway import SportsGatewaySimulator
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId

_log = logging.getLogger(__name__)

RTSP_PORT = 8554
TERMINAL_PORT = 8085
"""Where boxes wait for attendance terminals, unless they are configured otherwise."""
ISAPI_PORT = 8088
STATIONS_PORT = 4001
"""Where serial servers wait as they leave the factory."""
BOX_HOST, ADMS_HOST, ISAPI_HOST, STATIONS_HOST = 1, 251, 252, 253
"""In the school's network; other hosts come from the seed, below these."""
HOSTS = range(20, 250)
WIEGAND_LINE = "line-3"
BOARD_LINE = "line-4"
TAPS_S = (0.5, 3.0)
ZONE = timezone(timedelta(hours=8))
PROBES = (
    ("soil-sen0601",),
    ("air-485-07d0", "air-xy-md02"),
    ("light-485-200klx",),
    ("co2-senseair",),
)
"""What the simulated farm has: one probe of each row. CO2 probes know 9600 baud alone, and who
hangs on one line speaks at one speed: that is theirs."""
RELAYS = ProfileId("relay-waveshare-rtu-8")
"""What switches its pumps and vents, on the same line."""
CONTACTS = ProfileId("input-waveshare-io-8")
"""What has the panic button, the door and the siren, on the same line."""
BANDS = 8


def main() -> None:
    """Run the devices until stopped."""
    # A shell that starts them in the background would have them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m drivers.simulators", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--network", type=IPv4Network, required=True, help="e.g. 127.0.11.0/24")
    parser.add_argument("--lines", type=Path, required=True, help="folder of serial lines")
    parser.add_argument("--ledgers", type=Path, required=True, help="folder of ledgers")
    parser.add_argument("--cards", type=Path, required=True, help="card numbers, one a line")
    parser.add_argument(
        "--with",
        dest="parts",
        choices=("serial", "network"),
        action="append",
        help="which devices; all by default",
    )
    options = parser.parse_args()
    options.parts = options.parts or ["serial", "network"]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(options))
    except KeyboardInterrupt:
        _log.info("stopped")


async def _run(options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)  # noqa: S311 - a seed is the point
    starts = _ledger(options, "starts")
    starts.write("started")
    # What hangs where comes from the seed; what it measures goes on differently at each start, as
    # a probe that was switched off and on does not repeat its values.
    life = len(read_ledger(options.ledgers / "starts.jsonl"))
    names = ["line-0", "line-1", "line-2"]
    rng.shuffle(names)
    hosts = rng.sample(HOSTS, 3)
    interfaces = [
        IPv4Interface(f"{options.network.network_address + host}/{options.network.prefixlen}")
        for host in hosts
    ]
    values = random.Random(f"{options.seed}/{life}")  # noqa: S311 - seeded
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        # Chance is drawn in the same order whatever parts run, so that a seed means one school.
        bus = partial(_bus, options, names[0], random.Random(rng.random()), values)  # noqa: S311 - seeded
        chances = [random.Random(rng.random()) for _ in range(3)]  # noqa: S311 - seeded
        panel, port = _panel(options, random.Random(rng.random()))  # noqa: S311 - seeded
        if "serial" in options.parts:
            line, contacts = bus()
            lines: list[ModbusRtuSimulator | CardReaderSimulator] = [
                line,
                _reader(options, names[1], RDM6300, "cards", values),
                _reader(options, WIEGAND_LINE, WIEGAND_34, "wiegand", values),
            ]
            closings = _ledger(options, "closings")
            for device in lines:
                tasks.create_task(device.run())
                tasks.create_task(device.link.note_closings(closings))
            tasks.create_task(_gateway(options, names[2], life).run())
            tasks.create_task(_contacts(options, contacts, life).run())
            board = _board(options, panel.model)
            tasks.create_task(board.serve_line(options.lines / BOARD_LINE))
        if "network" in options.parts:
            projector = PjlinkProjector(interfaces[0], _ledger(options, "projector"), chances[0])
            stream = RtspCamera(
                _ledger(options, "stream"),
                None,
                now_ms=_now_ms,
                chance=chances[1],
            )
            await stack.enter_async_context(stream.serving(str(interfaces[1].ip), RTSP_PORT))
            camera = SimulatedOnvifCamera(
                interfaces[1],
                stream.media(),
                _ledger(options, "camera"),
                _now_ms,
                chances[2],
            )
            passers_by = PassersBy(
                camera.events, _ledger(options, "motion"), _chance(options, life, "motion")
            )
            tasks.create_task(projector.run())
            tasks.create_task(camera.run())
            tasks.create_task(passers_by.run())
            tasks.create_task(panel.serve_tcp(str(interfaces[2].ip), port))
            tasks.create_task(_terminal(options, life).run())
            tasks.create_task(_door_terminal(options, life).run())
            stations = FitnessStations(
                _cards(options), _ledger(options, "stations"), _chance(options, life, "stations")
            )
            tasks.create_task(stations.serve_tcp(_at(options, STATIONS_HOST), STATIONS_PORT))
            tasks.create_task(_module(options, hosts).run())


def _terminal(options: argparse.Namespace, life: int) -> AdmsSimulator:
    """Return a terminal that calls the school's box, which is at the first address."""
    return AdmsSimulator(
        f"DEMO{options.seed:08}",
        (_at(options, BOX_HOST), TERMINAL_PORT),
        _ledger(options, "terminal"),
        _now_ms,
        _chance(options, life, "terminal"),
        Habits(source=_at(options, ADMS_HOST), zone=ZONE),
    )


def _door_terminal(options: argparse.Namespace, life: int) -> DoorTerminal:
    """Return a terminal that calls the school's box and is asked by it, with PASSWORD."""
    terminal = IsapiSimulator(
        f"44:47:cc:{options.seed >> 16 & 255:02x}:{options.seed >> 8 & 255:02x}"
        f":{options.seed & 255:02x}",
        _at(options, ISAPI_HOST),
        Credentials(user="admin", password=PASSWORD),
        _now_ms,
        ZONE,
    )
    terminal.port = ISAPI_PORT
    terminal.listener = f"http://{_at(options, BOX_HOST)}:{TERMINAL_PORT}/isapi"
    chance = _chance(options, life, "door")
    return DoorTerminal(terminal, _cards(options), _ledger(options, "door"), chance)


def _module(options: argparse.Namespace, taken: Sequence[int]) -> RelayModule:
    """Return the greenhouse's relays on the network, at a host that is not taken."""
    chance = random.Random(f"{options.seed}/module")  # noqa: S311 - seeded
    host = chance.choice([each for each in HOSTS if each not in taken])
    profile = load_catalog().profiles[ProfileId(chance.choice(MODULES))]
    return RelayModule(profile, _at(options, host), MODULE_PORT, _ledger(options, "module"))


def _panel(options: argparse.Namespace, rng: random.Random) -> tuple[SimulatedPanel, int]:
    """Return the school's panel, of one of the models that listen on the network, and its port."""
    ports = {
        profile.id: profile.links[0].port
        for profile in load_catalog().profiles.values()
        if profile.links[0].type in FRAMINGS and profile.tested == "simulated"
    }
    model, port = rng.choice([(model, port) for model, port in sorted(ports.items()) if port])
    ledger = _ledger(options, "panel")
    return SimulatedPanel(load_catalog().profiles[ProfileId(model)], ledger, rng), port


def _reader(
    options: argparse.Namespace, name: str, frames: Frames, ledger: str, values: random.Random
) -> CardReaderSimulator:
    return CardReaderSimulator(
        path=options.lines / name,
        cards=_cards(options),
        ledger=_ledger(options, ledger),
        now_ms=_now_ms,
        rng=random.Random(values.random()),  # noqa: S311 - seeded
        pause_s=TAPS_S,
        frames=frames,
    )


def _gateway(options: argparse.Namespace, name: str, life: int) -> SportsGatewaySimulator:
    return SportsGatewaySimulator(
        path=options.lines / name,
        bands=BANDS,
        ledger=_ledger(options, "bands"),
        now_ms=_now_ms,
        rng=_chance(options, life, "bands"),
    )


def _board(options: argparse.Namespace, panel: ProfileId) -> SimulatedPanel:
    """Return the school's panel on a serial line, of another make than the one on the network."""
    chance = random.Random(f"{options.seed}/board")  # noqa: S311 - seeded
    profiles = load_catalog().profiles
    models = sorted({profile.id for profile in framed(profiles.values())} - {panel})
    model = profiles[ProfileId(chance.choice(models))]
    return SimulatedPanel(model, _ledger(options, "board"), chance)


def _contacts(options: argparse.Namespace, contacts: ProfileUnit, life: int) -> ContactBoard:
    ledger = _ledger(options, "contacts")
    return ContactBoard(contacts, ledger, _chance(options, life, "contacts"))


def _bus(
    options: argparse.Namespace, name: str, rng: random.Random, values: random.Random
) -> tuple[ModbusRtuSimulator, ProfileUnit]:
    """Return the line of the roof and the gate, and the contact board on it."""
    probes, relays = _probes(rng), load_catalog().profiles[RELAYS]
    contacts = load_catalog().profiles[CONTACTS]
    # The two likeliest speeds of each model: what its document calls the factory setting.
    speeds = set.intersection(
        *(set(probe.link("modbus_rtu").baud[:2]) for probe in (*probes, relays, contacts))
    )
    *ids, relays_id, contacts_id = rng.sample(range(1, 248), len(probes) + 2)
    board = ProfileUnit(contacts_id, contacts)
    line = ModbusRtuSimulator(
        path=options.lines / name,
        baud=rng.choice(sorted(speeds)),
        units=[
            SimulatedUnit(unit, probe, random.Random(values.random()))  # noqa: S311 - seeded
            for unit, probe in zip(ids, probes, strict=True)
        ]
        + [ProfileUnit(relays_id, relays), board],
        ledger=_ledger(options, "bus"),
        now_ms=_now_ms,
        rng=random.Random(values.random()),  # noqa: S311 - seeded
    )
    return line, board


def _probes(rng: random.Random) -> list[Profile]:
    profiles = load_catalog().profiles
    return [profiles[ProfileId(rng.choice(models))] for models in PROBES]


def _cards(options: argparse.Namespace) -> list[str]:
    cards: list[str] = options.cards.read_text().split()
    return cards


def _at(options: argparse.Namespace, host: int) -> str:
    return str(options.network.network_address + host)


def _ledger(options: argparse.Namespace, name: str) -> Ledger:
    return Ledger(options.ledgers / f"{name}.jsonl", _now_ms)


def _chance(options: argparse.Namespace, life: int, device: str) -> random.Random:
    return random.Random(f"{options.seed}/{life}/{device}")  # noqa: S311 - seeded


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
