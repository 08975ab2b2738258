import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from drivers.codecs.card_frames import encode_card_frame
from drivers.discovery.candidate import DeviceKind
from drivers.entities import CardRead, CommandResult, DeviceEvent, DeviceId, Outcome, Presence
from drivers.errors import SetupError
from drivers.simulators.ledger import Ledger
from drivers.simulators.pjlink_projector import PjlinkProjector
from drivers.simulators.profile_device import Listen, ProfileDevice
from drivers.simulators.pty_link import PtyLink
from edge.devices import fleet as fleet_module
from edge.devices.adopted import AdoptedDevice
from edge.devices.displays import nearest_source
from edge.devices.fleet import Fleet
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from tests.drivers.serial_bench import now_ms, running, until

CARD = "6F007B3972"
SOIL = "soil-sen0601"
RELAYS = load_catalog().profiles[ProfileId("relay-waveshare-eth-8")]


@dataclass
class Garage:
    folder: Path
    fleet: Fleet
    notebook: Notebook
    events: list[DeviceEvent] = field(default_factory=list)

    def reader(self, port: str, device: str = "card:gate") -> AdoptedDevice:
        path = self.folder / port
        return self._adopted(device, DeviceKind.CARD_READER, "rdm6300", f"serial:{path}?baud=9600")

    def probe(self, port: str, unit: int, baud: int = 9600) -> AdoptedDevice:
        address = f"serial:{self.folder / port}?baud={baud}&unit={unit}"
        return self._adopted(f"modbus:{port}:{unit}", DeviceKind.FARM_SENSOR, SOIL, address)

    def board(self, host: str) -> AdoptedDevice:
        return self._adopted(
            "pjlink:board", DeviceKind.BLACKBOARD, "pjlink-projector", f"pjlink://{host}:4352"
        )

    def relays(self, address: str) -> AdoptedDevice:
        return self._adopted("modbus:relays", DeviceKind.FARM_ACTUATOR, RELAYS.id, address)

    def results(self) -> list[CommandResult]:
        return [event for event in self.events if isinstance(event, CommandResult)]

    def offered(self, device: DeviceId) -> dict[str, tuple[str, ...]]:
        return {each.command: each.arguments for each in self.fleet.commands_of(device)}

    def panel(self, address: str, profile: str, device: str = "panel:1") -> AdoptedDevice:
        return self._adopted(device, DeviceKind.BLACKBOARD, profile, address)

    def taps(self) -> int:
        return sum(isinstance(event, CardRead) for event in self.events)

    def is_online(self, device: str) -> bool:
        told = [e for e in self.events if isinstance(e, Presence) and e.device == device]
        return bool(told) and told[-1].online

    def _adopted(self, device: str, kind: DeviceKind, profile: str, address: str) -> AdoptedDevice:
        return AdoptedDevice(
            device=DeviceId(device),
            kind=kind,
            name=device,
            profile=profile,
            address=address,
            room="101",
        )


@pytest.fixture
def garage(tmp_path: Path) -> Garage:
    events: list[DeviceEvent] = []
    notebook = Notebook(tmp_path / "notebook.json")
    fleet = Fleet(load_catalog(), notebook, now_ms, events.append, random.Random(1))
    return Garage(tmp_path, fleet, notebook, events)


async def test_a_device_is_driven_whether_adopted_before_the_start_or_after(
    garage: Garage,
) -> None:
    first, second = PtyLink(garage.folder / "a"), PtyLink(garage.folder / "b")
    garage.fleet.add(garage.reader("a", "card:a"))
    async with running(garage.fleet.run()):
        garage.fleet.add(garage.reader("b", "card:b"))
        await until(lambda: first.is_open and second.is_open)
        for link in (first, second):
            link.write(encode_card_frame(CARD))
        await until(lambda: garage.taps() == 2)


async def test_a_released_device_frees_its_port_and_may_be_adopted_again(garage: Garage) -> None:
    link = PtyLink(garage.folder / "a")
    adopted = garage.reader("a")
    garage.fleet.add(adopted)
    await garage.notebook.keep_password(adopted.device, "secret")
    async with running(garage.fleet.run()):
        await until(lambda: link.is_open)

        await garage.fleet.remove(adopted.device)

        assert not link.is_open
        assert garage.fleet.ports.taken() == set()
        assert garage.notebook.password(adopted.device) is None
        garage.fleet.add(adopted)
        await until(lambda: link.is_open)
        link.write(encode_card_frame(CARD))
        await until(lambda: garage.taps() == 1)


