"""Pumps sync between this box and its hub over HTTPS with mutual TLS and a kept connection."""

import asyncio
import logging
import random
import sqlite3
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Never

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from edge.supervision import apart
from provisioning.identity import Identity
from sync.errors import MalformedError
from sync.exchange import CREDIT_BYTES, FIRST_BYTES_MAX, MESSAGE_BYTES_MAX, Session
from sync.fold import HUB
from sync.node import Imported, Node, SealPolicy
from sync.writer import Writer

_log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
SEAL_EVERY_S = 0.5
SEAL_RETRY_S = 5.0
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 10.0
# 256 KiB at 30 kbit/s take 70 s; a link that moves nothing for longer is cut.
SILENCE_S_MAX = 120.0
NOTIFY_S_MAX = 75.0
CONNECT_S_MAX = 20.0
# A request is to pass in this time, so that an alarm waits no longer and a cut costs no more.
REQUEST_S = 4.0


class HubUnreachableError(Exception):
    """The hub does not answer, or not as a hub of this version would: try again later."""


@dataclass(slots=True)
class UplinkState:
    """What is known of the link; moments are Unix ms."""

    connected: bool = False
    since_ms: int = 0
    last_exchange_ms: int | None = None
    detail: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
    refused: list[str] = field(default_factory=list)


class Uplink:
    """Seals what is due and exchanges whenever either end has something.

    ``on_import`` hears, on the event loop, what the hub sent.
    """

    def __init__(
        self,
        identity: Identity,
        context: ssl.SSLContext,
        node: Node,
        writer: Writer,
        *,
        policy: SealPolicy,
        rng: random.Random,
        on_import: Callable[[Imported], None],
        on_change: Callable[[], None],
    ) -> None:
        self._base = f"https://{identity.hub_host}:{identity.hub_port}"
        self._context = context
        self._node = node
        self._writer = writer
        self._policy = policy
        self._rng = rng
        self._on_import = on_import
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._request_bytes_max = FIRST_BYTES_MAX
        self.state = UplinkState(since_ms=node.clock.now_ms(), detail="not tried yet")

    async def run(self) -> Never:
        """Keep the link until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_sealing())
            tasks.create_task(self._keep_connected())
        raise AssertionError("the uplink's tasks run until they are cancelled")

    async def _keep_sealing(self) -> Never:
        while True:
            try:
                if await self._writer.call(self._node.seal_due, self._policy):
                    self._wake.set()
            except sqlite3.Error as error:
                _log.warning("nothing is sealed (%s); rows wait unsealed", error)
                await asyncio.sleep(SEAL_RETRY_S)
            await asyncio.sleep(SEAL_EVERY_S)

    async def _keep_connected(self) -> Never:
        backoff = wait_random_exponential(multiplier=RETRY_FIRST_S, max=RETRY_MAX_S)
        while True:
            async for attempt in AsyncRetrying(
                wait=backoff,
                retry=retry_if_exception_type((HubUnreachableError, sqlite3.Error)),
                before_sleep=self._note_failure,
            ):
                with attempt:
                    await self._serve_one_connection()
            await asyncio.sleep(self._rng.uniform(RETRY_FIRST_S / 2, RETRY_FIRST_S))

    async def _serve_one_connection(self) -> None:
        """Raise when no connection can be had; return when a working one was lost."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_S_MAX, sock_read=SILENCE_S_MAX
        )
        connector = aiohttp.TCPConnector(ssl=self._context, limit=2, keepalive_timeout=300)
        async with aiohttp.ClientSession(
            self._base, connector=connector, timeout=timeout, raise_for_status=False
        ) as http:
            session = Session(self._node, HUB)
            # Unsealed rows waited for this moment.
            await self._writer.call(self._node.seal_all)
            await self._exchange(http, session)
            try:
                await apart(self._keep_both(http, session))
            except* (HubUnreachableError, sqlite3.Error) as group:
                self._note_loss(group.exceptions[0])

    async def _keep_both(self, http: aiohttp.ClientSession, session: Session) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_listening(http))
            tasks.create_task(self._keep_exchanging(http, session))

    async def _keep_exchanging(self, http: aiohttp.ClientSession, session: Session) -> Never:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._exchange(http, session)

    async def _keep_listening(self, http: aiohttp.ClientSession) -> Never:
        timeout = aiohttp.ClientTimeout(total=NOTIFY_S_MAX)
        while True:
            try:
                async with http.get("/sync/notify", timeout=timeout) as response:
                    if response.status not in {200, 204}:
                        raise HubUnreachableError(await _explain(response))
                    if response.status == 200:  # noqa: PLR2004 - HTTP's own number
                        self._wake.set()
            except (aiohttp.ClientError, TimeoutError, ssl.SSLError) as error:
                raise HubUnreachableError(_describe(error)) from error

    async def _exchange(self, http: aiohttp.ClientSession, session: Session) -> None:
        """Go back and forth until neither side has anything more that the other takes."""
        waited = -1
        while True:
            request = await self._writer.call(session.request, self._request_bytes_max)
            begun_s = asyncio.get_running_loop().time()
            answer = await self._post(http, request)
            self._fit_requests(asyncio.get_running_loop().time() - begun_s)
            try:
                imported, message = await self._writer.call(session.receive_answer, answer)
            except MalformedError as error:
                raise HubUnreachableError(f"the hub's answer cannot be read: {error}") from error
            self.state.last_exchange_ms = self._node.clock.now_ms()
            self._note_answer()
            self.state.refused = [
                f"{each.log} segment {each.seq}: {each.reason}" for each in message.refused
            ]
            for reason in self.state.refused:
                _log.warning("the hub refused %s", reason)
            if imported.stored:
                self._on_import(imported)
            self._on_change()
            waiting = await self._writer.call(session.to_send_bytes)
            if not imported.stored and (waiting == waited or not message.waiting_bytes + waiting):
                return
            waited = waiting
            if message.retry_after_ms:
                await asyncio.sleep(min(message.retry_after_ms, 60_000) / 1000)

    def _fit_requests(self, took_s: float) -> None:
        """Let the next request be twice as long, or half, as the line carries it."""
        if took_s > REQUEST_S:
            self._request_bytes_max = max(self._request_bytes_max // 2, FIRST_BYTES_MAX)
        elif took_s < REQUEST_S / 2:
            self._request_bytes_max = min(self._request_bytes_max * 2, CREDIT_BYTES)

    async def _post(self, http: aiohttp.ClientSession, request: bytes) -> bytes:
        try:
            async with http.post("/sync/exchange", data=request) as response:
                if response.status != 200:  # noqa: PLR2004 - HTTP's own number
                    raise HubUnreachableError(await _explain(response))
                answer = await response.content.read(MESSAGE_BYTES_MAX + 1)
                while len(answer) <= MESSAGE_BYTES_MAX:
                    more = await response.content.read(MESSAGE_BYTES_MAX + 1 - len(answer))
                    if not more:
                        break
                    answer += more
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError) as error:
            raise HubUnreachableError(_describe(error)) from error
        self.state.sent_bytes += len(request)
        self.state.received_bytes += len(answer)
        return answer

    def _note_answer(self) -> None:
        if not self.state.connected:
            _log.info("connected to the hub at %s", self._base)
            self.state.connected = True
            self.state.since_ms = self._node.clock.now_ms()
        self.state.detail = "connected"

    def _note_failure(self, attempt: RetryCallState) -> None:
        self._note_loss(attempt.outcome.exception() if attempt.outcome else None)

    def _note_loss(self, error: BaseException | None) -> None:
        self._request_bytes_max = FIRST_BYTES_MAX
        if self.state.connected or not self.state.detail:
            _log.warning("the link to the hub is gone: %s; rows wait here until it is back", error)
            self.state.since_ms = self._node.clock.now_ms()
        self.state.connected = False
        self.state.detail = str(error)
        self._on_change()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _explain(response: aiohttp.ClientResponse) -> str:
    text = (await response.content.read(500)).decode(errors="replace")
    return f"the hub answered {response.status}: {text}"
