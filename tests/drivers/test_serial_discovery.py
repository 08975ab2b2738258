import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from drivers.discovery import line_search, panels, serial_bus
from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.discovery.line_search import SearchProgress, SearchReport
from drivers.discovery.serial_bus import search_bus, search_port
from drivers.discovery.serial_ports import FoundPort, find_named_ports, find_ports
from drivers.entities import Presence
from drivers.errors import SetupError, UnreachableError
from drivers.simulators.card_reader import CardReaderSimulator
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.modbus_rtu import Faults
from drivers.simulators.pty_link import PtyLink
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_address import UNIT_MAX, parse_serial_address
from drivers.transports.serial_port import SerialPort
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Match, Profile, ProfileId
from tests.drivers.serial_bench import (
    AIR,
    LIGHT,
    SOIL,
    Bench,
    bundled,
    now_ms,
    quickened,
    running,
    until,
)

ALL = list(load_catalog().profiles.values())
TWO_RATES = (57_600, 115_200)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulated unit answers in 6 ms; real ones get 40, and 30 of quiet."""
    monkeypatch.setattr(serial_bus, "QUIET_S", 0.01)
    monkeypatch.setattr(line_search, "ALLOWANCE_S", 0.025)
    monkeypatch.setattr(line_search, "LISTEN_S", 0.3)
    monkeypatch.setattr(panels, "ANSWER_S", 0.05)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """A short range of ids, searched in no hurry: all 247 are another test's."""
    monkeypatch.setattr(line_search, "UNIT_MAX", 16)
    monkeypatch.setattr(line_search, "ALLOWANCE_S", 0.05)
    return 16


def farm(baud: Sequence[int] = TWO_RATES, timeout_ms: int = 60) -> list[Profile]:
    """Return the farm's profiles on fast lines of two candidate rates, the wrong one first."""
    codes = {rate: number for number, rate in enumerate(baud)}
    return [
        msgspec.structs.replace(
            profile,
            links=(msgspec.structs.replace(profile.links[0], baud=tuple(baud), baud_codes=codes),),
        )
        for profile in (quickened(bundled(name), timeout_ms) for name in (SOIL, AIR, LIGHT))
    ]


class Listener:
    """What a search reported."""

    def __init__(self) -> None:
        self.steps: list[SearchProgress] = []
        self.candidates: list[Candidate] = []
        self.report = SearchReport(progress=self.steps.append, found=self.candidates.append)


async def test_units_are_found_whatever_the_lines_speed(tmp_path: Path, few: int) -> None:
    listener = await find_all(tmp_path / "ports", farm(), few)
    assert {step.baud for step in listener.steps} == {9600, *TWO_RATES}


async def test_units_are_found_whatever_their_ids(tmp_path: Path) -> None:
    listener = await find_all(tmp_path / "ports", farm((115_200,)), UNIT_MAX)
    asked = {step.unit for step in listener.steps if step.baud == 115_200}
    assert asked >= set(range(1, 248))


async def find_all(folder: Path, profiles: list[Profile], unit_max: int) -> Listener:
    """Search a line of 115,200 baud; all its units, and nothing else, are found."""
    bench = Bench(folder, profiles, seed=7, unit_max=unit_max)
    listener = Listener()
    reader = load_catalog().profiles[ProfileId("rdm6300")]
    async with running(bench.simulator.run()):
        found = await search_port(
            FoundPort(path=bench.path, description="bus0"),
            [*profiles, reader],
            now_ms,
            listener.report,
        )
    assert listener.candidates == found
    by_unit = {parse_serial_address(c.address).unit: c for c in found}
    assert {unit: c.profile for unit, c in by_unit.items()} == {
        unit.unit: unit.profile.id for unit in bench.units
    }
    code = profiles[0].links[0].baud_codes[115_200]
    for unit, candidate in by_unit.items():
        assert candidate.identity == f"modbus:bus0:{unit}"
        assert candidate.kind is DeviceKind.FARM_SENSOR
        assert candidate.address == f"serial:{bench.path}?baud=115200&unit={unit}"
        assert 0.5 < candidate.confidence < 1
        told = f"fc3 0x07D0 x2 = 0x{unit:04X} 0x{code:04X}"
        assert any(told in e.detail for e in candidate.evidence)
    return listener


async def test_a_search_only_reads(tmp_path: Path, few: int) -> None:
    bench = Bench(tmp_path / "ports", farm((115_200,)), seed=3, unit_max=few)
    async with running(bench.simulator.run()):
        port = FoundPort(path=bench.path, description="bus0")
        found = await search_port(port, farm((115_200,)), now_ms, Listener().report)
        await asyncio.sleep(0.7)
    assert len(found) == 3
    assert {line["fc"] for line in read_ledger(bench.ledger_path)} == {3}


