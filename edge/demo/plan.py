"""Who is in the demo and where: folders, addresses, names, all from a few choices."""

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated

import msgspec

from drivers.simulators.relay_module import MODULE_PORT
from drivers.transports.port_address import MODBUS_PORT
from edge.errors import BoxSetupError
from provisioning.settings import decode_setting

BOX_PORT = 7443
PAGES_PORT = 8443
PLAIN_PORT = 8080
LAN_PAGES_PORT = 9443
LAN_PLAIN_PORT = 9080
"""On the address they share, each school serves its number further on."""
PUPILS_A_SCHOOL = 40

_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张"
_GIVEN = "子涵雨桐浩宇欣怡梓轩诗琪俊杰思远佳宁博文晓彤天佑若曦明哲"


SERIAL = "serial"
NETWORK = "network"
DEVICES = {SERIAL: 10, NETWORK: 7}
"""How many devices are simulated on a school's serial lines and on its network."""


class RealParts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Real hardware in the place of simulated devices, for one school.

    ``serial_ports`` replace the simulated lines; ``interface``, this machine's address in a real
    LAN with its prefix length, replaces all that is simulated on the network.
    """

    school: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    serial_ports: tuple[Path, ...] = ()
    interface: str | None = None


class DemoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``network`` is the second octet of the demo's loopback addresses, 127.N.x.y.

    ``lan_address`` and ``hub_lan_address`` are addresses of this machine, where the schools' pages
    and the hub's are served too, for other devices to open. They differ, because no box is
    certified under a name of the hub.
    """

    seed: int = 1
    network: Annotated[int, msgspec.Meta(ge=1, le=254)] = 77
    lan_address: IPv4Address | None = None
    hub_lan_address: IPv4Address | None = None
    real: RealParts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolPlan:
    """One school of the demo."""

    number: int
    name: str
    name_en: str
    role: str
    room: str
    latitude: float
    longitude: float
    folder: Path
    network: IPv4Network
    seed: int
    serial_ports: tuple[Path, ...]
    interface: IPv4Interface
    simulated: frozenset[str]  # of SERIAL and NETWORK
    lan_address: IPv4Address | None

    @property
    def address(self) -> str:
        """Where its pages are."""
        return str(self.network.network_address + 1)

    @property
    def pages_addresses(self) -> list[str]:
        """All addresses of its pages, one that other devices reach last."""
        return _with_lan(self.address, self.lan_address)

    @property
    def pages_port(self) -> int:
        return PAGES_PORT if self.lan_address is None else LAN_PAGES_PORT + self.number

    @property
    def plain_port(self) -> int:
        return PLAIN_PORT if self.lan_address is None else LAN_PLAIN_PORT + self.number

    @property
    def route(self) -> str:
        """The address by which its box calls the hub: the demo's link, which can be cut."""
        return str(self.network.network_address + 254)

    @property
    def config(self) -> Path:
        return self.folder / "box.toml"

    @property
    def lines(self) -> Path:
        return self.folder / "lines"

    @property
    def ledgers(self) -> Path:
        return self.folder / "ledgers"

    @property
    def roster(self) -> Path:
        return self.folder / "roster.csv"

    @property
    def report(self) -> Path:
        """Where the watcher of its classroom writes what it saw."""
        return self.folder / "classroom.jsonl"

    @property
    def devices_expected(self) -> int:
        """How many devices must be found; of a real part at least one."""
        return sum(count if part in self.simulated else 1 for part, count in DEVICES.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    folder: Path
    hub_address: str
    hub_lan_address: IPv4Address | None
    schools: tuple[SchoolPlan, ...]

    @property
    def hub_config(self) -> Path:
        return self.folder / "hub" / "hub.toml"

    @property
    def hub_pages_addresses(self) -> list[str]:
        return _with_lan(self.hub_address, self.hub_lan_address)

    @property
    def hub_pages(self) -> str:
        return f"https://{self.hub_pages_addresses[-1]}:{PAGES_PORT}/"


def load_demo_config(path: Path | None) -> DemoConfig:
    """Read a demo configuration; raises BoxSetupError that names file, key and remedy."""
    if path is None:
        return DemoConfig()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=DemoConfig, dec_hook=decode_setting)
    except OSError as error:
        raise BoxSetupError(f"{path}: cannot be read ({error.strerror}); name another") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(f"{path}: {error}; correct that line and start again") from error


