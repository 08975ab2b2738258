"""A port stands whoever calls: no traces for what is no HTTP, and room for the others."""

import asyncio
import logging
import os
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from provisioning import door as door_module
from provisioning import posted_form
from provisioning.caller_log import TOLD_AT_ONCE, TOLD_EVERY_S, Sparing
from provisioning.door import FILES_BESIDE, Crowd, PortLimits
from provisioning.posted_form import read_body, read_posted
from provisioning.serving import serve_app
from provisioning.tls import pages_context, unverified_context
from tests.hub.running_hub import until
from tests.loopback import own_address
from tests.provisioning.district import make_district

HOST = own_address("75.1")
CROWD, OTHER = own_address("75.2"), own_address("75.3")
LIMITS = PortLimits(connections=24, of_an_address=8)
HELLO = f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode()

Runner = Callable[[Coroutine[None, None, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run a coroutine on each of the loops: each ends a connection in its own way."""

    def on_loop(coroutine: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded(coroutine))

    async def bounded(coroutine: Coroutine[None, None, None]) -> None:
        async with asyncio.timeout(20):
            await coroutine

    return on_loop


@dataclass(frozen=True)
class Port:
    number: int
    context: ssl.SSLContext | None

    async def connect(
        self, source: str = OTHER, *, raw: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; ``raw``: without the handshake of TLS."""
        context = None if raw else self.context
        return await asyncio.open_connection(HOST, self.number, local_addr=(source, 0), ssl=context)

    async def ask(self, content: bytes = HELLO, source: str = OTHER) -> bytes:
        reader, writer = await self.connect(source)
        try:
            writer.write(content)
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def served(
    context: ssl.SSLContext | None = None, limits: PortLimits = LIMITS
) -> AsyncIterator[Port]:
    async def greet(request: web.Request) -> web.Response:
        return web.Response(text=f"hello, {await request.text()}")

    async def stumble(_: web.Request) -> web.Response:
        raise ZeroDivisionError

    async def pass_on(_: web.Request) -> web.Response:
        raise ConnectionRefusedError

    async def take_form(request: web.Request) -> web.Response:
        return web.Response(text=str(dict(await read_posted(request))))

    async def take_body(request: web.Request) -> web.Response:
        return web.Response(body=await read_body(request))

    app = web.Application()
    app.router.add_route("*", "/", greet)
    app.router.add_post("/form", take_form)
    app.router.add_post("/body", take_body)
    app.router.add_get("/broken", stumble)
    app.router.add_get("/away", pass_on)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        number = probe.getsockname()[1]
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        await serve_app(stack, tasks, app, [HOST], number, context, limits)
        yield Port(number, context and unverified_context())


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        (b"GET / HTTP/9.9\r\nX: Swing-low\r\n\r\n", b"400"),
        (b"GET /\xff?code=Swing-low HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: Swing-low" + b"x" * 9000 + b"\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nSwing-low\r\n", b"400"),
        (b"POST /none HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nlow", b"404"),
    ],
)
async def test_what_is_no_http_costs_a_few_short_lines_and_nobody_else(
    told: bytes, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as port:
        for _ in range(TOLD_AT_ONCE + 3):
            assert (await port.ask(told, CROWD)).split()[1] == answer
        assert (await port.ask()).endswith(b"hello, ")
    assert 1 <= len(caplog.records) <= TOLD_AT_ONCE
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert "Swing-low" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_tls_where_none_is_spoken_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as port:
        assert (await port.ask(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")).split()[1] == b"400"
    assert not caplog.records


async def test_who_hangs_up_in_the_middle_of_a_body_costs_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served() as port:
        reader, writer = await port.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        assert b"100" in await reader.readline()  # its handler waits for the body by now
        writer.transport.abort()
        await until(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert record.getMessage() == (
        f"a call of {OTHER}: it hung up in the middle (ConnectionResetError)"
    )
    assert record.exc_info is None


@pytest.mark.parametrize("path", ["/form", "/body"])
async def test_a_body_that_does_not_end_is_not_waited_for_for_ever(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = (
        f"POST {path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 3\r\n\r\n"
    )
    limits = PortLimits(connections=8, of_an_address=8, linger_s=0.1)
    async with served(limits=limits) as port:
        assert (await port.ask(f"{head}a=b".encode())).split()[1] == b"200"
        monkeypatch.setattr(posted_form, "BODY_S_MAX", 0.1)
        assert (await port.ask(f"{head}a=".encode())).split()[1] == b"400"


@pytest.mark.parametrize(
    ("path", "error"), [("broken", "ZeroDivisionError"), ("away", "ConnectionRefusedError")]
)
async def test_a_fault_of_the_program_keeps_its_trace(
    path: str, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as port:
        assert (await port.ask(f"GET /{path} HTTP/1.0\r\n\r\n".encode())).split()[1] == b"500"
    assert error in caplog.text
    assert "Traceback" in caplog.text


def test_lines_are_told_again_after_a_while() -> None:
    now_s = 0.0
    sparing = Sparing(lambda: now_s)
    assert [sparing.take() for _ in range(TOLD_AT_ONCE + 2)].count(True) == TOLD_AT_ONCE
    now_s = 2 * TOLD_EVERY_S
    assert [sparing.take() for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("secure", [False, True])
def test_who_opens_all_it_can_leaves_room_for_the_others_and_comes_back_when_it_ends_some(
    tmp_path: Path, run: Runner, *, secure: bool
) -> None:
    async def story() -> None:
        async with served(context) as port:
            # Of TLS nothing is said at all: it counts before the handshake.
            crowd = [await port.connect(CROWD, raw=True) for _ in range(3 * LIMITS.of_an_address)]
            await until(lambda: open_in(crowd) <= LIMITS.of_an_address)
            assert (await port.ask()).endswith(b"hello, ")
            assert not await asked_or_hung_up_on(port)
            for _, writer in crowd:
                writer.close()
            answer = b""
            while not answer:  # until the server has heard that they ended
                answer = await asked_or_hung_up_on(port)
            assert answer.endswith(b"hello, ")

    context = pages_context(make_district(tmp_path).hub.tls_pem) if secure else None
    run(story())


@pytest.mark.parametrize("secure", [False, True])
def test_room_is_left_by_who_was_answered_and_by_who_broke_off(
    tmp_path: Path, run: Runner, *, secure: bool
) -> None:
    async def story() -> None:
        async with served(context) as port:
            for _ in range(3 * LIMITS.of_an_address):
                assert (await port.ask()).endswith(b"hello, ")
                _, writer = await port.connect(raw=True)
                writer.write(b"\x16\x03\x01 no hello of TLS\r\n\r\n")
                writer.close()
                await writer.wait_closed()

    context = pages_context(make_district(tmp_path).hub.tls_pem) if secure else None
    run(story())


def test_who_sends_half_a_header_or_nothing_is_hung_up_on(run: Runner) -> None:
    async def story() -> None:
        limits = PortLimits(connections=8, of_an_address=8, idle_s=0.1)
        async with served(limits=limits) as port:
            for begin in (b"", b"GET / HTTP/1.1\r\nHo", HELLO.replace(b"1.0", b"1.1") + b"GET "):
                reader, writer = await port.connect()
                writer.write(begin)
                await reader.read()
                writer.close()

    run(story())


def test_who_does_not_shake_hands_is_hung_up_on(
    tmp_path: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with served(pages_context(make_district(tmp_path).hub.tls_pem)) as port:
            reader, writer = await port.connect(raw=True)
            assert await reader.read() == b""
            writer.close()

    monkeypatch.setattr(door_module, "HANDSHAKE_S", 0.1)
    run(story())


def test_while_no_file_can_be_opened_callers_wait(
    run: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with served() as port:
            with socket.create_connection((HOST, port.number), 5, (OTHER, 0)) as caller:
                free = os.dup(caller.fileno())
                os.close(free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
                await until(lambda: "nobody is let in for a moment" in caplog.text)
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                caller.sendall(HELLO)
                assert await asyncio.to_thread(caller.recv, 12) == b"HTTP/1.0 200"

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(door_module, "_NO_ROOM_S", 0.01)
    try:
        run(story())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_subscriber_of_ipv6_counts_as_one_address() -> None:
    crowd = Crowd(PortLimits(connections=8, of_an_address=2), Sparing(lambda: 0.0))
    assert crowd.enter("2001:db8:1:2::1")
    assert crowd.enter("2001:db8:1:2:ffff::2")
    assert not crowd.enter("2001:db8:1:2::3")
    assert crowd.enter("2001:db8:1:3::1")
    crowd.leave("2001:db8:1:2::1")
    assert crowd.enter("2001:db8:1:2::3")


def test_a_full_port_lets_nobody_in_whatever_the_address() -> None:
    crowd = Crowd(PortLimits(connections=2, of_an_address=2), Sparing(lambda: 0.0))
    assert crowd.enter("10.0.0.1")
    assert crowd.enter("10.0.0.2")
    assert not crowd.enter("10.0.0.3")
    crowd.leave("10.0.0.1")
    assert crowd.enter("10.0.0.3")
    assert not crowd.held["10.0.0.1"]


def test_no_more_connections_are_taken_than_the_system_gives_files() -> None:
    asked = (
        "import resource; from provisioning.door import room_for; limit = resource.RLIMIT_NOFILE;"
        "resource.setrlimit(limit, (100, 2000)); print(room_for(64), resource.getrlimit(limit)[0],"
        " room_for(8192), resource.getrlimit(limit)[0])"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True)
    assert told.stdout.split() == ["64", str(64 + FILES_BESIDE), str(2000 - FILES_BESIDE), "2000"]
    assert "LimitNOFILE" in told.stderr


async def asked_or_hung_up_on(port: Port) -> bytes:
    try:
        return await port.ask(source=CROWD)
    except OSError:
        return b""


def open_in(crowd: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> int:
    return sum(not (reader.at_eof() or reader.exception()) for reader, _ in crowd)