async def test_units_slower_than_expected_are_asked_again_with_more_patience(
    tmp_path: Path, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.simulators.modbus_rtu.TURNAROUND_S", 0.06)
    profiles = farm((115_200,))
    bench = Bench(tmp_path / "ports", profiles, seed=5, unit_max=few)
    async with running(bench.simulator.run()):
        port = FoundPort(path=bench.path, description="bus0")
        found = await search_port(port, profiles, now_ms, Listener().report)
    assert {parse_serial_address(c.address).unit for c in found} == {u.unit for u in bench.units}


async def test_a_device_no_profile_fits_is_kept_and_asks_for_one(tmp_path: Path, few: int) -> None:
    soil, _, light = farm((115_200,))
    bench = Bench(tmp_path / "ports", [soil], seed=2, unit_max=few)
    async with running(bench.simulator.run()):
        port = FoundPort(path=bench.path, description="bus0")
        (found,) = await search_port(port, [light], now_ms, Listener().report)
    assert found.profile is None
    assert found.needs is Need.PROFILE
    assert "Modbus device" in found.name


async def test_a_running_bus_is_searched_between_its_polls(tmp_path: Path, few: int) -> None:
    profiles = farm((115_200,), timeout_ms=5_000)
    bench = Bench(tmp_path, profiles, seed=9, unit_max=few)
    first, *others = bench.adopted()
    bus = bench.bus([first])
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.answered >= 3)
        before = bus.statistics.answered
        found = await search_bus(
            bus.address, bus, profiles, now_ms, Listener().report, skip={first.unit}
        )
        assert bus.statistics.answered > before + 5
    assert {c.identity for c in found} == {unit.device for unit in others}
    assert [p.online for p in bench.events if isinstance(p, Presence)] == [True]
    assert bus.statistics.silent == 0


async def test_a_card_reader_is_known_by_listening(tmp_path: Path) -> None:
    simulator = CardReaderSimulator(
        path=tmp_path / "door0",
        cards=["6F007B3972"],
        ledger=Ledger(tmp_path / "ledger", now_ms),
        now_ms=now_ms,
        rng=random.Random(1),
        pause_s=(0.05, 0.1),
    )
    async with running(simulator.run()):
        port = FoundPort(path=simulator.link.path, description="door0")
        (found,) = await search_port(port, ALL, now_ms, Listener().report)
    assert found.kind is DeviceKind.CARD_READER
    assert found.identity == "card:door0"
    assert found.profile == "rdm6300"
    assert parse_serial_address(found.address).baud == 9600
    assert "6F007B3972" not in repr(found)


async def test_a_wiegand_reader_is_heard_when_a_card_is_shown(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "door0")

    async def show() -> None:
        while True:
            await asyncio.sleep(0.1)
            link.write(b"D507D0\r")

    async with running(show()):
        port = FoundPort(path=link.path, description="door0")
        (found,) = await search_port(port, ALL, now_ms, Listener().report)
    assert (found.kind, found.profile) == (DeviceKind.CARD_READER, "wiegand-converter")
    assert "D507D0" not in repr(found)


async def test_a_card_shown_while_units_are_asked_is_heard_as_well(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "door0")
    frame = bytes.fromhex("02 36 46 30 30 37 42 33 39 37 32 35 46 03")

    async def show() -> None:
        while True:
            await asyncio.sleep(0.7)
            link.write(frame)

    async with running(show()):
        port = FoundPort(path=link.path, description="door0")
        (found,) = await search_port(port, ALL, now_ms, Listener().report)
    assert found.kind is DeviceKind.CARD_READER


async def test_the_budget_ends_a_search_with_what_was_found(tmp_path: Path) -> None:
    profiles = farm((115_200,))
    bench = Bench(tmp_path / "ports", profiles, seed=1, faults=Faults(lost=1.0))
    listener = Listener()
    async with running(bench.simulator.run()):
        port = FoundPort(path=bench.path, description="bus0")
        found = await search_port(port, profiles, now_ms, listener.report, budget_s=0.8)
        SerialPort(bench.path, LineSettings(baud=9600)).close()
    assert found == []
    assert listener.steps[-1].stage == "the time for this port is over"
    assert max(step.unit for step in listener.steps) < 247


