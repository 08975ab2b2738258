"""The page of all blackboards: told together, unlocked for a while, switched by the clock."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from typing import Annotated

import msgspec
from aiohttp import web

from drivers.entities import DeviceId
from edge.pages.access import SetupSessions, address_of, session_token
from edge.pages.actions import COMMAND_S_MAX, ActionError, Identity, bounded, explain
from edge.pages.box_view import BoxView, CommandChoice
from edge.pages.forms import read_form
from edge.pages.queries import Room, read_rooms
from edge.pages.rendering import Renderer
from edge.panels.plan import UNLOCK_MINUTES_MAX, Clock, Daily, Pattern, Word

RUNS_SHOWN = 5
Act = Callable[[web.Request, str], Awaitable[None]]
Told = Annotated[str, msgspec.Meta(min_length=3, max_length=129, pattern=r"\A\S+ \S+\Z")]
"""A command and its argument, as a button carries them: ``power off``."""


class TellBoards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    told: Told
    rooms: Pattern | None = None


class UnlockBoard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Identity
    minutes: Annotated[int, msgspec.Meta(ge=1, le=UNLOCK_MINUTES_MAX)]


class TellDaily(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Word
    at: Clock
    told: Told
    rooms: Pattern | None = None


class ForgetDaily(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Word


class BoardsPage:
    """Everything here wants the setup code."""

    def __init__(self, view: BoxView, renderer: Renderer, sessions: SetupSessions) -> None:
        self._view = view
        self._renderer = renderer
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/boards", self.show),
            web.post("/boards/tell", self._acting(self._tell)),
            web.post("/boards/unlock", self._acting(self._unlock)),
            web.post("/boards/daily", self._acting(self._daily)),
            web.post("/boards/forget", self._acting(self._forget)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None)

    async def _tell(self, request: web.Request, who: str) -> None:
        wish = await read_form(request, TellBoards)
        command, _, argument = wish.told.partition(" ")
        self._view.boards.start(_patterns(wish.rooms), command, argument, who)

    async def _unlock(self, request: web.Request, who: str) -> None:
        wish = await read_form(request, UnlockBoard)
        await self._view.boards.unlock(DeviceId(wish.device), wish.minutes, who)

    async def _daily(self, request: web.Request, _who: str) -> None:
        wish = await read_form(request, TellDaily)
        command, _, argument = wish.told.partition(" ")
        entry = Daily(
            name=wish.name,
            at=wish.at,
            command=command,
            argument=argument,
            rooms=_patterns(wish.rooms),
        )
        await self._view.boards.plan.daily(wish.name, entry)

    async def _forget(self, request: web.Request, _who: str) -> None:
        wish = await read_form(request, ForgetDaily)
        await self._view.boards.plan.daily(wish.name, None)

    def _acting(self, act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            _ = self._renderer.language(request).translations.gettext
            if not self._sessions.knows(session_token(request)):
                refusal = (_("Enter the setup code first."), "")
                return await self._page(request, refusal, status=403)
            try:
                await bounded(act(request, f"setup code from {address_of(request)}"), COMMAND_S_MAX)
            except ActionError as error:
                refusal = (explain(error, _), error.detail)
                return await self._page(request, refusal, status=error.status)
            raise web.HTTPSeeOther("/boards?done=1")

        return answer

    async def _page(
        self, request: web.Request, refusal: tuple[str, str] | None, *, status: int = 200
    ) -> web.Response:
        signed_in = self._sessions.knows(session_token(request))
        rooms = await asyncio.to_thread(self._rooms)
        office = self._view.boards
        boards = set(office.boards())
        lights = [light for light in self._view.device_lights() if light.device in boards]
        return self._renderer.page(
            request,
            "boards.html",
            {
                "signed_in": signed_in,
                "refusal": refusal,
                "done": "done" in request.query,
                "rooms": rooms,
                "room_names": {room.room: room.name for room in rooms},
                "boards": sorted(lights, key=lambda light: (light.room or "", light.name)),
                "board_names": {light.device: light.name for light in lights},
                "choices": _common(light.commands for light in lights),
                "relocks": {entry.device: entry.at_ms for entry in office.plan.plan.relocks},
                "dailies": office.plan.plan.dailies if signed_in else (),
                "runs": list(office.runs)[:RUNS_SHOWN] if signed_in else (),
            },
            status=status,
        )

    def _rooms(self) -> list[Room]:
        with closing(self._view.connect()) as connection:
            return read_rooms(connection, self._view.school)


def _patterns(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").split())


def _common(offered: Iterable[tuple[CommandChoice, ...]]) -> dict[str, list[str]]:
    """Return the arguments of each command that at least one board takes; numbers left out."""
    found: dict[str, list[str]] = {}
    for choices in offered:
        for choice in choices:
            arguments = found.setdefault(choice.command, [])
            arguments += [argument for argument in choice.arguments if argument not in arguments]
    return {command: arguments for command, arguments in found.items() if arguments}
