"""Serial servers and Modbus TCP: lines behind a socket, and programs that are not ours."""

import asyncio
import logging
import random
import socket
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.datastore import (
    ModbusDeviceContext,
    ModbusSequentialDataBlock,
    ModbusServerContext,
)
from pymodbus.server import ModbusTcpServer

from drivers.bus import ModbusBus
from drivers.codecs.modbus import ReadReply, ReadRequest, Reply
from drivers.codecs.modbus_tcp import TcpFrame, TcpFrameDecoder, encode_reply_tcp, read_tcp_request
from drivers.entities import DeviceEvent, DeviceId, Measurement, Outcome, Presence, Quality
from drivers.errors import SetupError, UnreachableError
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.modbus_line import SilentUnitError
from drivers.modbus_tcp_line import TcpLine
from drivers.simulators.profile_device import Listen, ProfileDevice
from drivers.transports.byte_port import LineSettings
from drivers.transports.port_address import TcpAddress
from drivers.transports.tcp_port import TcpPort
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.relay_bench import DEVICE, UNIT
from tests.drivers.serial_bench import SOIL, Bench, bundled, now_ms, quickened, running, until
from tests.system_needs import need

HOST = "127.0.0.1"
WAVESHARE = bundled(ProfileId("relay-waveshare-eth-8"))
QUESTION = ReadRequest(unit=1, function=3, address=0, count=1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def bus_at(
    address: TcpAddress, units: Sequence[AdoptedUnit], events: list[DeviceEvent]
) -> ModbusBus:
    return ModbusBus(
        address=address,
        settings=modbus_settings(units[0].profile, address),
        units=units,
        now_ms=now_ms,
        sink=events.append,
        rng=random.Random(1),
        periods_s={"edge": 0.05, "fast": 0.05, "normal": 0.05, "slow": 0.05},
    )


def values(events: Sequence[DeviceEvent]) -> dict[str, float | str | None]:
    return {
        event.point: event.value
        for event in events
        if isinstance(event, Measurement) and event.quality is Quality.GOOD
    }


def is_online(events: Sequence[DeviceEvent]) -> bool:
    told = [event for event in events if isinstance(event, Presence)]
    return bool(told) and told[-1].online


@asynccontextmanager
async def simulated(profile: Profile, port: int = 0) -> AsyncIterator[int]:
    """Run a Modbus TCP device made of its profile and yield its port."""
    device = ProfileDevice(
        profile, Listen(scheme="modbus", host=HOST, port=port), lambda _: None, unit=UNIT
    )
    ready = asyncio.Event()
    async with running(device.run(ready.set)):
        await ready.wait()
        yield device.port


async def test_a_relay_board_on_the_network_is_polled_and_commanded() -> None:
    events: list[DeviceEvent] = []
    async with simulated(WAVESHARE) as port:
        address = TcpAddress(scheme="modbus", host=HOST, port=port, unit=UNIT)
        unit = AdoptedUnit(device=DEVICE, unit=UNIT, profile=WAVESHARE)
        bus = bus_at(address, [unit], events)
        async with running(bus.run()):
            await until(lambda: is_online(events))
            command = WAVESHARE.commands[0].id
            assert (await bus.order(DEVICE, command, "on")).outcome is Outcome.VERIFIED
            await until(lambda: values(events).get(command) == "on")
            source = next(e.source for e in events if isinstance(e, Measurement))
            assert source.startswith(f"modbus:127.0.0.1:{port} unit {UNIT} ")


async def test_a_device_that_was_switched_off_is_dialled_until_it_is_back() -> None:
    events: list[DeviceEvent] = []
    port = free_port()
    address = TcpAddress(scheme="modbus", host=HOST, port=port, unit=UNIT)
    bus = bus_at(address, [AdoptedUnit(device=DEVICE, unit=UNIT, profile=WAVESHARE)], events)
    async with running(bus.run()):
        await until(lambda: bool(events))
        assert "takes no connection" in events[0].reason  # type: ignore[union-attr]  # a Presence
        for _ in range(2):
            async with simulated(WAVESHARE, port):
                await until(lambda: is_online(events))
            await until(lambda: not is_online(events))
        with pytest.raises(UnreachableError):
            await bus.ask(QUESTION, 1)


async def test_a_serial_server_carries_the_frames_of_its_line(tmp_path: Path) -> None:
    ser2net = need("ser2net", "ser2net")
    bench = Bench(tmp_path, [quickened(bundled(SOIL), timeout_ms=1000)])
    port = free_port()
    settings = tmp_path / "ser2net.yaml"
    settings.write_text(
        "connection: &bus\n"
        f"  accepter: tcp,{HOST},{port}\n"
        f"  connector: serialdev,{bench.path},{bench.baud}n81,local\n"
        "  options:\n    kickolduser: true\n"
    )
    events: list[DeviceEvent] = []
    (unit,) = bench.adopted()
    address = TcpAddress(scheme="tcp", host=HOST, port=port, baud=bench.baud, unit=unit.unit)
    async with running(bench.simulator.run()):
        server = await asyncio.create_subprocess_exec(
            ser2net, "-n", "-c", str(settings), stdout=DEVNULL, stderr=DEVNULL
        )
        bus = bus_at(address, [unit], events)
        try:
            async with running(bus.run()):
                await until(lambda: bus.statistics.answered >= 20)
                # The adapter is pulled out of the server: it hangs up, and takes calls again.
                bench.simulator.link.unplug()
                await until(lambda: not is_online(events))
                bench.simulator.link.plug()
                await until(lambda: is_online(events))
        finally:
            server.terminate()
            await server.wait()
        await asyncio.sleep(0.6)  # the ledger's own delay
    bench.events.extend(events)
    good = bench.good_values()
    assert good.total() >= 20
    assert good <= bench.sent_values(kind="reply_begun", sound=True)
    assert {m.source for m in bench.measurements} == {
        f"tcp:{HOST}:{port} unit {unit.unit} fc3 0x0000"
    }


async def test_a_pymodbus_tcp_server_is_read_like_any_device() -> None:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    # pymodbus counts a data block's first address as 1.
    holding = ModbusSequentialDataBlock(1, [0x0292, 0xFF9B, 0x03E8])  # type: ignore[no-untyped-call]  # pymodbus
    context = ModbusServerContext(devices={17: ModbusDeviceContext(hr=holding)}, single=False)
    port = free_port()
    server = ModbusTcpServer(context, address=(HOST, port))
    await server.serve_forever(background=True)
    events: list[DeviceEvent] = []
    unit = AdoptedUnit(device=DeviceId("modbus:peer:17"), unit=17, profile=bundled(SOIL))
    address = TcpAddress(scheme="modbus", host=HOST, port=port, unit=17)
    try:
        async with running(bus_at(address, [unit], events).run()):
            await until(lambda: len(values(events)) == 3)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus
    assert values(events) == {
        "soil_moisture": 65.8,
        "soil_temperature": -10.1,
        "soil_conductivity": 1000.0,
    }


async def test_a_pymodbus_client_commands_our_simulated_board() -> None:
    async with simulated(WAVESHARE) as port, AsyncModbusTcpClient(HOST, port=port) as client:
        before = (await client.read_coils(0, count=8, device_id=UNIT)).bits[:8]
        told = await client.write_coil(2, not before[2], device_id=UNIT)
        assert not told.isError()
        after = (await client.read_coils(0, count=8, device_id=UNIT)).bits[:8]
        assert after == [*before[:2], not before[2], *before[3:]]


async def test_mbpoll_writes_and_reads_our_simulated_board() -> None:
    need("mbpoll", "mbpoll")
    async with simulated(WAVESHARE) as port:
        common = ["-m", "tcp", "-p", str(port), "-a", str(UNIT), "-0", "-1", "-t", "0", "-r", "3"]
        for words in ([HOST, "1"], ["-c", "1", HOST]):
            asked = await asyncio.create_subprocess_exec(
                "mbpoll", *common, *words, stdout=PIPE, stderr=PIPE
            )
            said, complaint = await asyncio.wait_for(asked.communicate(), 10)
            assert asked.returncode == 0, complaint
    assert b"[3]: \t1" in said


class Gateway:
    """A Modbus TCP server that answers each request by what the test says."""

    def __init__(self, *answers: list[bytes] | None) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[TcpLine]:
        server = await asyncio.start_server(self._converse, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        port = await TcpPort.connect(HOST, self.port, LineSettings(baud=9600))
        try:
            yield TcpLine(port)
        finally:
            port.close()
            server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = TcpFrameDecoder()
        try:
            while data := await reader.read(256):
                for frame in decoder.feed(data):
                    for said in self._answer(frame):
                        writer.write(said)
                        await writer.drain()
                        await asyncio.sleep(0.01)
        finally:
            writer.close()

    def _answer(self, frame: TcpFrame) -> list[bytes]:
        planned = self.answers[self.calls] if self.calls < len(self.answers) else None
        self.calls += 1
        request = read_tcp_request(frame)
        reply: Reply = ReadReply(unit=request.unit, function=request.function, values=(self.calls,))
        own = encode_reply_tcp(request, reply, frame.transaction)
        if planned is None:
            return [own]
        return [part or own for part in planned]


async def test_a_late_reply_is_not_taken_for_the_next_one() -> None:
    late = encode_reply_tcp(QUESTION, ReadReply(unit=1, function=3, values=(999,)), 1)
    async with Gateway([], [late, b""]).listening() as line:
        with pytest.raises(SilentUnitError):
            await line.ask(QUESTION, 0.05)
        assert await line.ask(QUESTION, 5) == ReadReply(unit=1, function=3, values=(2,))
        assert line.stray_bytes > 0


async def test_a_reply_in_pieces_is_put_together() -> None:
    own = encode_reply_tcp(QUESTION, ReadReply(unit=1, function=3, values=(5,)), 1)
    async with Gateway([own[:3], own[3:9], own[9:]]).listening() as line:
        assert await line.ask(QUESTION, 5) == ReadReply(unit=1, function=3, values=(5,))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"\x00\x01\x00\x00\x00\x05\x01\x03", "broke off"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no Modbus header"),
    ],
)
async def test_a_connection_that_talks_nonsense_is_given_up(said: bytes, told: str) -> None:
    async with Gateway([said]).listening() as line:
        with pytest.raises(UnreachableError, match=told) as given_up:
            await line.ask(QUESTION, 0.1)
        assert not isinstance(given_up.value, SilentUnitError)


async def test_a_peer_that_hangs_up_ends_the_question() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0)
    port = server.sockets[0].getsockname()[1]
    connection = await TcpPort.connect(HOST, port, LineSettings(baud=9600))
    with pytest.raises(UnreachableError, match="hung up"):
        await connection.read(10)
    connection.close()
    connection.close()
    server.close()


async def test_what_cannot_be_dialled_is_told_with_its_remedy() -> None:
    with pytest.raises(UnreachableError, match="takes no connection; another program may hold it"):
        await TcpPort.connect(HOST, free_port(), LineSettings(baud=9600))
    with pytest.raises(SetupError, match="has no address"):
        await TcpPort.connect("no-such-host.invalid", 502, LineSettings(baud=9600))