async def test_a_port_in_use_is_left_alone(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    owner = SerialPort(link.path, LineSettings(baud=4800))
    with pytest.raises(SetupError, match="in use by another program"):
        await search_port(
            FoundPort(path=link.path, description="bus0"), ALL, now_ms, Listener().report
        )
    assert link.baud == 4800
    owner.close()


async def test_an_adapter_pulled_during_a_search_ends_it(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    asyncio.get_running_loop().call_later(0.5, link.unplug)
    with pytest.raises(UnreachableError, match="unplugged"):
        await search_port(
            FoundPort(path=link.path, description="bus0"), ALL, now_ms, Listener().report
        )


async def test_ports_are_found_by_folder_pattern_and_name(tmp_path: Path) -> None:
    links = [PtyLink(tmp_path / name) for name in ("bus0", "bus1", "door0")]
    paths = [link.path for link in links]
    assert [p.path for p in find_ports([tmp_path]) if p.path in paths] == paths
    assert [p.path for p in find_named_ports([tmp_path / "bus*"])] == paths[:2]
    twice = find_ports([tmp_path / "bus0", tmp_path / "bus*"])
    assert [p.path for p in twice if p.path in paths] == paths[:2]


async def test_a_garbled_answer_is_asked_again(tmp_path: Path, few: int) -> None:
    profiles = farm((115_200,))
    bench = Bench(tmp_path / "ports", profiles, seed=11, unit_max=few, faults=Faults(corrupt=0.2))
    async with running(bench.simulator.run()):
        port = FoundPort(path=bench.path, description="bus0")
        found = await search_port(port, profiles, now_ms, Listener().report)
    units = {parse_serial_address(c.address).unit for c in found}
    assert units <= {unit.unit for unit in bench.units}
    assert len(units) >= 2


ADAPTER = "1a86:55d3"


def plug_in(monkeypatch: pytest.MonkeyPatch, path: Path, usb: str | None = ADAPTER) -> FoundPort:
    """Let the machine list a port as it lists an adapter with this id; return what is found."""
    listed = ListPortInfo(str(path.resolve()))
    listed.description = "USB Serial"
    if usb is not None:
        listed.vid, listed.pid = (int(number, 16) for number in usb.split(":"))
    monkeypatch.setattr(list_ports, "comports", lambda: [listed])
    (port,) = find_ports([path])
    assert port.usb == usb
    return port


async def first_asked(
    port: FoundPort, link: PtyLink, profiles: Sequence[Profile]
) -> tuple[int, bytes]:
    """Search a port where nobody answers; return the first question and its speed."""
    heard: list[tuple[int, bytes]] = []

    async def hear() -> None:
        while True:
            said = await link.read()
            heard.append((link.baud, said))

    async with running(hear()):
        found = await search_port(port, profiles, now_ms, Listener().report, budget_s=4.0)
    assert found == []
    return heard[0]


@pytest.mark.parametrize("usb", [ADAPTER, "0403:6001", None])
async def test_a_model_that_names_the_adapter_is_asked_first_its_own_question_at_its_own_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, usb: str | None
) -> None:
    del few
    model = farm((115_200,))[0]
    own = msgspec.structs.replace(model.probe[0], register=0x0100, count=1, expect=())
    rare = msgspec.structs.replace(model, match=Match(usb=(ADAPTER,)), probe=(own,))
    link = PtyLink(tmp_path / "bus0")
    port = plug_in(monkeypatch, link.path, usb)
    baud, asked = await first_asked(port, link, [*ALL, rare])
    is_its_own = (baud, asked[:6]) == (115_200, bytes.fromhex("01 03 01 00 00 01"))
    assert is_its_own == (usb == ADAPTER)


async def test_a_display_that_names_the_adapter_is_asked_before_other_displays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    displays = [profile for profile in ALL if profile.kind == "blackboard"]
    names = ("samsung-mdc", "nec-multisync")
    questions = []
    for name in names:
        link = PtyLink(tmp_path / name)
        ranked = [
            msgspec.structs.replace(each, match=Match(usb=(ADAPTER,))) if each.id == name else each
            for each in displays
        ]
        port = plug_in(monkeypatch, link.path)
        questions.append(await first_asked(port, link, ranked))
    assert [question[:1] for _, question in questions] == [b"\xaa", b"\x01"]  # their headers


async def test_of_two_models_that_fit_alike_the_one_that_names_the_adapter_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    profiles = farm((115_200,))[:1]
    twin = msgspec.structs.replace(profiles[0], id=ProfileId("twin"))
    named = msgspec.structs.replace(twin, match=Match(usb=(ADAPTER,)))
    bench = Bench(tmp_path / "ports", profiles, seed=7, unit_max=few)
    async with running(bench.simulator.run()):
        port = plug_in(monkeypatch, bench.path)
        for other, meant in ((twin, profiles[0].id), (named, "twin")):
            (found,) = await search_port(port, [*profiles, other], now_ms, Listener().report)
            assert found.profile == meant