def make_plan(folder: Path, config: DemoConfig) -> DemoPlan:
    """Lay out the district; nothing is written yet."""
    about = (
        ("实验小学", "Experimental Primary School", "flagship", "三年级2班", 30.35, 114.32),
        ("湖泗教学点", "Husi Teaching Point", "receiver", "三年级", 30.06, 114.41),
        ("舒安教学点", "Shu'an Teaching Point", "receiver", "三年级", 30.11, 114.52),
    )
    schools = []
    for number, (name, name_en, role, room, latitude, longitude) in enumerate(about, start=1):
        network = IPv4Network(f"127.{config.network}.{10 + number}.0/24")
        place = folder / f"school-{number}"
        real = config.real if config.real and config.real.school == number else None
        interface = IPv4Interface(f"{network.network_address + 1}/24")
        schools.append(
            SchoolPlan(
                number=number,
                name=name,
                name_en=name_en,
                role=role,
                room=room,
                latitude=latitude,
                longitude=longitude,
                folder=place,
                network=network,
                seed=config.seed * 1000 + number,
                serial_ports=(real.serial_ports if real else ()) or (place / "lines",),
                interface=IPv4Interface(real.interface) if real and real.interface else interface,
                simulated=_simulated(real),
                lan_address=config.lan_address,
            )
        )
    return DemoPlan(
        folder=folder,
        hub_address=f"127.{config.network}.1.1",
        hub_lan_address=config.hub_lan_address,
        schools=tuple(schools),
    )


def write_files(plan: DemoPlan) -> None:
    """Write the configuration files and the rosters; what is there already is overwritten."""
    names = [*plan.hub_pages_addresses, *(school.route for school in plan.schools)]
    _write(
        plan.hub_config,
        f"""district = "jiangxia"
district_name = "江夏区"
folder = "."

[boxes]
address = "{plan.hub_address}"
port = {BOX_PORT}
names = {_toml_list(names)}

[pages]
addresses = {_toml_list(plan.hub_pages_addresses)}
port = {PAGES_PORT}

[seal]
after_s = 1.0
""",
    )
    for school in plan.schools:
        ports = _toml_list([str(path.resolve()) for path in school.serial_ports])
        _write(
            school.config,
            f"""folder = "data"

[network]
interface = "{school.interface}"
modbus_ports = [{MODBUS_PORT}, {MODULE_PORT}]

[serial]
usb = false
ports = {ports}

[pages]
addresses = {_toml_list(school.pages_addresses)}
port = {school.pages_port}
plain_port = {school.plain_port}

[seal]
after_s = 3.0
""",
        )
        entries = roster(school)
        lines = "".join(f"{name},{card},{school.room}\n" for name, card in entries)
        _write(school.roster, f"name,card,class_group\n{lines}")
        _write(school.folder / "cards", "\n".join(card for _, card in entries))


def roster(school: SchoolPlan) -> list[tuple[str, str]]:
    """Return the pupils' names and card numbers that the school's seed gives."""
    rng = random.Random(school.seed)  # noqa: S311 - a seed is the point
    names: dict[str, None] = {}
    while len(names) < PUPILS_A_SCHOOL:
        names.setdefault(rng.choice(_SURNAMES) + "".join(rng.sample(_GIVEN, 2)))
    cards = rng.sample(range(1, 2**32), len(names))
    # With a letter in front, none can be taken for the decimal number that is printed on a card.
    return [(name, f"0A{card:08X}") for name, card in zip(names, cards, strict=True)]


def _with_lan(address: str, lan_address: IPv4Address | None) -> list[str]:
    return [address] if lan_address is None else [address, str(lan_address)]


def _simulated(real: RealParts | None) -> frozenset[str]:
    simulated = {SERIAL, NETWORK}
    if real is not None and real.serial_ports:
        simulated.discard(SERIAL)
    if real is not None and real.interface:
        simulated.discard(NETWORK)
    return frozenset(simulated)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _toml_list(items: list[str]) -> str:
    return "[" + ", ".join(f'"{item}"' for item in items) + "]"
