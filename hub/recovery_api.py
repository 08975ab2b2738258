"""What a box asks of its hub for its backup and its rebuilding, on the boxes' port.

A box reaches its own school's part alone: the school is the certificate's. Bodies and answers are
msgpack (``sync.persons.vault_backup``, ``sync.persons.restore``).
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.calls_under_way import CallsUnderWay
from hub.exchange_api import drop_when_stalled
from hub.vault_shelf import VaultShelf
from provisioning.box_gate import BoxGate
from provisioning.certificates import Binding
from provisioning.enrolment_api import calling_box, refusal_response
from provisioning.errors import RefusedError
from sync.errors import SyncError
from sync.persons.restore import SchoolPicture, read_holdings, read_picture
from sync.persons.vault_backup import BACKUP_BYTES_MAX, ShareWish, sign_receipt
from sync.writer import Writer

_log = logging.getLogger(__name__)

STATE_PATH = "/vault"
SHARE_PATH = "/vault/share"
BACKUP_PATH = "/vault/backup"
HOLDINGS_PATH = "/school/holdings"
PICTURE_PATH = "/school/picture"
BODY_S_MAX = 1200.0
"""4 MiB take so long at 30 kbit/s."""
SILENCE_S_MAX = 60.0
"""A body of which nothing came for so long has lost its line."""
CALLS_OF_A_SCHOOL_MAX = 4
"""A box makes one for its backup and one for its rebuilding; each may hold 4 MiB here."""
PICTURES_AT_ONCE = 1
"""Each reads all rows of one school; more wait their turn."""
MEDIA_TYPE = "application/x-schoolnode-sync"

_Route = Callable[[Binding, web.Request], Coroutine[None, None, bytes]]


class RecoveryDesk:
    """Answers boxes; ``signing`` is the hub's key, ``connect`` opens its store for reading."""

    def __init__(
        self,
        shelf: VaultShelf,
        writer: Writer,
        gate: BoxGate,
        signing: Ed25519PrivateKey,
        connect: Callable[[], sqlite3.Connection],
    ) -> None:
        self._shelf = shelf
        self._writer = writer
        self._gate = gate
        self._signing = signing
        self._connect = connect
        self._pictures = asyncio.Semaphore(PICTURES_AT_ONCE)
        self._calls = CallsUnderWay()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(STATE_PATH, self._judged(self._state), allow_head=False)
        app.router.add_post(SHARE_PATH, self._judged(self._share))
        app.router.add_put(BACKUP_PATH, self._judged(self._store))
        app.router.add_get(BACKUP_PATH, self._judged(self._copy), allow_head=False)
        app.router.add_get(HOLDINGS_PATH, self._judged(self._holdings), allow_head=False)
        app.router.add_get(PICTURE_PATH, self._judged(self._picture), allow_head=False)

    def _judged(
        self, route: _Route
    ) -> Callable[[web.Request], Coroutine[None, None, web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                box = calling_box(request, self._gate)
            except RefusedError as refusal:
                return refusal_response(refusal)
            with self._counted(box.school):
                drop_when_stalled(request)
                try:
                    body = await route(box, request)
                except SyncError as error:
                    _log.warning("school %d, box %s: %s", box.school, box.box, error)
                    raise web.HTTPConflict(text=str(error)) from error
                response = web.Response(body=body, content_type=MEDIA_TYPE)
                await response.prepare(request)
                await response.write_eof()
            return response

        return answer

    @contextmanager
    def _counted(self, school: int) -> Iterator[None]:
        if self._calls.of(school) >= CALLS_OF_A_SCHOOL_MAX:
            raise web.HTTPServiceUnavailable(
                text=f"{CALLS_OF_A_SCHOOL_MAX} calls of this school are under way; wait",
                headers={"Retry-After": "5"},
            )
        with self._calls.one(school):
            yield

    async def _state(self, box: Binding, _: web.Request) -> bytes:
        return msgspec.msgpack.encode(await self._writer.call(self._shelf.state, box.school))

    async def _share(self, box: Binding, request: web.Request) -> bytes:
        wish = parse_wish(await _body(request, 64))
        share = await self._writer.call(self._shelf.share_after, box.school, wish.after)
        return msgspec.msgpack.encode(share)

    async def _store(self, box: Binding, request: web.Request) -> bytes:
        backup = await _body(request, BACKUP_BYTES_MAX)
        receipt = await self._writer.call(self._shelf.store, box.school, box.box, backup)
        _log.info(
            "school %d stored vault backup %d (%d bytes, share %d)",
            box.school,
            receipt.number,
            len(backup),
            receipt.generation,
        )
        return msgspec.msgpack.encode(sign_receipt(receipt, self._signing))

    async def _copy(self, box: Binding, _: web.Request) -> bytes:
        copy = await self._writer.call(self._shelf.copy, box.school)
        if copy is None:
            raise web.HTTPNotFound(text="this school has stored no vault backup here")
        _log.warning("school %d, box %s took its vault's backup", box.school, box.box)
        return msgspec.msgpack.encode(copy)

    async def _holdings(self, box: Binding, _: web.Request) -> bytes:
        def read() -> SchoolPicture:
            with closing(self._connect()) as connection:
                return SchoolPicture(read_holdings(connection.cursor(), box.school), {})

        async with self._pictures:
            return msgspec.msgpack.encode(await asyncio.to_thread(read))

    async def _picture(self, box: Binding, _: web.Request) -> bytes:
        def read() -> SchoolPicture:
            with closing(self._connect()) as connection:
                return read_picture(connection, box.school)

        async with self._pictures:
            return msgspec.msgpack.encode(await asyncio.to_thread(read))


def parse_wish(body: bytes) -> ShareWish:
    """Return a box's wish; raises HTTPBadRequest for what is none."""
    try:
        return msgspec.msgpack.decode(body, type=ShareWish)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text=f"no wish for a share: {error}") from error


async def _body(request: web.Request, bytes_max: int) -> bytes:
    """Return the body, bounded in size and time whatever the port's own limit is."""
    if (request.content_length or 0) > bytes_max:
        raise web.HTTPRequestEntityTooLarge(bytes_max, request.content_length or 0)
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            while True:
                async with asyncio.timeout(SILENCE_S_MAX):
                    chunk = await request.content.readany()
                if not chunk:
                    break
                content += chunk
                if len(content) > bytes_max:
                    raise web.HTTPRequestEntityTooLarge(bytes_max, len(content))
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from error
    return bytes(content)
