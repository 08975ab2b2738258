import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from drivers.bus import ModbusBus
from drivers.entities import CommandResult, DeviceId, Outcome
from drivers.errors import SetupError
from drivers.simulators.modbus_rtu import Faults
from firmware_profiles.model import Interlock
from tests.drivers.relay_bench import DEVICE, LAMP, PUMP, Relays, board
from tests.drivers.serial_bench import running, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiling(Faults):
    """Spoils the next two replies, and no more."""

    plan: Iterator[str] = field(default_factory=lambda: iter(["corrupt", "corrupt"]))

    def draw(self, rng: random.Random) -> str | None:
        del rng
        return next(self.plan, None)


@asynccontextmanager
async def serving(relays: Relays, bus: ModbusBus) -> AsyncIterator[ModbusBus]:
    """Run board and bus, from when the first safe word is through until the block ends."""
    async with running(relays.simulator.run()), running(bus.run()):
        await until(lambda: relays.is_here and bool(relays.results))
        yield bus


def details(relays: Relays, command: str) -> list[str]:
    return [result.detail for result in relays.results if result.command == command]


async def test_a_relay_is_switched_and_read_back(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    async with serving(relays, relays.bus()) as bus:
        on = await bus.order(DEVICE, "relay_1", "on")
        assert on.outcome is Outcome.VERIFIED
        assert relays.is_on(1)
        off = await bus.order(DEVICE, "relay_1", "off")
        assert off.outcome is Outcome.VERIFIED
        assert not relays.is_on(1)
    assert relays.written(1) == [1, 0]
    assert [r.outcome for r in relays.results if r.command == "relay_1 on"] == [Outcome.VERIFIED]


async def test_without_a_point_to_read_back_the_word_is_acknowledged(tmp_path: Path) -> None:
    lamp = msgspec.structs.replace(LAMP, verify=None)
    relays = Relays(tmp_path, board([PUMP, lamp]))
    async with serving(relays, relays.bus()) as bus:
        result = await bus.order(DEVICE, "relay_1", "on")
        assert result.outcome is Outcome.ACKNOWLEDGED


async def test_what_reads_otherwise_than_told_has_failed(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    relays.unit.stuck["relay_1"] = "off"
    async with serving(relays, relays.bus()) as bus:
        result = await bus.order(DEVICE, "relay_1", "on")
        assert result.outcome is Outcome.FAILED
        assert result.detail == "relay_1 still reads off"


async def test_what_a_device_does_not_take_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    bus = relays.bus()
    for command, argument, told in (
        ("relay_9", "on", "takes relay_0, relay_1, not 'relay_9'"),
        ("relay_1", "perhaps", "takes off, on, not 'perhaps'"),
        ("relay_1", "nan", "takes off, on"),
    ):
        with pytest.raises(SetupError, match=told):
            await bus.order(DEVICE, command, argument)
    with pytest.raises(SetupError, match="takes no commands"):
        await bus.order(DeviceId("nobody"), "relay_1", "on")
    with pytest.raises(SetupError, match="no interlock"):
        bus.hold(DEVICE, "relay_1", 1)


async def test_a_word_is_repeated_when_the_line_spoils_it(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    async with serving(relays, relays.bus()) as bus:
        for argument in ("on", "off") * 3:
            relays.simulator.faults = Spoiling()
            result = await bus.order(DEVICE, "relay_1", argument)
            assert (result.outcome, result.detail) == (Outcome.VERIFIED, "")
            assert relays.is_on(1) is (argument == "on")


async def test_a_pump_that_was_left_on_is_off_when_the_box_starts(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    relays.hand(0, on=True)
    async with serving(relays, relays.bus()):
        await until(lambda: not relays.is_on(0))
    assert details(relays, "relay_0 off") == ["the box or the device was away"]


async def test_a_pump_is_off_when_the_box_stops(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    async with running(relays.simulator.run()):
        bus = relays.bus()
        async with running(bus.run()):
            await until(lambda: bool(relays.results))
            assert (await bus.order(DEVICE, "relay_0", "on")).outcome is Outcome.VERIFIED
            assert (await bus.order(DEVICE, "relay_1", "on")).outcome is Outcome.VERIFIED
        await until(lambda: not relays.is_on(0))
        assert relays.is_on(1)  # nothing says that a lamp is dangerous


async def test_a_pump_is_off_when_it_is_let_go_of(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    async with serving(relays, relays.bus()) as bus:
        await bus.order(DEVICE, "relay_0", "on")
        await bus.release(DEVICE)
        assert not relays.is_on(0)
        with pytest.raises(SetupError, match="takes no commands"):
            await bus.order(DEVICE, "relay_0", "on")


async def test_a_pump_is_never_on_for_longer_than_its_interlock_however_often_it_is_told(
    tmp_path: Path,
) -> None:
    relays = Relays(tmp_path)
    async with serving(relays, relays.bus()) as bus:
        relays.events.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not (off := details(relays, "relay_0 off")) and loop.time() - began < 10:
            await bus.order(DEVICE, "relay_0", "on")
            await asyncio.sleep(0.05)
        assert off == ["it was on for 1 s, the longest allowed"]
        assert 0 in relays.written(0)


async def test_a_pump_that_a_hand_switched_on_is_timed_as_well(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    async with serving(relays, relays.bus()):
        relays.events.clear()
        relays.hand(0, on=True)
        await until(lambda: bool(relays.results))
        assert not relays.is_on(0)
    assert details(relays, "relay_0 off") == ["it was on for 1 s, the longest allowed"]


async def test_a_pump_that_nobody_holds_any_more_goes_off(tmp_path: Path) -> None:
    pump = msgspec.structs.replace(PUMP, interlock=Interlock(longest_on_s=600, fail_safe="off"))
    relays = Relays(tmp_path, board([pump, LAMP]))
    async with serving(relays, relays.bus()) as bus:
        await bus.order(DEVICE, "relay_0", "on")
        relays.events.clear()
        for _ in range(10):
            bus.hold(DEVICE, "relay_0", 5)
            await asyncio.sleep(0.02)
        assert relays.is_on(0)
        bus.hold(DEVICE, "relay_0", 0.1)
        await until(lambda: bool(relays.results))
        assert not relays.is_on(0)
    assert details(relays, "relay_0 off") == ["nobody held it any more"]


async def test_after_an_unplugged_cable_pumps_are_off_and_lamps_as_wished(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    async with serving(relays, relays.bus()) as bus:
        await bus.order(DEVICE, "relay_0", "on")
        await bus.order(DEVICE, "relay_1", "on")
        relays.simulator.link.unplug()
        await until(lambda: not relays.is_here)
        away = await bus.order(DEVICE, "relay_0", "on")
        assert (away.outcome, away.detail) == (Outcome.FAILED, "the device is away")
        relays.hand(1, on=False)  # the board lost its power too
        relays.events.clear()
        relays.simulator.link.plug()
        await until(lambda: len(relays.results) == 2)
        assert (relays.is_on(0), relays.is_on(1)) == (False, True)
    assert {r.outcome for r in relays.results} == {Outcome.VERIFIED}


async def test_a_wish_made_while_the_device_is_away_is_carried_out_when_it_is_back(
    tmp_path: Path,
) -> None:
    relays = Relays(tmp_path)
    bus = relays.bus()
    result = await bus.order(DEVICE, "relay_1", "on")
    assert (result.outcome, result.detail) == (
        Outcome.FAILED,
        "the device is away; done when it is back",
    )
    assert bus.wishes() == {DEVICE: {"relay_1": "on"}}
    async with serving(relays, bus):
        await until(lambda: relays.is_on(1))


async def test_a_wish_outlives_the_box_and_a_hand_ends_it(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    bus = relays.bus(wishes={"relay_1": "on", "relay_0": "on", "gone": "on"})
    async with serving(relays, bus):
        await until(lambda: relays.is_on(1))
        assert not relays.is_on(0)
        assert bus.wishes() == {DEVICE: {"relay_1": "on"}}
        await until(lambda: relays.readings("relay_1")[-1:] == ["on"])
        relays.hand(1, on=False)
        await until(lambda: not bus.wishes()[DEVICE])
        await until(lambda: relays.readings("relay_1")[-3:] == ["off"] * 3)
        assert not relays.is_on(1)


async def test_a_pump_is_switched_off_again_and_again_until_it_is(tmp_path: Path) -> None:
    relays = Relays(tmp_path)
    relays.unit.stuck["relay_0"] = "on"  # a welded contact
    async with serving(relays, relays.bus()):
        assert relays.results[0].outcome is Outcome.FAILED
        del relays.unit.stuck["relay_0"]
        await until(lambda: any(r.outcome is Outcome.VERIFIED for r in relays.results))
        assert not relays.is_on(0)
    assert len(relays.results) == 2  # told once that it failed, however often it was tried


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_the_pump_ends_off_and_stays_so(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    relays = Relays(tmp_path)
    orders: list[asyncio.Task[CommandResult]] = []
    async with running(relays.simulator.run()):
        bus = relays.bus()
        async with running(bus.run()), asyncio.TaskGroup() as tasks:
            for _ in range(30):
                match rng.choice(["on", "off", "hand", "hold", "unplug", "noise", "calm"]):
                    case "on" | "off" as word:
                        orders.append(tasks.create_task(bus.order(DEVICE, "relay_0", word)))
                    case "hand":
                        relays.hand(0, on=True)
                    case "hold":
                        bus.hold(DEVICE, "relay_0", rng.uniform(0, 0.5))
                    case "unplug":
                        relays.simulator.link.unplug()
                        await asyncio.sleep(rng.uniform(0, 0.2))
                        relays.simulator.link.plug()
                    case "noise":
                        relays.simulator.faults = Faults(lost=0.2, corrupt=0.2, half=0.1)
                    case _:
                        relays.simulator.faults = Faults()
                await asyncio.sleep(rng.uniform(0, 0.1))
            relays.simulator.faults = Faults()
            await asyncio.wait_for(asyncio.gather(*orders), 20)
            await until(lambda: not relays.is_on(0))
            written = len(relays.written(0))
            await until(lambda: relays.readings("relay_0")[-5:] == ["off"] * 5)
            assert len(relays.written(0)) - written <= 1
        assert not relays.is_on(0)
