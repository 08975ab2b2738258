"""What the running daemon answers on its socket to `edge.control_client`."""

import socket
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from drivers.errors import DriverError
from edge.control_client import SOCKET, Confirm, Release, socket_path
from edge.daemon import Box
from edge.errors import BoxSetupError
from edge.lesson.recordings.recording_desk import RecordingDesk
from edge.pages.access import Handler
from edge.pages.actions import Adopt, Command, Discover
from edge.pages.language import load_languages
from edge.pages.repair_words import told
from edge.panels.board_desk import BoardDesk
from edge.recovery_desk import RecoveryDesk
from edge.roster_upload import UPLOAD_BYTES_MAX
from provisioning.errors import ProvisioningError
from sync.errors import SyncError

WHO = "command line"
_T = TypeVar("_T")


class ControlDesk:
    """Routes of the socket."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def app(self) -> web.Application:
        app = web.Application(client_max_size=UPLOAD_BYTES_MAX + 1, middlewares=[tell_errors])
        app.router.add_get("/candidates", self._candidates)
        app.router.add_post("/discover", self._discover)
        app.router.add_post("/discover/stop", self._stop_discovery)
        app.router.add_post("/adopt", self._adopt)
        app.router.add_post("/release", self._release)
        app.router.add_post("/command", self._command)
        self._box.rosters.add_routes(app)
        BoardDesk(self._box.boards).add_routes(app)
        app.router.add_get("/status", self._status)
        app.router.add_get("/repairs", self._repairs)
        app.router.add_get("/diagnostics", self._diagnostics)
        RecoveryDesk(self._box.recovery).add_routes(app)
        app.router.add_get("/partners/{school}", self._partners)
        app.router.add_post("/partners/{school}/confirm", self._confirm)
        self._box.key_desk().add_routes(app)
        self._box.courier.add_routes(app)
        RecordingDesk(self._box.recordings).add_routes(app)
        self._box.sync_desk.add_routes(app)
        return app

    async def _candidates(self, _: web.Request) -> web.Response:
        return _json(
            {"progress": self._box.discovery_progress(), "candidates": self._box.candidates()}
        )

    async def _discover(self, request: web.Request) -> web.Response:
        wish = await _body(request, Discover)
        await self._box.discover(wish.kinds or tuple(DeviceKind), wish.networks())
        return _json({"started": True})

    async def _stop_discovery(self, _: web.Request) -> web.Response:
        await self._box.stop_discovery()
        return _json({"stopped": True})

    async def _adopt(self, request: web.Request) -> web.Response:
        wish = await _body(request, Adopt)
        return _json({"device": await self._box.adopt(wish, who=WHO)})

    async def _release(self, request: web.Request) -> web.Response:
        wish = await _body(request, Release)
        await self._box.release(DeviceId(wish.device), who=WHO)
        return _json({"released": wish.device})

    async def _command(self, request: web.Request) -> web.Response:
        wish = await _body(request, Command)
        return _json(
            await self._box.command(DeviceId(wish.device), wish.command, wish.argument, who=WHO)
        )

    async def _repairs(self, request: web.Request) -> web.Response:
        """Tell what is wrong now, and what was put aside, in ``?language=``."""
        language = load_languages().get(request.query.get("language", "en"))
        if language is None:
            raise BoxSetupError("there is no such language; ask for en or zh-CN")
        now_ms, repairs = self._box.now_ms(), self._box.repairs.list()
        return _json(
            {
                "repairs": [told(repair, language, now_ms) for repair in repairs.waiting],
                "put_aside": [told(repair, language, now_ms) for repair, _ in repairs.shelved],
            }
        )

    async def _diagnostics(self, _: web.Request) -> web.Response:
        return _json({"archive": await self._box.diagnostics()})

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
        with socket_path(folder) as place:
            listening.bind(place)
    except OSError as error:
        raise BoxSetupError(
            f"{path}: {error}; give the box a folder of its own that it may write to"
        ) from error
    path.chmod(0o600)
    await web.SockSite(runner, listening).start()


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what went wrong as JSON, with the status that says whose turn it is."""
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
