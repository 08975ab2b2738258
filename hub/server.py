"""The hub's daemon: opens the store, serves boxes and people, seals what the hub itself writes."""

import asyncio
import fcntl
import hmac
import logging
import os
import random
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Never

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.changes import Changes
from hub.config import HubConfig
from hub.exchange_api import ExchangeDesk
from hub.lesson.line_trial import LineTrial
from hub.lesson.objects import CacheOrigin
from hub.lesson.relay import LessonRelay
from hub.lesson.return_logs import keep_forgetting
from hub.lesson.timetable import Row
from hub.metrics import MetricsDesk
from hub.open_calls import OpenCalls
from hub.pages.app import build_pages
from hub.pages.hub_view import FlowLight, SchoolLight
from hub.recovery_api import RecoveryDesk
from hub.registry import EnrolledBox, LessonParties, Registry, box_row
from hub.vault_shelf import VaultShelf
from provisioning.authority import Authority, open_authority
from provisioning.box_gate import BoxGate
from provisioning.door import PortLimits
from provisioning.durable_file import private_folder
from provisioning.enrolment import EnrolmentDesk
from provisioning.enrolment_api import add_enrolment_routes, calling_box
from provisioning.enrolment_wire import REQUEST_PATH
from provisioning.errors import ProvisioningError, RefusedError
from provisioning.identity import HubIdentity, create_hub_identity
from provisioning.invitations import SqliteInvitations
from provisioning.program_folder import hold_folder, open_code, open_generation
from provisioning.scrape_token import METRICS_PATH, open_scrape_token
from provisioning.serving import serve_app
from provisioning.tls import hub_box_port_context, pages_context
from sync.exchange.message import MESSAGE_BYTES_MAX
from sync.history.bounding import HistoryPolicy
from sync.history.horizon import DAY_MS
from sync.history.tending import keep_bounded
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.node import Imported, Node, NodeKeys, SealPolicy
from sync.schema import BY_NAME
from sync.schema.model import Audience
from sync.segments.segment import HUB
from sync.store import connect_readonly, open_store
from sync.writer import Writer

_log = logging.getLogger(__name__)

BOXES_LIMITS = PortLimits(connections=8192, of_an_address=2048)
"""A box holds one stream and, in lessons, few more; many schools may call from behind one NAT."""
PAGES_LIMITS = PortLimits(connections=512, of_an_address=128)
_SEAL_EVERY_S = 0.5
_SEAL_RETRY_S = 5.0
_RENEW_EVERY_S = 24 * 3600.0
_ADMIN_CODE_CHARACTERS = 10
NowMs = Callable[[], int]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubParts:
    """What run and the administration commands share: the files of one hub, opened."""

    config: HubConfig
    authority: Authority
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
    store = folder / "hub.db"
    with ExitStack() as stack:
        with _in_turn(folder):
            authority = open_authority(
                folder / "authority", district=config.district, now_ms=now_ms()
            )
            identity = create_hub_identity(
                folder / "identity", authority, names=config.boxes.names, now_ms=now_ms()
            )
            connection = stack.enter_context(closing(open_store(store)))
            # How the hub finds the few that are revoked among all, again and again.
            connection.execute(
                "CREATE INDEX IF NOT EXISTS box_certificate_revoked ON box_certificate (box)"
                " WHERE revoked = 1"
            ).close()
            invitations = SqliteInvitations(stack.enter_context(closing(_open_enrolment(store))))
            generation, admin_code = open_generation(folder), _admin_code(folder)
        registry = Registry(
            identity, invitations, stack.enter_context(closing(connect_readonly(store)))
        )
        registry.read_boxes()
        keys = NodeKeys(origin=HUB, signing=identity.signing, sealing=identity.sealing)
        yield HubParts(
            config=config,
            authority=authority,
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
            node=Node(connection, keys, now_ms, os.urandom, registry, generation),
            store=store,
            admin_code=admin_code,
        )


