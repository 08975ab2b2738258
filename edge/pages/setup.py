"""The setup page: what needs doing, what was found, what is adopted, what waits to go home."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from aiohttp import web

from drivers.discovery.candidate import DeviceKind
from drivers.entities import Measurement
from edge.pages.access import SetupSessions, address_of, session_token
from edge.pages.actions import (
    ActionError,
    Actions,
    Adopt,
    Command,
    Discover,
    Dismiss,
    Shelve,
    Unshelve,
    explain,
)
from edge.pages.box_view import BoxView, DeviceLight, Light, values_shown
from edge.pages.forms import read_form
from edge.pages.queries import Room, read_rooms
from edge.pages.rendering import Renderer
from edge.pages.repair_words import wrong_and_remedy
from edge.repairs import Repair
from provisioning.code_sessions import TooManyAttemptsError, WrongCodeError
from provisioning.posted_form import read_posted

LOG_LINES_SHOWN = 200
DIAGNOSTICS_S_MAX = 60
SAID = ("adopted", "dismissed", "searching", "done")
PAGES_WITH_CODE = frozenset(
    {"/safety", "/sports", "/office", "/boards", "/farm", "/farm/experiments", "/farm/log"}
)
KIND_ORDER = tuple(DeviceKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One line of what needs doing now; ``target`` is where on the pages it is done.

    ``light`` is the device that it concerns, if one; ``says_what``: its text says what is wrong.
    """

    key: str
    state: Light
    text: str
    target: str
    light: DeviceLight | None = None
    says_what: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What came of the last action."""

    state: Light
    text: str
    detail: str = ""


class SetupPage:
    """Shows lights to everyone on the LAN; finds, logs and buttons to who has the setup code."""

    def __init__(
        self, view: BoxView, renderer: Renderer, sessions: SetupSessions, actions: Actions
    ) -> None:
        self._view = view
        self._renderer = renderer
        self._sessions = sessions
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.show),
            web.post("/setup/session", self.open_session),
            web.post("/setup/session/close", self.close_session),
            web.post("/setup/discover", self.discover),
            web.post("/setup/discover/stop", self.stop_discovery),
            web.post("/setup/adopt", self.adopt),
            web.post("/setup/dismiss", self.dismiss),
            web.post("/setup/command", self.command),
            web.post("/setup/shelve", self.shelve),
            web.get("/setup/diagnostics.zip", self.diagnostics),
            web.post("/setup/unshelve", self.unshelve),
        ]

    async def show(self, request: web.Request) -> web.Response:
        said = request.query.get("said")
        return await self._page(request, self._said(request, said) if said in SAID else None)

    async def open_session(self, request: web.Request) -> web.Response:
        code = str((await read_posted(request)).get("code", ""))
        _ = self._renderer.language(request).translations.gettext
        try:
            token = self._sessions.open(code, address_of(request))
        except WrongCodeError:
            text = _("That is not the setup code. “schoolnode doctor”, run on the box, shows it.")
            return await self._page(request, Message(state=Light.BAD, text=text), status=403)
        except TooManyAttemptsError as error:
            text = _("Too many tries. Wait {n} s, then try again.").replace(
                "{n}", str(error.retry_s)
            )
            response = await self._page(request, Message(state=Light.BAD, text=text), status=429)
            response.headers["Retry-After"] = str(error.retry_s)
            return response
        asked = str((await read_posted(request)).get("next", ""))
        answer = web.HTTPSeeOther(asked if asked in PAGES_WITH_CODE else "/")
        self._sessions.give_cookie(answer, token)
        raise answer

    async def close_session(self, request: web.Request) -> web.Response:
        self._sessions.close(session_token(request))
        answer = web.HTTPSeeOther("/")
        self._sessions.take_cookie(answer)
        raise answer

    async def discover(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.discover(await read_form(request, Discover))
            return "/?said=searching#found"

        return await self._act(request, act)

    async def stop_discovery(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.stop_discovery()
            return "/#found"

        return await self._act(request, act)

    async def adopt(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.adopt(await read_form(request, Adopt), _who(request))
            return "/?said=adopted#devices"

        return await self._act(request, act)

    async def dismiss(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.dismiss(await read_form(request, Dismiss), _who(request))
            return "/?said=dismissed#found"

        return await self._act(request, act)

    async def command(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.command(await read_form(request, Command), _who(request))
            return "/?said=done#devices"

        return await self._act(request, act)

    async def diagnostics(self, request: web.Request) -> web.Response:
        """Send what a supporter may see, to who has the setup code."""
        if not self._sessions.knows(session_token(request)):
            raise web.HTTPForbidden(text="enter the setup code on the set-up page first")
        try:
            async with asyncio.timeout(DIAGNOSTICS_S_MAX):
                archive = await self._view.diagnostics()
        except (sqlite3.Error, TimeoutError) as error:
            raise web.HTTPServiceUnavailable(text=f"not ready: {error}") from error
        return web.Response(
            body=archive,
            content_type="application/zip",
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": 'attachment; filename="schoolnode-diagnostics.zip"',
            },
        )

    async def shelve(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.shelve(await read_form(request, Shelve), _who(request))
            return "/#tasks"

        return await self._act(request, act)

    async def unshelve(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.unshelve(await read_form(request, Unshelve), _who(request))
            return "/#tasks"

        return await self._act(request, act)

    async def _act(self, request: web.Request, act: Callable[[], Awaitable[str]]) -> web.Response:
        _ = self._renderer.language(request).translations.gettext
        if not self._sessions.knows(session_token(request)):
            text = _("Enter the setup code first.")
            return await self._page(request, Message(state=Light.BAD, text=text), status=403)
        try:
            target = await act()
        except ActionError as error:
            message = Message(state=Light.BAD, text=explain(error, _), detail=error.detail)
            return await self._page(request, message, status=error.status)
        raise web.HTTPSeeOther(target)

    async def _page(
        self, request: web.Request, message: Message | None, *, status: int = 200
    ) -> web.Response:
        view = self._view
        rooms = await asyncio.to_thread(self._rooms)
        lights = sorted(
            view.device_lights(),
            key=lambda light: (KIND_ORDER.index(light.kind), light.name, light.device),
        )
        signed_in = self._sessions.knows(session_token(request))
        repairs = view.repairs.list(has_rooms=bool(rooms))
        return self._renderer.page(
            request,
            "setup.html",
            {
                "signed_in": signed_in,
                "message": message,
                "tasks": [self._task(request, repair) for repair in repairs.waiting],
                "shelved": [
                    (self._task(request, repair), told) for repair, told in repairs.shelved
                ],
                "candidates": view.candidates() if signed_in else (),
                "candidate_count": len(view.candidates()),
                "progress": view.discovery_progress(),
                "rooms": rooms,
                "room_names": {room.room: room.name for room in rooms},
                "lights": lights,
                "values": _by_device(values_shown(view.live_values(), signed_in=signed_in)),
                "sync": view.sync_lights(),
                "standing": view.sync_standing(),
                "clock": view.clock_light(),
                "log": tuple(view.log_lines(0))[-LOG_LINES_SHOWN:] if signed_in else (),
            },
            status=status,
        )

    def _rooms(self) -> list[Room]:
        with closing(self._view.connect()) as connection:
            return read_rooms(connection, self._view.school)

    def _task(self, request: web.Request, repair: Repair) -> Task:
        language = self._renderer.language(request)
        wrong, remedy = wrong_and_remedy(repair, language)
        between = "" if language.locale.language == "zh" else " "
        return Task(
            key=repair.key,
            state=repair.state,
            text=between.join(filter(None, (wrong, remedy))),
            target=repair.target,
            light=repair.light,
            says_what=bool(wrong),
        )

    def _said(self, request: web.Request, said: str) -> Message:
        _ = self._renderer.language(request).translations.gettext
        texts: Mapping[str, str] = {
            "adopted": _("Adopted. It now works for this school."),
            "dismissed": _("Put aside. A new search finds it again."),
            "searching": _("Searching. You can leave this page; the search goes on."),
            "done": _("Done. What came of it stands at the device."),
        }
        return Message(state=Light.GOOD, text=texts[said])


def _who(request: web.Request) -> str:
    return f"setup code from {address_of(request)}"


def _by_device(values: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    sorted_values: dict[str, list[Measurement]] = {}
    for value in values:
        sorted_values.setdefault(value.device, []).append(value)
    return sorted_values
