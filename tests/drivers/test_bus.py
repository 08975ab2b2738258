import asyncio
import logging
import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from pymodbus.datastore import (
    ModbusDeviceContext,
    ModbusSequentialDataBlock,
    ModbusServerContext,
)
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer

from drivers.codecs.modbus import ExceptionReply, ReadReply, ReadRequest, WriteOneRequest
from drivers.entities import DeviceId, Quality
from drivers.errors import ProtocolError, UnreachableError
from drivers.modbus_device import AdoptedUnit, ModbusUnit
from drivers.modbus_line import RtuLine, SilentUnitError
from drivers.simulators.modbus_rtu import Faults
from drivers.simulators.pty_link import PtyLink
from firmware_profiles.model import Point, ProfileId
from tests.drivers.serial_bench import (
    AIR,
    FAST_BAUD,
    LIGHT,
    SOIL,
    Bench,
    bundled,
    quickened,
    running,
    until,
)

FARM = [quickened(bundled(name), timeout_ms=500) for name in (SOIL, AIR, LIGHT)]


async def test_every_reply_of_a_healthy_line_is_one_good_value_and_no_value_is_invented(
    tmp_path: Path,
) -> None:
    patient = [quickened(bundled(name), timeout_ms=5_000) for name in (SOIL, AIR, LIGHT)]
    bench = Bench(tmp_path, patient)
    bus = bench.bus()
    async with running(bench.simulator.run()):
        async with running(bus.run()):
            await until(lambda: bus.statistics.answered >= 150)
        await asyncio.sleep(0.7)  # the ledger's own delay
    good = bench.good_values()
    begun = bench.sent_values(kind="reply_begun", sound=True)
    heard = bench.sent_values(kind="reply", sound=True, heard=True)
    assert good.total() > 150
    assert good <= begun
    assert heard <= good
    assert {m.quality for m in bench.measurements} == {Quality.GOOD}
    assert bus.statistics.polls - bus.statistics.answered <= 1  # the one that was cut short


async def faulted_reads(folder: Path, reads: int) -> tuple[int, int, int]:
    """Return polls, wrong values (of spoilt or earlier replies) and good ones of eight buses."""
    benches = [
        Bench(
            folder / str(seed),
            [quickened(bundled(name), timeout_ms=40) for name in (SOIL, AIR, LIGHT)],
            seed=seed,
            period_s=0.01,
            faults=Faults(late=0.06, lost=0.03, corrupt=0.08, half=0.08, late_s=(0.045, 0.3)),
        )
        for seed in range(8)
    ]
    buses = [bench.bus() for bench in benches]
    simulators = running(*(bench.simulator.run() for bench in benches))
    async with simulators, running(*(bus.run() for bus in buses)):
        await until(lambda: sum(bus.statistics.polls for bus in buses) >= reads, within_s=50)
    wrong = good = 0
    for bench in benches:
        believed = bench.good_values()
        good += believed.total()
        wrong += (believed - bench.sent_values(kind="reply_begun", sound=True)).total()
    return sum(bus.statistics.polls for bus in buses), wrong, good


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three failures in a row are common here; waiting out each quarantine is another test's."""
    monkeypatch.setattr("drivers.modbus_device.QUARANTINE_S", 0.1)
    monkeypatch.setattr("drivers.modbus_device.FORGET_S", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_two_thousand_faulted_reads_give_no_wrong_value(
    tmp_path: Path,
) -> None:
    polls, wrong, good = await faulted_reads(tmp_path, reads=2000)
    assert polls >= 2000
    assert wrong == 0
    assert good > 1000


@pytest.mark.usefixtures("impatient")
async def test_the_same_reads_without_barrier_and_canary_are_caught_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_settle(line: RtuLine) -> None:
        line._settled = True

    monkeypatch.setattr(RtuLine, "_settle", never_settle)
    monkeypatch.setattr(ModbusUnit, "owe", lambda *_: None)
    _, wrong, _ = await faulted_reads(tmp_path, reads=800)
    assert wrong > 0


@pytest.mark.usefixtures("impatient")
async def test_a_reply_later_than_any_pause_is_never_taken_for_the_next_one(
    tmp_path: Path,
) -> None:
    late = Faults(late=0.5, late_s=(0.1, 0.35))
    bench = Bench(tmp_path, [quickened(bundled(LIGHT), timeout_ms=50)], faults=late)
    bus = bench.bus()
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.answered >= 3 and bus.statistics.silent >= 1)
    assert bench.good_values() <= bench.sent_values(kind="reply_begun", sound=True)


