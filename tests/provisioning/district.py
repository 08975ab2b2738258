"""A whole district on loopback for the tests: authority, desk and TLS server, all real."""

import asyncio
import socket
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from provisioning.authority import Authority, open_authority
from provisioning.box_gate import BoxGate
from provisioning.box_keys import BoxKeys, new_box_keys
from provisioning.enrolment import EnrolmentDesk
from provisioning.enrolment_api import add_enrolment_routes
from provisioning.enrolment_wire import EnrolmentRequest, build_key_request, encode
from provisioning.identity import HubIdentity, create_hub_identity
from provisioning.invitations import SqliteInvitations
from provisioning.join_code import JoinCode
from provisioning.tls import hub_box_port_context
from sync.writer import Writer

HOST = "127.0.0.1"
DAY_MS = 24 * 3600 * 1000


class Clock:
    """A wall clock that stands still until a test moves it; it starts now, as OpenSSL's does."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms


@dataclass(kw_only=True)
class District:
    folder: Path
    authority: Authority
    hub: HubIdentity
    desk: EnrolmentDesk
    gate: BoxGate
    connection: sqlite3.Connection
    writer: Writer = field(default_factory=Writer)
    clock: Clock
    denied: set[str] = field(default_factory=set)
    port: int

    def app(self) -> web.Application:
        app = web.Application()
        add_enrolment_routes(app, self.desk, self.gate, self.writer)
        return app


def make_district(folder: Path, *, name: str = "jiangxia", port: int = 8443) -> District:
    """Return a district without a server: the desk alone."""
    clock = Clock()
    authority = open_authority(folder / "authority", district=name, now_ms=clock())
    hub = create_hub_identity(folder / "hub", authority, names=[HOST], now_ms=clock())
    connection = sqlite3.connect(folder / "hub.db", check_same_thread=False)
    denied: set[str] = set()
    return District(
        folder=folder,
        authority=authority,
        hub=hub,
        desk=EnrolmentDesk(
            authority=authority,
            hub=hub,
            invitations=SqliteInvitations(connection),
            host=HOST,
            port=port,
            now_ms=clock,
        ),
        gate=BoxGate(authority.trust, denied=denied, now_ms=clock),
        connection=connection,
        clock=clock,
        denied=denied,
        port=port,
    )


@asynccontextmanager
async def running_district(folder: Path, *, name: str = "jiangxia") -> AsyncIterator[District]:
    """Run a district's box port on a free loopback port."""
    listener = listening_socket()
    district = make_district(folder, name=name, port=listener.getsockname()[1])
    with closing(district.connection), district.writer:
        async with serving(district.app(), listener, hub_box_port_context(district.hub)):
            yield district


@asynccontextmanager
async def serving(
    app: web.Application, listener: socket.socket, context: ssl.SSLContext
) -> AsyncIterator[None]:
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()


def listening_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind((HOST, 0))
    return listener


@dataclass(kw_only=True)
class Recorder:
    """A server that answers every request alike and keeps what it could read of them."""

    port: int
    heard: bytearray = field(default_factory=bytearray)
    connections: int = 0


@asynccontextmanager
async def recording_server(context: ssl.SSLContext, body: bytes) -> AsyncIterator[Recorder]:
    recorder = Recorder(port=0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recorder.connections += 1
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            recorder.heard += await reader.read(65536)
            writer.write(head.encode() + body)
            await writer.drain()
            recorder.heard += await reader.read(65536)
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    recorder.port = server.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        server.close()


def request_body(
    code: JoinCode,
    keys: BoxKeys | None = None,
    *,
    secret: bytes | None = None,
    lan_names: Sequence[str] = ("localhost",),
) -> bytes:
    """Return what a box would post for this code."""
    return encode(
        EnrolmentRequest(
            box=code.box,
            secret=code.secret if secret is None else secret,
            keys=build_key_request(keys or new_box_keys(), lan_names),
        )
    )
