"""The hub's daemon: opens the store, serves boxes and people, seals what the hub itself writes."""

import asyncio
import fcntl
import hmac
import logging
import os
import random
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from aiohttp import web

from hub.config import HubConfig
from hub.errors import HubSetupError
from hub.exchange_api import ExchangeDesk
from hub.lesson.relay import LessonRelay
from hub.lesson.timetable import Row
from hub.pages.app import build_pages
from hub.pages.hub_view import FlowLight, SchoolLight
from hub.registry import Registry, box_rows
from provisioning.authority import open_authority
from provisioning.box_gate import BoxGate
from provisioning.durable_file import private_folder, read_private, write_private
from provisioning.enrolment import EnrolmentDesk
from provisioning.enrolment_api import add_enrolment_routes, calling_box
from provisioning.errors import RefusedError
from provisioning.identity import HubIdentity, create_hub_identity
from provisioning.invitations import SqliteInvitations
from provisioning.tls import hub_box_port_context, pages_context
from sync.exchange import MESSAGE_BYTES_MAX
from sync.fold import HUB
from sync.fragment_shelf import LessonShelf
from sync.node import Imported, Node, NodeKeys, SealPolicy
from sync.schema import BY_NAME
from sync.schema.model import Audience
from sync.store import connect_readonly, open_store
from sync.writer import Writer

_log = logging.getLogger(__name__)

_SEAL_EVERY_S = 0.5
_EVENTS_MAX = 64
_ADMIN_CODE_CHARACTERS = 10
NowMs = Callable[[], int]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubParts:
    """What run and the administration commands share: the files of one hub, opened."""

    config: HubConfig
    identity: HubIdentity
    desk: EnrolmentDesk
    registry: Registry
    node: Node
    store: Path
    admin_code: str


@contextmanager
def open_hub(config: HubConfig, now_ms: NowMs, host: str | None = None) -> Iterator[HubParts]:
    """Open a hub's folder, made at the first start together with the district's authority.

    ``host`` is what new join codes tell boxes to call, the first configured name by default.
    """
    folder = config.folder
    private_folder(folder)
    authority = open_authority(folder / "authority", district=config.district, now_ms=now_ms())
    identity = create_hub_identity(
        folder / "identity", authority, names=config.boxes.names, now_ms=now_ms()
    )
    store = folder / "hub.db"
    connection = open_store(store)
    enrolment = sqlite3.connect(store, check_same_thread=False)
    enrolment.execute("PRAGMA busy_timeout=10000").close()
    enrolment.execute("PRAGMA synchronous=FULL").close()
    reader = connect_readonly(store)
    invitations = SqliteInvitations(enrolment)
    registry = Registry(identity, invitations, reader)
    registry.refresh()
    keys = NodeKeys(origin=HUB, signing=identity.signing, sealing=identity.sealing)
    node = Node(connection, keys, now_ms, os.urandom, registry, _generation(folder))
    try:
        yield HubParts(
            config=config,
            identity=identity,
            desk=EnrolmentDesk(
                authority=authority,
                hub=identity,
                invitations=invitations,
                host=host or config.boxes.names[0],
                port=config.boxes.port,
                now_ms=now_ms,
            ),
            registry=registry,
            node=node,
            store=store,
            admin_code=_admin_code(folder),
        )
    finally:
        for opened in (connection, enrolment, reader):
            opened.close()


async def run_hub(config: HubConfig, now_ms: NowMs) -> Never:
    """Serve until cancelled. Raises HubSetupError when the hub cannot start as configured."""
    with only_one(config.folder), Writer() as writer, open_hub(config, now_ms) as parts:
        hub = HubServer(parts, writer, now_ms)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            await hub.start(stack)
            tasks.create_task(hub.keep_sealing())
            tasks.create_task(hub.relay.run())
        raise AssertionError("the hub's tasks run until they are cancelled")