async def test_a_failed_read_is_one_bad_value_a_point_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [FARM[0]], faults=Faults(corrupt=1.0))
    bus = bench.bus()
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.broken >= 1)
    first = bench.measurements[:3]
    assert [m.point for m in first] == ["soil_moisture", "soil_temperature", "soil_conductivity"]
    assert {(m.value, m.quality) for m in first} == {(None, Quality.BAD)}
    assert all(m.reason for m in first)
    unit = bench.units[0].unit
    assert first[0].source == f"serial:bus0 unit {unit} fc3 0x0000"


async def test_a_dead_unit_does_not_starve_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM, period_s=0.05)
    dead = AdoptedUnit(device=DeviceId("modbus:bus0:dead"), unit=1, profile=FARM[0])
    assert 1 not in {unit.unit for unit in bench.units}
    bus = bench.bus([dead, *bench.adopted()])
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.silent >= 3)
        answered = bus.statistics.answered
        await until(lambda: bus.statistics.answered >= answered + 60, within_s=8)
        read = [m for m in bench.measurements if m.device == dead.device]
        assert len(read) <= 4 * 3  # each read has three points; the fourth ends a quarantine
    (gone,) = [p for p in bench.presences if p.device == dead.device]
    assert not gone.online
    assert gone.reason == "unit 1 did not answer, 3 times in a row"
    assert {p.device for p in bench.presences if p.online} == {u.device for u in bench.adopted()}


async def test_a_dead_board_of_buttons_is_asked_again_soon_and_reported_no_oftener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.modbus_device.WATCHFUL_QUARANTINE_S", 0.02)
    board = quickened(bundled(ProfileId("input-waveshare-io-8")))
    bench = Bench(tmp_path, [])
    bus = bench.bus([AdoptedUnit(device=DeviceId("modbus:bus0:1"), unit=1, profile=board)])
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.silent >= 20)
    reported = [m for m in bench.measurements if m.point == "input_1"]
    assert 1 <= len(reported) <= 4  # the three that took it offline, and one in quarantine


async def test_an_unplugged_bus_says_so_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM)
    bus = bench.bus()
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: sum(p.online for p in bench.presences) == 3)
        bench.simulator.link.unplug()
        await until(lambda: len(bench.presences) == 6)
        assert all("unplugged" in p.reason for p in bench.presences[3:])
        with pytest.raises(UnreachableError):
            await bus.ask(ReadRequest(unit=1, function=3, address=0, count=1), 0.1)
        bench.simulator.link.plug()
        await until(lambda: sum(p.online for p in bench.presences) == 6, within_s=3)


async def test_a_bus_between_its_polls_costs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM, period_s=30)
    bus = bench.bus()
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.answered == 3)
        busy = os.times()
        await asyncio.sleep(0.5)
        now = os.times()
    assert now.user + now.system - busy.user - busy.system < 0.1


async def test_a_missing_port_is_said_once_with_its_remedy(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM)
    bench.simulator.link.unplug()
    bus = bench.bus()
    async with running(bus.run()):
        await until(lambda: len(bench.presences) == 3)
        await asyncio.sleep(0.5)
    assert len(bench.presences) == 3
    assert "bus0 is not there; plug the adapter in" in bench.presences[0].reason


async def test_units_come_and_go_while_the_bus_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM)
    first, second, _ = bench.adopted()
    bus = bench.bus([first])
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.answered >= 3)
        bus.adopt(second)
        with pytest.raises(ValueError, match="is adopted as"):
            bus.adopt(second)
        await until(lambda: any(m.device == second.device for m in bench.measurements))
        await bus.release(first.device)
        await bus.release(first.device)
        await asyncio.sleep(0.1)
        bench.events.clear()
        await until(lambda: len(bench.measurements) >= 10)
    assert {m.device for m in bench.measurements} == {second.device}


async def test_commands_and_questions_pass_a_bus_that_is_busy_with_polls(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM, period_s=0.001)
    bus = bench.bus()
    unit = bench.units[0].unit
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus.statistics.answered >= 3)
        identity = ReadRequest(unit=unit, function=3, address=0x07D0, count=2)
        assert await bus.ask(identity, 0.5) == ReadReply(unit=unit, function=3, values=(unit, 2))
        told = await bus.command(WriteOneRequest(unit=unit, function=6, address=0, value=1))
        assert isinstance(told, ExceptionReply)
        with pytest.raises(SilentUnitError):
            await bus.ask(ReadRequest(unit=1, function=3, address=0, count=1), 0.05)
        answered = bus.statistics.answered
        await until(lambda: bus.statistics.answered > answered + 10)


