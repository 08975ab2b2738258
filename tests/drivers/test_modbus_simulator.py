import asyncio
import random
from asyncio.subprocess import PIPE, STDOUT
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusIOException

from drivers.codecs.modbus import ReadReply, ReadRequest, Reply, Request
from drivers.codecs.modbus_points import decode_point
from drivers.discovery.modbus_models import UnitQuestions
from drivers.entities import Quality
from drivers.simulators.ledger import read_ledger
from drivers.simulators.modbus_rtu import Ramp, SimulatedUnit, draw_bus
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.serial_bench import AIR, LIGHT, SOIL, Bench, bundled, running, until
from tests.system_needs import need

MODBUS = [bundled(name) for name in (SOIL, AIR, LIGHT, ProfileId("air-xy-md02"))]
FARM = [bundled(name) for name in (SOIL, AIR, LIGHT)]


@pytest.mark.parametrize("profile", MODBUS, ids=lambda p: p.id)
def test_no_two_near_replies_of_a_unit_are_alike(profile: Profile) -> None:
    for point in profile.points:
        ramp = Ramp(point, random.Random(1))
        values = []
        for _ in range(500):
            ramp.advance()
            found = decode_point(point, ramp.registers)
            assert found.quality is Quality.GOOD
            assert isinstance(found.value, float)
            values.append(found.value)
        assert len(set(values)) == 500
        for before, after in pairwise(values):
            assert abs(after - before) >= point.deadband


@pytest.mark.parametrize("profile", MODBUS, ids=lambda p: p.id)
def test_a_unit_has_the_registers_of_its_profile_and_no_others(profile: Profile) -> None:
    unit = SimulatedUnit(9, profile, random.Random(2))
    known = {
        (step.function, step.register + index)
        for step in profile.probe
        if not step.absent
        for index in range(step.count)
    }
    for function in (3, 4):
        for address in [*range(80), *range(0x0100, 0x0110), *range(0x07C0, 0x07E0)]:
            request = ReadRequest(unit=9, function=function, address=address, count=1)
            reply, _ = unit.answer(request, 9600)
            assert isinstance(reply, ReadReply) is ((function, address) in known)


@given(st.integers(0, 1_000_000))
def test_a_drawn_bus_has_one_speed_and_distinct_ids(seed: int) -> None:
    baud, units = draw_bus(FARM, random.Random(seed))
    assert baud in {4800, 9600}
    assert len({unit.unit for unit in units}) == 3
    assert all(1 <= unit.unit <= 247 for unit in units)


def test_drawn_buses_differ_by_seed_and_repeat_with_it() -> None:
    drawn = [draw_bus(FARM, random.Random(seed)) for seed in range(20)]
    layouts = [(baud, [unit.unit for unit in units]) for baud, units in drawn]
    again_baud, again = draw_bus(FARM, random.Random(7))
    assert layouts[7] == (again_baud, [unit.unit for unit in again])
    assert {baud for baud, _ in layouts} == {4800, 9600}
    assert len({tuple(ids) for _, ids in layouts}) == 20


async def mbpoll(path: Path, unit: int, *arguments: str) -> tuple[int, str]:
    command = ("-m", "rtu", "-a", str(unit), "-0", "-b", "9600", "-P", "none", "-1", "-o", "1")
    process = await asyncio.create_subprocess_exec(
        need("mbpoll", "mbpoll"), *command, *arguments, str(path), stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    output = await process.stdout.read()
    return await process.wait(), output.decode()


async def test_mbpoll_reads_what_the_ledger_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM, baud=9600)
    soil, _, light = (unit.unit for unit in bench.units)
    async with running(bench.simulator.run()):
        status, output = await mbpoll(bench.path, soil, "-r", "0", "-c", "3", "-t", "4:hex")
        assert status == 0, output
        shown = [line.split("0x")[1] for line in output.splitlines() if line.startswith("[")]
        status, wide = await mbpoll(bench.path, light, "-r", "2", "-c", "1", "-t", "4:int", "-B")
        assert status == 0, wide
        status, refused = await mbpoll(bench.path, soil, "-r", "9", "-c", "1", "-t", "4")
        assert "Illegal data address" in refused
        await until(lambda: sum(x["kind"] == "reply" for x in read_ledger(bench.ledger_path)) == 3)
    first, second, third = (x for x in read_ledger(bench.ledger_path) if x["kind"] == "reply")
    assert isinstance(first["registers"], list)
    assert [int(word, 16) for word in shown] == first["registers"]
    assert isinstance(second["values"], dict)
    lux = next(line.split()[-1] for line in wide.splitlines() if line.startswith("[2]"))
    assert float(lux) == second["values"]["illuminance"]
    assert third["registers"] == []
    # mbpoll closed the line before the half second was over.
    assert [line["heard"] for line in (first, second, third)] == [False, False, False]


async def test_a_line_of_another_speed_stays_silent(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FARM, baud=4800)
    async with running(bench.simulator.run()):
        client = AsyncModbusSerialClient(str(bench.path), baudrate=9600, timeout=0.3, retries=0)
        await client.connect()
        try:
            with pytest.raises(ModbusIOException, match="No response"):
                await client.read_holding_registers(0, count=1, device_id=bench.units[0].unit)
        finally:
            client.close()
    assert read_ledger(bench.ledger_path) == []


async def test_a_pymodbus_client_reads_a_unit_and_is_heard(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [bundled(ProfileId("air-xy-md02"))], baud=9600)
    unit = bench.units[0].unit
    async with running(bench.simulator.run()):
        client = AsyncModbusSerialClient(str(bench.path), baudrate=9600, timeout=1, retries=0)
        await client.connect()
        reply = await client.read_input_registers(1, count=2, device_id=unit)
        await until(lambda: any(x["kind"] == "reply" for x in read_ledger(bench.ledger_path)))
        client.close()
    line = read_ledger(bench.ledger_path)[-1]
    assert line["registers"] == reply.registers
    assert line["heard"] is True
    assert line["values"] == {
        point.id: decode_point(point, (register,)).value
        for point, register in zip(bench.units[0].profile.points, reply.registers, strict=True)
    }


def test_a_value_wider_than_the_read_is_not_in_the_ledgers_values() -> None:
    unit = SimulatedUnit(1, bundled(LIGHT), random.Random(1))
    _, values = unit.answer(ReadRequest(unit=1, function=3, address=2, count=1), 9600)
    assert values == {}


def test_words_in_the_other_order_come_out_in_that_order() -> None:
    light = bundled(LIGHT)
    swapped = msgspec.structs.replace(light.points[0], word_order="little")
    plain, other = (Ramp(point, random.Random(3)) for point in (light.points[0], swapped))
    assert plain.registers == other.registers[::-1]


async def test_a_probe_is_known_as_its_model_whatever_it_measures() -> None:
    co2 = bundled(ProfileId("co2-senseair"))
    unit, seen = SimulatedUnit(9, co2, random.Random(1)), set[int]()

    class Line:
        async def ask(self, request: Request, timeout_s: float) -> Reply:
            assert timeout_s > 0
            reply, _ = unit.answer(request, 9600)
            seen.update(reply.values[3:4] if isinstance(reply, ReadReply) else ())
            return reply

    for _ in range(400):
        fits = await UnitQuestions(Line(), 9, "modbus_rtu", 9600).fitting([co2])
        assert [profile for _, profile in fits] == [co2]
    assert min(seen) < 600, "it comes near the least that fresh air has"