async def run_hub(config: HubConfig, now_ms: NowMs) -> Never:
    """Serve until cancelled. Raises SetupError when the hub cannot start as configured."""
    # The writer ends before its store is closed: what was asked for is still written.
    with hold_folder(config.folder, "hub"), open_hub(config, now_ms) as parts, Writer() as writer:
        with closing(connect_readonly(parts.store)) as reader:
            hub = HubServer(parts, writer, reader, now_ms)
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
                await hub.start(stack, tasks)
                for work in hub.works():
                    tasks.create_task(work)
        raise AssertionError("the hub's tasks run until they are cancelled")


class HubServer:
    """The running hub; implements what its pages and its relay ask for."""

    def __init__(
        self, parts: HubParts, writer: Writer, reader: sqlite3.Connection, now_ms: NowMs
    ) -> None:
        """``reader`` is a read-only connection for the event loop's thread."""
        self._parts = parts
        self._writer = writer
        self._now_ms = now_ms
        self._changes = Changes()
        self._gate = BoxGate(parts.identity.trust, denied=parts.registry.revoked, now_ms=now_ms)
        self._calls = OpenCalls(self._gate)
        self._exchange = ExchangeDesk(parts.node, writer, self._gate, self._on_import)
        shelf = VaultShelf(
            parts.config.folder / "vaults", parts.config.backups.kept_days, now_ms, os.urandom
        )
        self._recovery = RecoveryDesk(
            shelf, writer, self._gate, parts.identity.signing, self.connect
        )
        self._parties = LessonParties(reader)
        lessons = LessonShelf(parts.config.folder / "lessons")
        cache_url = parts.config.lessons.cache_url
        self._lessons = lessons
        self._relay = LessonRelay(lessons, self._parties, self._identify, cache_url=cache_url)
        self._cache_origin = CacheOrigin(lessons, self._gate, self._parties.may_receive)
        self._boxes_context = hub_box_port_context(parts.identity)
        self._pages_context = pages_context(parts.identity.tls_pem)

    async def start(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        """Open both ports, served in ``tasks``; their servers end with ``stack``."""
        await self._tell_of_boxes()
        config = self._parts.config
        boxes = web.Application(
            client_max_size=MESSAGE_BYTES_MAX,
            middlewares=[self._calls.watch, self._notice_enrolment],
        )
        add_enrolment_routes(boxes, self._parts.desk, self._gate, self._writer)
        self._exchange.add_routes(boxes)
        self._relay.add_routes(boxes)
        LineTrial(self._parties, self._identify, os.urandom).add_routes(boxes)
        self._recovery.add_routes(boxes)
        address, port = config.boxes.address, config.boxes.port
        await serve_app(stack, tasks, boxes, [address], port, self._boxes_context, BOXES_LIMITS)
        if config.lessons.cache_url:
            await self._cache_origin.serve(stack, config.lessons.origin)
        pages = build_pages(self, random.SystemRandom())
        token = open_scrape_token(config.folder, os.urandom)
        metrics = MetricsDesk(token, self._now_ms, self.school_lights, self.connect)
        pages.router.add_get(METRICS_PATH, metrics.serve)
        addresses, port = config.pages.addresses, config.pages.port
        await serve_app(stack, tasks, pages, addresses, port, self._pages_context, PAGES_LIMITS)

    def works(self) -> list[Coroutine[None, None, Never]]:
        kept_ms = self._parts.config.backups.kept_days * DAY_MS
        history = self._parts.node.history
        bounded = keep_bounded(history, self._writer, HistoryPolicy(retention_ms=kept_ms))
        sealed, renewed = self._keep_sealing(), self._keep_renewed()
        returned = keep_forgetting(self._lessons, self._is_live, self._now_ms)
        return [sealed, renewed, self._calls.run(), self._relay.run(), bounded, returned]

    def _is_live(self, log: LessonId) -> bool:
        return self._relay.evidence(log) is not None

    async def _keep_sealing(self) -> Never:
        """Seal what the hub wrote, here or by an administration command, and tell the schools."""
        policy = SealPolicy(age_ms=int(self._parts.config.seal.after_s * 1000))
        while True:
            try:
                await self._writer.call(self._parts.registry.read_revoked)
                begun_ms = self._now_ms()
                if await self._writer.call(self._parts.node.seal_due, policy):
                    await self._wake_readers(HUB, begun_ms)
                    self._changes.tell("schedule")
            except sqlite3.Error as error:
                _log.warning("nothing is sealed (%s); rows wait unsealed", error)
                await asyncio.sleep(_SEAL_RETRY_S)
            await asyncio.sleep(_SEAL_EVERY_S)

    async def _keep_renewed(self) -> Never:
        """Have the hub's certificate issued anew in time, and take up what another process had."""
        parts = self._parts
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            try:
                identity = await self._writer.call(
                    create_hub_identity,
                    parts.config.folder / "identity",
                    parts.authority,
                    names=parts.config.boxes.names,
                    now_ms=self._now_ms(),
                )
            except ProvisioningError as error:
                _log.error("the hub's certificate is not renewed: %s", error)
                continue
            await self._writer.call(parts.desk.hub_renewed, identity)
            for context in (self._boxes_context, self._pages_context):
                context.load_cert_chain(identity.tls_pem)

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
        return [
            self._light(box)
            for box in self._parts.registry.boxes()
            if box.binding.box not in self._parts.registry.revoked
        ]

    def _light(self, box: EnrolledBox) -> SchoolLight:
        beat = self._exchange.heartbeats.get(box.binding.box)
        if beat is None:
            return SchoolLight(school=box.binding.school, box=box.binding.box)
        behind_ms = None if beat.caught_up_ms is None else self._now_ms() - beat.caught_up_ms
        return SchoolLight(
            school=box.binding.school,
            heartbeat_ms=beat.seen_ms,
            stored_ms=beat.stored_ms,
            lag_ms=behind_ms,
            waiting_bytes=beat.waiting_bytes,
            box=box.binding.box,
            not_after_ms=beat.certificate_until_ms,
        )

    def signing_keys(self, school: int) -> Sequence[Ed25519PublicKey]:
        return self._parts.registry.signing_keys(school)

    def lesson_flow(self, lesson: str) -> Sequence[FlowLight]:
        seen = self._relay.evidence(lesson)
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
            for school, role in self._parties.parties(lesson).items()
        ]

    def record_all(self, rows_by_table: Mapping[str, list[Row]]) -> None:
        self._writer.call_from_thread(self._parts.node.record_all, rows_by_table)

    def events(self) -> AsyncIterator[str]:
        return self._changes.follow()

    def _identify(self, request: web.Request) -> int:
        try:
            return calling_box(request, self._gate).school
        except RefusedError as refusal:
            raise web.HTTPForbidden(text=str(refusal)) from refusal

    @web.middleware
    async def _notice_enrolment(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path == REQUEST_PATH and response.status == HTTPStatus.OK:
            await self._writer.call(self._parts.registry.read_boxes)
            await self._tell_of_boxes()
        return response

    async def _tell_of_boxes(self) -> None:
        """Tell the schools of boxes they do not know; one that enrolled before a crash is told."""
        new = await self._writer.call(self._parts.registry.untold)
        rows = [box_row(box, revoked=False) for box in new]
        await self._writer.call(self._parts.node.record, "box_certificate", rows)
        for box in new:
            _log.info("school %d enrolled box %s", box.binding.school, box.binding.box)
            self._changes.tell(f"school:{box.binding.school}")

    async def _on_import(self, school: int, imported: Imported, since_ms: int) -> None:
        self._changes.tell(f"school:{school}")
        if any(BY_NAME[name].audience is Audience.LESSON for name in imported.tables):
            await self._wake_readers(school, since_ms)

    async def _wake_readers(self, origin: int, since_ms: int) -> None:
        """Wake the schools that what an origin's logs gained since concerns, and no others."""
        reached = await self._writer.call(self._parts.registry.reached_since, origin, since_ms)
        self._exchange.wake(reached - {origin})


@contextmanager
def _in_turn(folder: Path) -> Iterator[None]:
    """Let one process at a time make what a folder lacks: the daemon or a command."""
    private_folder(folder)
    with (folder / "opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open_enrolment(store: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(store, check_same_thread=False)
    connection.execute("PRAGMA busy_timeout=10000").close()
    connection.execute("PRAGMA synchronous=FULL").close()
    return connection


def _admin_code(folder: Path) -> str:
    return open_code(
        folder / "admin-code", "23456789abcdefghjkmnpqrstuvwxyz", _ADMIN_CODE_CHARACTERS
    )
