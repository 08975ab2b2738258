"""The setup page: what needs doing, what was found, what is adopted, what waits to go home."""

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from drivers.discovery.candidate import DeviceKind
from edge.pages.access import address_of
from edge.pages.actions import Actions, Adopt, Command, Discover, Dismiss, Shelve, Unshelve
from edge.pages.box_view import DeviceLight, Light, by_device, values_shown
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.repair_words import wrong_and_remedy
from edge.pages.rooms import Rooms
from edge.repairs import Repair
from provisioning.code_sessions import TooManyAttemptsError, WrongCodeError
from provisioning.posted_form import read_posted

LOG_LINES_SHOWN = 200
DIAGNOSTICS_S_MAX = 60
PAGES_WITH_CODE = frozenset(
    {
        "/safety",
        "/sports",
        "/office",
        "/boards",
        "/lessons",
        "/rooftop",
        "/rooftop/experiments",
        "/rooftop/log",
    }
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

    def __init__(self, desk: FormDesk, rooms: Rooms, actions: Actions) -> None:
        self._desk = desk
        self._view = desk.view
        self._rooms = rooms
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.show),
            web.post("/setup/session", self.open_session),
            web.post("/setup/session/close", self.close_session),
            web.get("/setup/diagnostics.zip", self.diagnostics),
            *(
                web.post(f"/setup/{path}", self._desk.acting(act, self._refuse))
                for path, act in {
                    "discover": self._discover,
                    "discover/stop": self._stop_discovery,
                    "adopt": self._adopt,
                    "dismiss": self._dismiss,
                    "command": self._command,
                    "shelve": self._shelve,
                    "unshelve": self._unshelve,
                }.items()
            ),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, self._said(request))

    async def open_session(self, request: web.Request) -> web.Response:
        posted = await read_posted(request)
        _ = self._desk.renderer.language(request).translations.gettext
        try:
            token = self._desk.sessions.open(str(posted.get("code", "")), address_of(request))
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
        asked = str(posted.get("next", ""))
        answer = web.HTTPSeeOther(asked if asked in PAGES_WITH_CODE else "/")
        self._desk.sessions.give_cookie(answer, token)
        raise answer

    async def close_session(self, request: web.Request) -> web.Response:
        sessions = self._desk.sessions
        sessions.close(sessions.token_of(request))
        answer = web.HTTPSeeOther("/")
        sessions.take_cookie(answer)
        raise answer

    async def diagnostics(self, request: web.Request) -> web.Response:
        """Send what a supporter may see, to who has the setup code."""
        self._desk.require_session(request)
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

    async def _discover(self, request: web.Request, _who: str) -> str:
        await self._actions.discover(await read_form(request, Discover))
        return "/?said=searching#found"

    async def _stop_discovery(self, _request: web.Request, _who: str) -> str:
        await self._actions.stop_discovery()
        return "/#found"

    async def _adopt(self, request: web.Request, who: str) -> str:
        await self._actions.adopt(await read_form(request, Adopt), who)
        return "/?said=adopted#devices"

    async def _dismiss(self, request: web.Request, who: str) -> str:
        await self._actions.dismiss(await read_form(request, Dismiss), who)
        return "/?said=dismissed#found"

    async def _command(self, request: web.Request, who: str) -> str:
        await self._actions.command(await read_form(request, Command), who)
        return "/?said=done#devices"

    async def _shelve(self, request: web.Request, who: str) -> str:
        await self._actions.shelve(await read_form(request, Shelve), who)
        return "/#tasks"

    async def _unshelve(self, request: web.Request, who: str) -> str:
        await self._actions.unshelve(await read_form(request, Unshelve), who)
        return "/#tasks"

    async def _refuse(self, request: web.Request, refusal: Refusal, status: int) -> web.Response:
        text, detail = refusal
        message = Message(state=Light.BAD, text=text, detail=detail)
        return await self._page(request, message, status=status)

    async def _page(
        self, request: web.Request, message: Message | None, *, status: int = 200
    ) -> web.Response:
        view = self._view
        rooms = await self._rooms.all()
        lights = sorted(
            view.device_lights(),
            key=lambda light: (KIND_ORDER.index(light.kind), light.name, light.device),
        )
        signed_in = self._desk.is_signed_in(request)
        repairs = view.repairs.list(has_rooms=bool(rooms))
        return self._desk.renderer.page(
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
                "values": by_device(values_shown(view.live_values(), signed_in=signed_in)),
                "sync": view.sync_lights(),
                "standing": view.sync_standing(),
                "clock": view.clock_light(),
                "log": tuple(view.log_lines(0))[-LOG_LINES_SHOWN:] if signed_in else (),
            },
            status=status,
        )

    def _task(self, request: web.Request, repair: Repair) -> Task:
        language = self._desk.renderer.language(request)
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

    def _said(self, request: web.Request) -> Message | None:
        _ = self._desk.renderer.language(request).translations.gettext
        texts: Mapping[str, str] = {
            "adopted": _("Adopted. It now works for this school."),
            "dismissed": _("Put aside. A new search finds it again."),
            "searching": _("Searching. You can leave this page; the search goes on."),
            "done": _("Done. What came of it stands at the device."),
        }
        text = texts.get(request.query.get("said", ""))
        return Message(state=Light.GOOD, text=text) if text else None