async def test_the_last_probe_of_a_bus_takes_the_bus_with_it(garage: Garage) -> None:
    link = PtyLink(garage.folder / "bus")
    for unit in (1, 2):
        garage.fleet.add(garage.probe("bus", unit))
    path = garage.folder / "bus"
    async with running(garage.fleet.run()):
        await until(lambda: link.is_open)
        await garage.fleet.remove(DeviceId("modbus:bus:1"))
        bus = garage.fleet.buses.by_port.get(path)
        assert bus is not None
        assert [unit.unit for unit in bus.units] == [2]
        await garage.fleet.remove(DeviceId("modbus:bus:2"))
        assert garage.fleet.buses.by_port.get(path) is None
        assert not link.is_open
        assert not garage.fleet.deadbands
        garage.fleet.add(garage.reader("bus"))


async def test_a_relay_is_commanded_and_its_wish_kept(garage: Garage) -> None:
    board = ProfileDevice(RELAYS, Listen(scheme="modbus", host="127.0.0.1"), lambda _: None, unit=7)
    ready = asyncio.Event()
    async with running(board.run(ready.set)):
        await ready.wait()
        adopted = garage.relays(f"modbus://127.0.0.1:{board.port}?unit=7")
        garage.fleet.add(adopted)
        async with running(garage.fleet.run()):
            await until(lambda: garage.is_online(adopted.device))
            choices = garage.fleet.commands_of(adopted.device)
            assert {"on", "off"} <= set(choices[0].arguments)
            command = choices[0].command
            result = await garage.fleet.command(adopted.device, command, "on")
            assert result.outcome is Outcome.VERIFIED
            garage.fleet.buses.hold(adopted.device, command, 0.05)
            await until(lambda: garage.results()[-1].detail.startswith("nobody held it"))
            with pytest.raises(SetupError, match=r"takes .* not 'self-destruct'"):
                await garage.fleet.command(adopted.device, "self-destruct", "on")
            await garage.fleet.remove(adopted.device)
            with pytest.raises(SetupError, match="no adopted Modbus device"):
                garage.fleet.buses.hold(adopted.device, command, 1)
        assert not garage.fleet.ports.taken()


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("reader", "reader", "plug this one in elsewhere"),
        ("reader", "probe", "plug this one in elsewhere"),
        ("probe", "reader", "plug this one in elsewhere"),
    ],
)
async def test_a_port_has_one_owner(garage: Garage, first: str, second: str, told: str) -> None:
    makers: dict[str, Callable[[str], AdoptedDevice]] = {
        "reader": lambda device: garage.reader("a", device),
        "probe": lambda _: garage.probe("a", 1),
    }
    garage.fleet.add(makers[first]("card:1"))
    with pytest.raises(SetupError, match=told):
        garage.fleet.add(makers[second]("card:2"))
    assert len(garage.fleet.devices) == 1


async def test_what_cannot_be_driven_is_refused_with_the_remedy(garage: Garage) -> None:
    garage.fleet.add(garage.probe("bus", 1))
    for adopted, told in (
        (garage.probe("bus", 1), "adopted already"),
        (garage.probe("bus", 3, baud=4800), "set the new device to that"),
        (garage.board("127.0.0.1:99999"), "names no port"),
    ):
        with pytest.raises(SetupError, match=told):
            garage.fleet.add(adopted)
    with pytest.raises(SetupError, match="not adopted"):
        await garage.fleet.remove(DeviceId("nobody"))
    with pytest.raises(SetupError, match="takes no commands"):
        await garage.fleet.command(DeviceId("modbus:bus:1"), "power", "on")


