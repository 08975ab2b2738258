import asyncio
import errno
import fcntl
import os
import random
import sys
import termios
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Never

import pytest
import uvloop

from drivers.errors import SetupError, UnreachableError
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.pty_link import PtyLink
from drivers.transports.byte_port import LineSettings, keep_open
from drivers.transports.serial_port import SerialPort
from tests.drivers.serial_bench import now_ms, running, until

Runner = Callable[[Coroutine[None, None, None]], None]

SETTINGS = LineSettings(baud=9600)
# Another program: locks are between open files of any process.
HOLDER = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print(1, flush=True)"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run a coroutine on each of the loops: both notice a hang-up in their own way."""

    def on_loop(coroutine: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(coroutine)

    return on_loop


def open_descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_bytes_pass_both_ways(tmp_path: Path, run: Runner) -> None:
    async def story() -> None:
        link = PtyLink(tmp_path / "bus0")
        port = SerialPort(link.path, SETTINGS)
        await port.write(b"ask")
        assert await link.read() == b"ask"
        link.write(b"answer\x00\xff\n\r\x03")
        assert await port.read(5) == b"answer\x00\xff\n\r\x03"
        assert await port.read(0.01) == b""
        port.close()
        assert not link.is_open

    run(story())


async def test_a_port_that_is_gone_when_its_speed_is_changed_was_unplugged(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    port = SerialPort(link.path, SETTINGS)
    link.unplug()
    with pytest.raises(UnreachableError, match="was unplugged"):
        port.set_baud(LineSettings(baud=4800))
    port.close()


def test_the_device_sees_the_configured_speed(tmp_path: Path) -> None:
    async def story() -> None:
        link = PtyLink(tmp_path / "bus0")
        port = SerialPort(link.path, SETTINGS)
        assert link.baud == 9600
        port.set_baud(LineSettings(baud=4800))
        assert (link.baud, port.settings.baud) == (4800, 4800)
        port.close()

    asyncio.run(story())


def test_an_unplugged_port_ends_the_read_that_waits(tmp_path: Path, run: Runner) -> None:
    async def story() -> None:
        link = PtyLink(tmp_path / "bus0")
        port = SerialPort(link.path, SETTINGS)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, link.unplug)
        with pytest.raises(UnreachableError, match=r"bus0 was unplugged"):
            await port.read(30)
        with pytest.raises(UnreachableError, match="unplugged"):
            await port.write(b"ask")
        # A hung-up descriptor stays readable for ever; it must not keep the loop busy.
        busy = os.times().user
        await asyncio.sleep(0.2)
        assert os.times().user - busy < 0.1
        port.close()

    run(story())


def test_a_wait_can_be_interrupted_but_a_read_keeps_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        link = PtyLink(tmp_path / "bus0")
        port = SerialPort(link.path, SETTINGS)
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, port.interrupt)
        await port.wait(30)
        loop.call_later(0.02, port.interrupt)
        loop.call_later(0.04, link.write, b"x")
        assert await port.read(30) == b"x"
        port.close()

    asyncio.run(story())


async def test_a_missing_port_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"bus9 is not there; plug the adapter in"):
        SerialPort(tmp_path / "bus9", SETTINGS)


