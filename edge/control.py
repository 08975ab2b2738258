"""The command line's way into the running daemon: JSON on a Unix socket in the box's folder.

Whoever may open the folder may command the box; there is no other check here.
"""

import asyncio
import socket
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from drivers.errors import DriverError
from edge.daemon import Box
from edge.errors import BoxSetupError, DaemonAwayError
from edge.pages.access import Handler
from edge.pages.actions import Adopt, Command, Discover, Identity
from edge.panels.board_desk import BoardDesk
from edge.recovery_desk import RecoveryDesk
from edge.roster_upload import UPLOAD_BYTES_MAX
from provisioning.errors import ProvisioningError
from sync.errors import SyncError

SOCKET = "control.sock"
WHO = "command line"
ANSWER_S_MAX = 200.0
_T = TypeVar("_T")


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gives an adopted device up."""

    device: Identity


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A partner school's key as two people compared it."""

    fingerprint: str


class ControlDesk:
    """Routes of the socket."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def app(self) -> web.Application:
        app = web.Application(client_max_size=UPLOAD_BYTES_MAX + 1, middlewares=[_tell_errors])
        app.router.add_get("/candidates", self._candidates)
        app.router.add_post("/discover", self._discover)
        app.router.add_post("/adopt", self._adopt)
        app.router.add_post("/release", self._release)
        app.router.add_post("/command", self._command)
        self._box.rosters.add_routes(app)
        BoardDesk(self._box.boards).add_routes(app)
        app.router.add_get("/status", self._status)
        RecoveryDesk(self._box.recovery).add_routes(app)
        app.router.add_get("/partners/{school}", self._partners)
        app.router.add_post("/partners/{school}/confirm", self._confirm)
        self._box.key_desk().add_routes(app)
        self._box.courier.add_routes(app)
        self._box.sync_desk.add_routes(app)
        return app

    async def _candidates(self, _: web.Request) -> web.Response:
        return _json(
            {"progress": self._box.discovery_progress(), "candidates": self._box.candidates()}
        )

    async def _discover(self, request: web.Request) -> web.Response:
        wish = await _body(request, Discover)
        await self._box.discover(wish.kinds or tuple(DeviceKind))
        return _json({"started": True})

    async def _adopt(self, request: web.Request) -> web.Response:
        wish = await _body(request, Adopt)
        device = await self._box.adopt(
            wish.identity, room=wish.room, name=wish.name, password=wish.password, who=WHO
        )
        return _json({"device": device})

    async def _release(self, request: web.Request) -> web.Response:
        wish = await _body(request, Release)
        await self._box.release(DeviceId(wish.device), who=WHO)
        return _json({"released": wish.device})

    async def _command(self, request: web.Request) -> web.Response:
        wish = await _body(request, Command)
        return _json(
            await self._box.command(DeviceId(wish.device), wish.command, wish.argument, who=WHO)
        )

    async def _partners(self, request: web.Request) -> web.Response:
        return _json({"partners": await self._box.partners_of(_school(request))})

    async def _confirm(self, request: web.Request) -> web.Response:
        wish = await _body(request, Confirm)
        await self._box.confirm_partner(_school(request), wish.fingerprint, WHO)
        return _json({"confirmed": wish.fingerprint})

    async def _status(self, _: web.Request) -> web.Response:
        return _json(
            {
                "school": self._box.school,
                "school_name": self._box.school_name,
                "sync": self._box.sync_lights(),
                "uplink": self._box.uplink_state(),
                "clock": self._box.clock_watch.light(),
                "devices": self._box.device_lights(),
                "values": self._box.live_values(),
            }
        )


async def serve_control(stack: AsyncExitStack, box: Box, folder: Path) -> None:
    """Open the socket; a stale one of a killed daemon is replaced."""
    path = folder / SOCKET
    path.unlink(missing_ok=True)
    runner = web.AppRunner(ControlDesk(box).app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
    except OSError as error:
        raise BoxSetupError(
            f"{path}: {error}; give the box a folder with a shorter path"
        ) from error
    path.chmod(0o600)
    await web.SockSite(runner, listening).start()


def ask_box(folder: Path, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    """Ask the running daemon from the command line.

    Raises DaemonAwayError when none answers on ``folder``, BoxSetupError with what it answered.
    """
    return asyncio.run(ask_daemon(folder, method, path, body))


async def ask_daemon(
    folder: Path, method: str, path: str, body: bytes | None = None
) -> dict[str, Any]:
    """Do the same on the running event loop."""
    connector = aiohttp.UnixConnector(str(folder / SOCKET))
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            http.request(method, f"http://box{path}", data=body) as response,
        ):
            content = await response.read()
    except aiohttp.ClientConnectorError as error:
        raise DaemonAwayError(
            f"no daemon runs on {folder}; start it: schoolnode edge run"
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DaemonAwayError(
            f"the daemon on {folder} did not answer ({error}); try again"
        ) from error
    try:
        answer = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(
            f"the daemon on {folder} answers {response.status} in no form this version knows; stop"
            " it and start it again"
        ) from error
    if response.status >= 400:  # noqa: PLR2004 - HTTP's own border
        raise BoxSetupError(str(answer["error"]))
    return answer


@web.middleware
async def _tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (DriverError, BoxSetupError, ProvisioningError, ValueError) as error:
        return _json({"error": str(error)}, status=409)
    except (sqlite3.Error, SyncError) as error:
        return _json({"error": f"it cannot be written down: {error}"}, status=507)
    except web.HTTPException as error:
        return _json({"error": error.text or error.reason}, status=error.status)


def _school(request: web.Request) -> int:
    number = request.match_info["school"]
    if not (number.isascii() and number.isdigit()):
        raise BoxSetupError(f"{number}: a school's number has digits only")
    return int(number)


async def _body(request: web.Request, kind: type[_T]) -> _T:
    return msgspec.json.decode(await request.read(), type=kind)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )
