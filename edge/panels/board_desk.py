"""The command line's way to the boards, on the box's socket."""

from typing import TypeVar

import msgspec
from aiohttp import web

from drivers.entities import DeviceId
from edge.errors import BoxSetupError
from edge.panels.board_office import BoardOffice, GroupRun
from edge.panels.plan import Daily
from edge.panels.wishes import ForgetDaily, TellBoards, TellDaily, UnlockBoard

WHO = "command line"
T = TypeVar("T")


class BoardDesk:
    """Routes over one :class:`BoardOffice`."""

    def __init__(self, office: BoardOffice) -> None:
        self._office = office

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/boards", self._show)
        app.router.add_post("/boards/tell", self._tell)
        app.router.add_post("/boards/unlock", self._unlock)
        app.router.add_post("/boards/daily", self._daily)
        app.router.add_post("/boards/daily/forget", self._forget)

    async def _show(self, _: web.Request) -> web.Response:
        plan = self._office.plan.plan
        runs = [_told(run) for run in self._office.runs]
        return _json({"boards": self._office.boards(), "runs": runs, **msgspec.to_builtins(plan)})

    async def _tell(self, request: web.Request) -> web.Response:
        wish = await _body(request, TellBoards)
        run = self._office.start(wish.rooms, wish.command, wish.argument, WHO)
        await run.done.wait()
        return _json(_told(run))

    async def _unlock(self, request: web.Request) -> web.Response:
        wish = await _body(request, UnlockBoard)
        return _json(await self._office.unlock(DeviceId(wish.device), wish.minutes, WHO))

    async def _daily(self, request: web.Request) -> web.Response:
        wish = await _body(request, TellDaily)
        entry = Daily(
            name=wish.name,
            at=wish.at,
            command=wish.command,
            argument=wish.argument,
            rooms=wish.rooms,
        )
        await self._office.plan.daily(wish.name, entry)
        return _json({"boards": self._office.boards(wish.rooms), "daily": entry})

    async def _forget(self, request: web.Request) -> web.Response:
        wish = await _body(request, ForgetDaily)
        await self._office.plan.daily(wish.name, None)
        return _json({"forgotten": wish.name})


def _told(run: GroupRun) -> dict[str, object]:
    return {
        "number": run.number,
        "command": run.command,
        "argument": run.argument,
        "who": run.who,
        "started_ms": run.started_ms,
        "boards": run.boards,
        "results": run.results,
        "done": run.done.is_set(),
    }


async def _body(request: web.Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(f"the command line asks otherwise than this daemon: {error}") from error


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
