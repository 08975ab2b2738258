"""The page of all blackboards: told together, unlocked for a while, switched by the clock."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from aiohttp import web

from drivers.entities import DeviceId, Outcome
from edge.pages.box_view import CommandChoice
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.rooms import Rooms
from edge.panels.plan import Clock, Daily, Pattern, Word
from edge.panels.wishes import ForgetDaily, UnlockBoard

RUNS_SHOWN = 5
Told = Annotated[str, msgspec.Meta(min_length=3, max_length=129, pattern=r"\A\S+ \S+\Z")]
"""A command and its argument, as a button carries them: ``power off``."""


class TellForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    told: Told
    rooms: Pattern | None = None


class DailyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Word
    at: Clock
    told: Told
    rooms: Pattern | None = None


class Said(StrEnum):
    """What a form that was taken has done."""

    TOLD = "told"
    LOCKED = "locked"
    PLANNED = "planned"
    NO_BOARD = "no-board"
    REMOVED = "removed"


class BoardsPage:
    """Everything here wants the setup code."""

    def __init__(self, desk: FormDesk, rooms: Rooms) -> None:
        self._desk = desk
        self._view = desk.view
        self._rooms = rooms

    def routes(self) -> list[web.RouteDef]:
        acting, page = self._desk.acting, self._page
        return [
            web.get("/boards", self.show),
            web.post("/boards/tell", acting(self._tell, page)),
            web.post("/boards/unlock", acting(self._unlock, page)),
            web.post("/boards/daily", acting(self._daily, page)),
            web.post("/boards/forget", acting(self._forget, page)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def _tell(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, TellForm)
        command, _, argument = wish.told.partition(" ")
        self._view.boards.start(_patterns(wish.rooms), command, argument, who)
        return _back(Said.TOLD)

    async def _unlock(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, UnlockBoard)
        result = await self._view.boards.unlock(DeviceId(wish.device), wish.minutes, who)
        return _back(Said.LOCKED if result.outcome is Outcome.FAILED else Said.TOLD)

    async def _daily(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, DailyForm)
        command, _, argument = wish.told.partition(" ")
        entry = Daily(
            name=wish.name,
            at=wish.at,
            command=command,
            argument=argument,
            rooms=_patterns(wish.rooms),
        )
        await self._view.boards.plan.daily(wish.name, entry)
        return _back(Said.PLANNED if self._view.boards.boards(entry.rooms) else Said.NO_BOARD)

    async def _forget(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, ForgetDaily)
        await self._view.boards.plan.daily(wish.name, None)
        return _back(Said.REMOVED)

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        signed_in = self._desk.is_signed_in(request)
        _ = self._desk.renderer.language(request).translations.gettext
        rooms = await self._rooms.all()
        office = self._view.boards
        boards = set(office.boards())
        lights = [light for light in self._view.device_lights() if light.device in boards]
        return self._desk.renderer.page(
            request,
            "boards.html",
            {
                "signed_in": signed_in,
                "refusal": refusal,
                "said": _said(_).get(request.query.get("said", ""), ""),
                "rooms": rooms,
                "room_names": {room.room: room.name for room in rooms},
                "boards": sorted(lights, key=lambda light: (light.room or "", light.name)),
                "board_names": {light.device: light.name for light in lights},
                "choices": _common(light.commands for light in lights),
                "relocks": {entry.device: entry.at_ms for entry in office.plan.plan.relocks},
                "dailies": [
                    (daily, len(office.boards(daily.rooms)))
                    for daily in (office.plan.plan.dailies if signed_in else ())
                ],
                "runs": list(office.runs)[:RUNS_SHOWN] if signed_in else (),
            },
            status=status,
        )


def _back(said: Said) -> str:
    return f"/boards?said={said}"


def _said(_: Callable[[str], str]) -> Mapping[str, str]:
    """Return what is said of each form that was taken."""
    return {
        Said.TOLD: _("Done. What came of it stands at the device."),
        Said.LOCKED: _(
            "It is not unlocked: the board did not take it. It is told again when it answers."
        ),
        Said.PLANNED: _("Entered: the boards are told each day at this time."),
        Said.NO_BOARD: _(
            "Entered. No board is adopted in these rooms yet: nothing is told so far."
        ),
        Said.REMOVED: _("Removed: the boards are told so no more."),
    }


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
