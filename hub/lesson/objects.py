"""Sealed records as immutable HTTP objects, for boxes and for the cache that stands before them.

On the boxes' port a box asks by its certificate. A cache asks over a Unix socket of its own
(:class:`CacheOrigin`), which only it may open: it fetches each object once, and asks at
``/lessons/{lesson}/admitted``, with the certificate that its TLS has verified, whom to serve.
"""

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from hub.errors import HubSetupError
from hub.lesson.admission import lesson_of
from provisioning.box_gate import BoxGate
from provisioning.errors import RefusedError
from sync.errors import MalformedError
from sync.lessons.fragment_index import Span
from sync.lessons.fragment_log import LessonId, Stream, TakeId, parse_take_id
from sync.lessons.fragment_objects import BATCH_BYTES_MAX, parse_object
from sync.lessons.fragment_shelf import LessonShelf

_log = logging.getLogger(__name__)

Admit = Callable[[web.Request], LessonId]
"""Returns the lesson that is asked for; raises what aiohttp answers to whom it is not for."""

CERTIFICATE_HEADER = "X-Box-Certificate"
SOCKET_MODE = 0o660
_CERTIFICATE_CHARACTERS_MAX = 8192
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NOT_YET = {"Cache-Control": "no-store"}


class LessonObjects:
    """Serves the objects of a shelf to whom ``admit`` lets."""

    def __init__(self, shelf: LessonShelf, admit: Admit) -> None:
        self._shelf = shelf
        self._admit = admit

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/lessons/{lesson}/{take}/{track}/{name}", self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        lesson = self._admit(request)
        try:
            take = parse_take_id(request.match_info["take"])
            stream, span = parse_object(request.match_info["track"], request.match_info["name"])
        except MalformedError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        body = self._read(lesson, take, stream, span)
        if body is None:
            text = "the hub does not hold all of this; ask again when its index names it"
            raise web.HTTPNotFound(text=text, headers=_NOT_YET)
        return web.Response(body=body, content_type="application/octet-stream", headers=_FOR_EVER)

    def _read(self, lesson: LessonId, take: TakeId, stream: Stream, span: Span) -> bytes | None:
        """Return the records of a run, None unless all are held and they are no more than fit."""
        store = self._shelf.find(lesson, take)
        first, last = span
        index = None if store is None else store.index(stream)
        if store is None or index is None:
            return None
        numbers = range(first, last + 1)
        if index.present.count_within(first, len(numbers)) < len(numbers):
            return None
        if sum(index.place(number)[1] for number in numbers) > BATCH_BYTES_MAX:
            return None
        wires = [store.read(stream, number) for number in numbers]
        whole = [wire for wire in wires if wire is not None]
        return b"".join(whole) if len(whole) == len(numbers) else None


class CacheOrigin:
    """What the cache is served, over a Unix socket."""

    def __init__(
        self,
        shelf: LessonShelf,
        gate: BoxGate,
        may_receive: Callable[[int, str], bool],
    ) -> None:
        self._objects = LessonObjects(shelf, lesson_of)
        self._gate = gate
        self._may_receive = may_receive

    async def serve(self, stack: AsyncExitStack, path: Path) -> None:
        """Serve until ``stack`` ends; raises HubSetupError when the socket cannot be had."""
        app = web.Application()
        app.router.add_get("/lessons/{lesson}/admitted", self._admitted)
        self._objects.add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, _listen(path)).start()
        _log.info("lessons' objects are served to a cache at %s", path)

    async def _admitted(self, request: web.Request) -> web.Response:
        lesson = lesson_of(request)
        try:
            box = self._gate.admit(_certificate(request))
        except RefusedError as refusal:
            raise web.HTTPForbidden(text=str(refusal), headers=_NOT_YET) from refusal
        if not self._may_receive(box.school, lesson):
            text = f"school {box.school} has no part in lesson {lesson}"
            raise web.HTTPForbidden(text=text, headers=_NOT_YET)
        return web.Response(status=204)


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        path.chmod(SOCKET_MODE)
    except OSError as error:
        listening.close()
        raise HubSetupError(
            f"{path}: the lessons' cache cannot be served here ({error.strerror or error}); name a"
            " shorter place in an existing folder, in the configuration under lessons.origin"
        ) from error
    return listening


def _certificate(request: web.Request) -> bytes | None:
    """Return the certificate that the cache verified, as DER; None for none that can be read."""
    escaped = request.headers.get(CERTIFICATE_HEADER, "")
    if not escaped or len(escaped) > _CERTIFICATE_CHARACTERS_MAX:
        return None
    try:
        return ssl.PEM_cert_to_DER_cert(unquote(escaped, errors="strict"))
    except ValueError:
        return None