class HubServer:
    """The running hub; implements what its pages and its relay ask for."""

    def __init__(self, parts: HubParts, writer: Writer, now_ms: NowMs) -> None:
        self._parts = parts
        self._writer = writer
        self._now_ms = now_ms
        self._gate = BoxGate(parts.identity.trust, denied=frozenset(), now_ms=now_ms)
        self._exchange = ExchangeDesk(parts.node, writer, self._gate, self._on_import)
        self.relay = LessonRelay(
            LessonShelf(parts.config.folder / "lessons"), parts.registry, self._identify
        )
        self._readers: set[asyncio.Queue[str]] = set()

    async def start(self, stack: AsyncExitStack) -> None:
        """Open both ports; their servers end with ``stack``."""
        await self._publish_new_boxes()
        parts, config = self._parts, self._parts.config
        boxes = web.Application(client_max_size=MESSAGE_BYTES_MAX, middlewares=[self._notice_boxes])
        add_enrolment_routes(boxes, parts.desk, self._gate)
        self._exchange.add_routes(boxes)
        self.relay.add_routes(boxes)
        await _serve(
            stack,
            boxes,
            [config.boxes.address],
            config.boxes.port,
            hub_box_port_context(parts.identity),
        )
        await _serve(
            stack,
            build_pages(self, random.SystemRandom()),
            config.pages.addresses,
            config.pages.port,
            pages_context(parts.identity.tls_pem),
        )

    async def keep_sealing(self) -> Never:
        """Seal what the hub wrote, here or by an administration command, and tell the schools."""
        policy = SealPolicy(age_ms=int(self._parts.config.seal.after_s * 1000))
        while True:
            await self._publish_new_boxes()
            if await self._writer.call(self._parts.node.seal_due, policy):
                self._exchange.wake()
                self._tell("schedule")
            await asyncio.sleep(_SEAL_EVERY_S)

    @property
    def district(self) -> str:
        return self._parts.config.district

    @property
    def district_name(self) -> str:
        return self._parts.config.district_name

    def now_ms(self) -> int:
        return self._now_ms()

    def connect(self) -> sqlite3.Connection:
        return connect_readonly(self._parts.store)

    def check_admin_code(self, code: str) -> bool:
        return hmac.compare_digest(code.strip().encode(), self._parts.admin_code.encode())

    def school_lights(self) -> Sequence[SchoolLight]:
        lights = []
        for box in self._parts.registry.boxes():
            beat = self._exchange.heartbeats.get(box.binding.school)
            lights.append(
                SchoolLight(
                    school=box.binding.school,
                    heartbeat_ms=beat.seen_ms if beat else None,
                    stored_ms=beat.stored_ms if beat else None,
                    lag_ms=0 if beat and not beat.waiting_bytes else None,
                    box=box.binding.box,
                    not_after_ms=box.binding.not_after_ms,
                )
            )
        return lights

    def lesson_flow(self, lesson: str) -> Sequence[FlowLight]:
        seen = self.relay.evidence(lesson)
        if seen is None:
            return []
        now_ms = self._now_ms()
        media_ms = None if seen.media_age_ms is None else now_ms - seen.media_age_ms
        return [
            FlowLight(
                school=school,
                role=role,
                fragment_ms=media_ms if role == "flagship" or school in seen.followers else None,
                fragments=0,
                bytes=seen.stored_bytes,
                missing=None,
            )
            for school, role in self._parts.registry.parties(lesson).items()
        ]

    def record(self, table: str, rows: list[Row]) -> None:
        self._writer.call_from_thread(self._parts.node.record, table, rows)

    async def events(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(_EVENTS_MAX)
        self._readers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._readers.discard(queue)

    def _identify(self, request: web.Request) -> int:
        try:
            return calling_box(request, self._gate).school
        except RefusedError as refusal:
            raise web.HTTPForbidden(text=str(refusal)) from refusal

    @web.middleware
    async def _notice_boxes(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path.startswith("/enrol/"):
            await self._publish_new_boxes()
        return response

    async def _publish_new_boxes(self) -> None:
        new = await self._writer.call(self._parts.registry.refresh)
        if new:
            await self._writer.call(self._parts.node.record, "box_certificate", box_rows(new))
            for box in new:
                _log.info("school %d enrolled box %s", box.binding.school, box.binding.box)
                self._tell(f"school:{box.binding.school}")

    def _on_import(self, school: int, imported: Imported) -> None:
        self._tell(f"school:{school}")
        if any(BY_NAME[name].audience is Audience.LESSON for name in imported.tables):
            self._exchange.wake()

    def _tell(self, change: str) -> None:
        for queue in self._readers:
            if not queue.full():
                queue.put_nowait(change)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for one daemon; raises HubSetupError if another has it."""
    private_folder(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HubSetupError(
                f"{folder}: another hub runs on this folder; stop it, or name another folder"
            ) from error
        yield


async def _serve(
    stack: AsyncExitStack,
    app: web.Application,
    addresses: Sequence[str],
    port: int,
    context: object,
) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for address in addresses:
        try:
            await web.TCPSite(runner, address, port, ssl_context=context).start()  # type: ignore[arg-type]  # an SSLContext
        except OSError as error:
            raise HubSetupError(
                f"{address}:{port} cannot be served ({error.strerror}); stop the program that has"
                " it, or change the port in the configuration"
            ) from error


def _generation(folder: Path) -> bytes:
    """Return the marker beside the store; a store restored from elsewhere has another."""
    path = folder / "generation"
    if not path.exists():
        write_private(path, secrets.token_bytes(16))
    return read_private(path)


def _admin_code(folder: Path) -> str:
    path = folder / "admin-code"
    if not path.exists():
        alphabet = "23456789abcdefghjkmnpqrstuvwxyz"
        code = "".join(secrets.choice(alphabet) for _ in range(_ADMIN_CODE_CHARACTERS))
        write_private(path, code.encode())
    return read_private(path).decode()
