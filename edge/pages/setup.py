"""The setup page: what needs doing, what was found, what is adopted, what waits to go home."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from aiohttp import web

from drivers.discovery.candidate import DeviceKind
from drivers.entities import Measurement
from edge.pages.access import (
    SetupSessions,
    TooManyAttemptsError,
    WrongCodeError,
    address_of,
    clear_session_cookie,
    session_token,
    set_session_cookie,
)
from edge.pages.actions import (
    ActionError,
    Actions,
    Adopt,
    Command,
    Discover,
    Dismiss,
    explain,
)
from edge.pages.box_view import BoxView, DeviceLight, Light, LinkState, values_shown
from edge.pages.forms import read_form
from edge.pages.queries import Room, read_rooms
from edge.pages.rendering import Renderer

LOG_LINES_SHOWN = 200
SAID = ("adopted", "dismissed", "searching", "done")
PAGES_WITH_CODE = frozenset({"/office", "/boards"})
KIND_ORDER = tuple(DeviceKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One line of what needs doing now; ``target`` is where on the page it is done.

    ``light`` is the device that it concerns, if one.
    """

    state: Light
    text: str
    target: str
    light: DeviceLight | None = None


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
            web.post("/setup/adopt", self.adopt),
            web.post("/setup/dismiss", self.dismiss),
            web.post("/setup/command", self.command),
        ]

    async def show(self, request: web.Request) -> web.Response:
        said = request.query.get("said")
        return await self._page(request, self._said(request, said) if said in SAID else None)

    async def open_session(self, request: web.Request) -> web.Response:
        code = str((await request.post()).get("code", ""))
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
        asked = str((await request.post()).get("next", ""))
        answer = web.HTTPSeeOther(asked if asked in PAGES_WITH_CODE else "/")
        set_session_cookie(answer, token)
        raise answer

    async def close_session(self, request: web.Request) -> web.Response:
        self._sessions.close(session_token(request))
        answer = web.HTTPSeeOther("/")
        clear_session_cookie(answer)
        raise answer

    async def discover(self, request: web.Request) -> web.Response:
        async def act() -> str:
            await self._actions.discover(await read_form(request, Discover))
            return "/?said=searching#found"

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
        return self._renderer.page(
            request,
            "setup.html",
            {
                "signed_in": signed_in,
                "message": message,
                "tasks": self._tasks(request, rooms),
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

    def _tasks(self, request: web.Request, rooms: list[Room]) -> list[Task]:
        """List what a person should do, worst first; empty only when all is known to be well."""
        language = self._renderer.language(request)
        _, ngettext = language.translations.gettext, language.translations.ngettext
        view = self._view
        lights = view.device_lights()
        tasks = [
            Task(
                state=light.state,
                text=language.words.remedies[light.sign],
                light=light,
                target=f"#device-{light.device}",
            )
            for light in lights
            if light.state in {Light.BAD, Light.WARN}
        ]
        if view.sync_lights().link is LinkState.UNENROLLED:
            text = _("This box belongs to no district yet: run “schoolnode claim CODE” on it.")
            tasks.append(Task(state=Light.WARN, text=text, target="#sync"))
        standing = view.sync_standing()
        if standing and standing.recovery and not standing.recovery.has_code:
            text = _(
                "There is no recovery code: a lost box would take all names with it. Run"
                " “schoolnode recovery new” on the box."
            )
            tasks.append(Task(state=Light.WARN, text=text, target="#standing"))
        undecided = view.undecided_keys()
        if undecided:
            text = ngettext(
                "{n} key waits for your decision whether it may read the school's data: run"
                " “schoolnode keys recipients” on the box.",
                "{n} keys wait for your decision whether they may read the school's data: run"
                " “schoolnode keys recipients” on the box.",
                undecided,
            ).replace("{n}", language.number(undecided))
            tasks.append(Task(state=Light.WARN, text=text, target="#sync"))
        offered = view.offered_pupils()
        if offered is not None:
            text = ngettext(
                "The district proposes a roster of {n} pupil. Look at it and take it:"
                " “schoolnode roster import”, run on the box.",
                "The district proposes a roster of {n} pupils. Look at it and take it:"
                " “schoolnode roster import”, run on the box.",
                offered,
            ).replace("{n}", language.number(offered))
            tasks.append(Task(state=Light.WARN, text=text, target="#sync"))
        found = len(view.candidates())
        if found:
            text = ngettext(
                "{n} device was found and waits to be adopted.",
                "{n} devices were found and wait to be adopted.",
                found,
            ).replace("{n}", language.number(found))
            tasks.append(Task(state=Light.WARN, text=text, target="#found"))
        elif not lights:
            text = _("No device is adopted yet: search for devices.")
            tasks.append(Task(state=Light.UNKNOWN, text=text, target="#found"))
        unknown = sum(light.state is Light.UNKNOWN for light in lights)
        if unknown:
            text = ngettext(
                "{n} device has not been heard from yet.",
                "{n} devices have not been heard from yet.",
                unknown,
            ).replace("{n}", language.number(unknown))
            tasks.append(Task(state=Light.UNKNOWN, text=text, target="#devices"))
        if not rooms:
            text = _("No room is known yet: name one when you adopt a device.")
            tasks.append(Task(state=Light.UNKNOWN, text=text, target="#found"))
        rank = (Light.BAD, Light.WARN, Light.UNKNOWN)
        return sorted(tasks, key=lambda task: rank.index(task.state))

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
