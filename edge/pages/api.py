"""The same facts and actions as JSON, for the command line and for the pages' own scripts."""

import asyncio
import re
import sqlite3
from dataclasses import replace
from typing import Annotated

import msgspec
from aiohttp import web

from drivers.entities import DeviceId
from drivers.errors import DriverError
from edge.pages.access import SetupSessions, address_of, who_asks
from edge.pages.actions import Actions, Adopt, Command, Discover, Dismiss
from edge.pages.box_view import BoxView, DeviceLight, LaneLight, values_shown
from edge.pages.json_wishes import json_answer, read_wish
from edge.pages.language import Language, choose_language, clock_time, load_languages
from edge.pages.lesson_words import told_lesson
from edge.pages.rooms import asked_room
from edge.pages.screens import screen_token
from edge.pages.streams import Streams, tell_names
from provisioning.code_sessions import TooManyAttemptsError, WrongCodeError

SNAPSHOTS_AT_ONCE = 4
SNAPSHOT_S_MAX = 8
SNAPSHOT_BYTES_MAX = 8 * 1024 * 1024
JPEG_START = b"\xff\xd8\xff"
NUMBER = re.compile(r"[0-9]{1,15}")


class SetupCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(max_length=64)]


class Api:
    """Reads are open where a page shows them to everyone; the rest wants a setup session."""

    def __init__(
        self, view: BoxView, sessions: SetupSessions, actions: Actions, streams: Streams
    ) -> None:
        self._view = view
        self._sessions = sessions
        self._actions = actions
        self._streams = streams
        self._snapshots = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.health),
            web.get("/api/now", self.now),
            web.get("/api/status", self.status),
            web.get("/api/values", self.values),
            web.get("/api/lesson", self.lesson),
            web.get("/api/events", self.events),
            web.post("/api/session", self.open_session),
            web.delete("/api/session", self.close_session),
            web.get("/api/candidates", self.candidates),
            web.get("/api/log", self.log),
            web.get("/api/snapshot/{device}", self.snapshot),
            web.post("/api/discover", self.discover),
            web.post("/api/adopt", self.adopt),
            web.post("/api/dismiss", self.dismiss),
            web.post("/api/command", self.command),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        """Say that the daemon answers and its store can be read."""
        try:
            await asyncio.to_thread(self._read_store)
        except sqlite3.Error as error:
            raise web.HTTPServiceUnavailable(text=f"the store cannot be read: {error}") from error
        return json_answer({"ok": True, "school": self._view.school})

    async def now(self, _request: web.Request) -> web.Response:
        return json_answer({"now_ms": self._view.now_ms()})

    async def status(self, request: web.Request) -> web.Response:
        view = self._view
        signed_in = self._sessions.holds(request)
        sync, discovery = view.sync_lights(), view.discovery_progress()
        return json_answer(
            {
                "district": view.district,
                "school": view.school,
                "school_name": view.school_name,
                "now_ms": view.now_ms(),
                "devices": [_device(light, signed_in=signed_in) for light in view.device_lights()],
                "candidates": len(view.candidates()),
                "discovery": discovery if signed_in else replace(discovery, unsearched=()),
                "sync": {
                    "link": sync.link,
                    "since_ms": sync.since_ms,
                    "last_exchange_ms": sync.last_exchange_ms,
                    "lanes": [_lane(lane) for lane in sync.lanes],
                },
            }
        )

    async def values(self, request: web.Request) -> web.Response:
        signed_in = self._sessions.holds(request)
        values = values_shown(self._view.live_values(), signed_in=signed_in)
        return json_answer({"now_ms": self._view.now_ms(), "values": values})

    async def lesson(self, request: web.Request) -> web.Response:
        """Return a room's lesson; ``starts`` is its hour in the school's time.

        Only the room's own paired screen, and who has the setup code, is told the teacher's code.
        """
        view = self._view
        room = asked_room(request)
        lesson = view.lesson_now(room)
        if lesson is not None and not self._may_show_code(request, room):
            lesson = replace(lesson, teacher_code="")
        starts = lesson and clock_time(lesson.starts_ms, view.timezone)
        told = lesson and told_lesson(lesson, self._language(request))
        return json_answer({"now_ms": view.now_ms(), "lesson": told, "starts": starts})

    def _may_show_code(self, request: web.Request, room: str) -> bool:
        """Tell whether who asks is shown the teacher's code; a screen that asks is there."""
        screens = self._view.cards.screens
        screen = screens.find(screen_token(request))
        if screen is not None:
            screens.note_seen(screen.screen, screen.version)
        return (screen is not None and screen.room == room) or self._sessions.holds(request)

    def _language(self, request: web.Request) -> Language:
        return load_languages()[choose_language(request, self._view.language_default)]

    async def candidates(self, request: web.Request) -> web.Response:
        self._require_session(request)
        return json_answer(
            {
                "discovery": self._view.discovery_progress(),
                "candidates": list(self._view.candidates()),
            }
        )

    async def log(self, request: web.Request) -> web.Response:
        self._require_session(request)
        try:
            after = int(request.query.get("after", "0"))
        except ValueError:
            raise web.HTTPBadRequest(text="after is the number of a log line") from None
        return json_answer({"lines": list(self._view.log_lines(after))})

    async def snapshot(self, request: web.Request) -> web.Response:
        self._require_session(request)
        device = DeviceId(request.match_info["device"])
        if all(light.device != device for light in self._view.device_lights()):
            raise web.HTTPNotFound(text=f"{device} is not adopted here")
        try:
            async with asyncio.timeout(SNAPSHOT_S_MAX), self._snapshots:
                picture = await self._view.snapshot(device)
        except (DriverError, TimeoutError) as error:
            raise web.HTTPGatewayTimeout(text=f"{device} gives no picture: {error}") from error
        if not picture.startswith(JPEG_START) or len(picture) > SNAPSHOT_BYTES_MAX:
            raise web.HTTPBadGateway(text=f"{device} sent something that is no JPEG picture")
        return web.Response(
            body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"}
        )

    async def open_session(self, request: web.Request) -> web.Response:
        wish = await read_wish(request, SetupCode)
        try:
            token = self._sessions.open(wish.code, address_of(request))
        except WrongCodeError:
            raise web.HTTPForbidden(text="wrong setup code") from None
        except TooManyAttemptsError as error:
            raise web.HTTPTooManyRequests(
                text=str(error), headers={"Retry-After": str(error.retry_s)}
            ) from error
        response = json_answer({"opened": True})
        self._sessions.give_cookie(response, token)
        return response

    async def close_session(self, request: web.Request) -> web.Response:
        self._sessions.close(self._sessions.token_of(request))
        response = json_answer({"opened": False})
        self._sessions.take_cookie(response)
        return response

    async def discover(self, request: web.Request) -> web.Response:
        self._require_session(request)
        await self._actions.discover(await read_wish(request, Discover))
        return json_answer({"discovery": self._view.discovery_progress()})

    async def adopt(self, request: web.Request) -> web.Response:
        self._require_session(request)
        wish = await read_wish(request, Adopt)
        return json_answer({"device": await self._actions.adopt(wish, who_asks(request))})

    async def dismiss(self, request: web.Request) -> web.Response:
        self._require_session(request)
        wish = await read_wish(request, Dismiss)
        await self._actions.dismiss(wish, who_asks(request))
        return json_answer({"dismissed": wish.identity})

    async def command(self, request: web.Request) -> web.Response:
        self._require_session(request)
        wish = await read_wish(request, Command)
        return json_answer(await self._actions.command(wish, who_asks(request)))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream change notifications; of a page's own number also those since it was made."""
        page = request.query.get("since", "")
        first = self._view.changes_since(int(page)) if NUMBER.fullmatch(page) else ()
        return await self._streams.serve(request, self._view.events(), tell_names, first)

    def _read_store(self) -> None:
        connection = self._view.connect()
        try:
            connection.execute("SELECT 1").fetchone()
        finally:
            connection.close()

    def _require_session(self, request: web.Request) -> None:
        if not self._sessions.holds(request):
            raise web.HTTPForbidden(text="open a session first: POST /api/session with the code")


def _device(light: DeviceLight, *, signed_in: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "device": light.device,
        "kind": light.kind,
        "name": light.name,
        "room": light.room,
        "state": light.state,
        "sign": light.sign,
        "evidence_ms": light.evidence_ms,
        "last_command": light.last_command,
    }
    if signed_in:
        shown |= {"address": light.address, "detail": light.detail, "commands": light.commands}
    return shown


def _lane(lane: LaneLight) -> dict[str, object]:
    return {
        "lane": lane.lane.name.lower(),
        "sealed": lane.sealed,
        "stored": lane.stored,
        "applied": lane.applied,
        "under_way_bytes": lane.under_way_bytes,
        "waiting_rows": lane.waiting_rows,
        "waiting_bytes": lane.waiting_bytes,
        "sealed_ms": lane.sealed_ms,
        "stored_ms": lane.stored_ms,
        "oldest_waiting_ms": lane.oldest_waiting_ms,
    }