async def test_a_wish_outlives_the_daemon_and_ends_when_a_hand_changes_it(
    garage: Garage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "NOTES_EVERY_S", 0.05)
    async with projector(garage.folder, "127.122.1.21") as board:
        adopted = garage.board("127.122.1.21")
        garage.fleet.add(adopted)
        async with running(garage.fleet.run()):
            await until(lambda: garage.is_online(adopted.device))
            await until(lambda: "source" in garage.offered(adopted.device))
            offered = garage.offered(adopted.device)
            assert offered.keys() == {"power", "source", "blank", "freeze"}
            assert offered["source"] == ("11", "31", "32", "51"), "what the display lists"
            assert all(offered.values())
            result = await garage.fleet.command(adopted.device, "power", "on")
            assert result.outcome is Outcome.VERIFIED
            noted = Notebook(garage.folder / "notebook.json")
            assert dict(noted.wishes(adopted.device)) == {"power": "on"}

            board.press_remote(on=False)

            await until(
                lambda: not Notebook(garage.folder / "notebook.json").wishes(adopted.device)
            )


async def test_a_display_that_moved_is_driven_at_its_new_address(garage: Garage) -> None:
    adopted = garage.board("127.122.1.22")
    await garage.notebook.keep_wishes(adopted.device, {"power": "on"})
    garage.fleet.add(adopted)
    async with projector(garage.folder, "127.122.1.23"), running(garage.fleet.run()):
        await until(lambda: any(isinstance(event, Presence) for event in garage.events))
        assert not garage.is_online(adopted.device)

        await garage.fleet.move(adopted.device, "pjlink://127.122.1.23:4352")

        await until(lambda: garage.is_online(adopted.device))
        assert garage.fleet.devices[adopted.device].address == "pjlink://127.122.1.23:4352"
        assert dict(garage.notebook.wishes(adopted.device)) == {"power": "on"}
        with pytest.raises(SetupError, match="names no port"):
            await garage.fleet.move(adopted.device, "pjlink://127.122.1.23:99999")
        assert adopted.device in garage.fleet.devices


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("11", "31", "32"), "31"),
        (("11", "32", "33"), "32"),
        (("vga", "hdmi1", "hdmi2"), "hdmi1"),
        (("11",), "31"),
        ((), "31"),
    ],
)
def test_a_lesson_is_shown_on_the_first_digital_input_of_any_maker(
    offered: tuple[str, ...], chosen: str
) -> None:
    commands = [CommandChoice(command="source", arguments=offered)]
    assert nearest_source(commands, "31") == chosen


@pytest.mark.parametrize(
    ("address", "profile", "told"),
    [
        ("modbus://10.1.2.3:502?unit=1", "samsung-mdc", "tcp://HOST:PORT"),
        ("tcp://10.1.2.3:5000?unit=99", "viewsonic-viewboard", "displays are 1 to 98"),
        ("tcp://10.1.2.3", "lg-signage", "names no port"),
        ("serial:/dev/ttyUSB0", "nec-projector", "lacks a baud rate"),
    ],
)
async def test_a_panel_at_no_panels_address_is_refused(
    garage: Garage, address: str, profile: str, told: str
) -> None:
    with pytest.raises(SetupError, match=told):
        garage.fleet.add(garage.panel(address, profile))
    assert not garage.fleet.devices
    assert not garage.fleet.ports.taken()


async def test_a_serial_panel_holds_its_port_until_it_is_released(garage: Garage) -> None:
    garage.fleet.add(garage.panel("serial:/dev/ttyS9?baud=9600&unit=1", "samsung-mdc"))
    volume = {each.command: each for each in garage.fleet.commands_of(DeviceId("panel:1"))}[
        "volume"
    ]
    assert (volume.low, volume.high) == (0, 100)
    other = garage.panel("serial:/dev/ttyS9?baud=9600&unit=2", "samsung-mdc", "panel:2")
    with pytest.raises(SetupError, match="plug this one in elsewhere"):
        garage.fleet.add(other)
    await garage.fleet.remove(DeviceId("panel:1"))
    garage.fleet.add(other)


@asynccontextmanager
async def projector(folder: Path, host: str) -> AsyncIterator[PjlinkProjector]:
    board = PjlinkProjector(
        IPv4Interface(f"{host}/24"),
        Ledger(folder / f"{host}.jsonl", now_ms),
        random.Random(1),
        lamp_times_s=(0.2, 0.2),
    )
    async with running(board.run()):
        await asyncio.sleep(0.05)
        yield board
        await asyncio.sleep(0.05)  # whoever called it has hung up