async def test_a_busy_port_is_named_with_its_remedy(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    program = f"{HOLDER}; sys.stdin.read()"
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(link.path), stdin=PIPE, stdout=PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    await holder.stdout.readline()
    with pytest.raises(SetupError, match=r"bus0 is in use by another program; stop"):
        SerialPort(link.path, SETTINGS)
    holder.stdin.close()
    await holder.wait()
    SerialPort(link.path, SETTINGS).close()


async def test_what_is_no_serial_port_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("")
    with pytest.raises(SetupError, match=r"notes\.txt is no usable serial port .*; correct"):
        SerialPort(path, SETTINGS)


async def test_a_forbidden_port_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root, who often runs tests, may open everything: the kernel's answer is planted.
    def forbidden(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("serial.serialposix.os.open", forbidden)
    with pytest.raises(SetupError, match=r"may not be opened by this user; .* group dialout"):
        SerialPort(tmp_path / "bus0", SETTINGS)


async def test_a_port_that_talks_faster_than_it_is_read_keeps_its_newest_bytes(
    tmp_path: Path,
) -> None:
    link = PtyLink(tmp_path / "bus0")
    port = SerialPort(link.path, SETTINGS)
    for number in range(64):
        link.write(bytes((number,)) * 1024)
        await asyncio.sleep(0.001)
    link.write(b"end")
    await until(lambda: port.pending >= 16 * 1024)
    await asyncio.sleep(0.01)
    data = await port.read(1)
    assert len(data) == 16 * 1024
    assert data.endswith(b"end")
    port.close()


async def test_a_port_that_comes_back_is_served_again_within_three_seconds(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    served: list[str] = []
    lost: list[str] = []

    async def serve(port: SerialPort) -> Never:
        served.append(os.ttyname(port._descriptor))
        while True:
            await port.read(60)

    async def open_port() -> SerialPort:
        return SerialPort(link.path, SETTINGS)

    async with running(keep_open(open_port, random.Random(1), serve, lost.append)):
        await until(lambda: len(served) == 1)
        link.unplug()
        await until(lambda: len(lost) >= 3)
        assert "unplugged" in lost[0]
        assert "is not there" in lost[1]
        # Another terminal under the same name, as after another USB socket.
        keeper = os.openpty()
        link.plug()
        await until(lambda: len(served) == 2, within_s=3)
        for descriptor in keeper:
            os.close(descriptor)


@pytest.mark.parametrize("trouble", ["no such terminal", "the name is a folder"])
async def test_a_simulated_line_that_cannot_be_plugged_in_leaves_nothing_open_and_can_be_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    link = PtyLink(tmp_path / "bus0")
    link.unplug()
    open_before = open_descriptors()
    with monkeypatch.context() as patch:
        if trouble == "no such terminal":  # the kernel has none to watch
            patch.setattr(os, "ttyname", lambda _: str(tmp_path / "none"))
        else:
            link.path.mkdir()
        for _ in range(2):
            with pytest.raises(OSError, match=r"none|bus0"):
                link.plug()
    assert open_descriptors() == open_before
    if trouble == "the name is a folder":
        link.path.rmdir()
    link.plug()
    assert not link.is_open
    port = SerialPort(link.path, SETTINGS)
    assert link.is_open
    port.close()
    link.unplug()


@pytest.mark.parametrize(("dtr", "rts"), [(False, False), (True, False), (False, True)])
async def test_dtr_and_rts_are_as_the_profile_says_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, dtr: bool, rts: bool
) -> None:
    # A pty has no modem lines: what is asked of the kernel is written down in their place.
    ioctl, asked = fcntl.ioctl, list[tuple[str, int]]()
    names = {termios.TIOCMBIS: "raise", termios.TIOCMBIC: "drop"}

    def noted(descriptor: int, request: int, argument: bytes = b"") -> object:
        if request in names:
            asked.append((names[request], int.from_bytes(argument, sys.byteorder)))
            return 0
        return ioctl(descriptor, request, argument)

    link = PtyLink(tmp_path / "bus0")
    monkeypatch.setattr("serial.serialposix.fcntl.ioctl", noted)
    SerialPort(link.path, LineSettings(baud=9600, dtr=dtr, rts=rts)).close()
    assert asked == [
        ("raise" if dtr else "drop", termios.TIOCM_DTR),
        ("raise" if rts else "drop", termios.TIOCM_RTS),
    ]


async def test_nobody_hears_what_was_said_while_the_line_was_closed(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    link.write(b"into the void")
    port = SerialPort(link.path, SETTINGS)
    assert await port.read(0.05) == b""
    port.close()


async def test_the_device_knows_of_a_closing_however_short_it_was(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    for closings in range(3):
        port = SerialPort(link.path, SETTINGS)
        assert link.closings == closings
        port.close()
    SerialPort(link.path, SETTINGS).close()
    link.unplug()
    assert link.closings == 4


async def test_a_line_that_is_torn_while_it_is_open_counts_as_closed(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    port = SerialPort(link.path, SETTINGS)
    link.unplug()
    assert link.closings == 1
    port.close()
    link.plug()
    assert link.closings == 1
    link.unplug()


async def test_closings_are_noted_by_the_lines_name(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    async with running(link.note_closings(Ledger(tmp_path / "closings.jsonl", now_ms))):
        await asyncio.sleep(0)
        SerialPort(link.path, SETTINGS).close()
        await until(lambda: bool(read_ledger(tmp_path / "closings.jsonl")))
    assert [(line["kind"], line["line"]) for line in read_ledger(tmp_path / "closings.jsonl")] == [
        ("closed", "bus0")
    ]


async def test_the_device_knows_whether_the_line_stayed_open(tmp_path: Path) -> None:
    link = PtyLink(tmp_path / "bus0")
    async with running(link.read()):
        assert not link.is_open
        first = SerialPort(link.path, SETTINGS)
        assert link.is_open
        before = link.closings
        first.close()
        await until(lambda: link.closings == before + 1)
        second = SerialPort(link.path, SETTINGS)
        assert link.is_open
        assert link.closings == before + 1
        second.close()