async def test_a_line_that_is_never_quiet_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    # Longer than a busy machine keeps the talker waiting.
    slow = msgspec.structs.replace(FARM[0].links[0], quiet_ms=500)
    patient = msgspec.structs.replace(FARM[0], links=(slow,))
    bench = Bench(tmp_path / "unused", [patient])
    bench.path = link.path
    bus = bench.bus()

    async def babble() -> None:
        while True:
            link.write(b"\x55" * 8)
            await asyncio.sleep(0.005)

    async with running(babble(), bus.run()):
        await until(lambda: any("never quiet" in each.reason for each in bench.measurements))
    assert {each.quality for each in bench.measurements} == {Quality.BAD}


async def test_a_value_outside_its_range_is_uncertain_and_kept(tmp_path: Path) -> None:
    profile = FARM[2]
    point: Point = msgspec.structs.replace(profile.points[0], valid=None)
    wide = msgspec.structs.replace(profile, points=(point,))
    bench = Bench(tmp_path, [wide])
    adopted = msgspec.structs.replace(profile)
    unit = bench.units[0].unit
    bus = bench.bus([AdoptedUnit(device=DeviceId("lamp"), unit=unit, profile=adopted)])
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: len(bench.measurements) >= 1)
    found = bench.measurements[0]
    assert found.quality is Quality.UNCERTAIN
    assert isinstance(found.value, float)
    assert found.value > 200_000


@asynccontextmanager
async def cable(folder: Path) -> AsyncIterator[tuple[Path, Path]]:
    """Join two pseudo-terminals like a null-modem cable."""
    ends = [os.openpty() for _ in range(2)]
    names = []
    for number, (_, slave) in enumerate(ends):
        tty.setraw(slave)
        name = folder / f"end{number}"
        name.symlink_to(os.ttyname(slave))
        names.append(name)
    loop = asyncio.get_running_loop()
    (left, _), (right, _) = ends

    def carry(source: int, sink: int) -> None:
        os.write(sink, os.read(source, 4096))

    loop.add_reader(left, carry, left, right)
    loop.add_reader(right, carry, right, left)
    try:
        yield names[0], names[1]
    finally:
        for master, slave in ends:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)


async def test_a_pymodbus_server_is_read_like_any_device(tmp_path: Path) -> None:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    unit = 17
    # pymodbus counts a data block's first address as 1.
    holding = ModbusSequentialDataBlock(1, [0x0292, 0xFF9B, 0x03E8])  # type: ignore[no-untyped-call]  # pymodbus
    device = ModbusDeviceContext(hr=holding)
    async with cable(tmp_path) as (ours, theirs):
        server = ModbusSerialServer(
            ModbusServerContext(devices={unit: device}, single=False),
            framer=FramerType.RTU,
            port=str(theirs),
            baudrate=9600,
            ignore_missing_devices=True,
        )
        bench = Bench(tmp_path / "unused", FARM, baud=9600)
        bench.path = ours
        profile = bundled(SOIL)
        adopted = AdoptedUnit(device=DeviceId("modbus:peer:17"), unit=unit, profile=profile)
        bus = bench.bus([adopted])
        await server.serve_forever(background=True)
        try:
            async with running(bus.run()):
                await until(lambda: bus.statistics.answered >= 3)
                refused = await bus.ask(
                    ReadRequest(unit=unit, function=3, address=0x0100, count=1), 0.5
                )
                assert refused == ExceptionReply(unit=unit, function=3, code=2)
        finally:
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus
    values = {m.point: m.value for m in bench.measurements if m.quality is Quality.GOOD}
    assert values == {
        "soil_moisture": 65.8,
        "soil_temperature": -10.1,
        "soil_conductivity": 1000.0,
    }
    assert bus.settings.baud == 9600 != FAST_BAUD


async def test_a_question_that_is_answered_wrongly_is_a_protocol_error(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [FARM[0]], faults=Faults(half=1.0))
    bus = bench.bus([])
    unit = bench.units[0].unit
    async with running(bench.simulator.run(), bus.run()):
        await until(lambda: bus._port is not None)
        with pytest.raises(ProtocolError, match="broke off"):
            await bus.ask(ReadRequest(unit=unit, function=3, address=0, count=3), 0.5)
